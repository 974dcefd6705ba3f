//! The console: who sees which page, that a page from outside changes nothing, and that nothing in
//! a page runs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    ADMIN_TOKEN, Answer, Campaign, Client, Engine, Setup, TestServer, free_port, on_both,
};

const DRAINED: Duration = Duration::from_secs(20);
const PASSWORD: &str = "correct horse battery";
const SIGN_IN: &str = "/console/sign-in";
const FORM: &str = "application/x-www-form-urlencoded";
/// Bytes of a page with its style sheet and script, before compression.
const MOST_BYTES: usize = 60 << 10;
/// Words by which ad blockers know what to hide.
const HIDDEN_WORDS: [&str; 5] = ["track", "analytics", "pixel", "beacon", "stats"];
/// What would make a hit.
const TRACKING: [&str; 7] = [
    "/r/",
    "/o/",
    "/mtracking",
    "/mtc",
    "/email/",
    "/form/",
    "/webtr",
];

/// A server with an operators' listener.
pub(crate) async fn start(setup: Setup) -> (TestServer, SocketAddr) {
    let console = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = setup.with("CONSOLE__LISTEN", &console.to_string());
    (setup.start().await, console)
}

/// A browser on a page of ours.
fn browser(address: SocketAddr) -> Client {
    Client::new(address).header("sec-fetch-site", "same-origin")
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    body.finish()
}

async fn send(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    client.post(path, FORM, form(fields)).await
}

async fn with_token(address: SocketAddr) -> Client {
    let mut client = browser(address);
    let answer = send(&mut client, SIGN_IN, &[("token", ADMIN_TOKEN)]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/console/"),
        "{}",
        answer.text()
    );
    client
}

async fn with_role(server: &TestServer, console: SocketAddr, role: &str) -> Client {
    let draft = json!({"name": role, "role": role, "password": PASSWORD});
    let mut admin = server.client().admin();
    let added = admin.post_json("/api/v1/users", &draft).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let mut client = browser(console);
    let fields = [("name", role), ("password", PASSWORD)];
    let answer = send(&mut client, SIGN_IN, &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    client
}

/// What every page keeps to.
fn assert_sealed(path: &str, answer: &Answer) {
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';"),
        "{path}: {policy}"
    );
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    let text = answer.text();
    let html = text.to_lowercase();
    for inline in [
        "<style",
        "style=\"",
        " onclick",
        " onerror=\"",
        "<script>",
        "javascript:",
    ] {
        assert!(!html.contains(inline), "{path} has {inline}");
    }
    for address in addresses(&text) {
        // Within the console, and to its manual.
        let is_ours = ["/console", "/docs/", "?", "#"];
        assert!(
            is_ours.iter().any(|ours| address.starts_with(ours)),
            "{path} leads to {address}"
        );
        let path_of = address.split('?').next().unwrap();
        for word in HIDDEN_WORDS.iter().chain(&TRACKING) {
            assert!(!path_of.contains(word), "{path} leads to {address}");
        }
    }
    assert!(text.len() < MOST_BYTES, "{path}: {} bytes", text.len());
}

