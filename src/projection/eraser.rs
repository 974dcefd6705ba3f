//! Does what erasures leave to be done: messages, browsers, hits, quarantine, texts.
//!
//! It runs on every server beside the projection, and in `sillage contact erase`. Each portion is a
//! short turn that does the whole of some rows, and who does it again finds nothing to do: so it
//! may be killed at any moment, and two may work at the same time. Several erasures are done in one
//! go through the tables.
//!
//! **How it fails.** Database away: it tries again. Receipts say what is not done yet.

use std::time::Duration;

use uuid::Uuid;

use super::erased::{erase, is_of_erased};
use super::rules::ProjectionRules;
use crate::identity::{Evidence, Lookup};
use crate::model::clock::Clock;
use crate::model::hit::{BroadlogId, ContactId, Hit, VisitorId};
use crate::model::retry::Backoff;
use crate::queue::frame::{decode_record, encode_record};
use crate::store::maintenance::Quarantined;
use crate::store::{self, Store};

/// Pause once nothing is left to do.
const PAUSE: Duration = Duration::from_secs(3);
/// Hits whose person is erased in one transaction.
const PORTION: usize = 500;
/// Records of the quarantine read at a time.
const RECORDS: i64 = 100;

/// The task that erases.
pub struct Eraser {
    store: Store,
    clock: Clock,
    rules: ProjectionRules,
}

