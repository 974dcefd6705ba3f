//! Figures of hits whose verdict changes: what they counted is taken back, and counted again.
//!
//! Both are done by the code that counts hits as they come. Which of a message's hits is its first
//! is part of its figures, so each message is counted twice over, once with its hits as they were
//! and once as they are; the difference is what is added. Its hits are known from its list
//! (`listed.rs`); what the list lacks is left where it was counted. A hit that the list should have
//! and has not cannot be taken back: it is refused, and nothing of it changes.
//!
//! Sketches give no visitor back. Half hours that lose one are marked, and made anew from their
//! hits (see `store/stale.rs`).

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow as _;

use super::clicks;
use super::messages::{Messages, StoredMessage};
use super::sites::Nameless;
use super::times::{self, Count};
use super::tops;
use super::visitors::SiteVisitors;
use super::{Figures, Totals};
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind};
use crate::store::recount::hits::{Row, counted_columns, is_order};
use crate::store::{Bulk, Tx, Writes};
use crate::{both, execute_bulk, fetch_bulk};

/// A hit before and after its verdict changes.
#[derive(Clone, Debug)]
pub(crate) struct CountedChange {
    pub(crate) seq: i64,
    pub(crate) before: Hit,
    pub(crate) after: Hit,
}

impl CountedChange {
    fn is_taken_back(&self) -> bool {
        self.before.verdict.counts() && !self.after.verdict.counts()
    }

    fn message(&self) -> Option<i64> {
        let counts = self.before.verdict.counts() || self.after.verdict.counts();
        self.before.broadlog_id.filter(|_| counts).map(|id| id.0)
    }
}

/// What is known of a message.
#[derive(Debug, Default)]
struct Known {
    stored: StoredMessage,
    /// The hits of its list that are there, in its order.
    hits: Vec<(i64, Hit)>,
    /// Something was counted before them.
    lacks_earlier: bool,
    /// Something was counted after them.
    lacks_later: bool,
}

/// Counts of a message's hits: opens, clicks, pages, orders.
type Counts = [i64; 4];

fn place(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Open => Some(0),
        Kind::Click => Some(1),
        Kind::Pageview => Some(2),
        Kind::Transaction => Some(3),
        Kind::Event | Kind::Form | Kind::Optout | Kind::Mirror => None,
    }
}

fn counts<'h>(hits: impl Iterator<Item = &'h Hit>) -> Counts {
    let mut counts = Counts::default();
    for hit in hits.filter(|hit| hit.kind != Kind::Transaction || is_order(hit)) {
        if let Some(place) = place(hit.kind) {
            counts[place] += 1;
        }
    }
    counts
}

impl Known {
    /// Counts that no listed hit explains.
    fn unknown(&self) -> Counts {
        let known = counts(self.hits.iter().map(|(_, hit)| hit));
        let stored = &self.stored;
        let all = [stored.opens, stored.clicks, stored.pages, stored.orders];
        std::array::from_fn(|place| (all[place] - known[place]).max(0))
    }

    fn lists(&self, seq: i64) -> bool {
        self.hits.iter().any(|(listed, _)| *listed == seq)
    }

    /// Whether these changes can be counted: all that is taken back is listed, or certainly behind
    /// the list, and what is left begins with what is known.
    fn can_change(&self, changes: &[&CountedChange]) -> bool {
        let lacks_later = self.lacks_later;
        let is_known = |change: &&CountedChange| {
            !change.before.verdict.counts()
                || self.lists(change.seq)
                || lacks_later && !self.lacks_earlier
        };
        if !changes.iter().all(is_known) {
            return false;
        }
        if !lacks_later {
            return true;
        }
        let taken: BTreeSet<i64> = taken_back(changes);
        let left = || {
            let hits = self.hits.iter().filter(|(seq, _)| !taken.contains(seq));
            hits.map(|(_, hit)| hit)
        };
        let (left_counts, unknown) = (counts(left()), self.unknown());
        let all_begin = (0..unknown.len()).all(|kind| unknown[kind] == 0 || left_counts[kind] > 0);
        all_begin && left().next().is_some()
    }
}

fn taken_back(changes: &[&CountedChange]) -> BTreeSet<i64> {
    let taken = changes.iter().filter(|change| change.is_taken_back());
    taken.map(|change| change.seq).collect()
}

