//! Who may use the API beside the holder of the admin token: makes and revokes tokens. People who
//! sign in are in `users.rs` and `sign_in.rs`.

use serde::Serialize;
use utoipa::ToSchema;

use super::password::PasswordError;
use super::{DraftError, NewToken};
use crate::model::access::{TokenId, TokenText, UserId};
use crate::model::clock::Clock;
use crate::model::secret::{NoRandom, random_secret};
use crate::store::tokens::Token;
use crate::store::{self, Store};

/// Why a token is not made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A field is not accepted.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is no such token.
    #[error("there is no token {0}: look up its number in the list of tokens")]
    NoToken(TokenId),
    /// There is no such user.
    #[error("there is no user {0}: look up the number in the list of users")]
    NoUser(UserId),
    /// Somebody has that name.
    #[error("name {0} is already taken; choose another")]
    NameTaken(String),
    /// The password cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No secret can be made.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// The database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// A token that was just made, with its text, which nobody can ask for again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NewlyMade {
    /// What is stored of it.
    #[serde(flatten)]
    pub stored: Token,
    /// The secret.
    #[serde(rename = "token", serialize_with = "tell")]
    #[schema(value_type = String)]
    pub text: TokenText,
}

fn tell<S: serde::Serializer>(text: &TokenText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_str())
}

/// Makes a token.
///
/// # Errors
/// A field cannot be taken, or the database fails.
pub async fn create_token(
    store: &Store,
    clock: &Clock,
    draft: NewToken,
    by: &str,
) -> Result<NewlyMade, AccessError> {
    let now = clock.now();
    let draft = draft.check(now)?;
    let text = TokenText::new(random_secret()?);
    let mut tx = store.begin().await?;
    let stored = Token {
        id: TokenId(tx.take_numbers("token", 1).await?),
        scopes: draft.scopes(),
        name: draft.name,
        prefix: text.prefix().to_owned(),
        created_at: now,
        created_by: by.to_owned(),
        expires_at: draft.expires_at,
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
    };
    tx.create_token(&stored, text.print()).await?;
    tx.commit().await?;
    Ok(NewlyMade { stored, text })
}

/// Revokes a token: it never works again. Revoking it once more changes nothing.
///
/// # Errors
/// There is no such token, or the database fails.
pub async fn revoke_token(
    store: &Store,
    clock: &Clock,
    id: TokenId,
    by: &str,
) -> Result<Token, AccessError> {
    let mut tx = store.begin().await?;
    tx.revoke_token(id, by, clock.now()).await?;
    tx.commit().await?;
    let token = store.token(id).await?;
    token.ok_or(AccessError::NoToken(id))
}
