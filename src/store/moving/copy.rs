//! Parts of a table: read from SQLite in the order of the key, written by `COPY` into Postgres.
//! While one is written the next is read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::MoveError;
use super::plan::{ColumnType, TablePlan, quoted};
use crate::from_row;
use crate::model::clock::Micros;
use crate::model::money::Money;
use crate::store::hits::column::{put_bytes, put_null, put_with};
use crate::store::maintenance::PartitionMonth;
use crate::store::postgres::PgTransaction;
use crate::store::types::{postgres_time, put_inet, put_numeric};
use crate::store::{Either, Store, is_refusal};

/// Rows of a part: some tens of milliseconds, so that a kill costs nothing.
const ROWS: usize = 10_000;
/// A part ends early where its rows are long.
const MOST_BYTES: usize = 8 << 20;

/// Part of a table.
struct Part {
    /// The rows as binary `COPY` takes them.
    data: Vec<u8>,
    rows: usize,
    /// The key of the last row.
    last: String,
    /// The months that hits need a partition for.
    months: BTreeSet<PartitionMonth>,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As they are.
    Plain,
    /// Texts and JSON without what Postgres refuses in them.
    Tidied,
}

/// How far a table has come.
#[derive(Debug)]
struct Reached {
    last_key: Option<String>,
    row_count: i64,
    ended_at: Option<Micros>,
}

from_row!(Reached, row => { last_key, row_count, ended_at });

pub(super) async fn copy_table(
    source: &Store,
    target: &Store,
    plan: &TablePlan,
    now: Micros,
    told: &mut impl FnMut(&str, i64),
) -> Result<(), MoveError> {
    let reached = reached(target, plan).await?;
    if reached
        .as_ref()
        .is_some_and(|reached| reached.ended_at.is_some())
    {
        return Ok(());
    }
    let (mut last, mut moved) = match reached {
        Some(reached) => (reached.last_key, reached.row_count),
        None => {
            clear(target, plan).await?;
            (None, 0)
        }
    };
    let mut next = read(source, plan, last.as_deref(), Manner::Plain, ROWS).await?;
    while let Some(part) = next {
        let reading = read(source, plan, Some(&part.last), Manner::Plain, ROWS);
        let (mut written, after) = tokio::join!(write(target, plan, &part, moved), reading);
        if written.as_ref().is_err_and(is_refusal) {
            // The same rows once more, since nobody changes them.
            let same = read(source, plan, last.as_deref(), Manner::Tidied, part.rows).await?;
            if let Some(tidied) = same {
                written = write(target, plan, &tidied, moved).await;
            }
        }
        written.map_err(|error| refused(plan, last.as_deref(), error))?;
        moved += part.rows as i64;
        told(&plan.name, moved);
        next = after?;
        last = Some(part.last);
    }
    let sql = "update moved_tables set ended_at = $2 where name = $1";
    let mut tx = target.begin().await?;
    crate::both!(&mut tx, c => sqlx::query(sql)
        .bind(&plan.name)
        .bind(now)
        .execute(&mut **c)
        .await
        .map(|_| ()))?;
    Ok(tx.commit().await?)
}

fn refused(plan: &TablePlan, last: Option<&str>, error: sqlx::Error) -> MoveError {
    match is_refusal(&error) {
        true => MoveError::Refused {
            table: plan.name.clone(),
            key: last.unwrap_or("(none)").to_owned(),
            error,
        },
        false => error.into(),
    }
}

async fn reached(target: &Store, plan: &TablePlan) -> sqlx::Result<Option<Reached>> {
    let sql = "select last_key, row_count, ended_at from moved_tables where name = $1";
    crate::both!(target.writer(), pool => {
        sqlx::query_as(sql).bind(&plan.name).fetch_optional(pool).await
    })
}

/// Begins a table: what a migration put there goes.
async fn clear(target: &Store, plan: &TablePlan) -> sqlx::Result<()> {
    let delete = format!("delete from {}", quoted(&plan.name));
    let begin = "insert into moved_tables (name, row_count) values ($1, 0)";
    let mut tx = target.begin().await?;
    crate::both!(&mut tx, c => {
        sqlx::query(AssertSqlSafe(delete)).execute(&mut **c).await.map(|_| ())
    })?;
    crate::both!(&mut tx, c => {
        sqlx::query(begin).bind(&plan.name).execute(&mut **c).await.map(|_| ())
    })?;
    tx.commit().await
}

