//! Reading on while hits arrive.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{DRAINING, make_delivery, post_hits, read_hits};
use crate::harness::{Engine, TestServer, on_both};

/// The writers do not send again, and a busy disk may take longer than a reader should wait.
const PATIENT: (&str, &str) = ("SPOOL__PATIENCE", "10s");

/// Several writers, on Postgres through two servers, and readers that ask as fast as they can, so
/// that commits fall between their queries.
async fn a_cursor_skips_nothing_and_repeats_nothing_while_hits_arrive(engine: Engine) {
    const WRITERS: usize = 4;
    const REQUESTS: usize = 20;
    const HITS_A_REQUEST: usize = 15;
    let first = TestServer::on(engine)
        .with(PATIENT.0, PATIENT.1)
        .start()
        .await;
    let second = match first.database_url() {
        Some(url) => Some(
            TestServer::on(engine)
                .database(url)
                .with(PATIENT.0, PATIENT.1)
                .start()
                .await,
        ),
        None => None,
    };
    for id in ["1", "2"] {
        make_delivery(&mut first.client().admin(), id).await;
    }
    // Odd limits, so that answers end in the middle of batches.
    let filters = [
        "limit=97",
        "limit=31&kind=form",
        "limit=53&delivery_id=2",
        "limit=7&kind=form&delivery_id=1",
    ];
    let is_wanted = |filter: &str, hit: usize| {
        (!filter.contains("form") || hit.is_multiple_of(5))
            && (!filter.contains("delivery_id=2") || hit % 2 == 1)
            && (!filter.contains("delivery_id=1") || hit.is_multiple_of(2))
    };
    let (written, is_written) = tokio::sync::watch::channel(false);
    let readers = filters.map(|filter| {
        let (mut api, is_written) = (first.client().admin(), is_written.clone());
        tokio::spawn(async move {
            let (mut cursor, mut hits, mut answers_with_hits) = (String::new(), Vec::new(), 0);
            loop {
                let is_last = *is_written.borrow();
                let (more, next) = read_hits(&mut api, &format!("{filter}&after={cursor}")).await;
                answers_with_hits += usize::from(!more.is_empty());
                hits.extend(more);
                if is_last && next == cursor {
                    return (filter, cursor, hits, answers_with_hits);
                }
                cursor = next;
            }
        })
    });
    let writers = (0..WRITERS).map(|writer| {
        let second = second.as_ref().filter(|_| writer % 2 == 1);
        let server = second.unwrap_or(&first);
        async move {
            let mut api = server.client().admin();
            for request in 0..REQUESTS {
                let hits: Vec<Value> = (0..HITS_A_REQUEST)
                    .map(|hit| {
                        json!({
                            "kind": if hit % 5 == 0 { "form" } else { "event" },
                            "event": format!("{writer}-{request}-{hit}"),
                            "delivery_id": 1 + hit % 2,
                        })
                    })
                    .collect();
                post_hits(&mut api, &Value::from(hits)).await;
                server.wait_drained(DRAINING).await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    written.send_replace(true);

    let mut ends = BTreeSet::new();
    for reader in readers {
        let (filter, cursor, hits, answers_with_hits) = reader.await.unwrap();
        assert!(
            answers_with_hits > REQUESTS / 2,
            "{filter}: read while hits arrived"
        );
        let events: Vec<&str> = hits
            .iter()
            .map(|hit| hit["event"].as_str().unwrap())
            .collect();
        let distinct: BTreeSet<String> = events.iter().map(|&event| event.to_owned()).collect();
        let wanted: BTreeSet<String> = (0..WRITERS * REQUESTS * HITS_A_REQUEST)
            .map(|n| (n % HITS_A_REQUEST, n / HITS_A_REQUEST))
            .filter(|(hit, _)| is_wanted(filter, *hit))
            .map(|(hit, n)| format!("{}-{}-{hit}", n % WRITERS, n / WRITERS))
            .collect();
        assert_eq!(events.len(), distinct.len(), "{filter}: nothing twice");
        assert_eq!(distinct, wanted, "{filter}: nothing skipped");
        let order: Vec<i64> = hits
            .iter()
            .map(|hit| hit["seq"].as_i64().unwrap())
            .collect();
        assert!(order.is_sorted_by(|a, b| a < b), "{filter}: in order");
        ends.insert(cursor);
    }
    assert_eq!(
        ends.len(),
        1,
        "the end is one, whatever a filter matches: {ends:?}"
    );
    let end = ends.pop_first().unwrap();
    let mut api = first.client().admin();
    post_hits(
        &mut api,
        &json!({ "kind": "event", "event": "late", "delivery_id": 2 }),
    )
    .await;
    first.wait_drained(DRAINING).await;
    for filter in filters {
        let (hits, _) = read_hits(&mut api, &format!("{filter}&after={end}")).await;
        assert_eq!(
            hits.len(),
            usize::from(!filter.contains("form")),
            "{filter}"
        );
    }
    if let Some(second) = second {
        second.finish().await;
    }
    first.finish().await;
}

on_both!(a_cursor_skips_nothing_and_repeats_nothing_while_hits_arrive);
