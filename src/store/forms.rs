//! Forms as operators define them.

use sqlx::types::Json;

use super::deliveries::Taken;
use super::{Either, Store, Tx};
use crate::both;
use crate::model::clock::Micros;
use crate::model::form::{Form, FormId};

/// A form as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredForm {
    /// Its number in submissions.
    pub id: FormId,
    /// Its definition.
    pub form: Form,
    /// When it was made.
    pub created_at: Micros,
    /// When it was changed last.
    pub changed_at: Micros,
}

/// Id, definition, when it was made and changed.
type FormRow = (FormId, Json<serde_json::Value>, Micros, Micros);

/// The form of a row; `None` if somebody wrote an invalid definition by hand.
fn read_form((id, Json(definition), created_at, changed_at): FormRow) -> Option<StoredForm> {
    match serde_json::from_value(definition) {
        Ok(form) => Some(StoredForm {
            id,
            form,
            created_at,
            changed_at,
        }),
        Err(error) => {
            tracing::warn!(form = id.0, %error, "a form's definition cannot be read");
            None
        }
    }
}

impl Store {
    /// All forms, ordered by id: there are few.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn forms(&self) -> sqlx::Result<Vec<StoredForm>> {
        let sql = "select id, definition, created_at, changed_at from forms order by id";
        let rows: Vec<FormRow> =
            both!(self.reader(), pool => sqlx::query_as(sql).fetch_all(pool).await)?;
        Ok(rows.into_iter().filter_map(read_form).collect())
    }

    /// One form.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn form(&self, id: FormId) -> sqlx::Result<Option<StoredForm>> {
        let sql = "select id, definition, created_at, changed_at from forms where id = $1";
        let row: Option<FormRow> =
            both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)?;
        Ok(row.and_then(read_form))
    }
}

impl Tx {
    /// Creates a form; its id may be taken. `None` takes the next number.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn create_form(
        &mut self,
        id: Option<FormId>,
        form: Form,
        now: Micros,
    ) -> sqlx::Result<Result<StoredForm, Taken>> {
        let id = match id {
            Some(id) => self.reserve_number("form", id.0).await.map(|()| id)?,
            None => FormId(self.take_numbers("form", 1).await?),
        };
        let sql = "insert into forms (id, definition, created_at, changed_at) values ($1, $2, $3, \
            $3) on conflict (id) do nothing";
        let made = both!(self, c => sqlx::query(sql).bind(id).bind(Json(&form)).bind(now).execute(&mut **c).await
            .map(|done| done.rows_affected()))?;
        Ok(if made == 1 {
            Ok(StoredForm {
                id,
                form,
                created_at: now,
                changed_at: now,
            })
        } else {
            Err(Taken::Id)
        })
    }

    /// A form, locked for a change until this transaction ends.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn form_to_change(&mut self, id: FormId) -> sqlx::Result<Option<StoredForm>> {
        let sql = match self {
            Either::Postgres(_) => {
                "select id, definition, created_at, changed_at from forms where id = $1 for update"
            }
            // A transaction that writes is alone.
            Either::Sqlite(_) => {
                "select id, definition, created_at, changed_at from forms where id = $1"
            }
        };
        let row: Option<FormRow> =
            both!(self, c => sqlx::query_as(sql).bind(id).fetch_optional(&mut **c).await)?;
        Ok(row.and_then(read_form))
    }

    /// Replaces the definition of a form; `None` if there is no such form.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn change_form(
        &mut self,
        id: FormId,
        form: Form,
        now: Micros,
    ) -> sqlx::Result<Option<StoredForm>> {
        let sql =
            "update forms set definition = $2, changed_at = $3 where id = $1 returning created_at";
        let created_at: Option<Micros> = both!(self, c => sqlx::query_scalar(sql).bind(id).bind(Json(&form)).bind(now)
            .fetch_optional(&mut **c).await)?;
        Ok(created_at.map(|created_at| StoredForm {
            id,
            form,
            created_at,
            changed_at: now,
        }))
    }
}
