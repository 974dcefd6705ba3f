//! One batch of hits on its way into the database, in a transaction that the caller owns.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::erased::without_erased;
use super::idempotency::drop_duplicates;
use super::known_ids::KnownIds;
use super::orders::{Earned, Orders};
use super::page_tags::PageTags;
use super::premises::Premises;
use super::rules::ProjectionRules;
use super::touches::{self, Settled};
use crate::identity::{
    Changes, Evidence, Finding, Lookup, Resolver, contacts_to_load, is_proved_opt_out,
};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{Dialect, Hit, Limit, Provenance, clean};
use crate::queue::frame::{BadFrame, Unreadable, decode_record, encode_record};
use crate::queue::source::{Group, Place};
use crate::store::figures::{Figures, Totals, Touches};
use crate::store::hits::HitRow;
use crate::store::maintenance::{PartitionMonth, Quarantined};
use crate::store::opt_outs::OptOut;
use crate::store::touches::visits;
use crate::store::{self, Store, Tx, Writes, is_refusal};
use uuid::Uuid;

/// Hits to be stored, each with its group.
pub struct Batch<'p> {
    clock: &'p Clock,
    rules: &'p ProjectionRules,
    now: Micros,
    #[expect(
        clippy::vec_box,
        reason = "a hit has a kilobyte, and a growing list would copy them all"
    )]
    hits: Vec<Box<Hit>>,
    places: Vec<Place>,
    bad: Vec<(Place, BadFrame)>,
}

/// What happens to a record that the database refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The batch fails, and with it the transaction. It costs nothing if nothing is refused: within
    /// a savepoint SQLite keeps a copy of every page before it is changed, a sixth of the
    /// projection's time.
    Fails,
    /// It is found by bisection within savepoints and quarantined.
    IsPutAside,
}

/// What batches of a transaction leave to its end.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// What they add to rows that all hits share.
    pub(super) totals: Totals,
    /// Rows of their own, and more.
    pub(super) writes: Writes,
}

impl Pending {
    /// Writes everything, in one round trip.
    ///
    /// # Errors
    /// The database refuses.
    pub(super) async fn save(mut self, tx: &mut Tx) -> store::Result<()> {
        self.totals.save(tx, &mut self.writes).await?;
        self.writes.send(tx).await
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Hits stored.
    pub stored: u64,
    /// Hits put aside.
    pub quarantined: u64,
    /// Hits dropped because their idempotency key was taken.
    pub duplicates: u64,
    /// Hits dropped because they count for known visitors only, and theirs is unknown.
    pub unknown: u64,
    /// Page tags not created because the daily limit was reached.
    pub refused_tags: u64,
}

impl std::ops::AddAssign for Done {
    fn add_assign(&mut self, more: Self) {
        self.stored += more.stored;
        self.quarantined += more.quarantined;
        self.duplicates += more.duplicates;
        self.unknown += more.unknown;
        self.refused_tags += more.refused_tags;
    }
}

impl<'p> Batch<'p> {
    /// An empty batch.
    pub fn new(clock: &'p Clock, rules: &'p ProjectionRules, now: Micros) -> Self {
        Self {
            clock,
            rules,
            now,
            hits: Vec::new(),
            places: Vec::new(),
            bad: Vec::new(),
        }
    }

    /// Adds a group.
    pub fn push(&mut self, group: Group) {
        for hit in group.hits {
            match hit {
                Ok(hit) => match hit.foreign.as_ref().and_then(|f| f.refused.clone()) {
                    Some(reason) => {
                        let bytes = encode_record(&hit);
                        let why = Unreadable::NoHit(reason);
                        self.bad.push((group.place, BadFrame { bytes, why }));
                    }
                    None => {
                        self.hits.push(hit);
                        self.places.push(group.place);
                    }
                },
                Err(bad) => self.bad.push((group.place, bad)),
            }
        }
    }