/// Changes that can be counted, with what is known of their messages.
#[derive(Debug)]
pub(crate) struct CountedChanges {
    pub(crate) changes: Vec<CountedChange>,
    /// Numbers of those that cannot be.
    pub(crate) refused: Vec<i64>,
    known: BTreeMap<i64, Known>,
}

impl CountedChanges {
    /// Looks up what is known. The transaction has its turn.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load(tx: &mut Tx, changes: Vec<CountedChange>) -> sqlx::Result<Self> {
        let messages: BTreeSet<i64> = changes.iter().filter_map(CountedChange::message).collect();
        let mut known = load_known(tx, &messages).await?;
        let mut refused = Vec::new();
        for (id, known) in &mut known {
            let of: Vec<&CountedChange> = changes
                .iter()
                .filter(|change| change.message() == Some(*id))
                .collect();
            if !known.can_change(&of) && known.lacks_later && !known.lacks_earlier {
                read_on(tx, *id, known, of.len()).await?;
            }
            if !known.can_change(&of) {
                refused.extend(of.iter().map(|change| change.seq));
            }
        }
        let mut changes = changes;
        changes.retain(|change| !refused.contains(&change.seq));
        let left: BTreeSet<i64> = changes.iter().filter_map(CountedChange::message).collect();
        known.retain(|id, _| left.contains(id));
        Ok(Self {
            changes,
            refused,
            known,
        })
    }

    /// Writes the figures of messages and of who clicked; returns the rest.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save(self, tx: &mut Tx) -> sqlx::Result<Totals> {
        let (mut before, mut after) = (Figures::default(), Figures::default());
        let mut of_messages: BTreeMap<i64, Vec<&CountedChange>> = BTreeMap::new();
        let mut marks = Marks::default();
        for change in &self.changes {
            marks.note(change);
            match change.message() {
                Some(id) => of_messages.entry(id).or_default().push(change),
                None => {
                    count(&mut before, change.seq, &change.before);
                    count(&mut after, change.seq, &change.after);
                }
            }
        }
        let mut messages = BTreeMap::new();
        for (id, changes) in of_messages {
            if let Some(known) = self.known.get(&id) {
                let now = count_message(id, known, &changes, &mut before, &mut after);
                messages.insert(id, now);
            }
        }
        Messages::replace(tx, &messages).await?;
        marks.save(tx).await?;
        let mut totals = after.totals;
        totals.subtract(before.totals);
        for change in &self.changes {
            if change.after.verdict.counts() && !change.before.verdict.counts() {
                totals.sets.visitors.add(&change.after);
            }
        }
        Ok(totals)
    }
}

impl Totals {
    /// Takes away what others have counted. Visitors cannot be taken away, so there are none then.
    fn subtract(&mut self, other: Self) {
        for (key, count) in other.times {
            *self.times.entry(key).or_default() += count.negative();
        }
        self.times.retain(|_, count| *count != Count::default());
        self.sets.tops.subtract(other.sets.tops);
        let clickers = &mut self.sets.clickers;
        for (clicker, clicks) in other.sets.clickers {
            clickers.entry(clicker).or_insert(clicks::NONE).count -= clicks.count;
        }
        clickers.retain(|_, clicks| clicks.count != 0);
        self.sets.visitors = SiteVisitors::default();
    }

    /// Adds everything, of which some may be below zero. All else that the transaction has written
    /// must be sent.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save_changes(mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let sites = self.times.keys().map(|key| key.site.as_str()).collect();
        let nameless = Nameless::among(tx, sites).await?;
        let tops = self.sets.tops.split_negative().named(&nameless);
        tops::take_back(tx, tops).await?;
        let clickers = &mut self.sets.clickers;
        let fewer = clickers.extract_if(.., |_, clicks| clicks.count < 0);
        let fewer = fewer.collect();
        clicks::take_back(tx, &fewer).await?;
        let can_be_empty = |count: &Count| count.hits < 0 || !count.books.is_empty();
        let emptied = self.times.iter().filter(|(_, count)| can_be_empty(count));
        let emptied = emptied.map(|(key, count)| (key.clone(), *count)).collect();
        let mut writes = Writes::default();
        self.save(tx, &mut writes).await?;
        writes.send(tx).await?;
        times::remove_empty(tx, emptied, &nameless).await
    }
}