/// Where a page's links, forms and files lead.
fn addresses(html: &str) -> Vec<&str> {
    ["href=\"", "src=\"", "action=\""]
        .iter()
        .flat_map(|name| html.split(name).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

/// Where its links lead.
fn links(html: &str) -> Vec<&str> {
    let parts = html.split("href=\"").skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// A delivery whose mail was opened and clicked.
async fn campaign(server: &TestServer) -> Campaign {
    let mail = Campaign::make(server.db(), 3).await;
    for message in 0..2 {
        let mut reader = server.client();
        reader.get(&mail.open_path(message)).await;
        assert_eq!(reader.get(&mail.link_path(message)).await.status, 302);
    }
    server.wait_drained(DRAINED).await;
    mail
}

async fn whoever_signs_in_sees_what_came_of_a_delivery(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mail = campaign(&server).await;
    let page = format!("/console/deliveries/{}", mail.delivery);

    let mut stranger = browser(console);
    let asked = stranger.get(&page).await;
    assert_eq!(asked.status, 303);
    let to = format!("/console/sign-in?to={}", page.replace('/', "%2F"));
    assert_eq!(asked.header("location"), to);
    let sign_in = stranger.get(&to).await;
    assert!(
        sign_in.text().contains(&format!("value=\"{page}\"")),
        "{}",
        sign_in.text()
    );
    for (fields, status) in [
        (vec![("token", "wrong")], 401),
        (vec![("name", "ada"), ("password", "wrong")], 401),
        (vec![], 401),
    ] {
        let answer = send(&mut stranger, SIGN_IN, &fields).await;
        assert_eq!(answer.status, status, "{fields:?}");
        assert!(
            answer.text().contains("role=\"alert\""),
            "{}",
            answer.text()
        );
        assert_eq!(answer.set_cookies(), Vec::<&str>::new());
        assert_sealed(SIGN_IN, &answer);
    }
    let fields = [("token", ADMIN_TOKEN), ("to", page.as_str())];
    let answer = send(&mut stranger, SIGN_IN, &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, page.as_str())
    );
    let cookie = answer.set_cookies().join("");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let mut admin = stranger;

    let list = admin.get("/console/").await;
    assert!(
        list.text().contains(&format!("href=\"{page}\"")),
        "{}",
        list.text()
    );
    let shown = admin.get(&page).await.text();
    for part in [
        "November",
        "Recipients who clicked",
        "<polyline",
        "https://shop.example/landing",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let people = admin
        .get(&format!("{page}/people?what=clicked"))
        .await
        .text();
    for (reader, is_there) in [("reader0@", true), ("reader1@", true), ("reader2@", false)] {
        assert_eq!(people.contains(reader), is_there, "{people}");
    }
    // The cookie is the console's: no call of the API takes it.
    assert_eq!(admin.get("/api/v1/deliveries").await.status, 401);

    let out = send(&mut admin, "/console/sign-out", &[]).await;
    assert_eq!((out.status, out.header("location")), (303, SIGN_IN));
    assert_eq!(admin.get("/console/").await.status, 303);
    server.finish().await;
}

async fn a_users_session_ends_where_they_sign_out(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mut user = with_role(&server, console, "viewer").await;
    assert_eq!(user.get("/console/").await.status, 200);
    let kept = user.cookies.clone();
    assert_eq!(send(&mut user, "/console/sign-out", &[]).await.status, 303);
    user.cookies = kept;
    assert_eq!(
        user.get("/console/").await.status,
        303,
        "the session is over"
    );
    server.finish().await;
}

/// Pages, and the roles that see them: viewer, analyst, operator, admin.
async fn pages(server: &TestServer, mail: &Campaign) -> Vec<(String, [bool; 4])> {
    let all = [true; 4];
    let but_viewers = [false, true, true, true];
    let operators = [false, false, true, true];
    let delivery = format!("/console/deliveries/{}", mail.delivery);
    let seq = server.db().number("select max(seq) from hits").await;
    let other = server.db().number("select max(id) from deliveries").await;
    let short = server
        .db()
        .number("select id from links where slug = 'autumn'")
        .await;
    vec![
        ("/console/".to_owned(), all),
        ("/console/?search=nothing+is+called+so".to_owned(), all),
        (delivery.clone(), all),
        (format!("{delivery}?machines=1"), all),
        (format!("{delivery}/people?what=opened"), but_viewers),
        (format!("{delivery}/people?what=machine"), but_viewers),
        ("/console/compare".to_owned(), all),
        (
            format!("/console/compare?id={}&id={other}", mail.delivery),
            all,
        ),
        ("/console/website".to_owned(), all),
        (
            "/console/website?days=1&site=nowhere&zone=Europe%2FParis&model=linear&machines=1"
                .to_owned(),
            all,
        ),
        ("/console/hits".to_owned(), but_viewers),
        (
            "/console/hits?kind=click&judged=people".to_owned(),
            but_viewers,
        ),
        ("/console/hits?kind=form".to_owned(), but_viewers),
        (format!("/console/hits/{seq}"), but_viewers),
        ("/console/contacts".to_owned(), but_viewers),
        ("/console/contacts?search=reader1".to_owned(), but_viewers),
        (
            format!("/console/contacts/{}", mail.messages[0].1),
            but_viewers,
        ),
        (
            format!("/console/contacts/{}?machines=1", mail.messages[2].1),
            but_viewers,
        ),
        ("/console/links".to_owned(), all),
        ("/console/links?search=nothing+like+it".to_owned(), all),
        (format!("/console/links/{}", mail.link), all),
        (format!("/console/links/{short}"), all),
        ("/console/links/orphans".to_owned(), operators),
        ("/console/operation".to_owned(), operators),
        ("/console/inspector".to_owned(), operators),
    ]
}

/// All pages that an admin sees.
pub(crate) async fn every_page(server: &TestServer, mail: &Campaign) -> Vec<String> {
    let pages = pages(server, mail).await;
    pages.into_iter().map(|(path, _)| path).collect()
}

/// A server on which something of everything has happened.
pub(crate) async fn full_server(engine: Engine) -> (TestServer, SocketAddr, Campaign) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mail = campaign(&server).await;
    let mut api = server.client().admin();
    let draft = json!({"url": "https://shop.example/autumn", "slug": "autumn", "label": "Autumn"});
    assert_eq!(api.post_json("/api/v1/links", &draft).await.status, 201);
    let draft = json!({"id": 5_000, "label": "December", "sent_at": "2026-11-02T08:00:00Z"});
    assert_eq!(
        api.post_json("/api/v1/deliveries", &draft).await.status,
        201
    );
    let hits = json!([
        {"kind": "pageview", "contact": {"email": "reader0@example.com"}, "page_title": "Lamps", "page_url": "https://shop.example/lamps?a=1", "delivery_id": mail.delivery, "utm_medium": "email", "utm_campaign": "November", "tags": ["lamp"]},
        {"kind": "transaction", "contact": {"email": "reader0@example.com", "firstname": "Robin"}, "page_url": "https://shop.example/thanks", "delivery_id": mail.delivery, "broadlog_id": mail.messages[0].0, "revenue": "1049.90", "currency": "EUR", "order_id": "A-1", "quantity": 2},
        {"kind": "event", "event": "video watched", "page_url": "https://shop.example/film", "user_agent": "Googlebot/2.1"},
    ]);
    let sent = api.post_json("/api/v1/hits", &hits).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    assert_eq!(server.client().get("/r/no-such-link").await.status, 404);
    server.wait_drained(DRAINED).await;
    (server, console, mail)
}

async fn each_role_sees_its_pages_and_no_other(engine: Engine) {
    let (server, console, mail) = full_server(engine).await;
    let hits = server.db().hits().await;
    let roles = ["viewer", "analyst", "operator", "admin"];
    for (column, role) in roles.into_iter().enumerate() {
        let mut user = with_role(&server, console, role).await;
        for (path, seen_by) in pages(&server, &mail).await {
            let answer = user.get(&path).await;
            let expected = if seen_by[column] { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{role} {path}: {}", answer.text());
            assert_sealed(&path, &answer);
            let names_somebody = answer.text().contains("@example.com");
            assert!(
                role != "viewer" || !names_somebody,
                "{path} names people to a viewer"
            );
            // Whatever it leads to within the console, this reader may see.
            for address in links(&answer.text()) {
                if address.starts_with("/console/") {
                    let led = user.get(&address.replace("&amp;", "&")).await;
                    assert!(led.status < 300, "{role} {path} {address}: {}", led.status);
                }
            }
        }
    }
    for path in [
        "/console/deliveries/1",
        "/console/deliveries/x",
        "/console/nothing",
    ] {
        assert_eq!(
            with_token(console).await.get(path).await.status,
            404,
            "{path}"
        );
    }
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, hits, "looking makes no hits");
    server.finish().await;
}

async fn a_page_of_another_site_changes_nothing(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mut admin = with_token(console).await;
    for site in ["cross-site", "same-site"] {
        let answer = admin
            .request(
                Method::POST,
                "/console/sign-out",
                &[("sec-fetch-site", site)],
                Bytes::new(),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 403, "{site}");
        assert_sealed("/console/sign-out", &answer);
    }
    admin.headers.remove("sec-fetch-site");
    let other = [("origin", "https://other.example")];
    let answer = admin
        .request(Method::POST, "/console/sign-out", &other, Bytes::new())
        .await;
    assert_eq!(answer.unwrap().status, 403);
    assert_eq!(admin.get("/console/").await.status, 200, "still signed in");
    server.finish().await;
}

async fn a_person_judges_otherwise_and_the_figures_follow(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mail = campaign(&server).await;
    let seq = server
        .db()
        .number("select max(seq) from hits where kind = 'click'")
        .await;
    let delivery = format!("/console/deliveries/{}", mail.delivery);
    let clicked = format!("{delivery}/people?what=clicked");
    let mut admin = with_token(console).await;
    assert_eq!(
        admin
            .get(&clicked)
            .await
            .text()
            .matches("@example.com")
            .count(),
        2
    );
    let hit = format!("/console/hits/{seq}");
    let page = admin.get(&hit).await.text();
    assert!(page.contains("Nothing speaks against a person"), "{page}");
    let decide = format!("{hit}/verdict");
    for (fields, status) in [
        (vec![("verdict", "bot")], 422),
        (vec![("verdict", "robot"), ("reason", "x")], 422),
        (
            vec![("verdict", "bot"), ("reason", "our <monitoring>")],
            303,
        ),
    ] {
        assert_eq!(
            send(&mut admin, &decide, &fields).await.status,
            status,
            "{fields:?}"
        );
    }
    let page = admin.get(&hit).await.text();
    assert!(page.contains("Decided by admin"), "{page}");
    assert!(page.contains("our &#60;monitoring&#62;"), "{page}");
    assert_eq!(
        admin
            .get(&clicked)
            .await
            .text()
            .matches("@example.com")
            .count(),
        1
    );
    server.recount().await;

    let mut analyst = with_role(&server, console, "analyst").await;
    assert!(!analyst.get(&hit).await.text().contains("Judge otherwise"));
    let refused = send(
        &mut analyst,
        &decide,
        &[("verdict", "human"), ("reason", "x")],
    )
    .await;
    assert_eq!(refused.status, 403);
    server.finish().await;
}

async fn a_link_is_given_another_destination(engine: Engine) {
    let (server, console, _) = full_server(engine).await;
    let id = server
        .db()
        .number("select id from links where slug = 'autumn'")
        .await;
    let page = format!("/console/links/{id}");
    let mut admin = with_token(console).await;
    let before = admin.get(&page).await.text();
    // The short link is told, and leads nowhere from here.
    assert!(
        before.contains("/r/autumn</code>") && !before.contains("href=\"http"),
        "{before}"
    );
    let drawing = admin.get(&format!("{page}/code.svg")).await;
    assert_eq!(
        (drawing.status, drawing.header("content-type")),
        (200, "image/svg+xml")
    );
    let change = format!("{page}/change");
    let wrong = send(
        &mut admin,
        &change,
        &[("url", "javascript:x"), ("label", "New")],
    )
    .await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text().contains("value=\"javascript:x\""),
        "what was typed is kept"
    );
    let fields = [("url", "https://shop.example/winter"), ("label", "Winter")];
    let saved = send(&mut admin, &change, &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.text());
    let after = admin.get(saved.header("location")).await.text();
    for part in [
        "role=\"status\"",
        "https://shop.example/winter",
        "https://shop.example/autumn",
    ] {
        assert!(after.contains(part), "{part}: {after}");
    }
    let click = server.client().get("/r/autumn").await;
    assert_eq!(click.header("location"), "https://shop.example/winter");
    let fields = [
        ("url", "https://shop.example/winter"),
        ("ended", "1"),
        ("end_url", "https://shop.example/over"),
    ];
    assert_eq!(send(&mut admin, &change, &fields).await.status, 303);
    let click = server.client().get("/r/autumn").await;
    assert_eq!(click.header("location"), "https://shop.example/over");

    let mut analyst = with_role(&server, console, "analyst").await;
    assert!(
        !analyst
            .get(&page)
            .await
            .text()
            .contains("<form class=\"stack\"")
    );
    assert_eq!(send(&mut analyst, &change, &fields).await.status, 403);
    server.wait_drained(DRAINED).await;
    server.finish().await;
}

async fn a_pasted_request_is_explained_and_not_stored(engine: Engine) {
    let (server, console, mail) = full_server(engine).await;
    let hits = server.db().hits().await;
    let mut admin = with_token(console).await;
    let path = mail.link_path(0);
    for (request, status, told) in [
        (path.clone(), 200, "https://shop.example/landing"),
        (
            format!("curl -A Googlebot/2.1 'http://t.example{path}'"),
            200,
            "user agent of a crawler",
        ),
        ("/docs/".to_owned(), 422, "is not a tracking URL"),
        ("what is this".to_owned(), 422, "Paste an address"),
    ] {
        let answer = send(&mut admin, "/console/inspector", &[("request", &request)]).await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.text().contains(told), "{request}: {}", answer.text());
        assert_sealed("/console/inspector", &answer);
    }
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, hits);
    server.finish().await;
}

