//! Bad input: whatever is sent, the pixel answers its GIF, the redirect its page and the API a
//! clear 4xx; nothing panics, and the hit that comes after is stored.

mod raw;
mod texts;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::raw::{AGENT, encoded, get, request, say};
use crate::harness::{Campaign, Engine, TestServer, on_both};

/// The server is as it was: a hit is stored, none is in the way, nothing panicked.
async fn assert_unharmed(server: TestServer) {
    assert!(
        say(&server, &get("/mtracking.gif?event=marker"))
            .await
            .is_gif()
    );
    server.wait_drained(Duration::from_secs(30)).await;
    let markers = "select count(*) from hits where event = 'marker'";
    assert_eq!(server.db().number(markers).await, 1);
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    server.finish().await;
}

async fn what_is_too_long_is_cut_and_answered(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let (link, open) = (mail.link_path(0), mail.open_path(0));
    let many = "&junk=1234567890".repeat(1 << 16);
    let long = "x".repeat(1 << 20);
    for query in [
        format!("event=long{many}"),
        format!("event=long&page_url={long}"),
        long.clone(),
    ] {
        assert!(
            say(&server, &get(format!("/mtracking.gif?{query}")))
                .await
                .is_gif()
        );
        assert!(say(&server, &get(format!("{open}?{query}"))).await.is_gif());
        let said = say(&server, &get(format!("{link}?{query}"))).await;
        assert!(said.is_redirect(), "{}", said.head);
        assert!(
            said.head.len() < 4_000,
            "what does not fit a URL is not handed on"
        );
    }
    assert_eq!(say(&server, &get(format!("/r/{long}"))).await.status, 404);
    assert!(say(&server, &get(format!("/o/{long}.gif"))).await.is_gif());

    let flood = "X-Flood: 1\r\n".repeat(5_000);
    let cookie = format!("Cookie: visitorId={long}");
    for line in [&flood, &cookie] {
        let line = line.trim_end().as_bytes();
        assert!(
            say(
                &server,
                &request(
                    "GET",
                    b"/mtracking.gif?event=flood",
                    &[AGENT.as_bytes(), line],
                    b""
                )
            )
            .await
            .is_gif()
        );
        assert!(
            say(&server, &request("GET", link.as_bytes(), &[line], b""))
                .await
                .is_redirect()
        );
    }

    let body = |bytes: usize| format!("event=body&page_url={}", "y".repeat(bytes));
    let said = say(
        &server,
        &request(
            "POST",
            b"/mtc/event",
            &[AGENT.as_bytes()],
            body(300 << 10).as_bytes(),
        ),
    )
    .await;
    assert_eq!(said.status, 200);
    let said = say(
        &server,
        &request("POST", b"/mtc/event", &[], body(520 << 10).as_bytes()),
    )
    .await;
    assert_eq!(said.status, 413);

    server.wait_drained(Duration::from_secs(30)).await;
    let db = server.db();
    for (event, reason) in [
        ("long", "request cut%"),
        ("long", "request cut; page_url cut"),
        ("flood", "request cut%"),
        ("body", "page_url cut"),
    ] {
        let count =
            format!("select count(*) from hits where event = '{event}' and reason like '{reason}'");
        assert!(db.number(&count).await > 0, "{event}: {reason}");
    }
    assert_eq!(
        db.number("select cast(max(length(page_url)) as bigint) from hits")
            .await,
        8_000
    );
    assert_unharmed(server).await;
}

/// Where a sender can mend its request, it is told; and told at all: a closed connection says
/// nothing.
async fn what_only_programs_send_is_refused_clearly(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let long = "x".repeat(1 << 20);
    let flood = "X-Flood: 1\r\n".repeat(200);
    let flood = flood.trim_end().as_bytes();
    for (bytes, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (
            b"GET /mtracking.gif HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n".to_vec(),
            400,
        ),
        (
            b"GET /mtracking.gif HTTP/1.1\r\nHost: t\r\nA: b\r\n folded\r\n\r\n".to_vec(),
            400,
        ),
        (
            request("POST", b"/mtc/event", &[b"Cookie: \0"], b"a=b"),
            400,
        ),
        (request("POST", b"/mtc/event", &[flood], b"a=b"), 431),
        (
            request(
                "POST",
                format!("/mtc/event?{}", &long[..70_000]).as_bytes(),
                &[],
                b"a=b",
            ),
            414,
        ),
        (
            request(
                "GET",
                format!("/api/v1/hits?{}", &long[..70_000]).as_bytes(),
                &[],
                b"",
            ),
            414,
        ),
        (request("GET", b"/api/v1/hits", &[flood], b""), 431),
        (request("PUT", b"/mtracking.gif", &[], b"a=b"), 405),
        (get("/nothing"), 404),
    ] {
        assert_eq!(
            say(&server, &bytes).await.status,
            status,
            "{}",
            String::from_utf8_lossy(&bytes[..60.min(bytes.len())])
        );
    }
    assert_unharmed(server).await;
}

