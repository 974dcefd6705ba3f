//! People who sign in.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Store, Tx};
use crate::model::access::{Role, UserId};
use crate::model::clock::Micros;
use crate::model::wire;
use crate::{both, from_row};

/// A user as stored and shown; the hash of the password is shown to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// Its number.
    #[serde(with = "wire::id")]
    pub id: UserId,
    /// What they sign in with.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they can sign in with a password.
    pub has_password: bool,
    /// When they were added.
    #[serde(with = "wire::time")]
    pub created_at: Micros,
    /// By whom.
    pub created_by: String,
    /// When the role or the password was changed last.
    #[serde(with = "wire::time")]
    pub changed_at: Micros,
}

from_row!(User, row => { id, name, role, created_at, created_by, changed_at } {
    has_password: row.try_get::<Option<String>, _>("password")?.is_some(),
});

/// What a sign-in is compared with.
#[derive(Clone, Debug)]
pub struct StoredPassword {
    /// Whose it is.
    pub id: UserId,
    /// The PHC string; `None` if they have none.
    pub password: Option<String>,
}

from_row!(StoredPassword, row => { id, password });

/// Users, as `u`: `select_users!("from users u where …")`.
macro_rules! select_users {
    ($from:literal) => {
        concat!(
            "select u.id, u.name, u.role, u.password, u.created_at, u.created_by, u.changed_at ",
            $from
        )
    };
}

impl Store {
    /// All users, by name: there are few.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn users(&self) -> sqlx::Result<Vec<User>> {
        let sql = select_users!("from users u order by u.name");
        both!(self.reader(), pool => sqlx::query_as(sql).fetch_all(pool).await)
    }

    /// One user.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn user(&self, id: UserId) -> sqlx::Result<Option<User>> {
        let sql = select_users!("from users u where u.id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// The user with a name, in lower case.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn user_named(&self, name: &str) -> sqlx::Result<Option<User>> {
        let sql = select_users!("from users u where u.name = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(name).fetch_optional(pool).await)
    }

    /// What a sign-in under a name is compared with.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn password_of(&self, name: &str) -> sqlx::Result<Option<StoredPassword>> {
        let sql = "select id, password from users where name = $1";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(name).fetch_optional(pool).await)
    }
}

impl Tx {
    /// Adds a user; false if the name is taken.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn add_user(&mut self, user: &User, password: Option<&str>) -> sqlx::Result<bool> {
        let sql = "insert into users (id, name, role, password, created_at, created_by, \
            changed_at) values ($1, $2, $3, $4, $5, $6, $7) on conflict (name) do nothing";
        let added = both!(self, c => sqlx::query(sql)
            .bind(user.id)
            .bind(&user.name)
            .bind(user.role.as_str())
            .bind(password)
            .bind(user.created_at)
            .bind(&user.created_by)
            .bind(user.changed_at)
            .execute(&mut **c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(added == 1)
    }

    /// Gives a user another role; false if there is no such user.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_role(&mut self, id: UserId, role: Role, now: Micros) -> sqlx::Result<bool> {
        let sql = "update users set role = $2, changed_at = $3 where id = $1";
        let changed = both!(self, c => sqlx::query(sql)
            .bind(id)
            .bind(role.as_str())
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Gives a user another password, or none, and ends all their sessions; false if there is no
    /// such user.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_password(
        &mut self,
        id: UserId,
        password: Option<&str>,
        now: Micros,
    ) -> sqlx::Result<bool> {
        let sql = "update users set password = $2, changed_at = $3 where id = $1";
        let changed = both!(self, c => sqlx::query(sql)
            .bind(id)
            .bind(password)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|done| done.rows_affected()))?;
        self.end_sessions_of(id).await?;
        Ok(changed == 1)
    }

    /// Removes a user and all their sessions; false if there is no such user.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn remove_user(&mut self, id: UserId) -> sqlx::Result<bool> {
        let sql = "delete from users where id = $1";
        let removed = both!(self, c => sqlx::query(sql).bind(id).execute(&mut **c).await
            .map(|done| done.rows_affected()))?;
        self.end_sessions_of(id).await?;
        Ok(removed == 1)
    }
}
