//! What most people looked at, and where they came from: pages, referring hosts and campaigns of a
//! UTC day.
//!
//! Anybody can make up a page, so a day holds so many values of each; what is new beyond that is
//! counted as one, the empty value. Housekeeping folds a past day to its top
//! ([`Store::fold_tops`]).

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::sites::Nameless;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind};
use crate::store::{Bulk, Found, Store, Tx, Writes};
use crate::{both, execute_bulk, fetch_bulk};

/// Maximum number of values in a day for a site's pages, hosts or campaigns, before it is over.
const MOST: i64 = 10_000;
/// Those that a past day keeps.
const KEPT: i64 = 1_000;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// See [`Hit::page`].
    Page,
    /// See [`Hit::referring_host`].
    Referrer,
    /// See [`Hit::campaign`].
    Campaign,
}

impl Dimension {
    /// The dimension of a word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Page, Self::Referrer, Self::Campaign];
        all.into_iter().find(|dimension| dimension.as_str() == word)
    }

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Referrer => "referrer",
            Self::Campaign => "campaign",
        }
    }
}

/// A day, a site, a dimension, and the kind of the hits.
pub(super) type Group = (Micros, String, Dimension, Kind);
type TopKey = (Group, String);

/// Values that a group lacks.
struct NewValues {
    group: Group,
    /// How many it has.
    size: i64,
    /// With their hits.
    values: Vec<(String, i64)>,
}

/// Hits by value.
#[derive(Debug, Default)]
pub(super) struct Tops {
    hits: BTreeMap<TopKey, i64>,
}

impl Tops {
    /// Counts the values of a person's hit.
    pub(super) fn add(&mut self, hit: &Hit) {
        let is_page = matches!(hit.kind, Kind::Pageview | Kind::Transaction);
        let of_page = |read: fn(&Hit) -> Option<String>| is_page.then(|| read(hit)).flatten();
        let values = [
            (Dimension::Page, of_page(Hit::page)),
            (Dimension::Referrer, of_page(Hit::referring_host)),
            (Dimension::Campaign, hit.campaign()),
        ];
        for (dimension, value) in values {
            if let Some(value) = value {
                let group = (
                    hit.counted_at().day(),
                    hit.site.clone(),
                    dimension,
                    hit.kind,
                );
                *self.hits.entry((group, value)).or_default() += 1;
            }
        }
    }

    /// Takes the hits of others away; values with as many are left out.
    pub(super) fn subtract(&mut self, other: Self) {
        for (key, hits) in other.hits {
            *self.hits.entry(key).or_default() -= hits;
        }
        self.hits.retain(|_, hits| *hits != 0);
    }

    /// Splits off the values that hits are taken from.
    pub(super) fn split_negative(&mut self) -> Self {
        let negative = self.hits.extract_if(.., |_, hits| *hits < 0).collect();
        Self { hits: negative }
    }

    /// Adds hits to a value.
    pub(super) fn add_value(&mut self, group: Group, value: String, hits: i64) {
        *self.hits.entry((group, value)).or_default() += hits;
    }

    /// Takes another batch's.
    pub(super) fn merge(&mut self, more: Self) {
        for (key, hits) in more.hits {
            *self.hits.entry(key).or_default() += hits;
        }
    }

    /// With the sites by the names that figures use for them.
    pub(super) fn named(self, nameless: &Nameless) -> Self {
        let mut named = Self::default();
        for (((day, site, dimension, kind), value), count) in self.hits {
            let group = (day, nameless.name(site), dimension, kind);
            named.add_value(group, value, count);
        }
        named
    }

    /// Looks up which values the table lacks, and how many it has of each of their groups. Nearly
    /// all are there.
    pub(super) fn look_up(&self) -> (Bulk, &'static str) {
        let sql = "select rows.number, coalesce(s.size, 0) as value, {none} as bytes from {rows}
             left join top_figures f on f.day = rows.day and f.site = rows.site
                 and f.dimension = rows.dimension and f.kind = rows.kind and f.value = rows.value
             left join top_sizes s on s.day = rows.day and s.site = rows.site
                 and s.dimension = rows.dimension and s.kind = rows.kind
             where f.day is null and rows.value <> ''";
        (rows(&self.hits), sql)
    }

