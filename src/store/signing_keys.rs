//! Fingerprints of the keys that links were signed with.

use super::{Store, Tx};
use crate::model::clock::Micros;
use crate::model::keys::KeyPrint;
use crate::{both, from_row};

/// A key that links were signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its fingerprint; `None` for keys from before fingerprints were recorded.
    pub print: Option<KeyPrint>,
    /// When a server first said that it signs with it.
    pub first_signed_at: Micros,
    /// When it was given up, so that its links may die.
    pub given_up_at: Option<Micros>,
}

from_row!(SigningKey, row => {
    first_signed_at, given_up_at,
} {
    print: match u8::try_from(row.try_get::<i64, _>("key_number")?) {
        Ok(number) => Some(KeyPrint { number, print: row.try_get("fingerprint")? }),
        Err(_) => None,
    },
});

/// The number that stands for keys from before fingerprints were recorded.
const BEFORE: i32 = -1;

impl Store {
    /// All keys that links were signed with, given up or not.
    ///
    /// # Errors
    /// The database refuses, or has no such table yet.
    pub async fn signing_keys(&self) -> sqlx::Result<Vec<SigningKey>> {
        let sql = "select cast(number as bigint) as key_number, fingerprint, first_signed_at,
                   given_up_at from signing_keys
                   order by number, first_signed_at, fingerprint";
        both!(self.reader(), pool => sqlx::query_as(sql).fetch_all(pool).await)
    }

    /// Whether a server has stored hits here.
    ///
    /// # Errors
    /// The database refuses, or has no such table yet.
    pub async fn was_served(&self) -> sqlx::Result<bool> {
        let sql = "select count(*) from (select 1 from spool_positions limit 1) as one";
        let count: i64 =
            both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)?;
        Ok(count > 0)
    }
}

impl Tx {
    /// Notes that links are signed with a key, also one that was given up.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn note_signing_key(&mut self, key: &KeyPrint, now: Micros) -> sqlx::Result<()> {
        let sql =
            "insert into signing_keys (number, fingerprint, first_signed_at) values ($1, $2, $3)
                   on conflict (number, fingerprint) do update set given_up_at = null";
        both!(self, c => sqlx::query(sql)
            .bind(i32::from(key.number))
            .bind(&key.print)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Notes that a key's links may die; without one, that those of keys of a time before they were
    /// noted may.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn give_up_key(&mut self, key: Option<&KeyPrint>, now: Micros) -> sqlx::Result<()> {
        let sql = "insert into signing_keys (number, fingerprint, first_signed_at, given_up_at)
                   values ($1, $2, $3, $3)
                   on conflict (number, fingerprint) do update
                   set given_up_at = excluded.given_up_at";
        let (number, print) = match key {
            Some(key) => (i32::from(key.number), key.print.as_str()),
            None => (BEFORE, "unknown"),
        };
        both!(self, c => sqlx::query(sql)
            .bind(number)
            .bind(print)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }
}
