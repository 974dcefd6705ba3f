//! Opening a store, what it says of databases that are not there, and of errors.

use crate::store::{Store, StoreError, is_away, is_refusal, remedy, sqlite_file};

use super::rig::{Engine, PostgresServer, free_port, new_dir, on_both};
use super::{PATIENCE, count, make_tables, new_database, open_at};

async fn an_empty_database_has_no_tables_until_they_are_made(engine: Engine) {
    let url = match engine {
        Engine::Sqlite => format!("sqlite://{}", new_dir("empty").join("sillage.db").display()),
        Engine::Postgres => PostgresServer::new_shared_database().await,
    };
    let store = open_at(&url).await;
    assert_eq!(store.is_postgres(), engine == Engine::Postgres);
    store.ping().await.unwrap();
    assert!(!store.has_tables().await.unwrap());
    let error = store.last_seq().await.unwrap_err();
    assert!(remedy(&error).unwrap().contains("migrate"), "{error}");
    assert!(!is_away(&error) && !is_refusal(&error), "{error}");
    store.migrate().await.unwrap();
    assert!(store.has_tables().await.unwrap());
    // Again: nothing is to be done.
    store.migrate().await.unwrap();
    assert_eq!(store.last_seq().await.unwrap(), 0);
    store.close().await;
}

async fn servers_that_start_together_make_the_tables_once(engine: Engine) {
    let url = match engine {
        Engine::Sqlite => format!(
            "sqlite://{}",
            new_dir("together").join("sillage.db").display()
        ),
        Engine::Postgres => PostgresServer::new_shared_database().await,
    };
    // On SQLite one of them is the command line.
    tokio::join!(make_tables(&url), make_tables(&url));
    let store = open_at(&url).await;
    assert_eq!(count(&store, "counters").await, 8);
    store.close().await;
}

async fn a_store_to_read_changes_nothing(engine: Engine) {
    let url = new_database(engine).await;
    let store = Store::open_to_read(&url, 4, PATIENCE).unwrap();
    assert!(store.has_tables().await.unwrap());
    assert_eq!(store.last_seq().await.unwrap(), 0);
    let refused = async {
        let mut tx = store.begin().await?;
        tx.take_numbers("hit", 1).await
    };
    refused.await.unwrap_err();
    store.close().await;
    let store = Store::open_that_exists(&url, 4, PATIENCE).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(
        tx.take_numbers("hit", 1).await.unwrap(),
        1,
        "nothing was taken"
    );
    tx.rollback().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made_by_looking() {
    let file = new_dir("missing").join("sillage.db");
    let url = format!("sqlite:{}", file.display());
    assert_eq!(sqlite_file(&url), Some(file.as_path()));
    let to_read = Store::open_to_read(&url, 4, PATIENCE).map(|_| ());
    let existing = Store::open_that_exists(&url, 4, PATIENCE).await.map(|_| ());
    for refused in [to_read, existing] {
        assert!(matches!(refused, Err(StoreError::Missing(path)) if path == file));
    }
    assert!(!file.exists());
    let nowhere = "sqlite:/nowhere/at/all/sillage.db";
    assert!(Store::open(nowhere, 4, PATIENCE).await.is_err());
}

#[tokio::test]
async fn a_postgres_that_is_away_is_opened_and_is_away_when_it_is_asked() {
    let url = format!("postgres://sillage@127.0.0.1:{}/none", free_port());
    assert_eq!(sqlite_file(&url), None);
    let store = Store::open(&url, 4, PATIENCE).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(is_away(&error) && !is_refusal(&error), "{error:?}");
    assert!(remedy(&error).unwrap().contains("DATABASE_URL"));
    let error = store.migrate().await.unwrap_err();
    assert!(error.is_away(), "{error:?}");
    store.close().await;
    let malformed = Store::open("postgres://[", 4, PATIENCE).await;
    assert!(matches!(malformed, Err(StoreError::Url(_))));
}

#[tokio::test]
async fn a_database_that_nobody_made_is_away_on_postgres() {
    let url = PostgresServer::new_shared_database().await + "_not";
    let store = Store::open(&url, 4, PATIENCE).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(is_away(&error), "{error:?}");
    store.close().await;
}

on_both!(
    an_empty_database_has_no_tables_until_they_are_made,
    servers_that_start_together_make_the_tables_once,
    a_store_to_read_changes_nothing,
);
