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

/// `table.column type null`, types as SQLite has them; primary keys are never null, whatever SQLite
/// says.
const POSTGRES: &str = "
    select c.table_name || '.' || c.column_name || ' ' ||
           case when c.data_type in ('bigint', 'integer', 'numeric', 'timestamp with time zone') then 'INTEGER'
                when c.data_type in ('uuid', 'bytea') then 'BLOB'
                when c.data_type in ('text', 'ARRAY', 'inet', 'jsonb') then 'TEXT'
                else c.data_type end ||
           case c.is_nullable when 'YES' then ' null' else '' end
    from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.table_name !~ '^hits_[0-9d]' and c.table_name <> '_sqlx_migrations'";
const SQLITE: &str = "
    select t.name || '.' || c.name || ' ' || c.type || case when c.\"notnull\" = 0 and c.pk = 0 then ' null' else '' end
    from sqlite_master t, pragma_table_info(t.name) c
    where t.type = 'table' and t.name <> '_sqlx_migrations' and t.name not like 'sqlite_%'";

/// Columns of views, by their names: what they are made of is each database's own.
const POSTGRES_VIEWS: &str = "
    select 'view ' || table_name || '.' || column_name from information_schema.columns
    join information_schema.views using (table_schema, table_name) where table_schema = 'public'";
const SQLITE_VIEWS: &str = "
    select 'view ' || t.name || '.' || c.name from sqlite_master t, pragma_table_info(t.name) c where t.type = 'view'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_have_the_same_tables_and_columns() {
    let mut columns = Vec::new();
    for (engine, tables, views) in [
        (Engine::Postgres, POSTGRES, POSTGRES_VIEWS),
        (Engine::Sqlite, SQLITE, SQLITE_VIEWS),
    ] {
        let server = TestServer::on(engine).start().await;
        let views = server.db().texts(views).await;
        assert!(views.len() > 40, "{views:?}");
        let all = server.db().texts(tables).await.into_iter().chain(views);
        columns.push(all.flatten().collect::<BTreeSet<String>>());
        server.finish().await;
    }
    let [postgres, sqlite] = columns.try_into().unwrap();
    assert!(postgres.len() > 80, "{postgres:?}");
    let differing: Vec<_> = postgres.symmetric_difference(&sqlite).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
