//! Writing hits: rows of placeholders, and on Postgres binary `COPY` for many.
//!
//! `COPY` instead of `unnest` over 35 arrays: Postgres takes each value once and fills pages many
//! rows at a time. Its end is several small writes without an answer between them, though, and sqlx
//! leaves Nagle's algorithm on: over TCP the last one waits 40 ms for an acknowledgement. Few rows,
//! as most transactions of a quiet server have, go quicker in an ordinary statement.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgConnection, PgCopyIn};
use sqlx::sqlite::SqliteArguments;
use sqlx::types::Json;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::session::{PgTransaction, Waiting};
use super::types::{POSTGRES_EPOCH, put_inet, put_numeric};
use super::{Either, Ip, SqliteTransaction, Tags, Tx};
use crate::model::hit::{ContactId, Hit, Money, Proof};

/// Names of the columns in the order in which both writers fill them and [`super::stored_hits`]
/// reads them.
pub const COLUMNS: [&str; 35] = [
    "seq",
    "id",
    "received_at",
    "occurred_at",
    "kind",
    "dialect",
    "site",
    "page_url",
    "page_title",
    "page_language",
    "referrer",
    "page_tag",
    "delivery_id",
    "broadlog_id",
    "link_id",
    "visitor_id",
    "contact_id",
    "revenue",
    "currency",
    "order_id",
    "quantity",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "tags",
    "event",
    "ip",
    "user_agent",
    "verdict",
    "reason",
    "extra",
    "proof",
    "counted_revenue",
];

/// A hit that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct HitRow<'h> {
    /// Place in the order of storage.
    pub seq: i64,
    /// The hit.
    pub hit: &'h Hit,
    /// Its person.
    pub contact_id: Option<ContactId>,
    /// What it adds to the revenue in the figures.
    pub counted_revenue: Option<Money>,
}

/// Binds rows' values in the order of [`COLUMNS`], for either database.
macro_rules! bind_rows {
    ($rows:expr, $values:expr) => {{
        let mut bind = || -> Result<(), sqlx::error::BoxDynError> {
            for row in $rows {
                let hit = row.hit;
                $values.add(row.seq)?;
                $values.add(hit.id.0)?;
                $values.add(hit.received_at)?;
                $values.add(hit.occurred_at)?;
                $values.add(hit.kind.as_str())?;
                $values.add(hit.dialect.as_str())?;
                $values.add(hit.site.as_str())?;
                $values.add(hit.page_url.as_deref())?;
                $values.add(hit.page_title.as_deref())?;
                $values.add(hit.page_language.as_deref())?;
                $values.add(hit.referrer.as_deref())?;
                $values.add(hit.page_tag.as_deref())?;
                $values.add(hit.delivery_id.map(|id| id.0))?;
                $values.add(hit.broadlog_id.map(|id| id.0))?;
                $values.add(hit.link_id.map(|id| id.0))?;
                $values.add(hit.visitor_id.map(|id| id.0))?;
                $values.add(row.contact_id.map(|id| id.0))?;
                $values.add(hit.revenue)?;
                $values.add(hit.currency.as_ref().map(|code| code.as_str()))?;
                $values.add(hit.order_id.as_deref())?;
                $values.add(hit.quantity)?;
                $values.add(hit.utm.source.as_deref())?;
                $values.add(hit.utm.medium.as_deref())?;
                $values.add(hit.utm.campaign.as_deref())?;
                $values.add(hit.utm.term.as_deref())?;
                $values.add(hit.utm.content.as_deref())?;
                $values.add((!hit.tags.is_empty()).then(|| Tags(tag_texts(hit).collect())))?;
                $values.add(hit.event.as_deref())?;
                $values.add(hit.ip.map(Ip))?;
                $values.add(hit.user_agent.as_deref())?;
                $values.add(hit.verdict.as_str())?;
                $values.add(hit.reason.as_deref())?;
                $values.add(hit.extra.as_ref().map(Json))?;
                $values.add(hit.proof().map(Proof::as_str))?;
                $values.add(row.counted_revenue)?;
            }
            Ok(())
        };
        bind()
    }};
}

