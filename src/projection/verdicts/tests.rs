//! Figures after verdicts have changed are those of hits that came with them.

use uuid::Uuid;

use super::*;
use crate::model::hit::{
    BroadlogId, Currency, DeliveryId, Dialect, Hit, HitId, LinkId, Money, Provenance, VisitorId,
};
use crate::projection::tests::{rules, write};
use crate::store::tests::rig::{Engine, new_dir, on_both};
use crate::store::tests::{NOW, count, new_store, texts};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

const REASONS: [Option<Reason>; 5] = [
    None,
    Some(Reason::Crawler),
    Some(Reason::TooSoon),
    Some(Reason::MailPrivacy),
    Some(Reason::MailScanner),
];

fn hit(number: i64, kind: Kind) -> Hit {
    let id = HitId(Uuid::from_u128(number as u128));
    let at = Micros(NOW.0 + number * 40 * Micros::SECOND);
    Hit::new(id, at, kind, Dialect::Native)
}

fn some_hits(dice: &mut Dice, count: i64) -> Vec<Hit> {
    let kinds = [
        Kind::Open,
        Kind::Click,
        Kind::Click,
        Kind::Pageview,
        Kind::Transaction,
        Kind::Event,
        Kind::Optout,
    ];
    (1..=count)
        .map(|number| {
            let mut hit = hit(number, kinds[dice.roll(7) as usize]);
            if dice.roll(4) > 0 {
                let message = dice.roll(9) as i64;
                hit.delivery_id = Some(DeliveryId(1 + message % 3));
                hit.broadlog_id = Some(BroadlogId(100 + message)).filter(|_| message < 8);
                hit.provenance = Provenance::Link;
            } else {
                hit.utm.campaign = Some(format!("c{}", dice.roll(3)));
            }
            if hit.kind == Kind::Click {
                hit.link_id = Some(LinkId(dice.roll(3) as i64));
            }
            hit.visitor_id = Some(VisitorId(Uuid::from_u128(1 + u128::from(dice.roll(6)))));
            hit.site = ["default", "shop"][dice.roll(2) as usize].to_owned();
            hit.page_url = Some(format!("https://shop.example/{}", dice.roll(5)));
            if hit.kind == Kind::Transaction {
                hit.revenue = Some(Money(dice.roll(9) as i64 * 10_000 - 20_000));
                hit.currency = Currency::parse(["EUR", "USD"][dice.roll(2) as usize]);
                hit.quantity = Some(dice.roll(3) as i32);
                // What a purchase takes over from the click before it stays with it.
                hit.link_id = Some(LinkId(2));
                hit.utm.campaign = Some("own".to_owned());
            }
            if dice.roll(5) == 0 {
                hit.occurred_at = Some(Micros(hit.received_at.0 - 3 * Micros::HOUR));
                // What leads to a purchase is looked up when the purchase comes; one that is
                // credited anew finds what came later and happened before, too.
                if [Kind::Click, Kind::Pageview, Kind::Transaction].contains(&hit.kind) {
                    hit.occurred_at = None;
                }
            }
            hit.note("a note");
            hit.judge_anew(REASONS[dice.roll(5) as usize]);
            hit
        })
        .collect()
}

