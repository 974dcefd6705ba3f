//! Two servers store at the same time: whatever one decides by, the other may just be changing.
//!
//! In each of these the second has read and decided before the first commits. It then either
//! notices nothing that matters, or loses the race and begins anew.

use uuid::Uuid;

use super::page_tags::MOST_A_DAY;
use super::{Batch, Pending, ProjectionRules, Refusal};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{
    Authority, Currency, Dialect, Hit, HitId, Kind, LeastProof, Money, PageTagDraft, PageTagKind,
    TagChange, VisitorId,
};
use crate::queue::source::{Group, Place};
use crate::store::page_tags::DayCount;
use crate::store::tests::rig::{Engine, new_dir, wait_for};
use crate::store::tests::{NOW, count, new_database, next_number, open_at, texts};
use crate::store::{Store, Tx, is_race};

/// Two servers on one database.
struct Servers {
    one: Store,
    other: Store,
}

/// What the second did.
#[derive(Debug, PartialEq, Eq)]
enum Second {
    /// It was not disturbed.
    GotThrough,
    /// It began anew.
    BeganAnew,
}

pub(super) fn rules() -> ProjectionRules {
    ProjectionRules {
        unique: vec!["email".to_owned(), "customer_id".to_owned()],
        public: vec!["firstname".to_owned()],
        revenue: LeastProof::Claimed,
        window: Micros::DAY,
        ..ProjectionRules::default()
    }
}

pub(super) async fn write(tx: &mut Tx, hits: Vec<Hit>) -> crate::store::Result<()> {
    let (clock, rules) = (Clock::system(), rules());
    let mut batch = Batch::new(&clock, &rules, NOW);
    batch.push(Group {
        place: Place {
            spool: Uuid::nil(),
            seq: 1,
        },
        hits: hits.into_iter().map(Box::new).map(Ok).collect(),
    });
    let mut pending = Pending::default();
    batch.store(tx, Refusal::Fails, &mut pending).await?;
    pending.save(tx).await
}

impl Servers {
    async fn start() -> Self {
        let url = new_database(Engine::Postgres).await;
        let one = open_at(&url).await;
        // Otherwise who makes the month is waited for before anything is read.
        one.prepare_months(NOW).await.unwrap();
        Self {
            one,
            other: open_at(&url).await,
        }
    }

