//! What else there is of persons that are being erased: rows that name their browsers, and texts
//! that contain an e-mail address or another value of theirs.

use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::super::maintenance::Quarantined;
use super::super::{Bulk, Either, Store, Tx};
use super::Done;
use super::work::by_erasure;
use crate::model::hit::is_searched;
use crate::{both, execute_bulk};

/// Where texts are searched: a table, its key, the text, and what becomes of a row.
struct Place {
    table: &'static str,
    key: &'static [&'static str],
    text: &'static str,
    change: &'static str,
}

/// What stands in place of an answer that named somebody. Asked again, the request is not done
/// again.
const GONE: &str = "{\"title\":\"Gone\",\"status\":410,\"detail\":\"this answer named a contact who \
    was erased\"}";

const PLACES: [Place; 7] = [
    Place {
        table: "idempotency_keys",
        key: &["scope", "key"],
        text: "key",
        change: "delete from idempotency_keys",
    },
    Place {
        table: "request_keys",
        key: &["actor", "key"],
        text: "{body}",
        change: "update request_keys set status = 410,
                 content_type = 'application/problem+json', body = {gone}",
    },
    Place {
        table: "sent_keys",
        key: &["delivery_id", "key"],
        text: "key",
        change: "delete from sent_keys",
    },
    Place {
        table: "orphans",
        key: &["kind", "id"],
        text: "id || ' ' || coalesce(referrer, '')",
        change: "delete from orphans",
    },
    Place {
        table: "unknown_paths",
        key: &["segment"],
        text: "segment",
        change: "delete from unknown_paths",
    },
    Place {
        table: "webhook_attempts",
        key: &["webhook_id", "number"],
        text: "answer",
        change: "update webhook_attempts set answer = ''",
    },
    Place {
        table: "webhook_failures",
        key: &["webhook_id", "seq"],
        text: "answer",
        change: "update webhook_failures set answer = ''",
    },
];

/// Values that texts are searched for, each with its erasure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Searched {
    values: Vec<(Uuid, String)>,
}

impl Searched {
    /// Those of an erasure; all in lower case.
    pub fn all(&self) -> Vec<String> {
        self.values.iter().map(|(_, value)| value.clone()).collect()
    }

    /// Which erasure's value stands in some bytes.
    pub fn find_in(&self, bytes: &[u8]) -> Option<Uuid> {
        let lower = bytes.to_ascii_lowercase();
        let stands = |value: &str| {
            let mut places = lower.windows(value.len());
            places.any(|place| place == value.as_bytes())
        };
        let found = self.values.iter().find(|(_, value)| stands(value));
        found.map(|(erasure, _)| *erasure)
    }
}