/// Counts a hit as a recount does.
fn count(figures: &mut Figures, seq: i64, hit: &Hit) {
    let is_order = is_order(hit);
    figures.add(seq, hit, is_order);
    if let (true, Some(id)) = (is_order, hit.broadlog_id) {
        figures.messages.add_order(id);
    }
}

/// Counts a message's hits as they were and as they are; returns what its row is then.
fn count_message(
    id: i64,
    known: &Known,
    changes: &[&CountedChange],
    before: &mut Figures,
    after: &mut Figures,
) -> StoredMessage {
    let stored = &known.stored;
    let unknown = known.unknown();
    let is_seeded = known.lacks_earlier;
    let lacks_later = known.lacks_later && !is_seeded;
    if is_seeded {
        for figures in [&mut *before, &mut *after] {
            figures.messages.begin(id, stored.delivery_id, unknown);
        }
    }
    for (seq, hit) in &known.hits {
        count(before, *seq, hit);
    }
    // Behind the list, or not counted at all.
    for change in changes.iter().filter(|change| !known.lists(change.seq)) {
        count(before, change.seq, &change.before);
    }

    let taken = taken_back(changes);
    let changed: BTreeMap<i64, &Hit> = changes.iter().map(|c| (c.seq, &c.after)).collect();
    let mut now: Vec<(i64, &Hit)> = Vec::with_capacity(known.hits.len() + changes.len());
    for (seq, hit) in known.hits.iter().filter(|(seq, _)| !taken.contains(seq)) {
        now.push((*seq, changed.get(seq).copied().unwrap_or(hit)));
    }
    let mut behind: Vec<(i64, &Hit)> = Vec::new();
    for change in changes.iter().filter(|change| !known.lists(change.seq)) {
        let (seq, hit) = (change.seq, &change.after);
        let later = now.iter().position(|(listed, _)| *listed > seq);
        match later {
            _ if !hit.verdict.counts() => behind.push((seq, hit)),
            Some(place) if !change.before.verdict.counts() => now.insert(place, (seq, hit)),
            _ if lacks_later => behind.push((seq, hit)),
            _ => now.push((seq, hit)),
        }
    }
    // What is taken back still counts as a machine's.
    let machines = changes.iter().filter(|change| taken.contains(&change.seq));
    behind.extend(
        machines
            .filter(|change| known.lists(change.seq))
            .map(|change| (change.seq, &change.after)),
    );
    for (seq, hit) in now {
        count(after, seq, hit);
    }
    if lacks_later {
        after.messages.end_list(id);
    }
    for (seq, hit) in behind {
        count(after, seq, hit);
    }

    let mut row = after.messages.row(id);
    let was = before.messages.row(id);
    // What is behind the list was counted in neither run, but for what is taken back of it.
    let mut left = unknown;
    if lacks_later {
        let tail = changes
            .iter()
            .filter(|change| change.before.verdict.counts() && !known.lists(change.seq));
        let tail = counts(tail.map(|change| &change.before));
        left = std::array::from_fn(|kind| (unknown[kind] - tail[kind]).max(0));
        row.opens += left[0];
        row.clicks += left[1];
        row.pages += left[2];
    }
    row.first_open_at = first(
        left[0],
        stored.first_open_at,
        was.first_open_at,
        row.first_open_at,
    );
    row.first_click_at = first(
        left[1],
        stored.first_click_at,
        was.first_click_at,
        row.first_click_at,
    );
    row
}

/// The first time of a kind: that of the known hits, unless it was an unknown one's.
fn first(
    unknown: i64,
    stored: Option<Micros>,
    of_known: Option<Micros>,
    now: Option<Micros>,
) -> Option<Micros> {
    match (unknown > 0, now) {
        (true, Some(now)) if stored != of_known => Some(stored.map_or(now, |at| at.min(now))),
        (true, None) => stored,
        (_, now) => now,
    }
}

