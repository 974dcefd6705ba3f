//! Hits in through the API and out of it again.

use serde_json::{Value, json};

use super::{DRAINING, HITS, make_delivery, post_hits, read_hits};
use crate::harness::{ADMIN_TOKEN, Campaign, Engine, TestServer, on_both};

async fn hits_come_in_as_an_object_an_array_or_lines(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let hit = r#"{"kind":"event","event":"x","ip":"192.0.2.7","at":"2026-01-02T03:04:05Z"}"#;
    for (content_type, body, accepted) in [
        ("application/json", hit.to_owned(), 1),
        ("application/json", format!("[{hit},{hit}]"), 2),
        ("application/x-ndjson", format!("{hit}\n{hit}\n{hit}\n"), 3),
        ("text/plain", format!("{hit}\n{hit}"), 2),
    ] {
        let answer = api.post(HITS, content_type, body).await;
        assert_eq!(answer.status, 202);
        assert_eq!(
            answer.json(),
            json!({ "accepted": accepted, "rejected": [] })
        );
    }
    let answer = api
        .post(
            HITS,
            "application/json",
            format!(r#"[{hit},{{"kind":"nope"}}]"#),
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["accepted"], 1);
    assert_eq!(answer.json()["rejected"][0]["index"], 1);
    assert_eq!(answer.json()["rejected"][0]["field"], "kind");
    for (body, status) in [
        ("{", 400),
        ("", 400),
        ("[1]", 422),
        (r#"{"revenue":true}"#, 422),
    ] {
        let answer = api.post(HITS, "application/json", body).await;
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let nobody = server.client().post(HITS, "application/json", hit).await;
    assert_eq!(nobody.status, 401);

    server.wait_drained(DRAINING).await;
    let (hits, _) = read_hits(&mut api, "").await;
    assert_eq!(hits.len(), 9);
    for hit in hits {
        assert_eq!(hit["ip"], "192.0.2.7", "not the sender's");
        assert_eq!(hit["user_agent"], Value::Null, "not the sender's");
        assert_eq!(hit["occurred_at"], "2026-01-02T03:04:05Z");
        assert_eq!(hit["verdict"], "human");
    }
    server.finish().await;
}

async fn hits_are_sifted_by_time_link_verdict_and_site(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    server.client().get(&mail.link_path(0)).await;
    server.client().get(&mail.open_path(0)).await;
    let mut machine = server.client().header("user-agent", "Googlebot/2.1");
    machine.get(&mail.link_path(0)).await;
    server
        .client()
        .get("/mtracking.gif?page_url=a&site=blog")
        .await;
    server.wait_drained(DRAINING).await;
    let mut api = server.client().admin();
    let (all, _) = read_hits(&mut api, "").await;
    let third = all[2]["received_at"].as_str().unwrap().to_owned();
    type Matches<'t> = &'t dyn Fn(&Value) -> bool;
    let before = |hit: &Value| hit["received_at"].as_str().unwrap() < third.as_str();
    let cases: [(String, usize, Matches<'_>); 8] = [
        ("link_id=815".to_owned(), 2, &|hit| hit["link_id"] == 815),
        ("link_id=816".to_owned(), 0, &|_| false),
        ("verdict=bot".to_owned(), 1, &|hit| hit["verdict"] == "bot"),
        ("verdict=human&kind=click".to_owned(), 1, &|hit| {
            hit["verdict"] == "human" && hit["kind"] == "click"
        }),
        ("site=blog".to_owned(), 1, &|hit| hit["site"] == "blog"),
        ("site=%00".to_owned(), 0, &|_| false),
        (format!("from={third}"), 2, &|hit| !before(hit)),
        (format!("to={third}&delivery_id=4711"), 2, &|hit| {
            before(hit)
        }),
    ];
    assert_eq!(all.len(), 4);
    for (query, count, matches) in cases {
        let expected: Vec<&Value> = all.iter().filter(|hit| matches(hit)).collect();
        assert_eq!(expected.len(), count, "{query}: {all:?}");
        for limit in [1, 100] {
            let (mut found, mut after) = (Vec::new(), "0".to_owned());
            loop {
                let part = format!("{query}&limit={limit}&after={after}");
                let (hits, cursor) = read_hits(&mut api, &part).await;
                let is_last = cursor == after;
                found.extend(hits);
                after = cursor;
                if is_last {
                    break;
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }
    server.finish().await;
}

async fn amounts_come_out_to_the_last_digit(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    make_delivery(&mut api, "9007199254740993").await;
    let amounts = [
        "0.1",
        "0.2",
        "12345678901234.5678",
        "-99999999999999.9999",
        "\"49.90\"",
        "7",
    ];
    let lines: String = amounts
        .iter()
        .map(|amount| format!("{{\"revenue\":{amount},\"currency\":\"eur\",\"delivery_id\":\"9007199254740993\"}}\n"))
        .collect();
    assert_eq!(
        api.post(HITS, "application/x-ndjson", lines).await.status,
        202
    );
    server.wait_drained(DRAINING).await;
    let (hits, _) = read_hits(&mut api, "kind=transaction").await;
    let told: Vec<&str> = hits
        .iter()
        .map(|hit| hit["revenue"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "0.1",
            "0.2",
            "12345678901234.5678",
            "-99999999999999.9999",
            "49.9",
            "7"
        ]
    );
    assert_eq!(hits[0]["currency"], "EUR");
    assert_eq!(
        hits[0]["delivery_id"], "9007199254740993",
        "beyond 2^53 a string"
    );
    server.finish().await;
}

async fn a_stream_is_longer_than_a_page_and_ends_at_its_limit(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let small = "{\"kind\":\"event\",\"event\":\"small\"}\n".repeat(2_400);
    assert_eq!(
        api.post(HITS, "application/x-ndjson", small).await.status,
        202
    );
    // A page would hold these in memory at once, were it not ended by their size.
    let large = format!(
        "{{\"kind\":\"event\",\"event\":\"large\",\"extra\":{{{}}}}}\n",
        (0..60)
            .map(|n| format!("\"n{n}\":\"{}\"", "x".repeat(3_900)))
            .collect::<Vec<_>>()
            .join(",")
    );
    for _ in 0..2 {
        assert_eq!(
            api.post(HITS, "application/x-ndjson", large.repeat(20))
                .await
                .status,
            202
        );
    }
    server.wait_drained(DRAINING).await;
    let (all, end) = read_hits(&mut api, "limit=1000000").await;
    assert_eq!(all.len(), 2_440);
    assert_eq!(
        all[2_439]["extra"]["n59"].as_str().map(str::len),
        Some(3_900)
    );
    let (some, cursor) = read_hits(&mut api, "limit=2405").await;
    assert_eq!((some.len(), &some[..]), (2_405, &all[..2_405]));
    let (rest, cursor) = read_hits(&mut api, &format!("limit=2405&after={cursor}")).await;
    assert_eq!((&rest[..], &cursor), (&all[2_405..], &end));
    let (none, cursor) = read_hits(&mut api, &format!("after={cursor}")).await;
    assert_eq!((none.len(), cursor), (0, end));
    assert_eq!(read_hits(&mut api, "").await.0.len(), 1_000);
    for (wrong, field) in [
        ("limit=0", "limit"),
        ("limit=1000001", "limit"),
        ("kind=nope", "kind"),
        ("after=x", "after"),
    ] {
        let answer = api.get(&format!("{HITS}?{wrong}")).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (422, &json!(field)),
            "{wrong}"
        );
    }
    server.finish().await;
}

async fn no_cell_of_a_csv_is_a_formula(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let hostile = "=cmd|' /C calc'!A0";
    post_hits(
        &mut api,
        &json!([
            { "kind": "transaction", "page_title": hostile, "page_url": "@SUM(A1,\"2\")", "referrer": "-2+3", "order_id": "+4", "revenue": "-5.5", "tags": ["-vip", "a"] },
            { "kind": "event", "event": "# cursor=1", "page_title": "plain, \"quoted\"" },
        ]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let answer = api.get(&format!("{HITS}?format=csv")).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let text = answer.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("seq,id,received_at,"), "{text}");
    assert!(lines[1].contains(&format!(",\"'{hostile}\",")), "{text}");
    assert!(lines[1].contains(",\"'@SUM(A1,\"\"2\"\")\","), "{text}");
    assert!(lines[1].contains(",\"'-2+3\","), "{text}");
    assert!(lines[1].contains(",\"'+4\","), "{text}");
    assert!(lines[1].contains(",\"'-vip,a\","), "{text}");
    assert!(lines[1].contains(",-5.5,"), "a number stays one: {text}");
    assert!(lines[2].contains(",\"plain, \"\"quoted\"\"\","), "{text}");
    assert_eq!(answer.header("x-next-cursor"), "2");
    let again = api.get(&format!("{HITS}?format=csv&after=2")).await;
    assert_eq!(
        again.text().lines().count(),
        1,
        "the header: {}",
        again.text()
    );
    assert_eq!(again.header("x-next-cursor"), "2");
    server.finish().await;
}

/// Where the cursor is not known before the answer begins, it comes behind it, for whoever asks for
/// that.
async fn the_cursor_of_a_long_answer_is_a_trailer(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let hits: Vec<Value> = (0..1_500)
        .map(|n| json!({ "kind": "event", "event": n.to_string() }))
        .collect();
    post_hits(&mut api, &Value::from(hits)).await;
    server.wait_drained(DRAINING).await;
    for format in ["csv", "ndjson"] {
        for (limit, cursor, place) in [(1_400, 1_400, 0), (1_000, 1_000, 1), (100_000, 1_500, 0)] {
            let ask = |te: &str| {
                format!(
                    "GET {HITS}?format={format}&limit={limit} HTTP/1.1\r\nHost: \
                    x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
                     {te}Connection: close\r\n\r\n"
                )
            };
            let with = api.raw(ask("TE: trailers\r\n").as_bytes()).await;
            let with = String::from_utf8(with).unwrap().to_lowercase();
            let (head, body) = with.split_once("\r\n\r\n").unwrap();
            let told = format!("x-next-cursor: {cursor}\r\n");
            let places = [body, &format!("{head}\r\n")].map(|part| part.matches(&told).count());
            let expected = if place == 0 { [1, 0] } else { [0, 1] };
            assert_eq!(places, expected, "{format} {limit}");
            assert_eq!(
                place == 0,
                head.contains("trailer: x-next-cursor"),
                "{head}"
            );
            // Others do not see it, and lose nothing: `seq` is a cursor.
            let without = api.raw(ask("").as_bytes()).await;
            let without = String::from_utf8(without).unwrap().to_lowercase();
            let (_, body) = without.split_once("\r\n\r\n").unwrap();
            assert!(!body.contains("x-next-cursor"), "{format} {limit}");
        }
    }
    server.finish().await;
}

/// The same SQL on both databases, against the views.
async fn views_show_money_times_and_ids_as_people_read_them(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = api
        .post_json("/api/v1/deliveries", &json!({ "id": 7, "label": "Autumn" }))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let line = r#"{"contact":{"email":"ada@example.com"},"broadlog_id":70}"#;
    api.post(
        "/api/v1/deliveries/7/messages",
        "application/x-ndjson",
        line,
    )
    .await;
    post_hits(
        &mut api,
        &json!([
            { "kind": "transaction", "delivery_id": 7, "contact": { "email": "ada@example.com" }, "revenue": "169.90", "currency": "EUR",
              "order_id": "1", "tags": ["a", "b"], "at": "2026-01-02T03:04:05.678901Z", "ip": "192.0.2.7", "extra": { "colour": "red" } },
            { "kind": "transaction", "delivery_id": 7, "revenue": "-0.05", "currency": "EUR", "order_id": "1" },
        ]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let ada = api
        .get("/api/v1/contacts?email=ada@example.com")
        .await
        .json();
    let ada = ada["id"].as_str().unwrap();
    for (sql, expected) in [
        ("select round(sum(revenue), 2) from readable_hits", "169.85"),
        (
            "select round(sum(counted_revenue), 2) from readable_hits where proof = 'sender'",
            "169.85",
        ),
        (
            "select revenue_text from readable_hits where revenue > 100",
            "169.9000",
        ),
        (
            "select revenue_text from readable_hits where revenue < 0",
            "-0.0500",
        ),
        (
            "select contact_id from readable_hits where revenue > 100",
            ada,
        ),
        (
            "select contact_id from readable_messages where id = 70",
            ada,
        ),
        (
            "select id from readable_contacts where fields ->> 'email' = 'ada@example.com'",
            ada,
        ),
        (
            "select tags from readable_hits where tags is not null and tags <> ''",
            "a,b",
        ),
        (
            "select extra ->> 'colour' from readable_hits where extra is not null",
            "red",
        ),
        (
            "select ip from readable_hits where ip is not null",
            "192.0.2.7",
        ),
        (
            "select count(*) from readable_hits where visitor_id is null and occurred_at < \
            '2026-01-02 03:04:06'",
            "1",
        ),
        (
            "select count(*) from readable_hits where received_at >= '2026-01-01' and day >= \
            '2026-01-01' and hour between 0 and 23",
            "2",
        ),
        (
            "select d.label from readable_hits h join readable_deliveries d on d.id = \
            h.delivery_id group by d.label",
            "Autumn",
        ),
        (
            "select count(*) from readable_deliveries where created_at > '2020-01-01' and sent_at \
            is null",
            "1",
        ),
    ] {
        let as_text = format!("with t (x) as ({sql}) select cast(x as text) from t");
        let told = server.db().texts(&as_text).await;
        assert_eq!(told, [Some(expected.to_owned())], "{sql}");
    }
    server.finish().await;
}

/// Few hits are written in another way than many.
async fn a_hit_comes_out_the_same_however_many_came_with_it(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    make_delivery(&mut api, "9007199254740993").await;
    let links = "/api/v1/deliveries/9007199254740993/links";
    let link = json!({"id": 8, "url": "https://shop.example/"});
    assert_eq!(api.post_json(links, &link).await.status, 201);
    let messages = "/api/v1/deliveries/9007199254740993/messages";
    let message = "{\"broadlog_id\":7,\"contact\":{\"email\":\"ada@x.example\"}}\n";
    let made = api.post(messages, "application/x-ndjson", message).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let full = json!({
        "kind": "transaction", "at": "2026-01-02T03:04:05.678901Z", "site": "shop", "page_url": "https://shop.example/ü?x=1",
        "page_title": "Ωmega \"'", "page_language": "de", "referrer": "https://r.example/", "page_tag": "basket",
        "delivery_id": "9007199254740993", "broadlog_id": 7, "link_id": 8, "visitor_id": "0195d1c2-0000-7000-8000-000000000001",
        "contact": {"email": "ada@x.example"}, "revenue": "-12345678901234.5678", "currency": "EUR", "order_id": "A-1",
        "quantity": -3, "utm_source": "s", "utm_medium": "m", "utm_campaign": "c", "utm_term": "t", "utm_content": "n",
        "tags": "a,-b,c d", "event": "e", "user_agent": "agent", "extra": {"deep": [1, {"x": null}], "text": "\u{1}€"},
    });
    let with_ip = |ip: &str| {
        let mut hit = full.clone();
        hit["ip"] = json!(ip);
        hit
    };
    let kinds = [
        with_ip("192.0.2.7"),
        with_ip("2001:db8::1"),
        json!({"kind": "open"}),
    ];
    // One alone, one of each way of writing few, and many.
    for count in [1, 73, 400] {
        for hit in &kinds {
            let lines = format!("{hit}\n").repeat(count);
            let taken = api.post(HITS, "application/x-ndjson", lines).await;
            assert_eq!(taken.json()["accepted"], count, "{}", taken.text());
            server.wait_drained(DRAINING).await;
        }
    }
    let (mut hits, _) = read_hits(&mut api, "limit=10000").await;
    for hit in &mut hits {
        for own in ["seq", "id", "received_at"] {
            hit.as_object_mut().unwrap().remove(own).unwrap();
        }
    }
    let mut firsts: Vec<Value> = Vec::new();
    let mut start = 0;
    for count in [1, 73, 400] {
        for kind in 0..kinds.len() {
            let of_request = &hits[start..start + count];
            if firsts.len() <= kind {
                firsts.push(of_request[0].clone());
            }
            for hit in of_request {
                assert_eq!(hit, &firsts[kind], "of {count}");
            }
            start += count;
        }
    }
    assert_eq!(start, hits.len());
    assert_eq!(firsts[0]["revenue"], "-12345678901234.5678");
    assert_eq!(firsts[0]["tags"], json!(["a", "-b", "c d"]));
    assert_eq!(
        (&firsts[0]["ip"], &firsts[1]["ip"]),
        (&json!("192.0.2.7"), &json!("2001:db8::1"))
    );
    assert_eq!(firsts[2]["extra"], Value::Null);
    for (column, value) in [
        ("delivery_id", json!("9007199254740993")),
        ("broadlog_id", json!(7)),
        ("link_id", json!(8)),
        ("proof", json!("sender")),
    ] {
        assert_eq!(firsts[0][column], value, "{column}");
    }
    server.finish().await;
}

on_both!(
    hits_are_sifted_by_time_link_verdict_and_site,
    hits_come_in_as_an_object_an_array_or_lines,
    amounts_come_out_to_the_last_digit,
    a_stream_is_longer_than_a_page_and_ends_at_its_limit,
    no_cell_of_a_csv_is_a_formula,
    the_cursor_of_a_long_answer_is_a_trailer,
    views_show_money_times_and_ids_as_people_read_them,
    a_hit_comes_out_the_same_however_many_came_with_it,
);
