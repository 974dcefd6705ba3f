//! What runs a test of the store on both databases.

pub(super) use crate::rig::free_port;
pub(super) use crate::rig::need::wait_for;
pub(super) use crate::rig::postgres::PostgresServer;
pub(super) use crate::rig::scratch::new_dir;

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