async fn store_hits(store: &Store, hits: &[Hit]) {
    for part in hits.chunks(40) {
        let mut tx = store.begin_lane().await.unwrap();
        write(&mut tx, part.to_vec()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// The rows of all figures that have something in them.
async fn figures(store: &Store) -> Vec<String> {
    let times = "kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs,
        transactions, revenue, quantity, unproved_transactions, unproved_revenue";
    let mut all = Vec::new();
    for (table, columns, rest) in [
        (
            "time_figures",
            format!("delivery_id, at, link_id, site, {times}"),
            "",
        ),
        (
            "delivery_figures",
            format!("delivery_id, link_id, {times}"),
            "",
        ),
        ("site_figures", format!("at, site, {times}"), ""),
        ("site_days", format!("at, site, {times}"), ""),
        (
            "broadlog_figures",
            "broadlog_id, currency, delivery_id, coalesce(first_open_at, at_0),
             coalesce(first_click_at, at_0), opens, clicks, pages, transactions,
             coalesce(nullif(revenue, 0), 0)"
                .to_owned(),
            "where opens + clicks + pages + transactions <> 0 or revenue <> 0",
        ),
        (
            "clicking_visitors",
            "delivery_id, link_id, clicks".to_owned(),
            "",
        ),
        (
            "click_figures",
            "delivery_id, link_id, visitors".to_owned(),
            "where visitors <> 0",
        ),
        (
            "top_figures",
            "day, site, dimension, kind, value, hits".to_owned(),
            "",
        ),
        (
            "top_sizes",
            "day, site, dimension, kind, size".to_owned(),
            "where size <> 0",
        ),
        (
            "revenue_figures",
            "day, model, site, delivery_id, link_id, campaign, currency, transactions, revenue,
             quantity"
                .to_owned(),
            "where transactions <> 0 or revenue <> 0 or quantity <> 0",
        ),
    ] {
        let at_0 = match store.is_postgres() {
            true => "to_timestamp(0)",
            false => "0",
        };
        let columns = columns.replace("at_0", at_0);
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in columns.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                _ => {}
            }
            parts.last_mut().unwrap().push(c);
        }
        let cells: Vec<_> = parts
            .iter()
            .map(|part| format!("cast({part} as text)"))
            .collect();
        let sql = format!(
            "select '{table} ' || {} as line from {table} {rest} order by line",
            cells.join(" || ' ' || ")
        );
        all.extend(texts(store, &sql).await.into_iter().flatten());
    }
    all.sort();
    all
}

async fn recount(store: &Store) {
    store.renew_sketches().await.unwrap();
    assert_eq!(count(store, "stale_sketches").await, 0);
    let scratch = new_dir("recount").join("counted.db");
    let found = store.recount(&scratch, false).await.unwrap();
    assert!(found.is_right(), "{found:#?}");
}

async fn figures_are_those_of_hits_that_came_with_their_verdicts(engine: Engine) {
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let mut hits = some_hits(&mut dice, 160);
        let store = new_store(engine).await;
        store_hits(&store, &hits).await;
        for _ in 0..4 {
            let mut rulings = BTreeMap::new();
            for (hit, seq) in hits.iter_mut().zip(1..) {
                if dice.roll(3) == 0 {
                    let why = REASONS[dice.roll(5) as usize];
                    hit.judge_anew(why);
                    rulings.insert(seq, Ruling::Rules(why));
                }
            }
            // What does not come to its end changes nothing.
            let before = figures(&store).await;
            let mut tx = store.begin_turn().await.unwrap();
            rule_in(&mut tx, &rules(), &rulings).await.unwrap();
            tx.rollback().await.unwrap();
            assert_eq!(figures(&store).await, before);
            let ruled = rule(&store, &rules(), &rulings).await.unwrap();
            assert!(ruled.changed.len() > 10 && ruled.unknown.is_empty());
            recount(&store).await;
        }
        let right = new_store(engine).await;
        store_hits(&right, &hits).await;
        recount(&right).await;
        let (found, expected) = (figures(&store).await, figures(&right).await);
        let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
        assert!(
            surplus.is_empty() && missing.is_empty(),
            "seed {seed}: surplus {surplus:#?}\nmissing {missing:#?}"
        );
        let first = count(&store, "hits where first_verdict is not null").await;
        assert!(first > 50);
        store.close().await;
        right.close().await;
    }
}

fn click(number: i64, message: i64) -> Hit {
    let mut hit = hit(number, Kind::Click);
    hit.delivery_id = Some(DeliveryId(1));
    hit.broadlog_id = Some(BroadlogId(message));
    hit.link_id = Some(LinkId(1));
    hit.provenance = Provenance::Link;
    hit.visitor_id = Some(VisitorId(Uuid::from_u128(number as u128)));
    hit
}

