//! The sites that figures tell apart: the first thousand.
//!
//! A site's name is what a page says, so anybody can make one up. Hits keep theirs; in figures the
//! names beyond the thousandth are one, the empty one.

use std::collections::BTreeSet;

use sqlx::Row as _;

use crate::model::site::DEFAULT_SITE;
use crate::store::{Bulk, Tx};
use crate::{both, execute_bulk, fetch_bulk};

/// Maximum number of names, [`DEFAULT_SITE`] apart.
const MOST: usize = 1_000;

/// Sites without a name of their own in figures.
#[derive(Debug, Default)]
pub(super) struct Nameless(BTreeSet<String>);

impl Nameless {
    /// The names of some sites; new ones get one while there is room.
    pub(super) async fn among(tx: &mut Tx, sites: BTreeSet<&str>) -> sqlx::Result<Self> {
        let mut named: BTreeSet<String> = sites
            .into_iter()
            .filter(|site| !site.is_empty() && *site != DEFAULT_SITE)
            .map(str::to_owned)
            .collect();
        if named.is_empty() {
            return Ok(Self::default());
        }
        let known: Vec<String> = fetch_bulk!(
            &mut *tx,
            Bulk::new().text("site", named.iter().cloned()),
            "select rows.site from {rows} where exists (select 1 from counted_sites s
             where s.site = rows.site)",
            row => row.try_get("site")?
        )?;
        named.retain(|site| !known.contains(site));
        if named.is_empty() {
            return Ok(Self::default());
        }
        let sql = "select count(*) from counted_sites";
        let there: i64 = both!(&mut *tx, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await)?;
        let room = MOST.saturating_sub(usize::try_from(there).unwrap_or(MOST));
        let nameless = named.iter().nth(room).cloned();
        let nameless = nameless.map_or_else(BTreeSet::new, |first| named.split_off(&first));
        execute_bulk!(
            tx,
            Bulk::new().text("site", named),
            "insert into counted_sites (site) select site from {rows} where true
             on conflict (site) do nothing"
        )?;
        Ok(Self(nameless))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that figures use for a site.
    pub(super) fn name(&self, site: String) -> String {
        if self.0.contains(&site) {
            String::new()
        } else {
            site
        }
    }
}
