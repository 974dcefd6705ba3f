//! The console: who sees which page, that a page from outside changes nothing, and that nothing in
//! a page runs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::{Answer, Campaign, Client, Engine, Setup, TestServer, free_port, on_both};

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
    let answer = send(
        &mut client,
        SIGN_IN,
        &[("token", crate::harness::ADMIN_TOKEN)],
    )
    .await;
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
    let fields = [
        ("token", crate::harness::ADMIN_TOKEN),
        ("to", page.as_str()),
    ];
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
fn pages(mail: &Campaign) -> Vec<(String, [bool; 4])> {
    let all = [true; 4];
    let but_viewers = [false, true, true, true];
    let delivery = format!("/console/deliveries/{}", mail.delivery);
    vec![
        ("/console/".to_owned(), all),
        (delivery.clone(), all),
        (format!("{delivery}?machines=1"), all),
        (format!("{delivery}/people?what=opened"), but_viewers),
        (format!("{delivery}/people?what=machine"), but_viewers),
    ]
}

async fn each_role_sees_its_pages_and_no_other(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let mail = campaign(&server).await;
    let hits = server.db().hits().await;
    let roles = ["viewer", "analyst", "operator", "admin"];
    for (column, role) in roles.into_iter().enumerate() {
        let mut user = with_role(&server, console, role).await;
        for (path, seen_by) in pages(&mail) {
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
            for address in addresses(&answer.text()) {
                if address.starts_with("/console/") && !address.contains("sign-out") {
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
    let hit = json!({"kind": "click", "delivery_id": 7, "page_url": "https://a.example/", "contact": {"customer_id": SHORT, "firstname": HOSTILE}});
    let sent = api.post_json("/api/v1/hits", &hit).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    server.wait_drained(DRAINED).await;
    let mut admin = with_token(console).await;
    let hostile = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>();
    for path in [
        "/console/".to_owned(),
        format!("/console/?search={hostile}"),
        "/console/deliveries/7".to_owned(),
        "/console/deliveries/7/people?what=clickers".to_owned(),
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
    let refused = send(
        &mut afar,
        SIGN_IN,
        &[("token", crate::harness::ADMIN_TOKEN)],
    )
    .await;
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
    a_page_of_another_site_changes_nothing,
    hostile_text_is_shown_and_does_nothing,
    the_public_listener_shows_it_where_the_api_is,
    files_are_sent_once,
);
