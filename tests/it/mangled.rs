//! Bytes that no case can hold: cookies in Latin-1, and links of which every character is escaped.

use std::time::Duration;

use crate::harness::{Campaign, Engine, TestServer, on_both};

const DRAINED: Duration = Duration::from_secs(20);

/// A page view with these cookies, on a connection of its own.
fn page_with(page: &str, cookies: &[&[u8]]) -> Vec<u8> {
    let head = format!(
        "GET /mtracking.gif?page_url={page} HTTP/1.1\r\nHost: t.example\r\nUser-Agent: \
        Mozilla/5.0 Gecko/20100101 Firefox/140.0\r\n\
         Connection: close\r\nCookie: "
    );
    [head.as_bytes(), &cookies.join(&b"; "[..]), b"\r\n\r\n"].concat()
}

async fn a_cookie_in_latin_1_takes_no_other_with_it(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    let pair = |name: &str| format!("{name}={}", reader.cookies[name]).into_bytes();
    let (broadlog, delivery, visitor) = (pair("broadlogId"), pair("deliveryId"), pair("visitorId"));
    let ours: [&[u8]; 3] = [&broadlog, &delivery, &visitor];
    for (page, cookies, reason) in [
        (
            "before",
            [&[&b"city=K\xf6ln"[..]], &ours[..]].concat(),
            None,
        ),
        (
            "behind",
            [&ours[..], &[&b"city=K\xf6ln"[..]]].concat(),
            None,
        ),
        (
            "of-our-name",
            [&[&b"visitorId=K\xf6ln"[..], b"broadlogId=\xf6"], &ours[..]].concat(),
            Some("broadlogId unreadable; visitorId unreadable"),
        ),
    ] {
        let answer = reader.raw(&page_with(page, &cookies)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
        let kept = String::from_utf8(visitor.clone()).unwrap();
        assert!(
            answer.contains(&kept),
            "{page}: the visitor keeps its cookie: {answer}"
        );
        server.wait_drained(DRAINED).await;
        let db = server.db();
        let of_page = format!(
            "select count(*) from hits where page_url = '{page}' and broadlog_id = 1000 and \
            delivery_id = 4711 and contact_id is not null"
        );
        assert_eq!(db.number(&of_page).await, 1, "{page}");
        let told = db
            .texts(&format!(
                "select reason from hits where page_url = '{page}'"
            ))
            .await;
        assert_eq!(told, [reason.map(str::to_owned)], "{page}");
    }
    let visitors = "select count(distinct visitor_id) from hits";
    assert_eq!(server.db().number(visitors).await, 1);
    server.finish().await;
}

async fn a_link_with_every_character_escaped_is_the_same_link(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    let escaped = |path: &str| {
        let (prefix, name) = path.split_at(3);
        let name: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("{prefix}{name}")
    };
    let click = reader.get(&escaped(&mail.link_path(0))).await;
    assert_eq!(click.status, 302);
    assert_eq!(click.header("location"), "https://shop.example/landing");
    let open = reader.get(&escaped(&mail.open_path(0))).await;
    assert_eq!((open.status, open.body.len()), (200, 43));
    server.wait_drained(DRAINED).await;
    let of_message = "select count(*) from hits where broadlog_id = 1000 and kind in ('click', \
        'open') and reason = 'link repaired'";
    assert_eq!(server.db().number(of_message).await, 2);
    server.finish().await;
}

on_both!(
    a_cookie_in_latin_1_takes_no_other_with_it,
    a_link_with_every_character_escaped_is_the_same_link,
);
