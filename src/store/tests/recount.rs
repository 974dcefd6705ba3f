//! Figures counted again from the hits.

use uuid::Uuid;

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{
    BroadlogId, DeliveryId, Hit, HitRow, Kind, LinkId, Money, Reason, VisitorId,
};
use crate::store::Store;
use crate::store::figures::Figures;
use crate::store::maintenance::PartitionMonth;
use crate::store::recount::Recount;

use super::rig::{Engine, new_dir, on_both};
use super::{NOW, hit, new_store, save_figures};

/// Some of everything.
fn some_hits() -> Vec<Hit> {
    let kinds = [
        Kind::Open,
        Kind::Click,
        Kind::Pageview,
        Kind::Click,
        Kind::Event,
    ];
    (0..500_i64)
        .map(|number| {
            let mut hit = hit(kinds[number as usize % kinds.len()]);
            hit.received_at = Micros(NOW.0 - number * 7 * 60 * Micros::SECOND);
            hit.visitor_id = Some(VisitorId(Uuid::from_u128(number as u128 % 90)));
            if number % 3 > 0 {
                hit.delivery_id = Some(DeliveryId(1 + number % 2));
                hit.broadlog_id = Some(BroadlogId(100 + number % 40));
                hit.link_id = Some(LinkId(number % 4)).filter(|_| hit.kind == Kind::Click);
            } else {
                hit.site = format!("site {}", number % 5);
                hit.utm.campaign = Some("november".to_owned());
            }
            hit.page_url = Some(format!("https://shop.example/{}?x={number}", number % 11));
            if number % 13 == 0 {
                hit.judge(Reason::Crawler);
            }
            if number % 17 == 0 {
                hit.judge(Reason::TooSoon);
                hit.revenue = Some(Money(5_000));
            }
            hit.note("a note");
            hit
        })
        .collect()
}

/// Stores hits; with their figures, or as an earlier version left them.
async fn store_hits(store: &Store, hits: &[Hit], with_figures: bool) {
    for part in hits.chunks(70) {
        let mut tx = store.begin_lane().await.unwrap();
        let months = part.iter().map(|hit| PartitionMonth::of(hit.received_at));
        tx.ensure_partitions(&months.collect()).await.unwrap();
        let first = tx.take_hit_numbers(part.len() as i64).await.unwrap();
        let rows = part.iter().zip(first..).map(|(hit, seq)| HitRow {
            seq,
            hit,
            contact_id: None,
            counted_revenue: None,
        });
        tx.insert_hits(&rows.collect::<Vec<_>>()).await.unwrap();
        if with_figures {
            let hits: Vec<&Hit> = part.iter().collect();
            let load = Figures::load(&mut tx, &hits, std::iter::empty());
            let mut figures = load.await.unwrap();
            for (hit, seq) in hits.into_iter().zip(first..) {
                figures.add(seq, hit, false);
            }
            save_figures(&mut tx, figures).await;
        }
        tx.commit().await.unwrap();
    }
}

async fn recount(store: &Store, repairs: bool) -> Recount {
    let scratch = new_dir("recount").join("counted.db");
    store.recount(&scratch, repairs).await.unwrap()
}

fn different(found: &Recount) -> Vec<(&'static str, u64)> {
    let different = found.tables.iter().filter(|table| table.different > 0);
    different
        .map(|table| (table.table, table.different))
        .collect()
}

async fn what_was_counted_as_it_came_is_counted_again_alike(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &some_hits(), true).await;
    let found = recount(&store, false).await;
    assert!(found.is_right(), "{found:#?}");
    assert_eq!((found.hits, found.since), (500, None));
    assert!(found.tables.iter().all(|table| table.rows > 0), "{found:?}");
    store.close().await;
}

async fn a_figure_that_is_wrong_is_told_and_put_right(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &some_hits(), true).await;
    for sql in [
        "update time_figures set hits = hits + 5 where kind = 'open' and delivery_id = 1",
        "update delivery_figures set hits = hits + 5 where kind = 'open' and delivery_id = 1",
        "update broadlog_figures set opens = 77, first_open_at = null where broadlog_id = 104",
        "delete from clicking_visitors where delivery_id = 2",
        "delete from click_figures where delivery_id = 2",
        "delete from visitor_sketches",
        "delete from top_figures where dimension = 'page'",
    ] {
        let mut tx = store.begin_lane().await.unwrap();
        tx.run(sql).await.unwrap();
        tx.commit().await.unwrap();
    }
    let found = recount(&store, false).await;
    let tables: Vec<_> = different(&found).iter().map(|table| table.0).collect();
    let expected = [
        "time_figures",
        "delivery_figures",
        "broadlog_figures",
        "clicking_visitors",
        "click_figures",
        "top_figures",
        "visitor_sketches",
    ];
    assert_eq!(tables, expected, "{found:#?}");
    assert_eq!(recount(&store, true).await.tables, found.tables);
    let found = recount(&store, false).await;
    assert!(found.is_right(), "{found:#?}");
    store.close().await;
}

/// What an upgrade finds: hits, and figures that begin with it.
async fn figures_that_an_earlier_version_did_not_keep_are_made(engine: Engine) {
    let store = new_store(engine).await;
    store_hits(&store, &some_hits(), false).await;
    let found = recount(&store, true).await;
    assert_eq!(different(&found).len(), found.tables.len(), "{found:#?}");
    // Hits that come later are added to what was made.
    store_hits(&store, &some_hits(), true).await;
    let found = recount(&store, false).await;
    assert!(found.is_right(), "{found:#?}");
    let sql = "select cast(sum(hits) as bigint) from site_figures";
    let hits: i64 =
        both!(store.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await).unwrap();
    assert_eq!(hits, 1_000);
    store.close().await;
}

on_both!(
    what_was_counted_as_it_came_is_counted_again_alike,
    a_figure_that_is_wrong_is_told_and_put_right,
    figures_that_an_earlier_version_did_not_keep_are_made,
);