fn machine() -> Ruling {
    Ruling::Rules(Some(Reason::MailScanner))
}

async fn what_a_person_decides_holds(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &[click(1, 7), click(2, 7)]).await;
    let decision = Decision {
        seq: 1,
        hit_id: Uuid::from_u128(1),
        verdict: Verdict::Bot,
        reason: "our own monitor".to_owned(),
        decided_by: "admin".to_owned(),
        decided_at: NOW,
    };
    let rulings = BTreeMap::from([(1, Ruling::Decided(decision.clone())), (2, machine())]);
    let ruled = rule(&store, &rules(), &rulings).await.unwrap();
    assert_eq!(ruled.changed.len(), 2);
    assert_eq!(store.decision(1).await.unwrap(), Some(decision.clone()));
    assert_eq!(
        count(&store, "broadlog_figures").await,
        0,
        "nothing is left of it"
    );
    recount(&store).await;
    let rulings = BTreeMap::from([(1, Ruling::Rules(None)), (2, Ruling::Rules(None))]);
    let ruled = rule(&store, &rules(), &rulings).await.unwrap();
    assert_eq!((ruled.decided, ruled.changed.len()), (vec![1], 1));
    let of = "select verdict || ' ' || first_verdict || ' ' || coalesce(reason, '-') from hits
              order by seq";
    let expected = ["bot human decided as bot", "human human -"];
    assert_eq!(
        texts(&store, of)
            .await
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
        expected
    );
    let again = Decision {
        verdict: Verdict::Human,
        ..decision
    };
    let rulings = BTreeMap::from([(1, Ruling::Decided(again))]);
    rule(&store, &rules(), &rulings).await.unwrap();
    recount(&store).await;
    assert_eq!(count(&store, "broadlog_figures where clicks = 2").await, 1);
    store.close().await;
}

async fn whoever_comes_back_while_sketches_are_made_anew_is_in_them(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &[click(1, 7), click(2, 7)]).await;
    let rulings = BTreeMap::from([(1, machine())]);
    rule(&store, &rules(), &rulings).await.unwrap();
    let renewal = store.read_stale().await.unwrap().unwrap();
    let rulings = BTreeMap::from([(1, Ruling::Rules(None))]);
    rule(&store, &rules(), &rulings).await.unwrap();
    let renewed = store.write_renewed(renewal).await.unwrap();
    assert_eq!(renewed, 0, "it is made again");
    recount(&store).await;
    store.close().await;
}

async fn an_order_that_a_machine_told_goes_and_comes_back(engine: Engine) {
    let store = new_store(engine).await;
    let order = |number, visitor: u128, amount: i64| {
        let mut hit = click(number, 7);
        hit.kind = Kind::Transaction;
        hit.link_id = None;
        hit.visitor_id = Some(VisitorId(Uuid::from_u128(visitor)));
        hit.order_id = Some("A-1".to_owned());
        hit.revenue = Some(Money(amount));
        hit.currency = Currency::parse("EUR");
        hit
    };
    let mut led = click(1, 7);
    led.visitor_id = Some(VisitorId(Uuid::from_u128(9)));
    let hits = [
        led,
        order(2, 9, 50_000),
        order(3, 9, 80_000),
        order(4, 9, 80_000),
    ];
    store_hits(&store, &hits).await;
    let told = figures(&store).await;
    let revenue = async || {
        let sql =
            "select cast(sum(revenue) as text) from revenue_figures where model = 'last_touch'";
        texts(&store, sql).await.pop().flatten().unwrap()
    };
    let before = revenue().await;
    // The click that led to it was a machine's: nobody is credited, the money stays.
    let rulings = BTreeMap::from([(1, machine())]);
    rule(&store, &rules(), &rulings).await.unwrap();
    recount(&store).await;
    assert_eq!(revenue().await, before);
    let credited =
        "revenue_figures where model = 'last_touch' and delivery_id = 1 and revenue <> 0";
    assert_eq!(count(&store, credited).await, 0);
    let rulings = BTreeMap::from([(1, Ruling::Rules(None))]);
    rule(&store, &rules(), &rulings).await.unwrap();
    recount(&store).await;
    assert_eq!(figures(&store).await, told);

    let rulings = BTreeMap::from([(2, machine())]);
    rule(&store, &rules(), &rulings).await.unwrap();
    recount(&store).await;
    assert_eq!(count(&store, "revenue_figures where revenue <> 0").await, 0);
    assert_eq!(count(&store, "orders").await, 0);
    // Told now it has the amount that it told.
    let rulings = BTreeMap::from([(2, Ruling::Rules(None))]);
    rule(&store, &rules(), &rulings).await.unwrap();
    recount(&store).await;
    let sums = "site_days where kind = 'transaction' and transactions = 1 and revenue = 50000";
    let sums = if store.is_postgres() {
        sums.replace("50000", "5")
    } else {
        sums.to_owned()
    };
    assert_eq!(count(&store, &sums).await, 1);
    store.close().await;
}