async fn load_known(tx: &mut Tx, messages: &BTreeSet<i64>) -> sqlx::Result<BTreeMap<i64, Known>> {
    let stored = Messages::stored(tx, messages).await?;
    let listed = stored.values().flat_map(|message| message.listed.seqs());
    let listed: BTreeSet<i64> = listed.collect();
    let rows: Vec<Row> = fetch_bulk!(
        tx,
        Bulk::new().big("number", listed),
        concat!(
            "select ",
            counted_columns!(),
            " from {rows} cross join hits where hits.seq = rows.number"
        ),
        row => Row::from_row(row)?
    )?;
    let hits = rows.into_iter().map(|row| (row.seq, row.into_hit()));
    let mut hits: BTreeMap<i64, Hit> = hits.collect();
    let mut all: BTreeMap<i64, Known> = BTreeMap::new();
    for id in messages {
        let mut known = Known::default();
        if let Some(message) = stored.get(id) {
            known.stored = message.clone();
            let seqs = message.listed.seqs();
            known.lacks_earlier = message.listed.lacks_earlier();
            known.lacks_later = message.listed.lacks_later();
            for seq in seqs {
                match hits.remove(&seq).filter(|hit| hit.verdict.counts()) {
                    Some(hit) => known.hits.push((seq, hit)),
                    // It was removed with its month.
                    None => known.lacks_earlier = true,
                }
            }
        }
        all.insert(*id, known);
    }
    Ok(all)
}

/// Finds hits of a message behind those of its list, more than are to change: the next ones begin
/// what is left. They are found by the delivery's index.
async fn read_on(tx: &mut Tx, id: i64, known: &mut Known, changes: usize) -> sqlx::Result<()> {
    let most = (changes + known.hits.len()) as i64 + 100;
    // From its first on: the first of a kind may be listed far behind where the others end.
    let first = known.hits.iter().map(|(seq, _)| *seq).min();
    let sql = concat!(
        "select ",
        counted_columns!(),
        " from hits where delivery_id = $1 and seq > $2 and broadlog_id = $3
            and verdict in ('human', 'suspect') order by seq limit $4"
    );
    let rows: Vec<Row> = both!(tx, c => sqlx::query_as(sql)
        .bind(known.stored.delivery_id)
        .bind(first.unwrap_or_default() - 1)
        .bind(id)
        .bind(most)
        .fetch_all(&mut **c)
        .await?);
    known.lacks_later = rows.len() as i64 == most;
    let there: BTreeSet<i64> = known.hits.iter().map(|(seq, _)| *seq).collect();
    let new = rows.into_iter().filter(|row| !there.contains(&row.seq));
    known.hits.extend(new.map(|row| (row.seq, row.into_hit())));
    known.hits.sort_by_key(|(seq, _)| *seq);
    Ok(())
}

/// Half hours whose sketches are to be made anew.
#[derive(Default)]
struct Marks {
    /// Somebody who was a visitor is none any more.
    lost: BTreeSet<(Micros, String)>,
    /// Somebody is one again. A sketch that is just being made anew was made without him.
    won: BTreeSet<(Micros, String)>,
}

/// Notes which sketches have visitors that are none any more.
pub(super) async fn mark_sketches(
    tx: &mut Tx,
    lost: BTreeSet<(Micros, String)>,
) -> sqlx::Result<()> {
    let won = BTreeSet::new();
    Marks { lost, won }.save(tx).await
}

impl Marks {
    fn note(&mut self, change: &CountedChange) {
        let hit = &change.before;
        if hit.visitor_id.is_none() {
            return;
        }
        let key = (hit.counted_at().half_hour(), hit.site.clone());
        if change.is_taken_back() {
            self.lost.insert(key);
        } else if change.after.verdict.counts() {
            self.won.insert(key);
        }
    }

    async fn save(self, tx: &mut Tx) -> sqlx::Result<()> {
        let sites = self.lost.iter().chain(&self.won);
        let sites = sites.map(|key| key.1.as_str()).collect();
        let nameless = Nameless::among(tx, sites).await?;
        let named = |keys: BTreeSet<(Micros, String)>| {
            let named = keys.into_iter().map(|(at, site)| (at, nameless.name(site)));
            let named: BTreeSet<(Micros, String)> = named.collect();
            Bulk::new()
                .time("at", named.iter().map(|key| key.0))
                .text("site", named.iter().map(|key| key.1.clone()))
        };
        execute_bulk!(
            &mut *tx,
            named(self.lost),
            "insert into stale_sketches (at, site, marks) select at, site, 1 from {rows} where true
             on conflict (at, site) do update set marks = stale_sketches.marks + 1"
        )?;
        execute_bulk!(
            tx,
            named(self.won),
            "update stale_sketches set marks = stale_sketches.marks + 1 from {rows}
             where stale_sketches.at = rows.at and stale_sketches.site = rows.site"
        )
        .map(|_| ())
    }
}
