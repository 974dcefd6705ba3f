//! Figures of hits that get another visitor, or another page: who clicked and top values follow,
//! and sketches are made anew. Times, kinds, deliveries and verdicts stay, and so do all other
//! figures; a message that gets another number is renamed as a whole (`store/erasures`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::Row as _;

use super::changes::mark_sketches;
use super::clicks::{self, Clicker, NONE};
use super::sets::Sets;
use super::sites::Nameless;
use super::visitors::SiteVisitors;
use super::{Figures, tops};
use crate::fetch_bulk;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, VisitorId};
use crate::store::{Bulk, Tx, Writes};

/// A hit before and after.
#[derive(Clone, Debug)]
pub(crate) struct Renamed {
    pub(crate) seq: i64,
    pub(crate) before: Hit,
    pub(crate) after: Hit,
}

/// Counts hits under their new names instead of the old ones. The transaction has its turn.
///
/// # Errors
/// The database refuses.
pub(crate) async fn count_renamed(tx: &mut Tx, hits: &[Renamed]) -> sqlx::Result<()> {
    let known = known_clickers(tx, hits).await?;
    let (mut before, mut after) = (Figures::default(), Figures::default());
    let mut lost: BTreeSet<(Micros, String)> = BTreeSet::new();
    for Renamed {
        seq,
        before: was,
        after: is,
    } in hits
    {
        if was.verdict.counts() && was.visitor_id != is.visitor_id {
            lost.insert((was.counted_at().half_hour(), was.site.clone()));
        }
        let clicked = clicker(was).is_none_or(|clicker| known.contains(&clicker));
        for (figures, hit) in [(&mut before, was), (&mut after, is)] {
            let mut hit = hit.clone();
            // The message's row is another's affair, and who was forgotten with his month stays so.
            hit.broadlog_id = None;
            if !clicked {
                hit.visitor_id = None;
            }
            figures.add(*seq, &hit, false);
        }
    }
    mark_sketches(tx, lost).await?;
    let (before, mut sets) = (before.totals.sets, after.totals.sets);
    let sites = hits.iter().map(|hit| hit.after.site.as_str()).collect();
    let nameless = Nameless::among(tx, sites).await?;
    sets.tops.subtract(before.tops);
    let mut tops = std::mem::take(&mut sets.tops).named(&nameless);
    tops::take_back(tx, tops.split_negative()).await?;
    let mut clickers = std::mem::take(&mut sets.clickers);
    for (clicker, clicks) in before.clickers {
        clickers.entry(clicker).or_insert(NONE).count -= clicks.count;
    }
    clickers.retain(|_, clicks| clicks.count != 0);
    let fewer: BTreeMap<_, _> = clickers
        .extract_if(.., |_, clicks| clicks.count < 0)
        .collect();
    clicks::take_back(tx, &fewer).await?;
    let more = Sets {
        clickers,
        tops,
        // Made anew.
        visitors: SiteVisitors::default(),
    };
    let mut writes = Writes::default();
    more.save(tx, &nameless, &mut writes).await?;
    writes.send(tx).await
}

/// Whom a hit counts among those who clicked.
fn clicker(hit: &Hit) -> Option<Clicker> {
    let mut figures = Figures::default();
    if hit.verdict.counts() {
        figures.add_clicker(hit);
    }
    figures.totals.sets.clickers.pop_first().map(|(key, _)| key)
}

/// Those that are still known: with a month of hits, who clicked in it was forgotten.
async fn known_clickers(tx: &mut Tx, hits: &[Renamed]) -> sqlx::Result<HashSet<Clicker>> {
    let asked: BTreeSet<Clicker> = hits.iter().filter_map(|hit| clicker(&hit.before)).collect();
    let known = fetch_bulk!(
        tx,
        Bulk::new()
            .big("delivery_id", asked.iter().map(|key| key.0))
            .uuid("visitor_id", asked.iter().map(|key| key.1.0))
            .big("link_id", asked.iter().map(|key| key.2)),
        "select c.delivery_id, c.visitor_id, c.link_id from {rows}
         cross join clicking_visitors c
         where c.delivery_id = rows.delivery_id and c.visitor_id = rows.visitor_id
             and c.link_id = rows.link_id",
        row => (
            row.try_get("delivery_id")?,
            VisitorId(row.try_get("visitor_id")?),
            row.try_get("link_id")?,
        )
    )?;
    Ok(HashSet::from_iter(known))
}
