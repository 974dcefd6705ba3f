//! People who sign in: with a password or by a proxy, for a while, and from our own pages only.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Client, Engine, PostgresServer, Setup, TestServer, free_port, on_both, wait_for,
};

const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "/api/v1/session";
const USERS: &str = "/api/v1/users";

/// A server with an operators' listener, whose proxy is this machine.
async fn start(setup: Setup) -> (TestServer, SocketAddr) {
    let console = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = setup.with("CONSOLE__LISTEN", &console.to_string());
    let setup = setup.with("TRUST__PROXIES", "127.0.0.1/32");
    (setup.start().await, console)
}

/// A browser at the operators' listener, on a page of ours.
fn browser(console: SocketAddr) -> Client {
    Client::new(console).header("sec-fetch-site", "same-origin")
}

/// The same through a proxy that speaks https.
fn https_browser(console: SocketAddr) -> Client {
    browser(console)
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", "192.0.2.7")
}

async fn add_user(server: &TestServer, name: &str, role: &str) -> i64 {
    let mut admin = server.client().admin();
    let draft = json!({"name": name, "role": role, "password": PASSWORD});
    let added = admin.post_json(USERS, &draft).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert!(!added.text().contains("argon2"), "{}", added.text());
    added.json()["id"].as_i64().unwrap()
}

async fn sign_in(client: &mut Client, name: &str, password: &str) -> Answer {
    let draft = json!({"name": name, "password": password});
    client.post_json(SESSION, &draft).await
}