impl Eraser {
    /// For a store.
    pub fn new(store: Store, clock: Clock, rules: ProjectionRules) -> Self {
        Self {
            store,
            clock,
            rules,
        }
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            match self.erase_all().await {
                Ok(_) => {
                    backoff = Backoff::default();
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    if !store::is_away(&error) && !store::is_race(&error) {
                        tracing::error!(%error, "an erasure cannot go on; trying again");
                    }
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Does all erasures that are begun; returns how many.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn erase_all(&self) -> store::Result<usize> {
        let open = self.store.open_erasures().await?;
        if open.is_empty() {
            return Ok(0);
        }
        let (store, clock) = (&self.store, &self.clock);
        let mut new_id = || clock.new_id(clock.now());
        store.erase_messages(&mut new_id).await?;
        store.find_browsers(&mut new_id).await?;
        let mut after = i64::MIN;
        while let Some((found, until)) = store.hits_to_erase(after).await? {
            for some in found.chunks(PORTION) {
                store.erase_hits(some, &mut new_id).await?;
            }
            after = until;
        }
        self.erase_quarantine().await?;
        let searched = store.searched_values().await?;
        store.erase_texts(&searched).await?;
        store.renew_sketches().await?;
        store.end_erasures(&open, clock.now()).await?;
        store.scrub().await?;
        tracing::info!(persons = open.len(), "persons erased");
        Ok(open.len())
    }

    /// Records lose their person; what cannot be read and names it, goes.
    async fn erase_quarantine(&self) -> store::Result<()> {
        let known = self.rules.erased.read(&self.store).await?;
        let searched = self.store.searched_values().await?;
        let mut after = Uuid::nil();
        loop {
            let records = self.store.quarantined_after(after, RECORDS).await?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            after = last.id;
            for record in &records {
                let named = searched
                    .find_in(&record.body)
                    .or_else(|| searched.find_in(record.reason.as_bytes()));
                let body = match decode_record(&record.body) {
                    Ok(hit) if is_of_erased(&known, &self.rules.unique, &hit) => {
                        Some(encode_record(&erase(&hit, &self.rules.unique)))
                    }
                    Ok(hit) if named.is_some() => {
                        let mut hit = hit;
                        hit.erase_person(&searched.all());
                        Some(encode_record(&hit))
                    }
                    Ok(_) => continue,
                    Err(_) if named.is_some() => None,
                    Err(_) => continue,
                };
                let store = &self.store;
                store
                    .replace_quarantined(named, record.id, body.as_deref())
                    .await?;
            }
        }
    }
}

/// All that hits name a person by.
#[derive(Clone, Debug, Default)]
pub struct PersonNames {
    /// Unique fields.
    pub unique: Vec<String>,
    /// Ids of the contact and of those merged into it.
    pub contacts: Vec<ContactId>,
    /// Browsers.
    pub visitors: Vec<VisitorId>,
    /// Messages.
    pub messages: Vec<BroadlogId>,
    /// Values of unique fields, as they are compared.
    pub values: Vec<(String, String)>,
}

impl PersonNames {
    fn has(&self, hit: &Hit) -> bool {
        let lookup = Lookup::of(&self.unique, std::iter::once(Evidence::from(hit)));
        lookup.ids.iter().any(|id| self.contacts.contains(id))
            || lookup.visitors.iter().any(|id| self.visitors.contains(id))
            || lookup.broadlogs.iter().any(|id| self.messages.contains(id))
            || lookup.keys.iter().any(|key| self.values.contains(key))
    }
}

/// Records in quarantine that name a person, as far as they can be read.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn quarantined_hits_of(
    store: &Store,
    names: &PersonNames,
) -> store::Result<Vec<(Quarantined, Hit)>> {
    let (mut all, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let records = store.quarantined_after(after, RECORDS).await?;
        let Some(last) = records.last() else {
            return Ok(all);
        };
        after = last.id;
        for record in records {
            if let Ok(hit) = decode_record(&record.body)
                && names.has(&hit)
            {
                all.push((record, *hit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{DeliveryId, Dialect, HitId, Kind, LinkId, Provenance};
    use crate::projection::tests::{rules, write};
    use crate::store::persons::Person;
    use crate::store::tests::rig::{Engine, new_dir, on_both};
    use crate::store::tests::{NOW, count, new_store, next_number, texts};

    const ADA: &str = "ada@example.com";

    /// A hit of a person's browser that names its address.
    fn hit(kind: Kind, seconds: i64, browser: u128, address: &str) -> Hit {
        let at = Micros(NOW.0 + seconds * Micros::SECOND);
        let mut hit = Hit::new(
            HitId(Uuid::from_u128(next_number())),
            at,
            kind,
            Dialect::Native,
        );
        hit.visitor_id = Some(VisitorId(Uuid::from_u128(browser)));
        hit.page_url = Some(format!("https://shop.example/of/{address}?mail={address}"));
        hit.referrer = Some(format!("https://mail.example/?to={address}"));
        hit.ip = Some("198.51.100.77".parse().unwrap());
        hit.user_agent = Some(format!("Agent of {address}"));
        if !address.is_empty() {
            hit.fields = vec![("email".to_owned(), address.to_owned())];
            hit.keep("shoe size", address);
        }
        hit
    }

    fn click(seconds: i64, browser: u128, address: &str, link: i64) -> Hit {
        let mut hit = hit(Kind::Click, seconds, browser, address);
        hit.delivery_id = Some(DeliveryId(1));
        hit.link_id = Some(LinkId(link));
        hit.provenance = Provenance::Link;
        hit
    }

    async fn store_hits(store: &Store, hits: Vec<Hit>) {
        let mut tx = store.begin_lane().await.unwrap();
        write(&mut tx, hits).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn recount(store: &Store) {
        store.renew_sketches().await.unwrap();
        let scratch = new_dir("recount").join("counted.db");
        let found = store.recount(&scratch, false).await.unwrap();
        assert!(found.is_right(), "{found:#?}");
    }

    async fn contact(store: &Store, address: &str) -> Option<ContactId> {
        store.contact_by_key("email", address).await.unwrap()
    }

    async fn begin(store: &Store, clock: &Clock, address: &str) -> Uuid {
        let id = contact(store, address).await.unwrap();
        let now = clock.now();
        let begun = store.begin_erasure(Person::Contact(id), "test", now, || clock.new_id(now));
        begun.await.unwrap().unwrap().id
    }

    /// Figures as people are told of them.
    async fn told(store: &Store) -> Vec<Option<String>> {
        let mut told = Vec::new();
        for sql in [
            "select kind || ' ' || sum(hits) || ' ' || sum(distinct_broadlogs) from time_figures
             group by kind order by kind",
            "select delivery_id || '/' || link_id || ' ' || visitors from click_figures
             order by delivery_id, link_id",
            "select opens || ' ' || clicks || ' ' || pages from broadlog_figures
             order by opens, clicks, pages",
        ] {
            told.extend(texts(store, sql).await);
        }
        told
    }

    async fn figures_stay_and_nobody_is_left(engine: Engine) {
        let store = new_store(engine).await;
        let clock = Clock::fixed(Micros(NOW.0 + Micros::HOUR));
        let eraser = Eraser::new(store.clone(), clock.clone(), rules());
        let mut hits = Vec::new();
        for (browser, address) in [(1, ADA), (2, "bob@example.com"), (3, "")] {
            for (number, link) in [(1, 1), (2, 1), (3, 2)] {
                let mut click = click(number, browser, address, link);
                // A message that was never imported.
                click.broadlog_id = Some(BroadlogId(browser as i64 * 10));
                hits.push(click);
            }
            hits.push(hit(Kind::Pageview, 9, browser, address));
            let mut bought = hit(Kind::Transaction, 10, browser, address);
            bought.order_id = Some(format!("order of {address}"));
            bought.revenue = Some(crate::model::hit::Money(10_000));
            hits.push(bought);
        }
        // Bob on Ada's machine. It is his from then on, and stays so.
        let mut of_both = click(20, 1, "bob@example.com", 3);
        of_both.delivery_id = Some(DeliveryId(2));
        hits.push(of_both);
        store_hits(&store, hits).await;
        let before = told(&store).await;
        recount(&store).await;
        let receipt = begin(&store, &clock, ADA).await;
        assert_eq!(contact(&store, ADA).await, None);
        assert_eq!(eraser.erase_all().await.unwrap(), 1);
        assert_eq!(eraser.erase_all().await.unwrap(), 0);
        assert_eq!(told(&store).await, before);
        recount(&store).await;
        let receipt = store.erasure(receipt).await.unwrap().unwrap();
        assert_eq!((receipt.hits, receipt.orders), (5, 1), "{receipt:?}");
        assert!(receipt.ended_at.is_some());
        let left = "hits where ip is not null or user_agent is not null or extra is not null
                    or order_id is not null";
        assert_eq!(count(&store, left).await, 11);
        for text in ["page_url", "referrer", "reason"] {
            let named = format!("hits where {text} like '%{ADA}%'");
            assert_eq!(count(&store, &named).await, 0, "{text}");
        }
        let kept = "visitors v join contact_keys k on k.contact_id = v.contact_id";
        assert_eq!(count(&store, kept).await, 2);
        let erased = "hits where reason = 'person erased' and contact_id is null";
        assert_eq!(count(&store, erased).await, 5);
        assert_eq!(count(&store, "hits where broadlog_id in (20, 30)").await, 6);
        assert_eq!(count(&store, "hits where broadlog_id = 10").await, 0);
        for empty in ["erasing_ids", "erasing_messages", "erasing_values"] {
            assert_eq!(count(&store, empty).await, 0, "{empty}");
        }
        store.close().await;
    }

    async fn late_hits_say_nobody(engine: Engine) {
        let store = new_store(engine).await;
        let clock = Clock::fixed(Micros(NOW.0 + 100 * Micros::SECOND));
        let eraser = Eraser::new(store.clone(), clock.clone(), rules());
        let mut first = click(1, 1, ADA, 1);
        first.broadlog_id = Some(BroadlogId(10));
        store_hits(&store, vec![first.clone()]).await;
        begin(&store, &clock, ADA).await;
        // Before the rest is done, and after.
        for round in 0..2 {
            let mut by_link = click(200, 7, "", 1);
            by_link.broadlog_id = Some(BroadlogId(10));
            let mut late = vec![
                hit(Kind::Pageview, 200, 1, ""),
                // It waited in a spool when the person was erased.
                hit(Kind::Pageview, 50, 8, ADA),
            ];
            // Until it was looked for, nobody knows of a message that was never imported.
            if round == 1 {
                late.push(by_link);
            }
            store_hits(&store, late).await;
            assert_eq!(contact(&store, ADA).await, None, "round {round}");
            eraser.erase_all().await.unwrap();
        }
        assert_eq!(
            count(&store, "hits where reason = 'person erased'").await,
            6
        );
        let named = "hits where visitor_id is not null and seq > 1 or contact_id is not null
                     or ip is not null or page_url like '%ada%'";
        assert_eq!(count(&store, named).await, 0);
        recount(&store).await;
        // She comes again.
        store_hits(&store, vec![hit(Kind::Form, 300, 9, ADA)]).await;
        assert!(contact(&store, ADA).await.is_some());
        store.close().await;
    }

    /// Dropped anywhere, and two at the same time.
    async fn it_goes_on_where_it_ended(engine: Engine) {
        let store = new_store(engine).await;
        let clock = Clock::fixed(Micros(NOW.0 + Micros::HOUR));
        let mut hits = Vec::new();
        for number in 0..30 {
            let address = format!("person-{number}@example.com");
            for second in 0..40 {
                let mut click = click(second, number + 1, &address, second % 3 + 1);
                click.broadlog_id = Some(BroadlogId(number as i64 + 1));
                hits.push(click);
            }
        }
        store_hits(&store, hits).await;
        let before = told(&store).await;
        for number in 0..20 {
            begin(&store, &clock, &format!("person-{number}@example.com")).await;
        }
        let one = Eraser::new(store.clone(), clock.clone(), rules());
        let other = Eraser::new(store.clone(), clock.clone(), rules());
        for polls in [2, 5, 9] {
            let mut step = Box::pin(one.erase_all());
            for _ in 0..polls {
                let once = Duration::from_millis(5);
                if tokio::time::timeout(once, &mut step).await.is_ok() {
                    break;
                }
            }
        }
        let (of_one, of_other) = tokio::join!(one.erase_all(), other.erase_all());
        for ended in [of_one, of_other] {
            // Whoever is slower is told so, and tries again.
            assert!(ended.is_ok() || ended.is_err_and(|error| store::is_race(&error)));
        }
        one.erase_all().await.unwrap();
        assert_eq!(count(&store, "erasures where ended_at is null").await, 0);
        assert_eq!(count(&store, "erasures where hits = 40").await, 20);
        assert_eq!(count(&store, "hits where contact_id is null").await, 800);
        assert_eq!(told(&store).await, before);
        recount(&store).await;
        store.close().await;
    }

    on_both!(
        figures_stay_and_nobody_is_left,
        late_hits_say_nobody,
        it_goes_on_where_it_ended,
    );
}
