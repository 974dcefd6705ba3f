//! Pages, referring hosts, campaigns and visitors of a day: they add up, and nobody can make them
//! grow without end.

use std::collections::BTreeMap;

use sqlx::Row as _;
use uuid::Uuid;

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind, VisitorId};
use crate::store::Store;
use crate::store::figures::{Figures, Visitors};

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, hit, new_store, save_figures, texts};

async fn save(store: &Store, hits: &[Hit]) {
    let mut tx = store.begin_lane().await.unwrap();
    let hits: Vec<&Hit> = hits.iter().collect();
    let load = Figures::load(&mut tx, &hits, std::iter::empty());
    let mut figures = load.await.unwrap();
    for hit in hits {
        figures.add(0, hit, false);
    }
    save_figures(&mut tx, figures).await;
    tx.commit().await.unwrap();
}

fn page(url: &str, visitor: u128) -> Hit {
    let mut hit = hit(Kind::Pageview);
    hit.page_url = Some(url.to_owned());
    hit.visitor_id = Some(VisitorId(Uuid::from_u128(visitor)));
    hit
}

async fn tops(store: &Store, dimension: &str) -> BTreeMap<String, i64> {
    let sql = "select value, hits from top_figures where dimension = $1";
    both!(store.reader(), pool => {
        let rows = sqlx::query(sql).bind(dimension).fetch_all(pool).await.unwrap();
        rows.iter().map(|row| (row.get("value"), row.get("hits"))).collect()
    })
}

async fn batches_of_pages_hosts_and_campaigns_add_up(engine: Engine) {
    let store = new_store(engine).await;
    for batch in 1..=2 {
        let mut hits = Vec::new();
        for (number, text) in HOSTILE.iter().enumerate() {
            let mut hit = page(&format!("https://shop.example/{number}?{text}"), 1);
            hit.referrer = Some("https://search.example/?q=1".to_owned());
            hit.utm.source = Some((*text).to_owned());
            hits.push(hit);
        }
        let mut bot = page("https://shop.example/bot", 2);
        bot.verdict = crate::model::hit::Verdict::Bot;
        hits.push(bot);
        save(&store, &hits).await;
        let pages = tops(&store, "page").await;
        assert_eq!(pages.len(), HOSTILE.len());
        assert!(pages.values().all(|hits| *hits == batch), "{pages:?}");
        let hosts = tops(&store, "referrer").await;
        assert_eq!(
            hosts,
            BTreeMap::from([("search.example".to_owned(), batch * HOSTILE.len() as i64)])
        );
        let campaigns = tops(&store, "campaign").await;
        for text in HOSTILE {
            assert_eq!(campaigns[&format!("{text}\t\t")], batch, "{text}");
        }
    }
    store.close().await;
}

async fn a_day_has_so_many_pages_and_a_past_one_its_top(engine: Engine) {
    let store = new_store(engine).await;
    // Each batch has pages of its own, and one that all have.
    for batch in 0..6 {
        let mut hits: Vec<Hit> = (0..2_100)
            .map(|number| page(&format!("https://shop.example/{batch}/{number}"), 1))
            .collect();
        hits.extend((0..3).map(|_| page("https://shop.example/", 1)));
        save(&store, &hits).await;
    }
    let pages = tops(&store, "page").await;
    assert_eq!(pages.len(), 10_001, "ten thousand, and one for the rest");
    assert_eq!(pages["https://shop.example/"], 18);
    assert_eq!(pages[""], 6 * 2_100 + 1 - 10_000);
    let all: i64 = pages.values().sum();
    assert_eq!(all, 6 * 2_103);

    assert_eq!(store.fold_tops(NOW.day()).await.unwrap(), 0, "today stays");
    let later = Micros(NOW.0 + Micros::DAY).day();
    assert_eq!(store.fold_tops(later).await.unwrap(), 9_000);
    assert_eq!(store.fold_tops(later).await.unwrap(), 0);
    let pages = tops(&store, "page").await;
    assert_eq!(pages.len(), 1_001);
    assert_eq!(pages["https://shop.example/"], 18, "the top stays");
    assert_eq!(pages.values().sum::<i64>(), all, "nothing is lost");
    store.close().await;
}

async fn sites_are_told_apart_up_to_a_thousand(engine: Engine) {
    let store = new_store(engine).await;
    for batch in 0..3 {
        let hits: Vec<Hit> = (0..400)
            .map(|number| {
                let mut hit = page("https://shop.example/", 1);
                hit.site = format!("site {}", batch * 400 + number);
                hit
            })
            .collect();
        save(&store, &hits).await;
    }
    save(&store, &[page("https://shop.example/", 1)]).await;
    assert_eq!(count(&store, "counted_sites").await, 1_000);
    for table in ["site_figures", "top_figures", "visitor_sketches"] {
        assert_eq!(count(&store, table).await, 1_002, "{table}");
    }
    let rest = "select cast(hits as text) from site_figures where site = ''";
    assert_eq!(texts(&store, rest).await, [Some("200".to_owned())]);
    store.close().await;
}

async fn a_visitor_is_one_however_often_and_in_however_many_batches(engine: Engine) {
    let store = new_store(engine).await;
    for batch in 0..4 {
        let mut hits = Vec::new();
        for visitor in 0..150 {
            for url in ["/a", "/b"] {
                let mut hit = page(url, batch / 2 * 100 + visitor);
                hit.received_at = Micros(NOW.0 + i64::try_from(batch).unwrap() * Micros::HOUR);
                hits.push(hit);
            }
        }
        save(&store, &hits).await;
        save(&store, &hits).await;
    }
    let sql = "select sketch from visitor_sketches";
    let sketches: Vec<Vec<u8>> =
        both!(store.reader(), pool => sqlx::query_scalar(sql).fetch_all(pool).await).unwrap();
    assert_eq!(sketches.len(), 4);
    let mut all = Visitors::default();
    for sketch in &sketches {
        let mut one = Visitors::default();
        assert!(one.add_sketch(sketch) && all.add_sketch(sketch));
        assert!((145..=155).contains(&one.estimate()), "{}", one.estimate());
    }
    assert!((240..=260).contains(&all.estimate()), "{}", all.estimate());
    store.close().await;
}

on_both!(
    batches_of_pages_hosts_and_campaigns_add_up,
    a_day_has_so_many_pages_and_a_past_one_its_top,
    sites_are_told_apart_up_to_a_thousand,
    a_visitor_is_one_however_often_and_in_however_many_batches,
);
