//! Every bad text in every place that takes one.

use std::time::Duration;

use super::assert_unharmed;
use super::raw::{AGENT, encoded, get, request, say};
use crate::harness::{Campaign, Engine, TestServer, on_both};

/// Strings that have broken somebody's parser, database, spreadsheet or page.
const TEXTS: &[&[u8]] = &[
    b"\0",
    b"a\0b",
    b"\xff\xfe",
    b"\xc3(",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x92",
    b"\xe2\x80\xae\xef\xbb\xbf\xef\xbf\xbd",
    b"\x01\x1b[31m\x7f\xc2\x85",
    b"'; drop table hits; --",
    b"\\'; select pg_sleep(9) --",
    b"<script>alert(1)</script>",
    b"\"><img src=x onerror=alert(1)>",
    b"=cmd|' /C calc'!A0",
    b"+1,\"a\",\"b\"\tc",
    b"{{7*7}}${7*7}%n%s",
    b"../../../etc/passwd",
    b"%",
    b"%zz%0",
    b"%00%ff%c3%28%0d%0aSet-Cookie:%20a=b",
    b"99999999999999999999",
    b"-9223372036854775809",
    b"1234567890123456789012345678901234567890",
    b"-12.5",
    b"NaN",
    b"EURO",
    b"1970-01-01T00:00:00Z",
    b"2200-01-01T00:00:00Z",
    b";=,=;;",
    b"a=b; visitorId=\"",
];

const PARAMETERS: &[&str] = &[
    "page_url",
    "page_title",
    "page_language",
    "referrer",
    "tags",
    "event",
    "site",
    "order_id",
    "idempotency_key",
    "mautic_device_id",
    "_sl",
    "revenue",
    "currency",
    "quantity",
    "delivery_id",
    "utm_source",
    "utm_campaign",
    "email",
    "firstname",
    "resolution",
];

async fn every_text_in_every_place_gets_its_answer(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "email,firstname")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let (link, open) = (mail.link_path(0), mail.open_path(0));
    let mut pixels = 0;
    for text in TEXTS {
        let name = String::from_utf8_lossy(text);
        let raw = [
            b"/mtracking.gif?page_title=".as_slice(),
            text,
            b"&",
            text,
            b"=1",
        ]
        .concat();
        assert!(say(&server, &get(&raw)).await.is_gif(), "raw {name:?}");
        let all: Vec<String> = PARAMETERS
            .iter()
            .map(|name| format!("{name}={}", encoded(text)))
            .collect();
        let query = all.join("&");
        assert!(
            say(
                &server,
                &get(format!("/mtracking.gif?{query}&{}=x", encoded(text)))
            )
            .await
            .is_gif(),
            "encoded {name:?}"
        );
        pixels += 2;

        let said = say(
            &server,
            &request("POST", b"/mtc/event", &[AGENT.as_bytes()], query.as_bytes()),
        )
        .await;
        assert_eq!(
            (said.status, said.body.starts_with(b"{")),
            (200, true),
            "event {name:?}"
        );
        let said = say(
            &server,
            &request("POST", b"/mtc/event", &[AGENT.as_bytes()], text),
        )
        .await;
        assert_eq!(said.status, 200, "body {name:?}");
        pixels += 2;

        assert!(
            say(
                &server,
                &get([link.as_bytes(), b"?a=", text, b"&", text].concat())
            )
            .await
            .is_redirect(),
            "click {name:?}"
        );
        assert!(
            say(&server, &get(format!("{link}?{query}")))
                .await
                .is_redirect(),
            "click {name:?}"
        );
        assert!(
            say(&server, &get([open.as_bytes(), b"?", text].concat()))
                .await
                .is_gif(),
            "open {name:?}"
        );
        pixels += 3;

        for start in [b"/r/".as_slice(), b"/o/"] {
            for path in [
                [start, text].concat(),
                [start, encoded(text).as_bytes()].concat(),
            ] {
                let said = say(&server, &get(&path)).await;
                assert!(
                    said.status == 404 || start == b"/o/" && said.is_gif(),
                    "{said:?} to {name:?}"
                );
            }
        }

        let header = |name: &str| [name.as_bytes(), b": ", text].concat();
        let cookie = [
            b"Cookie: visitorId=".as_slice(),
            text,
            b"; broadlogId=",
            text,
            b"; deliveryId=",
            text,
        ]
        .concat();
        for line in [
            header("User-Agent"),
            header("Referer"),
            header("X-Forwarded-For"),
            header("Sec-Purpose"),
            cookie,
            [*text, b": x"].concat(),
        ] {
            assert!(
                say(&server, &request("GET", b"/mtracking.gif", &[&line], b""))
                    .await
                    .is_gif(),
                "{}",
                String::from_utf8_lossy(&line)
            );
            assert!(
                say(&server, &request("GET", link.as_bytes(), &[&line], b""))
                    .await
                    .is_redirect(),
                "{}",
                String::from_utf8_lossy(&line)
            );
            pixels += 2;
        }
        for line in [
            header("Origin"),
            header("Content-Type"),
            header("Access-Control-Request-Method"),
        ] {
            assert!(
                say(&server, &request("POST", b"/mtc/event", &[&line], b"a=b"))
                    .await
                    .status
                    < 500
            );
            assert!(
                say(&server, &request("OPTIONS", b"/mtc/event", &[&line], b""))
                    .await
                    .status
                    < 500
            );
            assert!(
                say(&server, &request("GET", b"/mtc", &[&line], b""))
                    .await
                    .status
                    < 500
            );
        }
    }
    server.wait_drained(Duration::from_secs(30)).await;
    let stored = server.db().hits().await;
    assert!(stored >= pixels, "{stored} of {pixels} are stored");
    for text in ["'; drop table hits; --", "<script>alert(1)</script>"] {
        let titles = format!(
            "select count(*) from hits where page_title = '{}'",
            text.replace('\'', "''")
        );
        assert!(
            server.db().number(&titles).await > 0,
            "{text} is stored as it came"
        );
    }
    assert_unharmed(server).await;
}

on_both!(every_text_in_every_place_gets_its_answer);