async fn what_the_database_refused_is_tried_again(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    server.db().refuse_poison().await;
    let mut api = server.client().admin();
    let hit = json!({"kind": "pageview", "page_url": "https://a.example/", "page_title": "poison"});
    assert_eq!(api.post_json("/api/v1/hits", &hit).await.status, 202);
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().quarantined().await, 1);
    let mut admin = with_token(console).await;
    let page = admin.get("/console/operation").await.text();
    let (_, rest) = page
        .split_once("action=\"/console/operation/quarantine/")
        .unwrap();
    let id = rest.split('"').next().unwrap();
    let retry = format!("/console/operation/quarantine/{id}");
    let again = send(&mut admin, &retry, &[]).await;
    assert_eq!(again.header("location"), "/console/operation?retry=refused");
    let told = admin.get(again.header("location")).await.text();
    assert!(told.contains("refused it again"), "{told}");
    let nothing = "/console/operation/quarantine/00000000-0000-4000-8000-000000000000";
    assert_eq!(send(&mut admin, nothing, &[]).await.status, 404);
    server.finish_with_quarantined(1).await;
}

async fn what_a_link_earned_stands_beside_it(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    let bought = "/mtracking.gif?page_url=https://shop.example/thanks&revenue=49.90&currency=EUR\
        &order_id=A-7&quantity=1";
    assert_eq!(reader.get(bought).await.status, 200);
    server.wait_drained(DRAINED).await;
    let mut admin = with_token(console).await;
    let page = admin
        .get(&format!("/console/deliveries/{}", mail.delivery))
        .await
        .text();
    let beside = "data-of=\"Revenue\"><span class=\"line\">49.90\u{a0}EUR</span>";
    assert_eq!(page.matches(beside).count(), 1, "{page}");
    server.finish().await;
}

