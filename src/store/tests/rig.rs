//! The throw-away Postgres and the directories of the tests in `tests/it`, and what runs a test on
//! both databases.

#[path = "../../../tests/it/harness/need.rs"]
mod need;
#[expect(dead_code, reason = "the tests of the running server need more of it")]
#[path = "../../../tests/it/harness/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the tests of the running server need more of it")]
#[path = "../../../tests/it/harness/scratch.rs"]
mod scratch;

pub(super) use need::{need, wait_for};
pub(super) use postgres::PostgresServer;
pub(super) use scratch::new_dir;

pub(super) use crate::rig::free_port;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// Makes two tests of each function: `<name>::on_sqlite` and `<name>::on_postgres`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::store::tests::rig::Engine;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$name(Engine::Postgres).await;
            }
        }
    )+};
}
pub(super) use on_both;
