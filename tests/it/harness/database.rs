//! The tests' own way into a database, past the server.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sillage::both;
use sillage::door::Either;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

/// Connections to the database of a server; `both!(db.pool(), pool => …)` runs a query of one's
/// own.
#[derive(Clone, Debug)]
pub struct Db(Either<PgPool, SqlitePool>);

impl Db {
    /// Connects at the first query.
    pub fn postgres(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).unwrap();
        Self(Either::Postgres(
            PgPoolOptions::new()
                .max_connections(2)
                .acquire_timeout(Duration::from_secs(10))
                .connect_lazy_with(options),
        ))
    }

    /// Connects at the first query; the server makes the file.
    pub fn sqlite(file: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(Duration::from_secs(10));
        Self(Either::Sqlite(
            SqlitePoolOptions::new()
                .max_connections(2)
                .connect_lazy_with(options),
        ))
    }

    pub fn pool(&self) -> Either<&PgPool, &SqlitePool> {
        match &self.0 {
            Either::Postgres(pool) => Either::Postgres(pool),
            Either::Sqlite(pool) => Either::Sqlite(pool),
        }
    }

    /// Runs statements, of which both databases have their own.
    pub async fn execute(&self, postgres: &str, sqlite: &str) {
        match &self.0 {
            Either::Postgres(pool) => {
                sqlx::raw_sql(AssertSqlSafe(postgres.to_owned()))
                    .execute(pool)
                    .await
                    .unwrap();
            }
            Either::Sqlite(pool) => {
                sqlx::raw_sql(AssertSqlSafe(sqlite.to_owned()))
                    .execute(pool)
                    .await
                    .unwrap();
            }
        }
    }

    /// Makes the database refuse every hit whose page is called `poison`.
    pub async fn refuse_poison(&self) {
        self.execute(
            "alter table hits add constraint no_poison check (page_title <> 'poison')",
            "create trigger no_poison before insert on hits when new.page_title = 'poison'
             begin select raise(abort, 'no_poison'); end",
        )
        .await;
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        self.try_number(sql).await.unwrap()
    }

    /// The same, where the database may be away or without tables.
    pub async fn try_number(&self, sql: &str) -> sqlx::Result<i64> {
        both!(self.pool(), pool => sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await)
    }

    /// The first column of all rows; it must be text.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        both!(self.pool(), pool => sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await).unwrap()
    }

    /// Number of stored hits.
    pub async fn hits(&self) -> i64 {
        self.number("select count(*) from hits").await
    }

    /// Number of records that were put aside.
    pub async fn quarantined(&self) -> i64 {
        self.number("select count(*) from quarantine").await
    }
}
