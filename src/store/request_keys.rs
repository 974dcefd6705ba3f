//! Requests that their senders named, and what they were answered, so that each is done once.

use super::Store;
use crate::model::clock::Micros;
use crate::{both, from_row};

/// SHA-256 of a request.
pub type Digest = [u8; 32];

/// A request as its sender named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Who sends it: keys of different senders are different.
    pub actor: String,
    /// The name.
    pub key: String,
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Always a success.
    pub status: i64,
    /// Of the body.
    pub content_type: Option<String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Whether a request is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is, by whoever asked.
    Ours,
    /// Another request has this name.
    Other,
    /// It was begun, and has no answer: it is being done, or its server ended meanwhile.
    Begun,
    /// It was done.
    Answered(KeptAnswer),
}

struct Kept {
    request: Vec<u8>,
    answer: Option<KeptAnswer>,
}

from_row!(Kept, row => { request } {
    answer: match row.try_get::<Option<i64>, _>("status")? {
        Some(status) => Some(KeptAnswer {
            status,
            content_type: row.try_get("content_type")?,
            body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
        }),
        None => None,
    },
});

impl Store {
    /// Claims a request for whoever asks first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn claim_request(
        &self,
        of: &RequestKey,
        request: &Digest,
        now: Micros,
    ) -> sqlx::Result<Claim> {
        let mut tx = self.begin().await?;
        let sql = "insert into request_keys (actor, key, request, begun_at) values ($1, $2, $3, $4)
                   on conflict (actor, key) do nothing";
        let made = both!(&mut tx, c => sqlx::query(sql).bind(&of.actor).bind(&of.key).bind(&request[..]).bind(now)
            .execute(&mut **c).await.map(|done| done.rows_affected()))?;
        if made == 1 {
            tx.commit().await?;
            return Ok(Claim::Ours);
        }
        let sql = "select request, status, content_type, body from request_keys where actor = $1
                   and key = $2";
        let kept: Option<Kept> = both!(&mut tx, c => sqlx::query_as(sql).bind(&of.actor).bind(&of.key)
            .fetch_optional(&mut **c).await)?;
        tx.rollback().await?;
        Ok(match kept {
            Some(kept) if kept.request != request[..] => Claim::Other,
            Some(Kept {
                answer: Some(answer),
                ..
            }) => Claim::Answered(answer),
            // Given up in this very moment, or not answered yet: the sender may try again.
            Some(_) | None => Claim::Begun,
        })
    }

    /// Keeps the answer of a claimed request.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn keep_answer(&self, of: &RequestKey, answer: &KeptAnswer) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        let sql = "update request_keys set status = $3, content_type = $4, body = $5
                   where actor = $1 and key = $2";
        both!(&mut tx, c => sqlx::query(sql).bind(&of.actor).bind(&of.key).bind(answer.status)
            .bind(&answer.content_type).bind(&answer.body[..]).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }

    /// Gives up a claimed request that did nothing: its name is free again.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn give_up_request(&self, of: &RequestKey) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        let sql = "delete from request_keys where actor = $1 and key = $2 and status is null";
        both!(&mut tx, c => sqlx::query(sql).bind(&of.actor).bind(&of.key).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }
}
