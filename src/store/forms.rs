//! Forms as operators define them.

use sqlx::Row;
use sqlx::types::Json;

use super::deliveries::Taken;
use super::{Store, Tx};
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

/// Turns a row of the queries below into a form; none where somebody wrote a definition by hand
/// that is none.
macro_rules! form {
    ($row:expr) => {{
        let row = $row;
        let id: i64 = row.try_get(0)?;
        let Json(definition): Json<serde_json::Value> = row.try_get(1)?;
        match serde_json::from_value(definition) {
            Ok(form) => Ok(Some(StoredForm {
                id: FormId(id),
                form,
                created_at: row.try_get(2)?,
                changed_at: row.try_get(3)?,
            })),
            Err(error) => {
                tracing::warn!(form = id, %error, "a form's definition cannot be read");
                Ok::<_, sqlx::Error>(None)
            }
        }
    }};
}

impl Store {
    /// All forms, in the order of ids: there are few.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn forms(&self) -> sqlx::Result<Vec<StoredForm>> {
        let sql = "select id, definition, created_at, changed_at from forms order by id";
        both!(self.reader(), pool => sqlx::query(sql).fetch_all(pool).await
            .and_then(|rows| rows.iter().filter_map(|row| (|| form!(row))().transpose()).collect()))
    }

    /// One form.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn form(&self, id: FormId) -> sqlx::Result<Option<StoredForm>> {
        let sql = "select id, definition, created_at, changed_at from forms where id = $1";
        both!(self.reader(), pool => match sqlx::query(sql).bind(id.0).fetch_optional(pool).await? {
            Some(row) => form!(row),
            None => Ok(None),
        })
    }
}

impl Tx {
    /// Makes a form; its id may be taken. None takes the next number.
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
        let made = both!(self, c => sqlx::query(sql).bind(id.0).bind(Json(&form)).bind(now).execute(&mut **c).await
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

    /// Gives a form another definition; none where there is no such form.
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
        let created_at: Option<Micros> = both!(self, c => sqlx::query_scalar(sql).bind(id.0).bind(Json(&form)).bind(now)
            .fetch_optional(&mut **c).await)?;
        Ok(created_at.map(|created_at| StoredForm {
            id,
            form,
            created_at,
            changed_at: now,
        }))
    }
}