    /// Adds the counts to the table's. `found` is what was looked up.
    pub(super) async fn save(
        mut self,
        tx: &mut Tx,
        found: &[Found],
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let mut new = self.new_values(found);
        let mut growth = BTreeMap::new();
        for new in &mut new {
            let NewValues {
                group,
                size,
                values,
            } = new;
            let room = usize::try_from(MOST - *size).unwrap_or(0);
            values.sort_by_key(|(_, hits)| -hits);
            let rest = values.split_off(room.min(values.len()));
            growth.insert(group.clone(), values.len() as i64);
            // Beyond its size they are one.
            for (value, hits) in rest {
                self.hits.remove(&(group.clone(), value));
                *self.hits.entry((group.clone(), String::new())).or_default() += hits;
            }
        }
        let sql = "insert into top_figures (day, site, dimension, kind, value, hits)
                   select day, site, dimension, kind, value, hits from {rows} where true
                   on conflict (day, site, dimension, kind, value) do update set
                       hits = top_figures.hits + excluded.hits";
        writes.add(tx, rows(&self.hits), sql).await?;
        let rows = group_columns(growth.keys()).big("size", growth.values().copied());
        let sql = "insert into top_sizes (day, site, dimension, kind, size)
                   select day, site, dimension, kind, size from {rows} where true
                   on conflict (day, site, dimension, kind) do update set
                       size = top_sizes.size + excluded.size";
        writes.add(tx, rows, sql).await
    }

    /// The values that the table lacks, by group, and how many it has of each.
    fn new_values(&self, found: &[Found]) -> Vec<NewValues> {
        let missing: BTreeMap<i64, i64> = found
            .iter()
            .map(|found| (found.number, found.value))
            .collect();
        let mut new: Vec<NewValues> = Vec::new();
        // Values of a group stand together.
        for (((group, value), hits), number) in self.hits.iter().zip(0..) {
            let Some(size) = missing.get(&number) else {
                continue;
            };
            let value = (value.clone(), *hits);
            match new.last_mut() {
                Some(last) if last.group == *group => last.values.push(value),
                _ => new.push(NewValues {
                    group: group.clone(),
                    size: *size,
                    values: vec![value],
                }),
            }
        }
        new
    }
}

/// A value as the table has it.
type StoredKey = (Micros, String, String, String, String);

fn stored_key((group, value): &TopKey) -> StoredKey {
    let (day, site, dimension, kind) = group;
    let (dimension, kind) = (dimension.as_str().to_owned(), kind.as_str().to_owned());
    (*day, site.clone(), dimension, kind, value.clone())
}

/// Takes hits away from values, given as counts below zero; those that had no room of their own, or
/// lost it, are among the rest of their day. What nobody is left of goes.
pub(super) async fn take_back(tx: &mut Tx, tops: Tops) -> sqlx::Result<()> {
    let hits = tops.hits;
    let mut asked = hits.clone();
    asked.extend(
        hits.keys()
            .map(|(group, _)| ((group.clone(), String::new()), 0)),
    );
    let there: BTreeMap<StoredKey, i64> = fetch_bulk!(
        &mut *tx,
        rows(&asked),
        "select f.day, f.site, f.dimension, f.kind, f.value, f.hits from {rows} join top_figures f
         on f.day = rows.day and f.site = rows.site and f.dimension = rows.dimension
         and f.kind = rows.kind
             and f.value = rows.value",
        row => (
            (
                row.try_get("day")?,
                row.try_get("site")?,
                row.try_get("dimension")?,
                row.try_get("kind")?,
                row.try_get("value")?,
            ),
            row.try_get("hits")?,
        )
    )?
    .into_iter()
    .collect();
    let mut taken: BTreeMap<TopKey, i64> = BTreeMap::new();
    for (key, hits) in hits {
        let own = there.get(&stored_key(&key)).copied().unwrap_or_default();
        let of_own = hits.max(-own);
        let rest = (key.0.clone(), String::new());
        *taken.entry(key).or_default() += of_own;
        *taken.entry(rest).or_default() += hits - of_own;
    }
    let (mut fewer, mut gone) = (BTreeMap::new(), BTreeMap::new());
    for (key, hits) in taken {
        match there.get(&stored_key(&key)) {
            Some(stored) if stored + hits <= 0 => gone.insert(key, hits),
            Some(_) if hits < 0 => fewer.insert(key, hits),
            _ => None,
        };
    }
    execute_bulk!(
        &mut *tx,
        rows(&fewer),
        "update top_figures set hits = top_figures.hits + rows.hits from {rows}
         where top_figures.day = rows.day and top_figures.site = rows.site
         and top_figures.dimension = rows.dimension
             and top_figures.kind = rows.kind and top_figures.value = rows.value"
    )?;
    execute_bulk!(
        &mut *tx,
        rows(&gone),
        "delete from top_figures where (day, site, dimension, kind, value) in
             (select rows.day, rows.site, rows.dimension, rows.kind, rows.value from {rows})"
    )?;
    let mut sizes: BTreeMap<Group, i64> = BTreeMap::new();
    for (group, _) in gone.into_keys().filter(|(_, value)| !value.is_empty()) {
        *sizes.entry(group).or_default() -= 1;
    }
    execute_bulk!(
        tx,
        group_columns(sizes.keys()).big("size", sizes.values().copied()),
        "update top_sizes set size = top_sizes.size + rows.size from {rows}
         where top_sizes.day = rows.day and top_sizes.site = rows.site
         and top_sizes.dimension = rows.dimension
             and top_sizes.kind = rows.kind"
    )
    .map(|_| ())
}