/// A stream of new hits, and what has come of it so far.
struct Watch {
    stream: TcpStream,
    text: String,
}

impl Watch {
    async fn start(console: SocketAddr, admin: &Client, last_id: i64) -> Self {
        let cookies = admin
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let head = format!(
            "GET /console/hits/live HTTP/1.1\r\nhost: {console}\r\ncookie: {}\r\n\
            last-event-id: {last_id}\r\n\r\n",
            cookies.collect::<Vec<_>>().join("; ")
        );
        let mut stream = TcpStream::connect(console).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Self {
            stream,
            text: String::new(),
        }
    }

    /// The numbers of the hits, once there are so many.
    async fn hits(&mut self, count: usize) -> Vec<i64> {
        let seqs = |text: &str| -> Vec<i64> {
            let parts = text.split("href=\"/console/hits/").skip(1);
            parts
                .filter_map(|part| part.split('"').next()?.parse().ok())
                .collect()
        };
        let reading = async {
            while seqs(&self.text).len() < count {
                let mut bytes = [0; 16 << 10];
                let read = self.stream.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the stream ended: {}", self.text);
                self.text += &String::from_utf8_lossy(&bytes[..read]);
            }
        };
        let read = tokio::time::timeout(DRAINED, reading).await;
        assert!(read.is_ok(), "{count} hits: {}", self.text);
        seqs(&self.text)
    }