/// A browser whose user is signed in.
async fn signed_in(console: SocketAddr, name: &str) -> Client {
    let mut client = browser(console);
    let answer = sign_in(&mut client, name, PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    client
}

async fn send(client: &mut Client, method: Method, path: &str, body: Value) -> Answer {
    let body = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    client.request(method, path, &[], body).await.unwrap()
}

async fn a_user_signs_in_works_and_signs_out(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    add_user(&server, "Ada", "operator").await;
    let mut ada = browser(console);
    assert_eq!(ada.get(SESSION).await.status, 401);
    // A session that somebody else chose is not taken.
    let planted = "A".repeat(43);
    ada.cookies
        .insert("sillage-local".to_owned(), planted.clone());
    let answer = sign_in(&mut ada, " ADA ", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["role"], "operator");
    let cookies = answer.set_cookies();
    let [cookie] = cookies[..] else {
        panic!("{cookies:?}");
    };
    assert!(cookie.starts_with("sillage-local="), "{cookie}");
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/"),
        "{cookie}"
    );
    let first = ada.cookies["sillage-local"].clone();
    assert_ne!(first, planted);
    let who = ada.get(SESSION).await.json();
    assert_eq!(
        (&who["actor"], &who["admin"]),
        (&json!("user ada"), &json!(false))
    );

    // Whoever signs in again has a new session, and the old one is over.
    assert_eq!(sign_in(&mut ada, "ada", PASSWORD).await.status, 200);
    assert_ne!(ada.cookies["sillage-local"], first);
    let mut old = browser(console);
    old.cookies.insert("sillage-local".to_owned(), first);
    assert_eq!(old.get(SESSION).await.status, 401);

    // Histories name the user.
    let link = json!({"url": "https://a.example/"});
    let link = ada.post_json("/api/v1/links", &link).await;
    assert_eq!(link.status, 201, "{}", link.text());
    let path = format!("/api/v1/links/{}", link.json()["id"]);
    let changed = send(&mut ada, Method::PATCH, &path, json!({"label": "new"})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let history = ada.get(&format!("{path}/history")).await.text();
    assert!(history.contains("\"user ada\""), "{history}");
    assert_eq!(ada.get(USERS).await.status, 403, "that is for admins");

    let session = ada.cookies["sillage-local"].clone();
    let out = send(&mut ada, Method::DELETE, SESSION, Value::Null).await;
    assert_eq!(out.status, 204, "{}", out.text());
    assert_eq!(
        ada.cookies.get("sillage-local"),
        None,
        "the browser forgets it"
    );
    ada.cookies.insert("sillage-local".to_owned(), session);
    assert_eq!(ada.get(SESSION).await.status, 401, "and the server too");
    server.finish().await;
}

async fn a_password_is_taken_over_https_or_from_this_machine_alone(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    add_user(&server, "ada", "viewer").await;
    let mut ada = https_browser(console);
    let answer = sign_in(&mut ada, "ada", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.set_cookies()[0];
    assert!(cookie.starts_with("__Host-sillage="), "{cookie}");
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{cookie}"
    );
    assert_eq!(ada.get(SESSION).await.status, 200);
    let session = ada.cookies["__Host-sillage"].clone();
    // Under the name that any page on this machine may set it is nothing.
    let mut other = https_browser(console);
    other.cookies.insert("sillage-local".to_owned(), session);
    assert_eq!(other.get(SESSION).await.status, 401);

    for mut open in [
        browser(console).header("x-forwarded-for", "192.0.2.7"),
        browser(console).header("x-forwarded-proto", "http"),
    ] {
        let refused = sign_in(&mut open, "ada", PASSWORD).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(
            refused.text().contains("trust.proxies"),
            "{}",
            refused.text()
        );
        assert_eq!(refused.set_cookies(), Vec::<&str>::new());
    }
    // The public listener knows no users.
    let mut public = server.client();
    assert_eq!(sign_in(&mut public, "ada", PASSWORD).await.status, 403);
    public.cookies.clone_from(&ada.cookies);
    let public = public.header("x-forwarded-proto", "https");
    let mut public = public.header("x-forwarded-for", "192.0.2.7");
    assert_eq!(public.get(SESSION).await.status, 401);
    server.finish().await;
}

async fn nobody_learns_which_of_the_two_is_wrong_and_tries_are_limited(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    add_user(&server, "ada", "viewer").await;
    let mut client = browser(console);
    let wrong = sign_in(&mut client, "ada", "wrong").await;
    let unknown = sign_in(&mut client, "bob", PASSWORD).await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.text(), unknown.text());
    let long = sign_in(&mut client, "ada", &"x".repeat(1 << 20)).await;
    assert_eq!(long.status, 422, "{}", long.text());
    assert_eq!(long.json()["field"], "password");
    let strange = sign_in(&mut client, "a\u{0}da", PASSWORD).await;
    assert_eq!(strange.status, 401, "{}", strange.text());

    let mut tries = 1;
    let refused = loop {
        let answer = sign_in(&mut client, "ada", "wrong").await;
        if answer.status != 401 {
            break answer;
        }
        tries += 1;
        assert!(tries <= 10, "{tries}");
    };
    assert_eq!((tries, refused.status), (10, 429), "{}", refused.text());
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=15 * 60 + 1).contains(&after), "{after}");
    assert_eq!(sign_in(&mut client, "ada", PASSWORD).await.status, 429);
    // The owner, elsewhere, is not kept out.
    let mut elsewhere = https_browser(console);
    assert_eq!(sign_in(&mut elsewhere, "ada", PASSWORD).await.status, 200);
    server.finish().await;
}

async fn what_another_sites_page_sends_with_the_cookie_is_refused(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    add_user(&server, "ada", "operator").await;
    let host = console.to_string();
    let own = format!("http://{host}");
    let link = json!({"url": "https://a.example/"});
    for (headers, is_taken) in [
        (&[("sec-fetch-site", "same-origin")][..], true),
        (&[("sec-fetch-site", "none")], true),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", "https://evil.example")], false),
        (&[("origin", "null")], false),
        (&[("origin", &own)], true),
        (&[("sec-fetch-site", "cross-site"), ("origin", &own)], false),
    ] {
        let mut page = Client::new(console);
        page.cookies = signed_in(console, "ada").await.cookies;
        let body: Bytes = link.to_string().into();
        let made = page
            .request(Method::POST, "/api/v1/links", headers, body)
            .await;
        let made = made.unwrap();
        let expected = if is_taken { 201 } else { 403 };
        assert_eq!(made.status, expected, "{headers:?}: {}", made.text());
        if !is_taken {
            assert_eq!(made.header("content-type"), "application/problem+json");
        }
        // Reading changes nothing, and its answer is not for that page.
        let read = page.get_with("/api/v1/links", headers).await;
        assert_eq!(read.status, 200, "{headers:?}");
        // Nobody is signed in by another page, as somebody else.
        let draft = json!({"name": "ada", "password": PASSWORD}).to_string();
        let signed = page
            .request(Method::POST, SESSION, headers, draft.into())
            .await;
        let expected = if is_taken { 200 } else { 403 };
        assert_eq!(signed.unwrap().status, expected, "{headers:?}");
    }
    // A token is sent by whoever holds it, from wherever.
    let mut program = Client::new(console).admin();
    let made = program
        .request(
            Method::POST,
            "/api/v1/links",
            &[("sec-fetch-site", "cross-site")],
            link.to_string().into(),
        )
        .await;
    assert_eq!(made.unwrap().status, 201);
    server.finish().await;
}

