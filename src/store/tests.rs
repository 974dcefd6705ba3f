//! What each file of the store promises, on both databases.
//!
//! The suite stands in the crate and not in `tests/it`: most of the store's doors are open to the
//! crate only. It takes the throw-away Postgres from there, though. A test gets a database of its
//! own, copied from one whose tables were made once.

mod campaigns;
mod changes;
mod contacts;
mod contents;
mod figures;
mod forms;
mod hits;
mod horizon;
mod imports;
mod lanes;
mod messages;
mod numbers;
mod opening;
mod orders;
mod page_tags;
mod pages;
mod people;
mod positions;
mod recount;
mod retention;
pub(crate) mod rig;
mod signing_keys;
mod tokens;
mod tops;
mod touches;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{Dialect, Hit, HitId, HitRow, Kind};
use crate::store::figures::Figures;
use crate::store::maintenance::PartitionMonth;
use crate::store::{Store, Tx, Writes};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;
use uuid::Uuid;

use rig::{Engine, PostgresServer, new_dir};

/// 2026-11-21T18:00:00Z.
pub(crate) const NOW: Micros = Micros(1_795_284_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

/// Texts that somebody may send: everything but NUL, which no text of a hit has.
const HOSTILE: [&str; 8] = [
    "' or 1=1; drop table hits; --",
    "\"quoted\" \\back\\slash\\ {braces} $1 ?",
    "a,b;c\td\u{1}\u{7f}",
    "\u{feff}\u{202e}gnirts\u{200b}",
    "🦀 Ωmega ü\u{308} 漢字",
    "NULL",
    "",
    "{rows}",
];

/// Another one each time.
pub(crate) fn next_number() -> u128 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed).into()
}

pub(crate) async fn open_at(url: &str) -> Store {
    Store::open(url, 4, PATIENCE).await.unwrap()
}

/// The URL of a database with all tables and nothing in them.
pub(crate) async fn new_database(engine: Engine) -> String {
    static FILE: OnceCell<PathBuf> = OnceCell::const_new();
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    match engine {
        Engine::Sqlite => {
            let made = FILE.get_or_init(async || {
                let file = new_dir("template").join("sillage.db");
                make_tables(&format!("sqlite://{}", file.display())).await;
                file
            });
            let file = new_dir("store").join("sillage.db");
            std::fs::copy(made.await, &file).unwrap();
            format!("sqlite://{}", file.display())
        }
        Engine::Postgres => {
            let made = TEMPLATE.get_or_init(async || {
                let url = PostgresServer::new_shared_database().await;
                make_tables(&url).await;
                url
            });
            let (server, template) = made.await.rsplit_once('/').unwrap();
            let name = format!("store_{}", next_number());
            let mut connection = PgConnection::connect(&format!("{server}/postgres"))
                .await
                .unwrap();
            let sql = format!("create database {name} template {template}");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap();
            format!("{server}/{name}")
        }
    }
}

/// Closed when it returns: a database is a template as long as nobody is connected to it.
async fn make_tables(url: &str) {
    let store = open_at(url).await;
    store.migrate().await.unwrap();
    store.close().await;
}

pub(crate) async fn new_store(engine: Engine) -> Store {
    open_at(&new_database(engine).await).await
}

/// The one value that a query answers, as text.
async fn text(store: &Store, sql: &str) -> Option<String> {
    texts(store, sql).await.pop().flatten()
}

/// The first column of all rows, cast to text by the query.
pub(crate) async fn texts(store: &Store, sql: &str) -> Vec<Option<String>> {
    let query = sqlx::AssertSqlSafe(sql.to_owned());
    both!(store.reader(), pool => sqlx::query_scalar(query).fetch_all(pool).await).unwrap()
}

pub(crate) async fn count(store: &Store, table: &str) -> i64 {
    let sql = format!("select cast(count(*) as text) from {table}");
    text(store, &sql).await.unwrap().parse().unwrap()
}

fn hit(kind: Kind) -> Hit {
    Hit::new(
        HitId(Uuid::from_u128(next_number())),
        NOW,
        kind,
        Dialect::Native,
    )
}

/// Writes hits under the next numbers, with their own contacts; returns the first number.
async fn insert(store: &Store, hits: &[Hit]) -> i64 {
    // On a busy machine a connection may take longer than a server waits for one; it tries again.
    let mut tx = loop {
        match store.begin_lane().await {
            Ok(tx) => break tx,
            Err(sqlx::Error::PoolTimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let months = hits
        .iter()
        .map(|hit| PartitionMonth::of(hit.received_at))
        .collect();
    tx.ensure_partitions(&months).await.unwrap();
    let first = tx.take_hit_numbers(hits.len() as i64).await.unwrap();
    let rows: Vec<HitRow<'_>> = (first..)
        .zip(hits)
        .map(|(seq, hit)| HitRow {
            seq,
            hit,
            contact_id: hit.contact_id,
            counted_revenue: None,
        })
        .collect();
    tx.insert_hits(&rows).await.unwrap();
    tx.commit().await.unwrap();
    first
}

/// Writes figures as the projection does at the end of a transaction.
async fn save_figures(tx: &mut Tx, figures: Figures) {
    let mut writes = Writes::default();
    let totals = figures.save(tx, &mut writes).await.unwrap();
    totals.save(tx, &mut writes).await.unwrap();
    writes.send(tx).await.unwrap();
}