    /// The last event's id.
    fn last_id(&self) -> i64 {
        let mut lines = self.text.lines().rev();
        let id = lines.find_map(|line| line.strip_prefix("id: "));
        id.unwrap().trim().parse().unwrap()
    }
}

async fn who_watches_misses_nothing_when_the_server_is_killed(engine: Engine) {
    let (mut server, console) = start(TestServer::on(engine)).await;
    let mail = Campaign::make(server.db(), 1).await;
    let admin = with_token(console).await;
    let click = async |server: &TestServer, times: usize| {
        for _ in 0..times {
            let answer = server.client().get(&mail.link_path(0)).await;
            assert_eq!(answer.status, 302);
        }
    };
    let mut watch = Watch::start(console, &admin, 0).await;
    click(&server, 5).await;
    let mut seen = watch.hits(5).await;
    let last_id = watch.last_id();
    click(&server, 3).await;
    server.kill().await;
    server.start_again().await;
    server.wait_drained(DRAINED).await;
    click(&server, 2).await;
    let mut again = Watch::start(console, &admin, last_id).await;
    seen.extend(again.hits(10 - seen.len()).await);
    seen.sort_unstable();
    let stored = server
        .db()
        .texts("select cast(seq as text) from hits order by seq")
        .await;
    let mut stored: Vec<i64> = stored
        .into_iter()
        .flatten()
        .map(|seq| seq.parse().unwrap())
        .collect();
    stored.sort_unstable();
    assert_eq!(seen, stored, "no gap, no repetition");
    let mut viewer = with_role(&server, console, "viewer").await;
    assert_eq!(viewer.get("/console/hits/live").await.status, 403);
    drop((watch, again));
    server.finish().await;
}