async fn sessions_are_listed_and_end_with_the_role_the_password_or_the_user(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let ada_id = add_user(&server, "ada", "viewer").await;
    let bob_id = add_user(&server, "bob", "admin").await;
    let taken = json!({"name": "ADA", "role": "viewer"});
    let taken = server.client().admin().post_json(USERS, &taken).await;
    assert_eq!(taken.status, 409, "{}", taken.text());
    let mut ada = signed_in(console, "ada").await;
    let mut twin = signed_in(console, "ada").await;
    let mut bob = signed_in(console, "bob").await;
    let list = async |client: &mut Client, query: &str| {
        let answer = client.get(&format!("/api/v1/sessions{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["sessions"].as_array().unwrap().clone()
    };
    assert_eq!(list(&mut ada, "").await.len(), 2, "her own");
    assert_eq!(list(&mut ada, &format!("?user_id={bob_id}")).await.len(), 0);
    assert_eq!(list(&mut bob, "").await.len(), 3);
    let hers = list(&mut bob, &format!("?user_id={ada_id}")).await;
    assert_eq!((hers.len(), &hers[0]["user"]), (2, &json!("ada")));
    assert!(hers[0]["agent"].as_str().unwrap().contains("Firefox"));

    // One session of hers, by herself; none of another's.
    let bobs = list(&mut bob, &format!("?user_id={bob_id}")).await[0]["id"].clone();
    let path = |id: &Value| format!("/api/v1/sessions/{}", id.as_str().unwrap());
    let ended = send(&mut ada, Method::DELETE, &path(&bobs), Value::Null).await;
    assert_eq!(ended.status, 404);
    let ended = send(&mut ada, Method::DELETE, &path(&hers[0]["id"]), Value::Null).await;
    assert_eq!(ended.status, 204);
    assert_eq!(twin.get(SESSION).await.status, 401, "the later one");
    assert_eq!(ada.get(SESSION).await.status, 200);

    // Another role is hers at once.
    let user = format!("{USERS}/{ada_id}");
    assert_eq!(ada.get("/api/v1/contacts").await.status, 403);
    let edit = json!({"role": "analyst"});
    assert_eq!(send(&mut bob, Method::PATCH, &user, edit).await.status, 200);
    assert_eq!(ada.get("/api/v1/contacts").await.status, 200);
    // Another password ends what was begun with the old one.
    let short = json!({"password": "short"});
    assert_eq!(
        send(&mut bob, Method::PATCH, &user, short).await.status,
        422
    );
    let edit = json!({"password": "another long password"});
    assert_eq!(send(&mut bob, Method::PATCH, &user, edit).await.status, 200);
    assert_eq!(ada.get(SESSION).await.status, 401);
    assert_eq!(sign_in(&mut ada, "ada", PASSWORD).await.status, 401);
    assert_eq!(
        sign_in(&mut ada, "ada", "another long password")
            .await
            .status,
        200
    );
    // Who is removed is gone.
    assert_eq!(
        send(&mut bob, Method::DELETE, &user, Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(ada.get(SESSION).await.status, 401);
    assert_eq!(
        send(&mut bob, Method::DELETE, &user, Value::Null)
            .await
            .status,
        404
    );
    let sessions = "select count(*) from sessions";
    assert_eq!(server.db().number(sessions).await, 1, "bob's");
    server.finish().await;
}

async fn a_user_changes_the_password_knowing_the_old_one(engine: Engine) {
    const NEW: &str = "another long password";
    let (server, console) = start(TestServer::on(engine)).await;
    add_user(&server, "ada", "viewer").await;
    let mut ada = signed_in(console, "ada").await;
    let mut twin = signed_in(console, "ada").await;
    let path = "/api/v1/session/password";
    for (old, new, field) in [
        ("wrong", NEW, "password"),
        (PASSWORD, "short", "new_password"),
    ] {
        let draft = json!({"password": old, "new_password": new});
        let refused = ada.post_json(path, &draft).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert_eq!(refused.json()["field"], field);
    }
    let draft = json!({"password": PASSWORD, "new_password": NEW});
    let program = Client::new(console).admin().post_json(path, &draft).await;
    assert_eq!(program.status, 409, "{}", program.text());
    let before = ada.cookies.clone();
    let changed = ada.post_json(path, &draft).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.header("cache-control"), "no-store");
    assert_ne!(ada.cookies, before);
    assert_eq!(ada.get(SESSION).await.status, 200);
    assert_eq!(twin.get(SESSION).await.status, 401);
    assert_eq!(sign_in(&mut twin, "ada", PASSWORD).await.status, 401);
    assert_eq!(sign_in(&mut twin, "ada", NEW).await.status, 200);
    server.finish().await;
}

async fn a_trusted_proxy_names_the_user_on_the_operators_listener_alone(engine: Engine) {
    let setup = TestServer::on(engine).with("CONSOLE__USER_HEADER", "X-Remote-User");
    let (server, console) = start(setup).await;
    let mut admin = server.client().admin();
    let draft = json!({"name": "ada", "role": "analyst"});
    let ada = admin.post_json(USERS, &draft).await.json();
    assert_eq!(ada["has_password"], false);
    let named = |name: &str| browser(console).header("x-remote-user", name);
    let who = named("Ada").get(SESSION).await;
    assert_eq!(who.status, 200, "{}", who.text());
    assert_eq!(who.json()["actor"], "user ada");
    assert_eq!(named("ada").get("/api/v1/contacts").await.status, 200);
    assert_eq!(named("ada").get("/api/v1/tokens").await.status, 403);
    for nobody in ["bob", "admin", "", "\u{e4}da"] {
        let refused = named(nobody).get(SESSION).await;
        assert_eq!(refused.status, 403, "{nobody}: {}", refused.text());
    }
    // Nobody has a password here to sign in with.
    assert_eq!(sign_in(&mut browser(console), "ada", "").await.status, 401);
    // What stands beside the proxy's own header was sent by a stranger.
    let twice = format!(
        "GET {SESSION} HTTP/1.1\r\nHost: {console}\r\nConnection: close\r\nX-Remote-User: \
        ada\r\nX-Remote-User: bob\r\n\r\n"
    );
    let answer = browser(console).raw(twice.as_bytes()).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 403"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // A page elsewhere makes a browser send what the proxy adds to.
    let link = json!({"url": "https://a.example/"}).to_string();
    let headers = [("sec-fetch-site", "cross-site")];
    let forged = named("ada")
        .request(Method::POST, "/api/v1/links", &headers, link.into())
        .await;
    assert_eq!(forged.unwrap().status, 403);
    let mut public = server.client().header("x-remote-user", "ada");
    assert_eq!(public.get(SESSION).await.status, 401);
    server.finish().await;

    let setup = TestServer::on(engine)
        .with("CONSOLE__USER_HEADER", "X-Remote-User")
        .with("TRUST__PROXIES", "192.0.2.0/24")
        .with("CONSOLE__LISTEN", &console.to_string());
    let server = setup.start().await;
    let mut admin = server.client().admin();
    assert_eq!(admin.post_json(USERS, &draft).await.status, 201);
    let refused = named("ada").get(SESSION).await;
    assert_eq!(refused.status, 401, "no proxy of ours says so");
    server.finish().await;
}

async fn users_are_added_listed_and_removed_on_the_command_line(engine: Engine) {
    let (server, console) = start(TestServer::on(engine)).await;
    let run = async |arguments: &[&str], input: &str| {
        let mut command = server.command();
        command.arg("user").args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // One that refuses its arguments does not read.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output()
        });
        let output = output.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let password = format!("{PASSWORD}\n");
    let (code, said, errors) = run(&["add", "Ada", "--role", "viewer"], &password).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        !said.contains("argon2") && !said.contains(PASSWORD),
        "{said}"
    );
    let mut ada = signed_in(console, "ada").await;
    let (code, said, _) = run(&["list"], "").await;
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &listed["name"], &listed["role"]),
        (Some(0), &json!("ada"), &json!("viewer"))
    );
    let (code, _, errors) = run(&["password", "ada"], "a second long password\n").await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(ada.get(SESSION).await.status, 401);
    assert_eq!(
        sign_in(&mut ada, "ada", "a second long password")
            .await
            .status,
        200
    );
    let (code, _, errors) = run(&["remove", "ADA"], "").await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(ada.get(SESSION).await.status, 401);
    for (wrong, input) in [
        (&["remove", "ada"][..], ""),
        (&["add", "bob", "--role", "king"], ""),
        (&["add", "bob", "--role", "viewer"], "short\n"),
        (&["add", " ", "--role", "viewer", "--no-password"], ""),
    ] {
        let (code, said, errors) = run(wrong, input).await;
        assert_eq!(code, Some(2), "{wrong:?}: {said}{errors}");
    }
    server.finish().await;
}

