//! Which tables and columns there are, as both databases tell it.

use sqlx::Row as _;

use super::MoveError;
use crate::store::{Either, Store};

/// What stays behind, and why.
pub(super) const NOT_MOVED: [(&str, &str); 5] = [
    ("_sqlx_migrations", "each database has its own"),
    ("moves", "it is about the database"),
    ("moved_tables", "it is about the database"),
    (
        "hit_blocks",
        "transactions of Postgres; SQLite never has one",
    ),
    (
        "write_turns",
        "turns of Postgres' transactions; SQLite has none",
    ),
];

/// How a value stands in Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Big,
    Integer,
    Text,
    Uuid,
    Bytes,
    Time,
    Money,
    Json,
    Texts,
    Address,
}

impl ColumnType {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "bigint" => Self::Big,
            "integer" => Self::Integer,
            "text" => Self::Text,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytes,
            "timestamp with time zone" => Self::Time,
            "numeric" => Self::Money,
            "jsonb" => Self::Json,
            "text[]" => Self::Texts,
            "inet" => Self::Address,
            _ => return None,
        })
    }
}

/// A table that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct TablePlan {
    pub(super) name: String,
    pub(super) columns: Vec<(String, ColumnType)>,
    /// Places of the primary key's columns, by which SQLite has the rows in order.
    pub(super) key: Vec<usize>,
}

/// A name in a statement. Names come from the databases' own catalogues.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables that others refer to come first.
const TABLES: &str = "
    select c.relname::text as table_name, a.attname::text as column_name, a.atttypid::regtype::text
    as type_name
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
      and c.relnamespace = (select relnamespace from pg_class where oid = 'hits'::regclass)
    order by exists (select 1 from pg_constraint f where f.conrelid = c.oid and f.contype = 'f'),
    c.relname, a.attnum";

/// All tables. Both databases are up to date.
pub(super) async fn plan(source: &Store, target: &Store) -> Result<Vec<TablePlan>, MoveError> {
    let (Either::Sqlite(sqlite), Either::Postgres(postgres)) = (source.writer(), target.writer())
    else {
        return Err(MoveError::Kind);
    };
    let mut plans: Vec<TablePlan> = Vec::new();
    for row in sqlx::query(TABLES).fetch_all(postgres).await? {
        let name: String = row.try_get("table_name")?;
        if NOT_MOVED.iter().any(|(left, _)| *left == name) {
            continue;
        }
        let type_name: &str = row.try_get("type_name")?;
        let Some(of_type) = ColumnType::of(type_name) else {
            return Err(MoveError::Columns(name));
        };
        let column = (row.try_get("column_name")?, of_type);
        match plans.last_mut() {
            Some(plan) if plan.name == name => plan.columns.push(column),
            _ => plans.push(TablePlan {
                name,
                columns: vec![column],
                key: Vec::new(),
            }),
        }
    }
    for plan in &mut plans {
        let sql = "select name, pk from pragma_table_info($1)";
        let mut key = Vec::new();
        let mut count = 0;
        for row in sqlx::query(sql).bind(&plan.name).fetch_all(sqlite).await? {
            let name: &str = row.try_get("name")?;
            let at = plan.columns.iter().position(|(column, _)| column == name);
            let at = at.ok_or_else(|| MoveError::Columns(plan.name.clone()))?;
            let place: i64 = row.try_get("pk")?;
            if place > 0 {
                key.push((place, at));
            }
            count += 1;
        }
        if count != plan.columns.len() || key.is_empty() {
            return Err(MoveError::Columns(plan.name.clone()));
        }
        key.sort_unstable();
        plan.key = key.into_iter().map(|(_, at)| at).collect();
    }
    Ok(plans)
}