/// What would run, or break a page, if anything showed it as it is.
const HOSTILE: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)></td></table>{{7*7}}\u{202e}";

/// The same where a text is short.
const SHORT: &str = "\"'><script>alert(1)</script><img src=x>";

async fn hostile_text_is_shown_and_does_nothing(engine: Engine) {
    let (server, console) =
        start(TestServer::on(engine).with("CONTACTS__UNIQUE", "email,customer_id")).await;
    let mut api = server.client().admin();
    let draft = json!({"id": 7, "label": HOSTILE, "channel": SHORT});
    let made = api.post_json("/api/v1/deliveries", &draft).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let draft = json!({"url": "https://a.example/?q=\"'><script>alert(1)</script>", "label": HOSTILE, "category": SHORT});
    let made = api.post_json("/api/v1/deliveries/7/links", &draft).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let hit = json!({"kind": "click", "delivery_id": 7, "page_url": "https://a.example/\"><script>alert(1)</script>", "page_title": HOSTILE, "referrer": HOSTILE, "user_agent": HOSTILE, "event": HOSTILE, "tags": ["<script>alert(1)</script>"], "utm_campaign": HOSTILE, "utm_medium": HOSTILE, "site": SHORT, "contact": {"customer_id": SHORT, "firstname": HOSTILE}});
    let sent = api.post_json("/api/v1/hits", &hit).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    server.wait_drained(DRAINED).await;
    let seq = server.db().number("select max(seq) from hits").await;
    let link = server.db().number("select min(id) from links").await;
    let people = api.get("/api/v1/contacts").await.json();
    let contact = people["contacts"][0]["id"].as_str().unwrap().to_owned();
    // Half of what was asked for and is not there is hostile.
    let hostile_path = "/r/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    assert_eq!(server.client().get(hostile_path).await.status, 404);
    let mut admin = with_token(console).await;
    let hostile = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>();
    for path in [
        "/console/".to_owned(),
        format!("/console/?search={hostile}"),
        "/console/deliveries/7".to_owned(),
        "/console/deliveries/7/people?what=clickers".to_owned(),
        "/console/website".to_owned(),
        format!("/console/compare?id=7&id=8&id={hostile}"),
        format!("/console/website?site={hostile}&zone={hostile}&model={hostile}&days=x"),
        "/console/hits".to_owned(),
        format!("/console/hits/{seq}"),
        "/console/contacts".to_owned(),
        format!("/console/contacts?search={hostile}&tag={hostile}"),
        format!("/console/contacts/{contact}"),
        "/console/links".to_owned(),
        format!("/console/links?search={hostile}"),
        format!("/console/links/{link}"),
        "/console/links/orphans".to_owned(),
        "/console/operation".to_owned(),
        format!("/console/deliveries/{hostile}"),
        format!("/console/sign-in?to={hostile}"),
    ] {
        let answer = admin.get(&path).await;
        assert!(
            [200, 404].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert_sealed(&path, &answer);
        let text = answer.text();
        for alive in ["<script>alert", "<img", "{{7*7}}<"] {
            assert!(!text.contains(alive), "{path}: {text}");
        }
        assert_eq!(
            text.matches("<table").count(),
            text.matches("</table>").count(),
            "{path}"
        );
    }
    for request in [
        HOSTILE,
        &format!("curl -A '{SHORT}' '/r/{hostile}'"),
        "/mtracking.gif?page_title=%3Cscript%3Ealert(1)%3C/script%3E",
    ] {
        let told = send(&mut admin, "/console/inspector", &[("request", request)]).await;
        assert!(
            [200, 422].contains(&told.status),
            "{request}: {}",
            told.text()
        );
        assert_sealed("/console/inspector", &told);
        assert!(!told.text().contains("<script>alert"), "{}", told.text());
    }
    let fields = [("name", HOSTILE), ("password", HOSTILE)];
    let refused = send(&mut browser(console), SIGN_IN, &fields).await;
    assert_eq!(refused.status, 401);
    assert_sealed(SIGN_IN, &refused);
    server.finish().await;
}

async fn the_public_listener_shows_it_where_the_api_is(engine: Engine) {
    let (server, _) = start(TestServer::on(engine)).await;
    let mut admin = with_token(server.address()).await;
    assert_eq!(admin.get("/console/").await.status, 200);
    let sign_in = browser(server.address()).get(SIGN_IN).await.text();
    assert!(
        !sign_in.contains("name=\"password\""),
        "users sign in on their own listener"
    );
    let fields = [("name", "ada"), ("password", PASSWORD)];
    let refused = send(&mut browser(server.address()), SIGN_IN, &fields).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    // Over plain http from elsewhere nobody's token is taken.
    let mut afar = browser(server.address()).header("x-forwarded-for", "192.0.2.1");
    let refused = send(&mut afar, SIGN_IN, &[("token", ADMIN_TOKEN)]).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    server.finish().await;

    let (server, console) = start(TestServer::on(engine).with("API__PUBLIC", "false")).await;
    assert_eq!(server.client().get("/console/").await.status, 404);
    assert_eq!(server.client().get(SIGN_IN).await.status, 404);
    assert_eq!(with_token(console).await.get("/console/").await.status, 200);
    server.finish().await;
}

async fn files_are_sent_once(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mut client = browser(console);
    let mut bytes = 0;
    for path in [
        "/console/style.css",
        "/console/console.js",
        "/console/icon.svg",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200);
        bytes += answer.body.len();
        let tag = answer.header("etag").to_owned();
        let again = client.get_with(path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    assert!(bytes < MOST_BYTES / 2, "{bytes}");
    server.finish().await;
}

on_both!(
    whoever_signs_in_sees_what_came_of_a_delivery,
    a_users_session_ends_where_they_sign_out,
    each_role_sees_its_pages_and_no_other,
    a_person_judges_otherwise_and_the_figures_follow,
    a_link_is_given_another_destination,
    what_a_link_earned_stands_beside_it,
    who_watches_misses_nothing_when_the_server_is_killed,
    a_pasted_request_is_explained_and_not_stored,
    what_the_database_refused_is_tried_again,
    a_page_of_another_site_changes_nothing,
    hostile_text_is_shown_and_does_nothing,
    the_public_listener_shows_it_where_the_api_is,
    files_are_sent_once,
);
