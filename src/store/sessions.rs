//! Sessions of people who have signed in. What is stored of a session's cookie is its SHA-256.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Store, Tx};
use crate::model::access::{Role, SecretPrint, SessionId, UserId};
use crate::model::clock::Micros;
use crate::model::wire;
use crate::{both, from_row};

/// A session that is to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// By which it is listed and ended.
    pub id: SessionId,
    /// Of the cookie's value.
    pub print: SecretPrint,
    /// Who signed in.
    pub user_id: UserId,
    /// When.
    pub created_at: Micros,
    /// The end, whatever happens.
    pub ends_at: Micros,
    /// Where from.
    pub address: String,
    /// With which browser.
    pub agent: Option<String>,
}

/// Whose session a request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The session.
    pub id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// What they may do by now.
    pub role: Role,
    /// The last request before this one, to the minute.
    pub last_seen_at: Micros,
    /// The end of the session.
    pub ends_at: Micros,
}

from_row!(Visit, row => { id, user_id, name, role, last_seen_at, ends_at });

/// A session as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Session {
    /// By which it is ended.
    pub id: SessionId,
    /// Whose it is.
    #[serde(with = "wire::id")]
    pub user_id: UserId,
    /// Their name.
    pub user: String,
    /// When they signed in.
    #[serde(with = "wire::time")]
    pub created_at: Micros,
    /// The last request, to the minute.
    #[serde(with = "wire::time")]
    pub last_seen_at: Micros,
    /// The end, whatever happens.
    #[serde(with = "wire::time")]
    pub ends_at: Micros,
    /// Where they signed in from.
    pub address: Option<String>,
    /// With which browser.
    pub agent: Option<String>,
}

from_row!(Session, row => {
    id, user_id, user, created_at, last_seen_at, ends_at, address, agent,
});

/// When a session is over: it has come to its end, or nobody used it for long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Now.
    pub now: Micros,
    /// Sessions not seen since are over.
    pub seen_since: Micros,
}

impl Store {
    /// The session with a print, unless it is over.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn visit(&self, print: SecretPrint, limits: Limits) -> sqlx::Result<Option<Visit>> {
        let sql = "select s.id, s.user_id, u.name, u.role, s.last_seen_at, s.ends_at
                   from sessions s join users u on u.id = s.user_id
                   where s.print = $1 and s.ends_at > $2 and s.last_seen_at > $3";
        both!(self.reader(), pool => sqlx::query_as(sql)
            .bind(&print.0[..])
            .bind(limits.now)
            .bind(limits.seen_since)
            .fetch_optional(pool)
            .await)
    }

    /// Sessions that are not over, of one user or of all, the latest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn sessions(
        &self,
        user: Option<UserId>,
        limits: Limits,
    ) -> sqlx::Result<Vec<Session>> {
        let sql = "select s.id, s.user_id, u.name as \"user\", s.created_at, s.last_seen_at,
                   s.ends_at, s.address, s.agent
                   from sessions s join users u on u.id = s.user_id
                   where ($1 is null or s.user_id = $1) and s.ends_at > $2 and s.last_seen_at > $3
                   order by s.created_at desc, s.id";
        both!(self.reader(), pool => sqlx::query_as(sql)
            .bind(user)
            .bind(limits.now)
            .bind(limits.seen_since)
            .fetch_all(pool)
            .await)
    }

    /// Records that a session was used.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn note_visit(&self, id: SessionId, now: Micros) -> sqlx::Result<()> {
        let sql = "update sessions set last_seen_at = $2 where id = $1 and last_seen_at < $2";
        let mut tx = self.begin().await?;
        both!(&mut tx, c => sqlx::query(sql).bind(id).bind(now).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }

    /// Ends a session, of one user or of whomever; false if there is none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn end_session(&self, id: SessionId, of: Option<UserId>) -> sqlx::Result<bool> {
        let sql = "delete from sessions where id = $1 and ($2 is null or user_id = $2)";
        let mut tx = self.begin().await?;
        let ended = both!(&mut tx, c => sqlx::query(sql).bind(id).bind(of).execute(&mut **c).await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(ended > 0)
    }

    /// Forgets sessions that are over.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn forget_sessions(&self, limits: Limits) -> sqlx::Result<()> {
        let sql = "delete from sessions where ends_at <= $1 or last_seen_at <= $2";
        let mut tx = self.begin().await?;
        both!(&mut tx, c => sqlx::query(sql)
            .bind(limits.now)
            .bind(limits.seen_since)
            .execute(&mut **c)
            .await
            .map(|_| ()))?;
        tx.commit().await
    }
}

impl Tx {
    /// Begins a session.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn begin_session(&mut self, new: &NewSession) -> sqlx::Result<()> {
        let sql = "insert into sessions (print, id, user_id, created_at, last_seen_at, ends_at, \
            address, agent) values ($1, $2, $3, $4, $4, $5, $6, $7)";
        both!(self, c => sqlx::query(sql)
            .bind(&new.print.0[..])
            .bind(new.id)
            .bind(new.user_id)
            .bind(new.created_at)
            .bind(new.ends_at)
            .bind(&new.address)
            .bind(new.agent.as_deref())
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Ends the session with a print, if there is one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end_session_with(&mut self, print: SecretPrint) -> sqlx::Result<()> {
        let sql = "delete from sessions where print = $1";
        both!(self, c => sqlx::query(sql).bind(&print.0[..]).execute(&mut **c).await.map(|_| ()))
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end_sessions_of(&mut self, user: UserId) -> sqlx::Result<()> {
        let sql = "delete from sessions where user_id = $1";
        both!(self, c => sqlx::query(sql).bind(user).execute(&mut **c).await.map(|_| ()))
    }
}