impl Tx {
    /// Writes hits.
    ///
    /// # Errors
    /// The database refuses one of them, or cannot be reached.
    pub async fn insert_hits(&mut self, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Either::Postgres(c) if rows.len() < FEWEST_COPIED => insert_postgres(c, rows).await,
            Either::Postgres(c) => {
                let sql = format!(
                    "copy hits ({}) from stdin with (format binary)",
                    COLUMNS.join(", ")
                );
                let (connection, mut waiting) = c.parts()?;
                let mut copy = waiting.wait(connection.copy_in_raw(&sql)).await?;
                match send_rows(&mut copy, &mut waiting, rows).await {
                    Ok(()) => waiting.wait(copy.finish()).await.map(|_| ()),
                    Err(error) => {
                        waiting.wait(copy.abort("a row could not be sent")).await?;
                        Err(error)
                    }
                }
            }
            Either::Sqlite(c) => insert_sqlite(c, rows).await,
        }
    }
}

/// From so many rows on they are copied.
const FEWEST_COPIED: usize = 256;

/// Rows a message: about 300 KB, so that neither side keeps a buffer for the whole batch.
const SENT_AT_ONCE: usize = 512;

async fn send_rows(
    copy: &mut PgCopyIn<&mut PgConnection>,
    waiting: &mut Waiting<'_>,
    rows: &[HitRow<'_>],
) -> sqlx::Result<()> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for part in rows.chunks(SENT_AT_ONCE) {
        put_rows(part, &mut data);
        waiting.wait(copy.send(data.as_slice())).await?;
        data.clear();
    }
    let end = (-1_i16).to_be_bytes();
    waiting.wait(copy.send(end.as_slice())).await.map(|_| ())
}

/// Rows in Postgres' binary `COPY` format: for each the number of fields, then each field's length
/// and bytes.
fn put_rows(rows: &[HitRow<'_>], data: &mut Vec<u8>) {
    for row in rows {
        let hit = row.hit;
        let mut out = Fields { data };
        out.data
            .extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
        out.bytes(&row.seq.to_be_bytes());
        out.bytes(hit.id.0.as_bytes());
        out.bytes(&(hit.received_at.0 - POSTGRES_EPOCH).to_be_bytes());
        out.big(
            hit.occurred_at
                .map(|at| at.0.saturating_sub(POSTGRES_EPOCH)),
        );
        out.bytes(hit.kind.as_str().as_bytes());
        out.bytes(hit.dialect.as_str().as_bytes());
        out.bytes(hit.site.as_bytes());
        for text in [
            &hit.page_url,
            &hit.page_title,
            &hit.page_language,
            &hit.referrer,
            &hit.page_tag,
        ] {
            out.text(text.as_deref());
        }
        out.big(hit.delivery_id.map(|id| id.0));
        out.big(hit.broadlog_id.map(|id| id.0));
        out.big(hit.link_id.map(|id| id.0));
        out.option(hit.visitor_id.as_ref().map(|id| id.0.as_bytes().as_slice()));
        out.option(row.contact_id.as_ref().map(|id| id.0.as_bytes().as_slice()));
        out.with(hit.revenue, put_numeric);
        out.text(hit.currency.as_ref().map(|code| code.as_str()));
        out.text(hit.order_id.as_deref());
        out.option(
            hit.quantity
                .map(i32::to_be_bytes)
                .as_ref()
                .map(<[u8; 4]>::as_slice),
        );
        let utm = &hit.utm;
        for text in [
            &utm.source,
            &utm.medium,
            &utm.campaign,
            &utm.term,
            &utm.content,
        ] {
            out.text(text.as_deref());
        }
        out.with((!hit.tags.is_empty()).then_some(hit), put_tags);
        out.text(hit.event.as_deref());
        out.with(hit.ip, put_inet);
        out.text(hit.user_agent.as_deref());
        out.bytes(hit.verdict.as_str().as_bytes());
        out.text(hit.reason.as_deref());
        out.with(hit.extra.as_ref(), |extra, data| {
            data.push(1);
            // Writing to a Vec does not fail.
            let _ = serde_json::to_writer(data, extra);
        });
        out.text(hit.proof().map(Proof::as_str));
        out.with(row.counted_revenue, put_numeric);
    }
}

/// A tag as it stands in `hits.tags`: `-` before one that is taken away.
pub(super) fn tag_texts(hit: &Hit) -> impl Iterator<Item = String> {
    hit.tags.iter().map(|tag| {
        if tag.remove {
            format!("-{}", tag.name)
        } else {
            tag.name.clone()
        }
    })
}

/// Postgres' binary `text[]`: dimensions, has-null, element type (25 is `text`), length, lower
/// bound, elements.
fn put_tags(hit: &Hit, data: &mut Vec<u8>) {
    for word in [1_i32, 0, 25, hit.tags.len() as i32, 1] {
        data.extend_from_slice(&word.to_be_bytes());
    }
    for tag in tag_texts(hit) {
        data.extend_from_slice(&(tag.len() as i32).to_be_bytes());
        data.extend_from_slice(tag.as_bytes());
    }
}

struct Fields<'d> {
    data: &'d mut Vec<u8>,
}