async fn values_that_no_column_holds_are_kept_with_the_reason(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let forty = "1234567890".repeat(4);
    let tags = (0..2_000)
        .map(|n| format!("tag{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let cases = [
        (
            format!("revenue={forty}"),
            "revenue too large",
            "revenue is null",
        ),
        (
            "revenue=ten".to_owned(),
            "revenue no number",
            "revenue is null",
        ),
        (
            "revenue=-12.50&currency=EUR".to_owned(),
            "",
            "revenue < 0 and currency = 'EUR'",
        ),
        (
            "revenue=1&currency=EURO".to_owned(),
            "currency unknown",
            "currency is null",
        ),
        (
            "quantity=99999999999".to_owned(),
            "quantity no number",
            "quantity is null",
        ),
        (
            "delivery_id=99999999999999999999".to_owned(),
            "delivery_id no number",
            "delivery_id is null",
        ),
        (format!("tags={tags}"), "tags cut", "tags is not null"),
        (
            format!("page_title={}", encoded(b"a\0b\xff")),
            "page_title repaired",
            "page_title = 'ab'",
        ),
        (
            "at=1970-01-01T00:00:00Z&x=2200-01-01T00:00:00Z".to_owned(),
            "",
            "extra is not null",
        ),
    ];
    for (index, (query, ..)) in cases.iter().enumerate() {
        assert!(
            say(
                &server,
                &get(format!("/mtracking.gif?event=case{index}&{query}"))
            )
            .await
            .is_gif()
        );
    }
    // Signed, but not by us; and ours with a bit changed.
    let mut stranger = server.client();
    for (name, value) in [
        ("visitorId", "0190a5a000007000800000000000000a.AAAAAAAAAAA"),
        ("broadlogId", "1000.AAAAAAAAAAA"),
        ("deliveryId", "4711.AAAAAAAAAAA"),
    ] {
        stranger.cookies.insert(name.to_owned(), value.to_owned());
    }
    stranger.get("/mtracking.gif?event=stranger").await;

    server.wait_drained(Duration::from_secs(30)).await;
    let db = server.db();
    for (index, (query, reason, condition)) in cases.iter().enumerate() {
        let row = format!(
            "select count(*) from hits where event = 'case{index}' and coalesce(reason, '') = \
            '{reason}' and {condition}"
        );
        assert_eq!(
            db.number(&row).await,
            1,
            "{} should be {reason:?} and {condition}",
            &query[..query.len().min(60)]
        );
    }
    let strange = "select count(*) from hits where event = 'stranger' and delivery_id is null and broadlog_id is null
        and reason = 'session cookie not signed by us; visitor id not signed by us'";
    assert_eq!(db.number(strange).await, 1);
    assert_unharmed(server).await;
}

async fn a_mangled_token_leads_nowhere(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let link = mail.link_path(0);
    let token = link.strip_prefix("/r/").unwrap();
    let mut reader = server.client();
    for length in 0..token.len() {
        assert_eq!(
            reader.get(&format!("/r/{}", &token[..length])).await.status,
            404
        );
    }
    for at in 0..token.len() {
        for other in ["A", "z", "-", ".", "%00"] {
            let mangled = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            if mangled != token {
                assert_eq!(
                    reader.get(&format!("/r/{mangled}")).await.status,
                    404,
                    "{mangled}"
                );
                assert_eq!(
                    reader.get(&format!("/o/{mangled}.gif")).await.body.len(),
                    43
                );
            }
        }
    }
    assert!(say(&server, &get(&link)).await.is_redirect());
    server.wait_drained(Duration::from_secs(30)).await;
    assert_eq!(server.db().hits().await, 1, "only the true one is a click");
    assert_unharmed(server).await;
}

async fn random_bytes_get_an_answer(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let link = mail.link_path(0);
    // All bytes but the line feed: with it, a line would be another one.
    let bytes = |most| {
        prop::collection::vec(
            any::<u8>().prop_map(|byte| if byte == b'\n' { b'/' } else { byte }),
            0..most,
        )
    };
    let case = (
        any::<bool>(),
        bytes(200),
        bytes(100),
        prop::collection::vec(bytes(60), 0..5),
    );
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let config = ProptestConfig {
            cases: 300,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new(config)
            .run(&case, |(is_click, query, cookie, headers)| {
                let target = if is_click {
                    link.as_bytes()
                } else {
                    b"/mtracking.gif"
                };
                // Folded lines are refused: which header they belong to is a question of framing.
                let headers = headers.iter().map(|line| line.trim_ascii_start());
                let cookie = [b"Cookie: visitorId=".as_slice(), &cookie].concat();
                let lines: Vec<&[u8]> = headers
                    .filter(|line| !line.is_empty())
                    .chain([cookie.as_slice()])
                    .collect();
                let bytes = request("GET", &[target, b"?", &query].concat(), &lines, b"");
                let said = handle.block_on(say(&server, &bytes));
                prop_assert!(
                    if is_click {
                        said.is_redirect()
                    } else {
                        said.is_gif()
                    },
                    "{said:?}"
                );
                Ok(())
            })
            .unwrap();
    });
    assert_unharmed(server).await;
}

on_both!(
    what_is_too_long_is_cut_and_answered,
    what_only_programs_send_is_refused_clearly,
    values_that_no_column_holds_are_kept_with_the_reason,
    a_mangled_token_leads_nowhere,
    random_bytes_get_an_answer,
);