async fn a_message_whose_hits_are_not_listed_stays_until_it_is_recounted(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &[click(1, 7), click(2, 7)]).await;
    let mut tx = store.begin_lane().await.unwrap();
    tx.run("update broadlog_figures set hits = null")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    store_hits(&store, &[click(3, 7), click(4, 8)]).await;
    let rulings = BTreeMap::from([(1, machine()), (4, machine())]);
    let ruled = rule(&store, &rules(), &rulings).await.unwrap();
    assert_eq!((ruled.unknown, ruled.changed.len()), (vec![1], 1));
    recount(&store).await;
    // What came after is listed, and the first is known to have come before.
    let ruled = rule(&store, &rules(), &BTreeMap::from([(3, machine())]))
        .await
        .unwrap();
    assert_eq!(ruled.changed.len(), 1);
    recount(&store).await;
    let scratch = new_dir("recount").join("counted.db");
    store.recount(&scratch, true).await.unwrap();
    let ruled = rule(&store, &rules(), &BTreeMap::from([(1, machine())]))
        .await
        .unwrap();
    assert_eq!(ruled.changed.len(), 1);
    recount(&store).await;
    store.close().await;
}

async fn of_a_message_that_goes_round_the_world_any_hit_can_go(engine: Engine) {
    let store = new_store(engine).await;
    let mut hits: Vec<_> = (1..=140).map(|number| click(number, 7)).collect();
    hits.push(Hit {
        kind: Kind::Open,
        ..click(141, 7)
    });
    hits[4].judge(Reason::Crawler);
    store_hits(&store, &hits).await;
    for seqs in [vec![1, 2, 3], vec![130, 131], vec![5], vec![130], vec![141]] {
        let why = |seq| {
            if seq == 5 {
                Ruling::Rules(None)
            } else {
                machine()
            }
        };
        let rulings = seqs.iter().map(|seq| (*seq, why(*seq))).collect();
        let ruled = rule(&store, &rules(), &rulings).await.unwrap();
        assert!(ruled.unknown.is_empty(), "{seqs:?}");
        recount(&store).await;
    }
    let all = (1..=110).map(|seq| (seq, machine())).collect();
    let ruled = rule(&store, &rules(), &all).await.unwrap();
    assert!(ruled.unknown.is_empty(), "the next ones are found");
    recount(&store).await;
    let rest = (1..=141).map(|seq| (seq, machine())).collect();
    let ruled = rule(&store, &rules(), &rest).await.unwrap();
    assert!(ruled.unknown.is_empty());
    assert_eq!(count(&store, "broadlog_figures").await, 0);
    recount(&store).await;
    store.close().await;
}

on_both!(
    figures_are_those_of_hits_that_came_with_their_verdicts,
    what_a_person_decides_holds,
    whoever_comes_back_while_sketches_are_made_anew_is_in_them,
    an_order_that_a_machine_told_goes_and_comes_back,
    a_message_whose_hits_are_not_listed_stays_until_it_is_recounted,
    of_a_message_that_goes_round_the_world_any_hit_can_go,
);