/// The rows behind a key, at most so many; `None` if there are no more.
async fn read(
    source: &Store,
    plan: &TablePlan,
    after: Option<&str>,
    manner: Manner,
    most: usize,
) -> Result<Option<Part>, MoveError> {
    let Either::Sqlite(pool) = source.reader() else {
        return Err(MoveError::Kind);
    };
    let names = |places: &mut dyn Iterator<Item = usize>| {
        let names: Vec<String> = places.map(|at| quoted(&plan.columns[at].0)).collect();
        names.join(", ")
    };
    let all = names(&mut (0..plan.columns.len()));
    let key = names(&mut plan.key.iter().copied());
    let behind = match after {
        Some(_) => {
            let places: Vec<String> = (1..=plan.key.len()).map(|at| format!("?{at}")).collect();
            format!("where ({key}) > ({})", places.join(", "))
        }
        None => String::new(),
    };
    let table = quoted(&plan.name);
    let sql = format!("select {all} from {table} {behind} order by {key} limit {most}");
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in after.map(key_values).transpose()?.into_iter().flatten() {
        query = match value {
            KeyValue::Number(number) => query.bind(number),
            KeyValue::Text(text) => query.bind(text),
            KeyValue::Bytes(bytes) => query.bind(bytes),
        };
    }
    let received_at = match plan.name.as_str() {
        "hits" => plan
            .columns
            .iter()
            .position(|(name, _)| name == "received_at"),
        _ => None,
    };
    let mut part = Part {
        data: b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(),
        rows: 0,
        last: String::new(),
        months: BTreeSet::new(),
    };
    let mut found = query.fetch(pool);
    // What is read again has to have the same rows, however long they are by then.
    while (part.data.len() < MOST_BYTES || manner == Manner::Tidied)
        && let Some(row) = found.try_next().await?
    {
        part.data
            .extend_from_slice(&(plan.columns.len() as i16).to_be_bytes());
        for (at, (_, of_type)) in plan.columns.iter().enumerate() {
            put(&row, at, *of_type, manner, &mut part.data)?;
        }
        if let Some(at) = received_at {
            part.months.insert(PartitionMonth::of(row.try_get(at)?));
        }
        part.last = key_of(plan, &row)?;
        part.rows += 1;
    }
    if part.rows == 0 {
        return Ok(None);
    }
    part.data.extend_from_slice(&(-1_i16).to_be_bytes());
    Ok(Some(part))
}

