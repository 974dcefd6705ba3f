//! The sites that figures tell apart: the first thousand.
//!
//! A site's name is what a page says, so anybody can make one up. Hits keep theirs; in figures the
//! names beyond the thousandth are one, the empty one.

use std::collections::BTreeSet;

use sqlx::Row as _;

use super::times::Times;
use crate::model::site::DEFAULT_SITE;
use crate::store::{Bulk, Tx};
use crate::{both, execute_bulk, fetch_bulk};

/// How many names there are at most, [`DEFAULT_SITE`] apart.
const MOST: usize = 1_000;

/// The same counts, under the empty name where a site has none of its own.
pub(super) async fn bounded(tx: &mut Tx, times: Times) -> sqlx::Result<Times> {
    let named: BTreeSet<&str> = times.keys().map(|key| key.site.as_str()).collect();
    let named: Vec<String> = named
        .into_iter()
        .filter(|site| !site.is_empty() && *site != DEFAULT_SITE)
        .map(str::to_owned)
        .collect();
    if named.is_empty() {
        return Ok(times);
    }
    let mut known: BTreeSet<String> = fetch_bulk!(
        &mut *tx,
        Bulk::new().text("site", named.iter().cloned()),
        "select rows.site from {rows} where exists (select 1 from counted_sites s where s.site = rows.site)",
        row => row.try_get("site")?
    )?
    .into_iter()
    .collect();
    let mut new: Vec<String> = named
        .into_iter()
        .filter(|site| !known.contains(site))
        .collect();
    if !new.is_empty() {
        let sql = "select count(*) from counted_sites";
        let there: i64 = both!(&mut *tx, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await)?;
        new.truncate(MOST.saturating_sub(usize::try_from(there).unwrap_or(MOST)));
        execute_bulk!(
            tx,
            Bulk::new().text("site", new.iter().cloned()),
            "insert into counted_sites (site) select site from {rows} where true
             on conflict (site) do nothing"
        )?;
        known.extend(new);
    }
    let mut bounded = Times::new();
    for (mut key, count) in times {
        if key.site != DEFAULT_SITE && !known.contains(&key.site) {
            key.site.clear();
        }
        *bounded.entry(key).or_default() += count;
    }
    Ok(bounded)
}