fn group_columns<'g>(groups: impl Iterator<Item = &'g Group> + Clone) -> Bulk {
    Bulk::new()
        .time("day", groups.clone().map(|group| group.0))
        .text("site", groups.clone().map(|group| group.1.clone()))
        .text(
            "dimension",
            groups.clone().map(|group| group.2.as_str().to_owned()),
        )
        .text("kind", groups.map(|group| group.3.as_str().to_owned()))
}

fn rows(hits: &BTreeMap<TopKey, i64>) -> Bulk {
    group_columns(hits.keys().map(|key| &key.0))
        .text("value", hits.keys().map(|key| key.1.clone()))
        .big("hits", hits.values().copied())
}

impl Store {
    /// Folds the days before a time to their top values, the rest of each into one; returns how
    /// many values went. A day at a time, so that nobody waits long.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn fold_tops(&self, before: Micros) -> sqlx::Result<u64> {
        let mut folded = 0;
        loop {
            let sql = "select day, site, dimension, kind from top_sizes
                       where day < $1 and size > $2 order by day limit 1";
            // Nearly always there is nothing to do: the lane is not waited for.
            let group: Option<(Micros, String, String, String)> = both!(self.reader(), pool => {
                let query = sqlx::query_as(sql).bind(before).bind(KEPT);
                query.fetch_optional(pool).await?
            });
            let Some((day, site, dimension, kind)) = group else {
                return Ok(folded);
            };
            let mut tx = self.begin_lane().await?;
            let of = "day = $1 and site = $2 and dimension = $3 and kind = $4 and value <> ''";
            let tail = format!(
                "(select value from top_figures where {of} order by hits desc, value
                  limit 1000000000 offset {KEPT})"
            );
            let statements = [
                format!(
                    "insert into top_figures (day, site, dimension, kind, value, hits)
                     select $1, $2, $3, $4, '', cast(sum(hits) as bigint) from top_figures
                     where {of} and value in {tail} having count(*) > 0
                     on conflict (day, site, dimension, kind, value)
                     do update set hits = top_figures.hits + excluded.hits"
                ),
                format!("delete from top_figures where {of} and value in {tail}"),
                format!(
                    "update top_sizes set size = {KEPT}
                     where day = $1 and site = $2 and dimension = $3 and kind = $4"
                ),
            ];
            for (number, sql) in statements.into_iter().enumerate() {
                let rows = both!(&mut tx, c => {
                    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                    let query = query.bind(day).bind(&site).bind(&dimension).bind(&kind);
                    query.execute(&mut **c).await?.rows_affected()
                });
                if number == 1 {
                    folded += rows;
                }
            }
            tx.commit().await?;
        }
    }
}