on_both!(
    a_user_signs_in_works_and_signs_out,
    a_password_is_taken_over_https_or_from_this_machine_alone,
    nobody_learns_which_of_the_two_is_wrong_and_tries_are_limited,
    what_another_sites_page_sends_with_the_cookie_is_refused,
    sessions_are_listed_and_end_with_the_role_the_password_or_the_user,
    a_user_changes_the_password_knowing_the_old_one,
    a_trusted_proxy_names_the_user_on_the_operators_listener_alone,
    users_are_added_listed_and_removed_on_the_command_line,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_tries_are_the_same_on_all_servers() {
    let url = PostgresServer::new_shared_database().await;
    let setup = || TestServer::on(Engine::Postgres).database(&url);
    let (one, console) = start(setup()).await;
    let (other, other_console) = start(setup()).await;
    add_user(&one, "ada", "viewer").await;
    let ada = signed_in(console, "ada").await;
    let mut there = browser(other_console);
    there.cookies.clone_from(&ada.cookies);
    assert_eq!(there.get(SESSION).await.status, 200);
    assert_eq!(
        send(&mut there, Method::DELETE, SESSION, Value::Null)
            .await
            .status,
        204
    );
    let mut here = browser(console);
    here.cookies.clone_from(&ada.cookies);
    assert_eq!(here.get(SESSION).await.status, 401, "at once");
    let mut tries = 0;
    let refused = loop {
        let client = if tries % 2 == 0 {
            &mut here
        } else {
            &mut there
        };
        match sign_in(client, "ada", "wrong").await.status {
            401 => tries += 1,
            status => break status,
        }
    };
    assert_eq!((refused, tries), (429, 10));
    one.finish().await;
    other.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_work_while_many_people_sign_in_at_once() {
    let (server, console) = start(TestServer::on(Engine::Sqlite)).await;
    add_user(&server, "ada", "viewer").await;
    let many: Vec<_> = (0..30)
        .map(|number| {
            tokio::spawn(async move {
                let mut client = browser(console);
                client.patience = Duration::from_secs(60);
                sign_in(&mut client, &format!("nobody-{number}"), "wrong")
                    .await
                    .status
            })
        })
        .collect();
    let mut reader = server.client();
    wait_for("a page", Duration::from_secs(5), async || {
        reader.get("/mtracking.gif").await.status == 200
    })
    .await;
    for answer in many {
        let status = answer.await.unwrap();
        assert!([401, 503].contains(&status), "{status}");
    }
    server.wait_drained(Duration::from_secs(20)).await;
    server.finish().await;
}
