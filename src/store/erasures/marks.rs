//! What late hits of erased persons are known by: digests.
//!
//! Each is made with a secret of this database, so that a list of digests alone says nothing; who
//! has the whole database can try a name that he knows, and no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::{Bulk, Store, Tx};
use crate::model::clock::Micros;
use crate::{both, execute_bulk, from_row};

/// Bytes of a digest that are kept: no two of a thousand million persons have the same.
const BYTES: usize = 16;

pub(super) type Digest = [u8; BYTES];

/// What a mark is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A contact's id.
    Contact = 1,
    /// A browser's.
    Visitor = 2,
    /// A message's number.
    Message = 3,
    /// A message's name with its vendor.
    MessageKey = 4,
    /// A value of a unique field.
    Value = 5,
}

pub(super) fn digest(secret: &[u8], kind: MarkKind, name: &[u8]) -> Digest {
    let whole = Sha256::new()
        .chain_update(secret)
        .chain_update([kind as u8])
        .chain_update(name)
        .finalize();
    let mut short = Digest::default();
    short.copy_from_slice(&whole[..BYTES]);
    short
}

fn value_name(field: &str, value: &str) -> Vec<u8> {
    [field.as_bytes(), &[0], value.as_bytes()].concat()
}

/// Marks to be added.
pub(super) struct NewMarks {
    erasure: Uuid,
    secret: Vec<u8>,
    number: i64,
    all: Vec<(Digest, Option<Micros>)>,
}

impl NewMarks {
    pub(super) fn add(&mut self, kind: MarkKind, name: &[u8], until: Option<Micros>) {
        self.all.push((digest(&self.secret, kind, name), until));
    }

    pub(super) fn add_value(&mut self, field: &str, value: &str, until: Micros) {
        self.add(MarkKind::Value, &value_name(field, value), Some(until));
    }
}

impl Tx {
    /// Begins new marks of an erasure. `secret` becomes the database's where it has none.
    pub(super) async fn new_marks(
        &mut self,
        erasure: Uuid,
        secret: [Uuid; 2],
    ) -> sqlx::Result<NewMarks> {
        let sql = "insert into erasure_marks (is_only, secret, number) values (1, $1, 1)
                   on conflict (is_only) do update set number = erasure_marks.number + 1
                   returning secret, number";
        let bytes = secret.map(Uuid::into_bytes).concat();
        let (secret, number) = both!(self, c => {
            sqlx::query_as(sql).bind(bytes).fetch_one(&mut **c).await?
        });
        Ok(NewMarks {
            erasure,
            secret,
            number,
            all: Vec::new(),
        })
    }

    pub(super) async fn save_marks(&mut self, marks: NewMarks) -> sqlx::Result<()> {
        let all = || marks.all.iter();
        execute_bulk!(
            self,
            Bulk::new()
                .bytes("digest", all().map(|(digest, _)| digest.to_vec()))
                .big("number", all().map(|_| marks.number))
                .uuid("erasure_id", all().map(|_| marks.erasure))
                .time_or_null("until", all().map(|(_, until)| *until)),
            "insert into erased (digest, number, erasure_id, until)
             select digest, number, erasure_id, until from {rows} where true
             on conflict (digest) do update set number = excluded.number,
                 erasure_id = excluded.erasure_id, until = excluded.until"
        )
        .map(|_| ())
    }
}

/// All marks, as far as they are known; shared by who asks for them.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    known: Arc<Mutex<Arc<KnownMarks>>>,
}

/// What is known of the marks.
#[derive(Clone, Debug, Default)]
pub struct KnownMarks {
    secret: Vec<u8>,
    number: i64,
    /// Until when each holds.
    all: HashMap<Digest, Micros>,
    /// Someone is being erased at this moment.
    pub(crate) is_open: bool,
}

struct MarkRow {
    digest: Vec<u8>,
    until: Option<Micros>,
}

from_row!(MarkRow, row => { digest, until });

impl KnownMarks {
    /// Whether nobody was ever erased.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a hit that came at a time names somebody erased.
    pub fn names(&self, kind: MarkKind, name: &[u8], at: Micros) -> bool {
        let until = self.all.get(&digest(&self.secret, kind, name));
        until.is_some_and(|until| at <= *until)
    }

    /// The same by a value of a unique field.
    pub fn names_value(&self, field: &str, value: &str, at: Micros) -> bool {
        self.names(MarkKind::Value, &value_name(field, value), at)
    }
}

/// Secret, number, and how many erasures are not done.
type State = (Vec<u8>, i64, i64);

const STATE: &str = "select secret, number,
        (select count(*) from erasures where ended_at is null) as open from erasure_marks";

const NEWER: &str = "select digest, until from erased where number > $1";

impl Marks {
    /// The marks that there are for a transaction.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn of(&self, tx: &mut Tx) -> sqlx::Result<Arc<KnownMarks>> {
        let before = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let state: Option<State> =
            both!(&mut *tx, c => sqlx::query_as(STATE).fetch_optional(&mut **c).await?);
        let Some((secret, number, open)) = state else {
            return Ok(before);
        };
        let is_same = before.secret == secret;
        let is_open = open > 0;
        if is_same && before.number == number && before.is_open == is_open {
            return Ok(before);
        }
        let after = if is_same { before.number } else { 0 };
        let rows: Vec<MarkRow> = both!(tx, c => {
            sqlx::query_as(NEWER).bind(after).fetch_all(&mut **c).await?
        });
        let mut all = match is_same {
            true => before.all.clone(),
            false => HashMap::new(),
        };
        let forever = Micros(i64::MAX);
        for row in rows {
            if let Ok(digest) = Digest::try_from(row.digest.as_slice()) {
                all.insert(digest, row.until.unwrap_or(forever));
            }
        }
        let known = Arc::new(KnownMarks {
            secret,
            number,
            all,
            is_open,
        });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }

    /// The same beside all transactions.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn read(&self, store: &Store) -> sqlx::Result<Arc<KnownMarks>> {
        let mut tx = store.begin_snapshot().await?;
        let known = self.of(&mut tx).await?;
        tx.rollback().await?;
        Ok(known)
    }
}
