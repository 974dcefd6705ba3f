//! Hits at the edges: hostile texts, both ends of time, any month, and one that is refused.

use super::*;

async fn hostile_texts_come_back_to_the_letter(engine: Engine) {
    let store = new_store(engine).await;
    // Also the longest that a hit can have.
    let longest = "ü".repeat(8_000);
    let texts: Vec<&str> = HOSTILE.into_iter().chain([longest.as_str()]).collect();
    for many in [1, 40] {
        let hits: Vec<Hit> = texts
            .iter()
            .cycle()
            .take(texts.len() * many)
            .map(|text| {
                let mut hit = hit(Kind::Event);
                hit.page_url = Some((*text).to_owned());
                hit.event = Some((*text).to_owned());
                hit.tags = vec![TagChange {
                    name: (*text).to_owned(),
                    remove: false,
                }];
                hit.extra = Some(Map::from_iter([((*text).to_owned(), json!(text))]));
                hit
            })
            .collect();
        let first = insert(&store, &hits).await;
        for (stored, hit) in read_in_pages(&store, first - 1).await.iter().zip(&hits) {
            assert_eq!(stored.page_url, hit.page_url);
            assert_eq!(stored.event, hit.event);
            assert_eq!(stored.tags.0, [hit.tags[0].name.clone()]);
            let extra: Value =
                serde_json::from_str(stored.extra.as_ref().unwrap().0.get()).unwrap();
            assert_eq!(extra, Value::Object(hit.extra.clone().unwrap()));
        }
    }
    store.close().await;
}

/// Pages end by their size, too: the next goes on after the last one.
async fn read_in_pages(store: &Store, after: i64) -> Vec<StoredHit> {
    let until = store.last_seq().await.unwrap();
    let mut hits: Vec<StoredHit> = Vec::new();
    loop {
        let after = hits.last().map_or(after, |hit| hit.seq);
        let page = store
            .hits_between(&HitFilter::default(), after, until, 1_000)
            .await
            .unwrap();
        assert!(page.is_last() || !page.hits.is_empty());
        let is_last = page.is_last();
        hits.extend(page.hits);
        if is_last {
            let seqs: BTreeSet<i64> = hits.iter().map(|hit| hit.seq).collect();
            assert_eq!(seqs.len(), hits.len(), "each once");
            return hits;
        }
    }
}

async fn a_refused_hit_leaves_nothing_of_its_batch(engine: Engine) {
    let store = new_store(engine).await;
    for many in [2, 300] {
        let mut hits: Vec<Hit> = (0..many).map(|_| hit(Kind::Open)).collect();
        // The second has the number of the first, and on Postgres a text that no hit of ours has.
        hits[1].site = "\0".to_owned();
        let mut tx = store.begin_lane().await.unwrap();
        let months = BTreeSet::from([PartitionMonth::of(NOW)]);
        tx.ensure_partitions(&months).await.unwrap();
        let rows: Vec<HitRow<'_>> = hits
            .iter()
            .map(|hit| HitRow {
                seq: 7,
                hit,
                contact_id: None,
                counted_revenue: None,
            })
            .collect();
        let error = tx.insert_hits(&rows).await.unwrap_err();
        assert!(crate::store::is_refusal(&error), "{error:?}");
        assert!(!crate::store::is_away(&error), "{error:?}");
        tx.rollback().await.unwrap();
        assert_eq!(count(&store, "hits").await, 0);
    }
    // The connection is of use again.
    insert(&store, &[hit(Kind::Open)]).await;
    assert_eq!(count(&store, "hits").await, 1);
    store.close().await;
}

async fn times_come_back_to_the_microsecond_at_both_ends_of_time(engine: Engine) {
    let store = new_store(engine).await;
    // Postgres' first moment, 1970 and 2000 from both sides, and the last that 64 bits hold.
    let times = [
        -210_866_803_200_000_000,
        -62_135_596_800_000_001,
        -1,
        0,
        1,
        946_684_799_999_999,
        946_684_800_000_000,
        i64::MAX,
    ];
    for many in [1, 40] {
        let hits: Vec<Hit> = times
            .iter()
            .cycle()
            .take(times.len() * many)
            .map(|at| {
                let mut hit = hit(Kind::Event);
                hit.occurred_at = Some(Micros(*at));
                hit
            })
            .collect();
        let first = insert(&store, &hits).await;
        for (stored, hit) in read_in_pages(&store, first - 1).await.iter().zip(&hits) {
            assert_eq!(stored.occurred_at, hit.occurred_at);
        }
    }
    store.close().await;
}

async fn hits_of_any_month_find_their_place(engine: Engine) {
    let store = new_store(engine).await;
    let times = [
        "1969-12-31T23:59:59.999999Z",
        "2000-02-29T00:00:00Z",
        "2099-12-31T23:59:59Z",
    ];
    for at in times {
        let mut hit = hit(Kind::Open);
        hit.received_at = Micros::parse_rfc3339(at).unwrap();
        insert(&store, &[hit]).await;
    }
    let stored: Vec<String> = read_all(&store)
        .await
        .iter()
        .map(|hit| hit.received_at.rfc3339())
        .collect();
    assert_eq!(stored, times);
    store.close().await;
}

on_both!(
    hostile_texts_come_back_to_the_letter,
    a_refused_hit_leaves_nothing_of_its_batch,
    times_come_back_to_the_microsecond_at_both_ends_of_time,
    hits_of_any_month_find_their_place,
);