    /// Stores what can be stored and quarantines the rest. What is written last goes into
    /// `pending`, which the caller saves before it commits; where records are put aside, it is
    /// saved with the hits.
    ///
    /// # Errors
    /// The database cannot be reached, or refuses a record where that fails; the transaction is of
    /// no more use.
    pub(super) async fn store(
        self,
        tx: &mut Tx,
        refusal: Refusal,
        pending: &mut Pending,
    ) -> store::Result<Done> {
        let mut done = Done::default();
        // This batch reads what the one before it wrote.
        pending.writes.send(tx).await?;
        for (place, bad) in &self.bad {
            self.put_aside(
                tx,
                *place,
                bad.bytes.clone(),
                bad.why.to_string(),
                &mut done,
            )
            .await?;
        }
        let months: BTreeSet<_> = self
            .hits
            .iter()
            .map(|hit| PartitionMonth::of(hit.received_at))
            .collect();
        tx.ensure_partitions(&months).await?;
        match refusal {
            Refusal::Fails => {
                done += self.try_store(tx, &self.hits, pending).await?;
            }
            Refusal::IsPutAside => {
                self.store_range(tx, 0, self.hits.len(), &mut done).await?;
            }
        }
        Ok(done)
    }

    /// Stores `hits[from..to]`; where the database refuses, each half by itself, down to the one
    /// record that it does not take. Totals are saved with it: the database may refuse what a
    /// record adds to a row that it shares.
    async fn store_range(
        &self,
        tx: &mut Tx,
        from: usize,
        to: usize,
        done: &mut Done,
    ) -> store::Result<()> {
        if from == to {
            return Ok(());
        }
        tx.run("savepoint part").await?;
        let mut pending = Pending::default();
        let stored = match self.try_store(tx, &self.hits[from..to], &mut pending).await {
            Ok(part) => pending.save(tx).await.map(|()| part),
            Err(error) => Err(error),
        };
        match stored {
            Ok(part) => {
                tx.run("release savepoint part").await?;
                *done += part;
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                tx.run("rollback to savepoint part; release savepoint part")
                    .await?;
                if to - from > 1 {
                    let middle = from + (to - from) / 2;
                    Box::pin(self.store_range(tx, from, middle, done)).await?;
                    Box::pin(self.store_range(tx, middle, to, done)).await
                } else {
                    tracing::warn!(position = self.places[from].seq, hit = %self.hits[from].id,
                        %error, "a hit was quarantined");
                    let bytes = encode_record(&self.hits[from]);
                    self.put_aside(tx, self.places[from], bytes, error.to_string(), done)
                        .await
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn put_aside(
        &self,
        tx: &mut Tx,
        place: Place,
        body: Vec<u8>,
        reason: String,
        done: &mut Done,
    ) -> store::Result<()> {
        done.quarantined += 1;
        let record = Quarantined {
            id: self.clock.new_id(self.now),
            spool_id: place.spool,
            position: place.seq,
            quarantined_at: self.now,
            // What a decoder says may quote what it read, which the database then refuses in turn.
            reason: clean(&reason, Limit::AGENT).0.into_owned(),
            body,
        };
        tx.quarantine(&record).await
    }

    /// Gives persons what their browsers sent before they were identified.
    async fn add_drafts<N: FnMut() -> Uuid>(
        &self,
        tx: &mut Tx,
        resolver: &mut Resolver<'_, N>,
    ) -> store::Result<()> {
        let completed = resolver.completed();
        if completed.is_empty() {
            return Ok(());
        }
        let visitors = completed.keys().copied();
        let drafts = tx.drafts_of(visitors, &self.rules.public).await?;
        let contacts = drafts.keys().filter_map(|visitor| completed.get(visitor));
        let contacts = tx.load_contacts(&contacts.copied().collect()).await?;
        resolver.add_contacts(contacts);
        resolver.write_drafts(drafts);
        Ok(())
    }

    /// Notes in each hit what it earns; the touches that led the person here are credited.
    async fn settle_orders(
        &self,
        tx: &mut Tx,
        orders: &mut Orders,
        hits: &mut [Settled<'_>],
        changes: &Changes,
    ) -> store::Result<Vec<Earned>> {
        let touches = touches::find(tx, hits, changes, self.rules).await?;
        let mut touches = touches.into_iter();
        let none: Touches = Vec::new().into();
        let mut all = Vec::with_capacity(hits.len());
        for Settled { hit, .. } in hits {
            let touches = match Orders::may_earn(hit) {
                true => {
                    let touched = touches.next().unwrap_or_default();
                    touches::take_click(hit, &touched);
                    visits(touched).into()
                }
                false => Arc::clone(&none),
            };
            let earned = orders.settle(hit, &touches);
            if let Some(note) = earned.note {
                hit.to_mut().note(note);
            }
            all.push(earned);
        }
        Ok(all)
    }

    /// Identity, rows, figures. Quarantines nothing.
    async fn try_store(
        &self,
        tx: &mut Tx,
        hits: &[Box<Hit>],
        pending: &mut Pending,
    ) -> store::Result<Done> {
        let unique = self.rules.unique.as_slice();
        let hits = without_erased(tx, &self.rules.erased, unique, hits).await?;
        let mut hits: Vec<&Hit> = hits.iter().map(Cow::as_ref).collect();
        let mut done = Done {
            duplicates: drop_duplicates(tx, &mut hits, self.now).await?,
            ..Done::default()
        };
        let evidence = hits.iter().map(|hit| Evidence::from(*hit));
        let lookup = Lookup::of(unique, evidence.clone());
        let mut known = tx.load_known(&lookup).await?;
        let ids = contacts_to_load(unique, &known, evidence);
        known.contacts = tx.load_contacts(&ids).await?;
        let premises = Premises::of(tx, &lookup, &known);
        let ids = KnownIds::load(tx, &hits).await?;
        let mut page_tags = PageTags::load(tx, &hits, self.now).await?;
        let mut orders = Orders::load(tx, self.rules.revenue, &hits).await?;
        let mut resolver = Resolver::new(unique, known, || self.clock.new_id(self.now));
        let mut settled: Vec<Settled<'_>> = Vec::with_capacity(hits.len());
        let (mut opt_outs, mut untold) = (BTreeMap::new(), BTreeSet::new());
        for &hit in &hits {
            let finding = resolver.resolve(&Evidence::from(hit));
            let (contact, is_proved) = (finding.contact, finding.is_proved);
            if contact.is_none() && is_for_known_visitors(hit) {
                done.unknown += 1;
                continue;
            }
            let mut hit = Cow::Borrowed(hit);
            write_down(finding, &mut hit);
            ids.settle(&mut hit, |id| resolver.message(id).map(|(_, of)| of));
            page_tags.settle(&mut hit);
            if is_proved_opt_out(&hit) {
                if let Some(contact) = contact {
                    opt_outs.entry(contact).or_insert(OptOut {
                        at: hit.occurred_at.unwrap_or(hit.received_at),
                        delivery_id: hit.delivery_id,
                    });
                }
                if hit.dialect == Dialect::Mautic {
                    // Also of a message that was not imported: the old system knows it.
                    untold.extend(hit.message_key().map(str::to_owned));
                }
            }
            settled.push(Settled {
                hit,
                contact,
                is_proved,
            });
        }
        let earned = self
            .settle_orders(tx, &mut orders, &mut settled, resolver.changes())
            .await?;
        let first = insert_hits(tx, &settled, &earned).await?;

        // From here on what is shared is read and written: one transaction after another.
        let named = Premises::confirm(premises, tx, resolver.changes(), &orders, &hits).await?;
        resolver.take_over(named);
        self.add_drafts(tx, &mut resolver).await?;
        let changes = resolver.finish();
        let writes = &mut pending.writes;
        // Before the merges, which carry them along.
        tx.insert_opt_outs(&opt_outs, writes).await?;
        tx.insert_untold_opt_outs(&untold, self.now, writes).await?;
        tx.save_changes(&changes, self.now, writes).await?;
        done.refused_tags = page_tags.save(tx, self.now).await?;
        orders.save(tx, writes).await?;
        keep_touches(tx, &settled, &earned, first, writes).await?;
        // After the rows: the history may have begun in this very batch.
        tx.complete_history(&changes.completed, writes).await?;

        let hits: Vec<&Hit> = settled.iter().map(|of| of.hit.as_ref()).collect();
        let bookings = || earned.iter().flat_map(|earned| &earned.bookings);
        let mut figures = Figures::load(tx, &hits, bookings()).await?;
        for ((hit, earned), seq) in hits.iter().zip(&earned).zip(first..) {
            figures.add(seq, hit, earned.is_order());
            for booking in &earned.bookings {
                figures.book(booking);
            }
        }
        let totals = figures.save(tx, writes).await?;
        pending.totals.merge(totals);
        done.stored = hits.len() as u64;
        Ok(done)
    }
}

/// Writes the rows of hits; returns the number of the first, which those of the others follow.
async fn insert_hits(
    tx: &mut Tx,
    settled: &[Settled<'_>],
    earned: &[Earned],
) -> store::Result<i64> {
    if settled.is_empty() {
        return Ok(0);
    }
    let first = tx.take_hit_numbers(settled.len() as i64).await?;
    let rows: Vec<HitRow<'_>> = settled
        .iter()
        .zip(earned)
        .zip(first..)
        .map(|((of, earned), seq)| HitRow {
            seq,
            hit: &of.hit,
            contact_id: of.contact,
            counted_revenue: earned.counted_revenue(),
        })
        .collect();
    tx.insert_hits(&rows).await?;
    Ok(first)
}

/// Keeps what led to purchases, so that they can be taken back or credited anew.
async fn keep_touches(
    tx: &mut Tx,
    settled: &[Settled<'_>],
    earned: &[Earned],
    first: i64,
    writes: &mut Writes,
) -> store::Result<()> {
    let purchases = settled.iter().zip(earned).zip(first..);
    let purchases = purchases.filter(|((_, earned), _)| earned.note.is_none());
    let purchases = purchases.filter_map(|((of, earned), seq)| {
        let booking = earned.bookings.first()?;
        Some((seq, of.hit.received_at, &booking.touches))
    });
    let purchases: Vec<_> = purchases.collect();
    tx.keep_purchase_touches(&purchases, writes).await
}

/// Writes into a hit what identity has found out about it. Nearly all hits stay unchanged and are
/// not copied.
fn write_down(finding: Finding<'_>, hit: &mut Cow<'_, Hit>) {
    if let Some(message) = finding.message {
        let hit = hit.to_mut();
        hit.broadlog_id = Some(message.id);
        hit.provenance = message.provenance;
        // The delivery is then the message's own, whatever else was said.
        if message.provenance == Provenance::Unsigned {
            hit.delivery_id = finding.delivery.or(hit.delivery_id);
        }
    }
    if hit.delivery_id.is_none() && finding.delivery.is_some() {
        hit.to_mut().delivery_id = finding.delivery;
    }
    for left in finding.leftovers {
        let hit = hit.to_mut();
        if let Some(note) = left.note {
            hit.note(&note);
        }
        if let Some((name, value)) = left.field {
            hit.keep(name, &value);
        }
    }
}

fn is_for_known_visitors(hit: &Hit) -> bool {
    hit.foreign
        .as_ref()
        .is_some_and(|foreign| foreign.is_for_known_visitors)
}

/// Tries a quarantined record again, in a transaction of its own; true if it is stored now.
///
/// # Errors
/// The database cannot be reached.
pub async fn retry_quarantined(
    store: &Store,
    clock: &Clock,
    rules: &ProjectionRules,
    record: &Quarantined,
) -> store::Result<bool> {
    let now = clock.now();
    let mut tx = store.begin_lane().await?;
    let hit = decode_record(&record.body).map_err(|why| BadFrame {
        bytes: record.body.clone(),
        why,
    });
    let group = Group {
        place: Place {
            spool: record.spool_id,
            seq: record.position,
        },
        hits: vec![hit],
    };
    let mut batch = Batch::new(clock, rules, now);
    batch.push(group);
    let done = batch
        .store(&mut tx, Refusal::IsPutAside, &mut Pending::default())
        .await?;
    if done.quarantined > 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.remove_quarantined(record.id).await?;
    tx.commit().await?;
    Ok(true)
}
