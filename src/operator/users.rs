//! Adds, changes and removes the people who sign in.

use super::access::AccessError;
use super::{NewUser, UserEdit, password};
use crate::model::access::{Password, UserId};
use crate::model::clock::Clock;
use crate::store::Store;
use crate::store::users::User;

/// Adds a user.
///
/// # Errors
/// A field cannot be taken, the name is taken, or the database fails.
pub async fn add_user(
    store: &Store,
    clock: &Clock,
    draft: NewUser,
    by: &str,
) -> Result<User, AccessError> {
    let draft = draft.check()?;
    let password = hash(draft.password).await?;
    let now = clock.now();
    let mut tx = store.begin().await?;
    let user = User {
        id: UserId(tx.take_numbers("user", 1).await?),
        name: draft.name,
        role: draft.role,
        has_password: password.is_some(),
        created_at: now,
        created_by: by.to_owned(),
        changed_at: now,
    };
    if !tx.add_user(&user, password.as_deref()).await? {
        tx.rollback().await?;
        return Err(AccessError::NameTaken(user.name));
    }
    tx.commit().await?;
    Ok(user)
}

/// Changes a user. Another password ends all their sessions; another role is theirs at once.
///
/// # Errors
/// There is no such user, the password cannot be taken, or the database fails.
pub async fn change_user(
    store: &Store,
    clock: &Clock,
    id: UserId,
    edit: UserEdit,
) -> Result<User, AccessError> {
    let edit = edit.check()?;
    let password = match edit.password {
        Some(password) => Some(hash(password).await?),
        None => None,
    };
    let now = clock.now();
    let mut tx = store.begin().await?;
    if let Some(role) = edit.role {
        tx.set_role(id, role, now).await?;
    }
    if let Some(password) = password {
        tx.set_password(id, password.as_deref(), now).await?;
    }
    tx.commit().await?;
    let user = store.user(id).await?;
    user.ok_or(AccessError::NoUser(id))
}

/// Removes a user and ends their sessions. Histories keep the name.
///
/// # Errors
/// There is no such user, or the database fails.
pub async fn remove_user(store: &Store, id: UserId) -> Result<(), AccessError> {
    let mut tx = store.begin().await?;
    let was_there = tx.remove_user(id).await?;
    tx.commit().await?;
    match was_there {
        true => Ok(()),
        false => Err(AccessError::NoUser(id)),
    }
}

async fn hash(password: Option<Password>) -> Result<Option<String>, AccessError> {
    match password {
        Some(password) => Ok(Some(password::hash(password).await?)),
        None => Ok(None),
    }
}