    /// Stores hits while nobody else does.
    async fn store(&self, hits: Vec<Hit>) {
        let mut tx = self.one.begin_beside().await.unwrap();
        write(&mut tx, hits).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Stores `first`, and `second` so that it has decided before `first` is there.
    async fn store_both(&self, first: Vec<Hit>, second: Vec<Hit>) -> Second {
        let mut tx = self.one.begin_beside().await.unwrap();
        write(&mut tx, first).await.unwrap();
        let other = self.other.clone();
        let again = second.clone();
        let late = tokio::spawn(async move {
            let mut tx = other.begin_beside().await?;
            write(&mut tx, second).await?;
            tx.commit().await
        });
        wait_for(
            "the second waits",
            std::time::Duration::from_secs(20),
            async || {
                let waiting = "pg_stat_activity where datname = current_database()
                           and wait_event_type = 'Lock'";
                late.is_finished() || count(&self.one, waiting).await > 0
            },
        )
        .await;
        assert!(!late.is_finished(), "the second waits for the first");
        tx.commit().await.unwrap();
        match late.await.unwrap() {
            Ok(()) => Second::GotThrough,
            Err(error) if is_race(&error) => {
                let mut tx = self.other.begin_beside().await.unwrap();
                write(&mut tx, again).await.unwrap();
                tx.commit().await.unwrap();
                Second::BeganAnew
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        texts(&self.one, sql).await.into_iter().flatten().collect()
    }

    /// Nothing points at a contact that went into another, no hit of somebody's browser is
    /// nobody's, and the figures are those of the hits.
    async fn finish(self) {
        for (what, table) in [
            (
                "visitors",
                "visitors v join contacts c on c.id = v.contact_id",
            ),
            (
                "keys",
                "contact_keys k join contacts c on c.id = k.contact_id",
            ),
        ] {
            let stale = format!("{table} where c.merged_into is not null");
            assert_eq!(count(&self.one, &stale).await, 0, "{what}");
        }
        let nobodys = "hits h join visitors v on v.id = h.visitor_id where h.contact_id is null";
        assert_eq!(count(&self.one, nobodys).await, 0);
        let scratch = new_dir("recount").join("recount.db");
        let recount = self.one.recount(&scratch, false).await.unwrap();
        assert!(recount.is_right(), "{recount:?}");
        self.one.close().await;
        self.other.close().await;
    }
}

fn browser(number: u128) -> Option<VisitorId> {
    Some(VisitorId(Uuid::from_u128(number)))
}

/// A page that a known browser looks at.
fn page(visitor: u128) -> Hit {
    let id = HitId(Uuid::from_u128(next_number()));
    let mut hit = Hit::new(id, NOW, Kind::Pageview, Dialect::Native);
    hit.visitor_id = browser(visitor);
    hit
}

/// What a sender says of somebody.
fn said(fields: &[(&str, &str)], visitor: u128) -> Hit {
    let mut hit = page(visitor);
    hit.authority = Authority::Authenticated;
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    hit.fields = fields.iter().map(own).collect();
    hit
}

#[tokio::test]
async fn on_postgres_what_a_browser_does_elsewhere_while_it_gets_a_name_is_that_persons() {
    let servers = Servers::start().await;
    let mut draft = page(1);
    draft.tags = vec![TagChange {
        name: "reads".to_owned(),
        remove: false,
    }];
    let second = servers
        .store_both(vec![said(&[("email", "a@example.com")], 1)], vec![draft])
        .await;
    assert_eq!(second, Second::GotThrough);
    assert_eq!(
        servers.rows("select tags::text from contacts").await,
        ["{reads}"],
        "and what it says is said of the person"
    );
    // The other way round.
    let second = servers
        .store_both(vec![page(2)], vec![said(&[("email", "b@example.com")], 2)])
        .await;
    assert_eq!(second, Second::GotThrough);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_one_new_address_on_two_servers_is_one_person() {
    let servers = Servers::start().await;
    let hits = |visitor| vec![said(&[("email", "a@example.com")], visitor)];
    assert_eq!(
        servers.store_both(hits(1), hits(2)).await,
        Second::BeganAnew
    );
    assert_eq!(count(&servers.one, "contacts").await, 1);
    let people = "select count(distinct contact_id)::text from visitors";
    assert_eq!(servers.rows(people).await, ["1"]);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_both_may_say_the_same_of_a_browser_and_no_more() {
    let servers = Servers::start().await;
    let hits = |email, visitor| vec![said(&[("email", email)], visitor)];
    servers.store(hits("a@example.com", 8)).await;
    servers.store(hits("b@example.com", 9)).await;
    let same = servers.store_both(hits("a@example.com", 1), hits("a@example.com", 1));
    assert_eq!(same.await, Second::GotThrough);
    let different = servers.store_both(hits("a@example.com", 2), hits("b@example.com", 2));
    assert_eq!(different.await, Second::BeganAnew);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_a_claim_does_not_displace_a_proof_that_came_meanwhile() {
    let servers = Servers::start().await;
    servers
        .store(vec![said(&[("email", "a@example.com")], 8)])
        .await;
    servers
        .store(vec![said(&[("email", "b@example.com")], 9)])
        .await;
    // Nobody else can know an id that was just made, so it is not looked up.
    let mut claim = said(&[("email", "b@example.com")], 1);
    claim.authority = Authority::Public;
    claim.visitor_is_new = true;
    let proof = said(&[("email", "a@example.com")], 1);
    let second = servers.store_both(vec![proof], vec![claim]).await;
    assert_eq!(second, Second::BeganAnew);
    servers.one.close().await;
    servers.other.close().await;
}

#[tokio::test]
async fn on_postgres_nobody_writes_to_contacts_that_are_merged_meanwhile() {
    let servers = Servers::start().await;
    servers
        .store(vec![said(&[("email", "a@example.com")], 8)])
        .await;
    servers.store(vec![said(&[("customer_id", "7")], 9)]).await;
    let merge = said(&[("email", "a@example.com"), ("customer_id", "7")], 3);
    let second = servers
        .store_both(
            vec![merge],
            vec![
                said(&[("email", "a@example.com"), ("firstname", "Ada")], 1),
                said(&[("customer_id", "7"), ("city", "Bath")], 2),
            ],
        )
        .await;
    assert_eq!(second, Second::BeganAnew);
    let left = "select fields::text from contacts where merged_into is null";
    let left = servers.rows(left).await;
    assert!(
        left.len() == 1 && left[0].contains("Ada") && left[0].contains("Bath"),
        "{left:?}"
    );
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_what_both_say_of_a_contact_is_kept() {
    let servers = Servers::start().await;
    servers
        .store(vec![said(&[("email", "a@example.com")], 9)])
        .await;
    let says = |field, value| vec![said(&[("email", "a@example.com"), (field, value)], 9)];
    let second = servers.store_both(says("firstname", "Ada"), says("city", "Bath"));
    assert_eq!(second.await, Second::BeganAnew);
    let fields = servers.rows("select fields::text from contacts").await;
    assert!(
        fields[0].contains("Ada") && fields[0].contains("Bath"),
        "{fields:?}"
    );
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_an_order_that_is_told_twice_at_once_counts_once() {
    let servers = Servers::start().await;
    let order = |visitor, by_sender| {
        let mut hit = page(visitor);
        hit.kind = Kind::Transaction;
        hit.order_id = Some("1004".to_owned());
        hit.revenue = Some(Money(100_000));
        hit.currency = Currency::parse("EUR");
        if by_sender {
            hit.authority = Authority::Authenticated;
        }
        hit
    };
    let second = servers.store_both(vec![order(1, true)], vec![order(2, false)]);
    assert_eq!(second.await, Second::BeganAnew);
    let counted = "select sum(transactions)::text from site_days";
    let apart = "select sum(unproved_transactions)::text from site_days";
    let orders: i64 = [servers.rows(counted).await, servers.rows(apart).await]
        .concat()
        .iter()
        .map(|orders| orders.parse::<i64>().unwrap())
        .sum();
    assert_eq!(orders, 1);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_a_hit_that_is_sent_to_two_servers_at_once_is_stored_once() {
    let servers = Servers::start().await;
    let hits = || {
        let mut hit = page(1);
        hit.idempotency_key = Some("k1".to_owned());
        vec![hit, page(2)]
    };
    assert_eq!(servers.store_both(hits(), hits()).await, Second::BeganAnew);
    assert_eq!(count(&servers.one, "hits").await, 3);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_two_servers_make_no_more_page_tags_than_one() {
    let servers = Servers::start().await;
    let mut tx = servers.one.begin().await.unwrap();
    let used = DayCount {
        day: NOW.day(),
        used: MOST_A_DAY - 1,
        refused: 0,
    };
    tx.set_day_count("page_tags", &used).await.unwrap();
    tx.commit().await.unwrap();
    let described = |tag: &str, visitor| {
        let mut hit = page(visitor);
        hit.dialect = Dialect::Adobe;
        hit.page_tag = Some(tag.to_owned());
        hit.foreign_mut().page_tag = Some(PageTagDraft {
            kind: PageTagKind::Web,
            folder: None,
        });
        vec![hit]
    };
    let second = servers.store_both(described("one", 1), described("two", 2));
    assert_eq!(second.await, Second::BeganAnew);
    assert_eq!(
        servers.rows("select identifier from page_tags").await,
        ["one"]
    );
    assert_eq!(count(&servers.one, "hits").await, 2);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_strangers_do_not_disturb_each_other() {
    let servers = Servers::start().await;
    let hits = |email, visitor| vec![said(&[("email", email)], visitor), page(visitor + 10)];
    let second = servers.store_both(hits("a@example.com", 1), hits("b@example.com", 2));
    assert_eq!(second.await, Second::GotThrough);
    servers.finish().await;
}

#[tokio::test]
async fn on_postgres_what_a_transaction_writes_is_one_prepared_statement() {
    let servers = Servers::start().await;
    let mut bought = page(2);
    bought.kind = Kind::Transaction;
    bought.order_id = Some("A-1".to_owned());
    let mut tx = servers.one.begin_beside().await.unwrap();
    for hits in [
        vec![page(1)],
        vec![said(&[("email", "a@example.com")], 1)],
        vec![bought],
    ] {
        write(&mut tx, hits).await.unwrap();
    }
    let Tx::Postgres(connection) = &mut tx else {
        panic!("Postgres")
    };
    let sql = "select count(*) from pg_prepared_statements where statement like 'with write_0 %'";
    let texts: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut **connection)
        .await
        .unwrap();
    assert_eq!(texts, 1);
    tx.commit().await.unwrap();
    servers.finish().await;
}
