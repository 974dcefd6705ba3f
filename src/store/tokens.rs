//! Tokens of the API: what is stored of them is no secret.
//!
//! A revoked token stays, for the histories that name it.

use serde::Serialize;
use utoipa::ToSchema;

use super::scan::{Part, Wanted, scan};
use super::{Bulk, Store, Tx};
use crate::model::access::{Scope, Scopes, SecretPrint, TokenId};
use crate::model::clock::Micros;
use crate::model::wire;
use crate::{both, execute_bulk, from_row};

/// A token as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Its number.
    #[serde(with = "wire::id")]
    pub id: TokenId,
    /// Whom it is for.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<Scope>)]
    pub scopes: Scopes,
    /// When it was made.
    #[serde(with = "wire::time")]
    pub created_at: Micros,
    /// By whom.
    pub created_by: String,
    /// From this time on it is refused.
    #[serde(with = "wire::option_time")]
    pub expires_at: Option<Micros>,
    /// The last request with it, to the minute.
    #[serde(with = "wire::option_time")]
    pub last_used_at: Option<Micros>,
    /// Since when it is refused.
    #[serde(with = "wire::option_time")]
    pub revoked_at: Option<Micros>,
    /// By whom.
    pub revoked_by: Option<String>,
}

from_row!(Token, row => {
    id, name, prefix, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by,
} {
    scopes: Scopes::of_names(row.try_get::<String, _>("scopes")?.split(' ')),
});

/// What a server must know of a token that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableToken {
    /// Its number.
    pub id: TokenId,
    /// Whom it is for.
    pub name: String,
    /// What is stored of its text.
    pub print: SecretPrint,
    /// What it may do.
    pub scopes: Scopes,
    /// From this time on it is refused.
    pub expires_at: Option<Micros>,
}

from_row!(UsableToken, row => { id, name, expires_at } {
    print: read_print(&row.try_get::<Vec<u8>, _>("print")?),
    scopes: Scopes::of_names(row.try_get::<String, _>("scopes")?.split(' ')),
});

/// Bytes of another length, which only a hand can have written, are no token's.
fn read_print(bytes: &[u8]) -> SecretPrint {
    SecretPrint(bytes.try_into().unwrap_or_default())
}

/// Tokens, as `t`: `select_tokens!("from tokens t where …")`.
macro_rules! select_tokens {
    ($from:literal) => {
        concat!(
            "select t.id, t.name, t.prefix, t.scopes, t.created_at, t.created_by, t.expires_at, ",
            "t.last_used_at, t.revoked_at, t.revoked_by ",
            $from
        )
    };
}

impl Store {
    /// All tokens that are neither revoked nor expired: there are few.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn usable_tokens(&self, now: Micros) -> sqlx::Result<Vec<UsableToken>> {
        let sql = "select id, name, print, scopes, expires_at from tokens
                   where revoked_at is null and (expires_at is null or expires_at > $1)
                   order by id";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(now).fetch_all(pool).await)
    }

    /// The token with a print, unless it is revoked.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn usable_token(&self, print: SecretPrint) -> sqlx::Result<Option<UsableToken>> {
        let sql = "select id, name, print, scopes, expires_at from tokens
                   where print = $1 and revoked_at is null";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(&print.0[..]).fetch_optional(pool).await)
    }

    /// One token, revoked or not.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn token(&self, id: TokenId) -> sqlx::Result<Option<Token>> {
        let sql = select_tokens!("from tokens t where t.id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// Tokens by falling ids; all, or only the revoked ones, or only the others.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn tokens(
        &self,
        is_revoked: Option<bool>,
        wanted: Wanted,
    ) -> sqlx::Result<Part<Token>> {
        let sql = select_tokens!("from tokens t where t.id <= $1 order by t.id desc limit $2");
        scan(
            wanted,
            is_revoked.is_none(),
            |until, rows| async move {
                both!(self.reader(), pool => sqlx::query_as(sql).bind(until).bind(rows).fetch_all(pool).await)
            },
            |token: &Token| token.id.0,
            |token| is_revoked.is_none_or(|wanted| token.revoked_at.is_some() == wanted),
        )
        .await
    }

    /// Records when tokens were last used, unless a later use is known.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn note_token_uses(&self, uses: &[(TokenId, Micros)]) -> sqlx::Result<()> {
        if uses.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        // In one order, so that two servers do not wait for each other.
        let mut uses = uses.to_vec();
        uses.sort();
        execute_bulk!(
            &mut tx,
            Bulk::new()
                .big("token_id", uses.iter().map(|(id, _)| id.0))
                .time("used_at", uses.iter().map(|(_, at)| *at)),
            "update tokens set last_used_at = rows.used_at from {rows}
             where tokens.id = rows.token_id
             and (tokens.last_used_at is null or tokens.last_used_at < rows.used_at)"
        )?;
        tx.commit().await
    }
}

impl Tx {
    /// Makes a token. Of its text only the print is stored.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn create_token(&mut self, token: &Token, print: SecretPrint) -> sqlx::Result<()> {
        let sql = "insert into tokens (id, name, prefix, print, scopes, created_at, created_by, \
            expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
        both!(self, c => sqlx::query(sql)
            .bind(token.id)
            .bind(&token.name)
            .bind(&token.prefix)
            .bind(&print.0[..])
            .bind(token.scopes.names().join(" "))
            .bind(token.created_at)
            .bind(&token.created_by)
            .bind(token.expires_at)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Revokes a token. One that is revoked already stays as it is.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn revoke_token(&mut self, id: TokenId, by: &str, now: Micros) -> sqlx::Result<()> {
        let sql = "update tokens set revoked_at = $2, revoked_by = $3
                   where id = $1 and revoked_at is null";
        both!(self, c => sqlx::query(sql).bind(id).bind(now).bind(by).execute(&mut **c).await.map(|_| ()))
    }
}
