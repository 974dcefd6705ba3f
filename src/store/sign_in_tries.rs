//! How often somebody tried to sign in lately: counted in the database, so that several servers
//! count together.

use super::{Store, Tx};
use crate::both;
use crate::model::access::SecretPrint;
use crate::model::clock::Micros;

impl Tx {
    /// Counts one more try; returns how many that makes and when the first of them was. Tries until
    /// `since` are forgotten.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count_try(
        &mut self,
        subject: SecretPrint,
        now: Micros,
        since: Micros,
    ) -> sqlx::Result<(i64, Micros)> {
        let sql = "insert into sign_in_tries (subject, tries, began_at) values ($1, 1, $2)
                   on conflict (subject) do update set
                   tries = case when sign_in_tries.began_at <= $3 then 1
                                else sign_in_tries.tries + 1 end,
                   began_at = case when sign_in_tries.began_at <= $3 then $2
                                   else sign_in_tries.began_at end
                   returning tries, began_at";
        both!(self, c => sqlx::query_as(sql)
            .bind(&subject.0[..])
            .bind(now)
            .bind(since)
            .fetch_one(&mut **c)
            .await)
    }

    /// Takes one try back: it succeeded.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_try_back(&mut self, subject: SecretPrint) -> sqlx::Result<()> {
        let sql = "update sign_in_tries set tries = tries - 1 where subject = $1 and tries > 0";
        both!(self, c => sqlx::query(sql).bind(&subject.0[..]).execute(&mut **c).await.map(|_| ()))
    }
}

impl Store {
    /// Forgets tries until `since`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn forget_tries(&self, since: Micros) -> sqlx::Result<()> {
        let sql = "delete from sign_in_tries where began_at <= $1";
        let mut tx = self.begin().await?;
        both!(&mut tx, c => sqlx::query(sql).bind(since).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }
}
