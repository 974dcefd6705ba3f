//! The two migration folders make the same tables.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Engine, TestServer};

fn names(engine: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(engine);
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_migrations_have_the_same_names() {
    assert_eq!(names("postgres"), names("sqlite"));
}

/// `table.column type null`, types as SQLite has them; primary keys are never null, whatever SQLite says.
const POSTGRES: &str = "
    select c.table_name || '.' || c.column_name || ' ' ||
           case when c.data_type in ('bigint', 'integer', 'numeric', 'timestamp with time zone') then 'INTEGER'
                when c.data_type in ('uuid', 'bytea') then 'BLOB'
                when c.data_type in ('text', 'ARRAY', 'inet', 'jsonb') then 'TEXT'
                else c.data_type end ||
           case c.is_nullable when 'YES' then ' null' else '' end
    from information_schema.columns c
    where c.table_schema = 'public' and c.table_name !~ '^hits_[0-9d]' and c.table_name <> '_sqlx_migrations'";
const SQLITE: &str = "
    select t.name || '.' || c.name || ' ' || c.type || case when c.\"notnull\" = 0 and c.pk = 0 then ' null' else '' end
    from sqlite_master t, pragma_table_info(t.name) c
    where t.type = 'table' and t.name <> '_sqlx_migrations' and t.name not like 'sqlite_%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_have_the_same_tables_and_columns() {
    let mut columns = Vec::new();
    for (engine, sql) in [(Engine::Postgres, POSTGRES), (Engine::Sqlite, SQLITE)] {
        let server = TestServer::on(engine).start().await;
        let all: BTreeSet<String> = server.db().texts(sql).await.into_iter().flatten().collect();
        columns.push(all);
        server.finish().await;
    }
    let [postgres, sqlite] = columns.try_into().unwrap();
    assert!(postgres.len() > 80, "{postgres:?}");
    let differing: Vec<_> = postgres.symmetric_difference(&sqlite).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