impl Store {
    /// What texts are searched for.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn searched_values(&self) -> sqlx::Result<Searched> {
        let sql = "select erasure_id, value from erasing_values order by erasure_id, value";
        let mut values: Vec<(Uuid, String)> = both!(self.reader(), pool => {
            sqlx::query_as(sql).fetch_all(pool).await?
        });
        values.retain(|(_, value)| is_searched(value));
        Ok(Searched { values })
    }

    /// Searches texts, and rows that name browsers.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn erase_texts(&self, searched: &Searched) -> sqlx::Result<()> {
        self.erase_rows_of_browsers().await?;
        for place in PLACES {
            let rows = self.search(&place, searched).await?;
            if rows.is_empty() {
                continue;
            }
            let mut tx = self.begin().await?;
            for (erasure, rows) in by_erasure(rows.into_iter()) {
                let others = tx.change_place(&place, rows).await? as i64;
                let done = Done {
                    others,
                    ..Done::default()
                };
                tx.note_erased(erasure, done).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Keys of rows with a value in their text: read as texts, whatever they are.
    async fn search(
        &self,
        place: &Place,
        searched: &Searched,
    ) -> sqlx::Result<Vec<(Uuid, Vec<String>)>> {
        let is_postgres = self.is_postgres();
        let key = |name: &&str| match is_postgres {
            true => format!("cast({name} as text) as {name}"),
            // A UUID is bytes there.
            false => format!(
                "case typeof({name}) when 'blob' then hex({name}) else cast({name} as text) end as {name}"
            ),
        };
        let keys: Vec<String> = place.key.iter().map(key).collect();
        let text = match is_postgres {
            true => place.text.replace("{body}", "encode(body, 'escape')"),
            false => place.text.replace("{body}", "cast(body as text)"),
        };
        let find = if is_postgres { "strpos" } else { "instr" };
        let sql = format!(
            "select {} from {} where {find}(lower({text}), $1) > 0",
            keys.join(", "),
            place.table
        );
        let mut found = Vec::new();
        for (erasure, value) in &searched.values {
            both!(self.reader(), pool => {
                let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(value);
                for row in query.fetch_all(pool).await? {
                    let mut key = Vec::with_capacity(place.key.len());
                    for name in place.key {
                        key.push(row.try_get::<String, _>(*name)?);
                    }
                    found.push((*erasure, key));
                }
            });
        }
        Ok(found)
    }

    /// Rows that name their browsers, but are no texts.
    async fn erase_rows_of_browsers(&self) -> sqlx::Result<()> {
        let sql = "select c.id from contacts c cross join erasing_ids e where e.id = c.made_by";
        let made: Vec<Uuid> = both!(self.reader(), pool => {
            sqlx::query_scalar(sql).fetch_all(pool).await?
        });
        let sql = "select o.order_id, o.site from orders o
                   where exists (select 1 from erasing_ids e where e.id = o.visitor_id
                                 and e.is_shared = 0)
                      or exists (select 1 from erasing_messages m where m.id = o.broadlog_id)";
        let orders: Vec<(String, String)> = both!(self.reader(), pool => {
            sqlx::query_as(sql).fetch_all(pool).await?
        });
        let sql = "select id from erasing_ids where stand_in is not null";
        let browsers: Vec<Uuid> = both!(self.reader(), pool => {
            sqlx::query_scalar(sql).fetch_all(pool).await?
        });
        let mut tx = self.begin_turn().await?;
        let rows = Bulk::new().uuid("id", made);
        let sql = "update contacts set made_by = null where id in (select rows.id from {rows})";
        execute_bulk!(&mut tx, rows, sql)?;
        let rows = Bulk::new()
            .text("number", orders.iter().map(|(order, _)| order.clone()))
            .text("place", orders.iter().map(|(_, site)| site.clone()));
        let sql = "delete from orders where (order_id, site) in
                       (select rows.number, rows.place from {rows})";
        execute_bulk!(&mut tx, rows, sql)?;
        // The scopes of what browsers sent: see `projection/idempotency`.
        let scopes = browsers.iter().map(|id| format!("v{}", id.simple()));
        let rows = Bulk::new().text("of", scopes);
        let sql = "delete from idempotency_keys where scope in (select rows.of from {rows})";
        execute_bulk!(&mut tx, rows, sql)?;
        tx.commit().await
    }

    /// Records in quarantine by rising ids, from behind one on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn quarantined_after(
        &self,
        after: Uuid,
        limit: i64,
    ) -> sqlx::Result<Vec<Quarantined>> {
        let sql = "select id, spool_id, position, quarantined_at, reason, body from quarantine
                   where id > $1 order by id limit $2";
        both!(self.reader(), pool => {
            sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await
        })
    }

    /// Replaces a record in quarantine by what is left of it; `None`: nothing. False if somebody
    /// else took it meanwhile.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn replace_quarantined(
        &self,
        erasure: Option<Uuid>,
        id: Uuid,
        body: Option<&[u8]>,
    ) -> sqlx::Result<bool> {
        let mut tx = self.begin().await?;
        let rows = match body {
            Some(body) => {
                let sql = "update quarantine set body = $2, reason = 'its person was erased'
                           where id = $1";
                both!(&mut tx, c => {
                    let query = sqlx::query(sql).bind(id).bind(body);
                    query.execute(&mut **c).await?.rows_affected()
                })
            }
            None => {
                let sql = "delete from quarantine where id = $1";
                both!(&mut tx, c => {
                    sqlx::query(sql).bind(id).execute(&mut **c).await?.rows_affected()
                })
            }
        };
        if let (Some(erasure), true) = (erasure, rows > 0) {
            let done = Done {
                quarantined: 1,
                ..Done::default()
            };
            tx.note_erased(erasure, done).await?;
        }
        tx.commit().await?;
        Ok(rows > 0)
    }
}

impl Tx {
    async fn change_place(&mut self, place: &Place, rows: Vec<Vec<String>>) -> sqlx::Result<u64> {
        let is_postgres = matches!(self, Either::Postgres(_));
        let key = |name: &&str| match is_postgres {
            true => format!("cast({name} as text)"),
            false => format!(
                "case typeof({name}) when 'blob' then hex({name}) else cast({name} as text) end"
            ),
        };
        let names = ["key_0", "key_1"];
        let columns: Vec<String> = place.key.iter().map(key).collect();
        let wanted: Vec<String> = (0..place.key.len())
            .map(|at| format!("rows.{}", names[at]))
            .collect();
        let gone = match is_postgres {
            true => format!("convert_to('{GONE}', 'UTF8')"),
            false => format!("cast('{GONE}' as blob)"),
        };
        let sql = format!(
            "{} where ({}) in (select {} from {{rows}})",
            place.change.replace("{gone}", &gone),
            columns.join(", "),
            wanted.join(", ")
        );
        let mut bulk = Bulk::new();
        for (at, name) in names.into_iter().enumerate().take(place.key.len()) {
            bulk = bulk.text(name, rows.iter().map(|row| row[at].clone()));
        }
        execute_bulk!(self, bulk, &sql)
    }
}