/// A value of a key.
#[derive(Debug, PartialEq, Eq)]
enum KeyValue {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row's key as JSON: numbers, texts, and arrays of bytes.
fn key_of(plan: &TablePlan, row: &SqliteRow) -> sqlx::Result<String> {
    let mut values: Vec<Value> = Vec::new();
    for &at in &plan.key {
        values.push(match plan.columns[at].1 {
            ColumnType::Uuid | ColumnType::Bytes => row.try_get::<&[u8], _>(at)?.into(),
            ColumnType::Text => row.try_get::<&str, _>(at)?.into(),
            _ => row.try_get::<i64, _>(at)?.into(),
        });
    }
    Ok(Value::Array(values).to_string())
}

fn key_values(key: &str) -> sqlx::Result<Vec<KeyValue>> {
    let wrong = || sqlx::Error::Decode("a malformed key in moved_tables".into());
    let values: Vec<Value> = serde_json::from_str(key).map_err(|_| wrong())?;
    let value = |value: Value| match value {
        Value::Number(number) => number.as_i64().map(KeyValue::Number),
        Value::String(text) => Some(KeyValue::Text(text)),
        Value::Array(bytes) => {
            let byte = |byte: &Value| byte.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Option<Vec<u8>> = bytes.iter().map(byte).collect();
            bytes.map(KeyValue::Bytes)
        }
        _ => None,
    };
    let values: Option<Vec<KeyValue>> = values.into_iter().map(value).collect();
    values.ok_or_else(wrong)
}

/// Writes a part and how far the table has come, in one transaction.
async fn write(target: &Store, plan: &TablePlan, part: &Part, moved: i64) -> sqlx::Result<()> {
    let mut tx = target.begin().await?;
    tx.ensure_partitions(&part.months).await?;
    if let Either::Postgres(c) = &mut tx {
        // What a power cut takes is moved again; the end of the move waits for the disk.
        let sql = "set local synchronous_commit = off";
        sqlx::raw_sql(sql).execute(&mut **c).await?;
        copy_rows(c, plan, &part.data).await?;
        let sql = "update moved_tables set last_key = $2, row_count = $3 where name = $1";
        sqlx::query(sql)
            .bind(&plan.name)
            .bind(&part.last)
            .bind(moved + part.rows as i64)
            .execute(&mut **c)
            .await?;
    }
    tx.commit().await
}

async fn copy_rows(c: &mut PgTransaction, plan: &TablePlan, data: &[u8]) -> sqlx::Result<()> {
    let names: Vec<String> = plan.columns.iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!(
        "copy {} ({}) from stdin with (format binary)",
        quoted(&plan.name),
        names.join(", ")
    );
    let (connection, mut waiting) = c.parts()?;
    let mut copy = waiting.wait(connection.copy_in_raw(&sql)).await?;
    match waiting.wait(copy.send(data)).await {
        Ok(_) => waiting.wait(copy.finish()).await.map(|_| ()),
        Err(error) => {
            waiting.wait(copy.abort("a row could not be sent")).await?;
            Err(error)
        }
    }
}

/// Appends a value as Postgres' binary `COPY` takes it.
fn put(
    row: &SqliteRow,
    at: usize,
    of_type: ColumnType,
    manner: Manner,
    data: &mut Vec<u8>,
) -> sqlx::Result<()> {
    let number = || row.try_get::<Option<i64>, _>(at);
    let text = || row.try_get::<Option<&str>, _>(at);
    let bytes = || row.try_get::<Option<&[u8]>, _>(at);
    let wrong = |what: &str| sqlx::Error::Decode(format!("{what} that is none").into());
    match of_type {
        ColumnType::Big => match number()? {
            Some(number) => put_bytes(&number.to_be_bytes(), data),
            None => put_null(data),
        },
        ColumnType::Integer => match number()? {
            Some(number) => {
                let number = i32::try_from(number).map_err(|_| wrong("a 32-bit number"))?;
                put_bytes(&number.to_be_bytes(), data);
            }
            None => put_null(data),
        },
        ColumnType::Time => match number()? {
            Some(at) => put_bytes(&postgres_time(Micros(at)).to_be_bytes(), data),
            None => put_null(data),
        },
        ColumnType::Money => match number()? {
            Some(amount) => put_with(data, |data| put_numeric(Money(amount), data)),
            None => put_null(data),
        },
        ColumnType::Uuid | ColumnType::Bytes => match bytes()? {
            Some(bytes) => put_bytes(bytes, data),
            None => put_null(data),
        },
        ColumnType::Text => match text()? {
            Some(text) if manner == Manner::Tidied => {
                put_bytes(text.replace('\0', "").as_bytes(), data)
            }
            Some(text) => put_bytes(text.as_bytes(), data),
            None => put_null(data),
        },
        ColumnType::Json => match text()? {
            Some(text) => put_with(data, |data| {
                data.push(1);
                match manner {
                    Manner::Tidied => data.extend_from_slice(tidy_json(text).as_bytes()),
                    Manner::Plain => data.extend_from_slice(text.as_bytes()),
                }
            }),
            None => put_null(data),
        },
        ColumnType::Texts => match text()? {
            Some(text) => {
                let texts: Vec<String> = serde_json::from_str(text).map_err(|_| wrong("a list"))?;
                put_texts(&texts, data);
            }
            None => put_null(data),
        },
        ColumnType::Address => match text()? {
            Some(text) => {
                let address: IpAddr = text.parse().map_err(|_| wrong("an address"))?;
                put_with(data, |data| put_inet(address, data));
            }
            None => put_null(data),
        },
    }
    Ok(())
}

/// Postgres' binary `text[]`: dimensions, has-null, element type (25 is `text`), length, lower
/// bound, elements. One without elements has no dimension.
fn put_texts(texts: &[String], data: &mut Vec<u8>) {
    put_with(data, |data| {
        let head: &[i32] = match texts.len() {
            0 => &[0, 0, 25],
            length => &[1, 0, 25, length as i32, 1],
        };
        for word in head {
            data.extend_from_slice(&word.to_be_bytes());
        }
        for text in texts {
            put_bytes(text.replace('\0', "").as_bytes(), data);
        }
    });
}

/// JSON as Postgres takes it: without zero characters. What it cannot hold at all, such as a number
/// of a million digits, is kept as a text.
fn tidy_json(text: &str) -> String {
    fn tidy(value: &mut Value) {
        match value {
            Value::String(text) => text.retain(|c| c != '\0'),
            Value::Array(values) => values.iter_mut().for_each(tidy),
            Value::Object(fields) => {
                let old = std::mem::take(fields);
                for (name, mut value) in old {
                    tidy(&mut value);
                    fields.insert(name.replace('\0', ""), value);
                }
            }
            _ => {}
        }
    }
    match serde_json::from_str(text) {
        Ok(mut value) => {
            tidy(&mut value);
            value.to_string()
        }
        Err(_) => serde_json::json!({ "unreadable": text.replace('\0', "") }).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back() {
        assert_eq!(
            key_values("[7,\"a\\\"b\",[0,255]]").unwrap(),
            [
                KeyValue::Number(7),
                KeyValue::Text("a\"b".to_owned()),
                KeyValue::Bytes(vec![0, 255]),
            ]
        );
        for wrong in ["", "[1.5]", "[[256]]", "[null]"] {
            assert!(key_values(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_that_postgres_refuses_becomes_json_that_it_takes() {
        assert_eq!(tidy_json(r#"{"a\u0000b":["c\u0000"]}"#), r#"{"ab":["c"]}"#);
        assert_eq!(
            tidy_json(r#"{"n":1e999999}"#),
            r#"{"unreadable":"{\"n\":1e999999}"}"#
        );
    }
}