impl Fields<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.data
            .extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.data.extend_from_slice(bytes);
    }

    fn option(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.data.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.option(text.map(str::as_bytes));
    }

    fn big(&mut self, number: Option<i64>) {
        self.option(
            number
                .map(i64::to_be_bytes)
                .as_ref()
                .map(<[u8; 8]>::as_slice),
        );
    }

    /// A field whose length is known once it is written.
    fn with<T>(&mut self, value: Option<T>, put: impl FnOnce(T, &mut Vec<u8>)) {
        let Some(value) = value else {
            return self.option(None);
        };
        let start = self.data.len();
        self.data.extend_from_slice(&[0; 4]);
        put(value, self.data);
        let length = (self.data.len() - start - 4) as i32;
        self.data[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Rows a statement: few sizes, so that each is prepared once. 64 rows of 35 columns stay well
/// below SQLite's 32,766 placeholders.
const SIZES: [usize; 3] = [64, 8, 1];

/// The rows in runs that are whole parts of one of [`SIZES`].
fn runs<'r, 'h>(mut rows: &'r [HitRow<'h>]) -> impl Iterator<Item = (usize, &'r [HitRow<'h>])> {
    SIZES.into_iter().filter_map(move |size| {
        let (run, later) = rows.split_at(rows.len() - rows.len() % size);
        rows = later;
        (!run.is_empty()).then_some((size, run))
    })
}

/// `insert or fail`: see [`super::Bulk::sqlite`].
async fn insert_sqlite(c: &mut SqliteTransaction, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
    for (size, run) in runs(rows) {
        let sql: Arc<str> = values_statement("insert or fail", size, |_| "?".to_owned()).into();
        for part in run.chunks(size) {
            let mut values = SqliteArguments::default();
            bind_rows!(part, values).map_err(sqlx::Error::Encode)?;
            let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), values);
            query.execute(&mut **c).await?;
        }
    }
    Ok(())
}

async fn insert_postgres(c: &mut PgTransaction, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
    for (size, run) in runs(rows) {
        let sql: Arc<str> = values_statement("insert", size, |place| format!("${place}")).into();
        for part in run.chunks(size) {
            let mut values = PgArguments::default();
            bind_rows!(part, values).map_err(sqlx::Error::Encode)?;
            let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), values);
            query.execute(&mut **c).await?;
        }
    }
    Ok(())
}

/// `<insert> into hits (…) values (…), …`. On SQLite a place must not be `$1`: that is a name, and
/// for each value that is bound SQLite walks through all names, which made the whole projection
/// five times slower.
fn values_statement(insert: &str, rows: usize, placeholder: fn(usize) -> String) -> String {
    let mut sql = format!("{insert} into hits ({}) values ", COLUMNS.join(", "));
    for place in 0..rows * COLUMNS.len() {
        let before = match (place, place % COLUMNS.len()) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        let _ = write!(sql, "{before}{}", placeholder(place + 1));
    }
    sql.push(')');
    sql
}
