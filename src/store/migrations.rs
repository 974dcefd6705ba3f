//! The tables' history, one list for both databases.
//!
//! The files are named here rather than found by `sqlx::migrate!`: that macro brings both database
//! drivers, SQLite's C code included, into the compiler's side of the build a second time.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Makes `postgres()` and `sqlite()`, and the names for the test that compares them with the
/// folders.
macro_rules! migrations {
    ($($version:literal $name:literal),+ $(,)?) => {
        /// The migrations of a Postgres database.
        pub(super) fn postgres() -> Migrator {
            Migrator::with_migrations(vec![$(migration!("postgres", $version, $name)),+])
        }

        /// The migrations of an embedded database.
        pub(super) fn sqlite() -> Migrator {
            Migrator::with_migrations(vec![$(migration!("sqlite", $version, $name)),+])
        }

        #[cfg(test)]
        const FILES: &[&str] = &[$(concat!($version, "_", $name, ".sql")),+];
    };
}

macro_rules! migration {
    ($database:literal, $version:literal, $name:literal) => {
        migration(
            $version,
            $name,
            include_str!(concat!(
                "../../migrations/",
                $database,
                "/",
                $version,
                "_",
                $name,
                ".sql"
            )),
        )
    };
}

// A migration that has been released stays as it is: databases remember its checksum.
migrations![
    "0001" "tables",
    "0002" "vendors",
    "0003" "figures",
    "0004" "keys",
    "0005" "imports",
    "0006" "projection",
    "0012" "identity",
    "0015" "api",
    "0016" "opt_outs",
    "0017" "unknown_paths",
    "0019" "rare_kinds",
    "0020" "clicking_visitors",
    "0021" "time_figures",
    "0022" "tops",
    "0023" "revenue",
    "0027" "horizon",
    "0030" "site_days",
    "0040" "link_changes",
    "0041" "people",
    "0050" "write_turns",
    "0060" "tokens",
    "0061" "users",
    "0065" "delivery_contents",
    "0070" "webhooks",
    "0071" "moves",
    "0075" "verdicts",
    "0076" "settling",
    "0080" "made_once",
    "0081" "views",
    "0099" "click_counts",
    "0120" "erasures",
];

fn migration(version: &str, name: &'static str, sql: &'static str) -> Migration {
    // Literals of four digits; the test below reads each.
    let version = version.parse().unwrap_or_default();
    let sql = sql.into_sql_str();
    Migration::new(version, name.into(), MigrationType::Simple, sql, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_both_folders_is_listed() {
        for database in ["postgres", "sqlite"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("migrations")
                .join(database);
            let mut found: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, FILES, "{database}");
        }
    }

    /// Databases in use remember these: a changed file would prevent their start.
    #[test]
    fn versions_and_checksums_are_those_that_databases_remember() {
        for migrator in [postgres(), sqlite()] {
            assert!(migrator.iter().all(|migration| migration.version > 0));
        }
        let first = |migrator: &Migrator| {
            let first = migrator.iter().next().unwrap();
            let sum = first.checksum.iter().take(6);
            (
                first.version,
                sum.map(|byte| format!("{byte:02x}")).collect::<String>(),
            )
        };
        assert_eq!(first(&postgres()), (1, POSTGRES_1.to_owned()));
        assert_eq!(first(&sqlite()), (1, SQLITE_1.to_owned()));
    }
    const POSTGRES_1: &str = "8b9184986284";
    const SQLITE_1: &str = "4abb9833ad20";
}
