//! Webhooks: each hit arrives at least once, signed, under one id, whatever is killed; a receiver
//! that misbehaves holds up nobody.

mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use self::receiver::{Manner, Received, Receiver};
use crate::harness::{
    Campaign, Client, Engine, Load, PostgresServer, Setup, TestServer, new_dir, on_both, wait_for,
};

const WITHIN: Duration = Duration::from_secs(30);

fn setup(engine: Engine) -> Setup {
    TestServer::on(engine).with("WEBHOOKS__ALLOW_NETWORKS", "127.0.0.0/8")
}

async fn call(server: &TestServer, method: Method, path: &str, body: Value) -> (u16, Value) {
    let mut api = server.client().admin();
    let body = match body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    let path = format!("/api/v1/webhooks{path}");
    let answer = api.request(method, &path, &[], body).await.unwrap();
    let told = match answer.body.is_empty() {
        true => Value::Null,
        false => answer.json(),
    };
    (answer.status, told)
}

async fn done(server: &TestServer, method: Method, path: &str, body: Value) -> Value {
    let (status, told) = call(server, method, path, body).await;
    assert!((200..300).contains(&status), "{path}: {status} {told}");
    told
}

async fn get(server: &TestServer, path: &str) -> Value {
    done(server, Method::GET, path, Value::Null).await
}

/// Makes a webhook: its path, and its secret.
async fn make(server: &TestServer, receiver: &Receiver, filter: Value) -> (String, String) {
    let request = json!({"url": receiver.url(), "label": "CRM", "filter": filter});
    let made = done(server, Method::POST, "", request).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    (format!("/{}", made["id"].as_str().unwrap()), secret)
}

async fn post_hits(server: &TestServer, kind: &str, titles: &[String]) {
    let hits: Vec<Value> = titles
        .iter()
        .map(|title| {
            json!({"kind": kind, "page_url": "https://shop.example/", "page_title": title,
                "event": if kind == "event" { Value::from("seen") } else { Value::Null }})
        })
        .collect();
    let mut api = server.client().admin();
    let answer = api.post_json("/api/v1/hits", &json!(hits)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["accepted"], hits.len(), "{}", answer.text());
    server.wait_stored(WITHIN).await;
}

fn titles(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("page {number}")).collect()
}

/// Checks a signature by OpenSSL, which knows nothing of ours.
fn assert_signed(received: &Received, secret: &str) {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let seconds = &received.headers["webhook-timestamp"];
    let file = new_dir("signed").join("signed");
    std::fs::write(
        &file,
        format!("{}.{seconds}.{}", received.id(), received.body),
    )
    .unwrap();
    let mac = Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-mac", "HMAC", "-macopt"])
        .arg(format!("hexkey:{key}"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(mac.status.success());
    let mac = base64::engine::general_purpose::STANDARD.encode(mac.stdout);
    let signatures: Vec<&str> = received.headers["webhook-signature"].split(' ').collect();
    assert!(
        signatures.contains(&format!("v1,{mac}").as_str()),
        "{signatures:?}"
    );
}

fn signatures(received: &Received) -> usize {
    received.headers["webhook-signature"].split(' ').count()
}

async fn wait_count(receiver: &Receiver, count: usize) {
    wait_for(&format!("{count} hits arrive"), WITHIN, async || {
        receiver.count() >= count
    })
    .await;
    assert_eq!(receiver.count(), count);
}

async fn a_receiver_gets_each_matching_hit_signed_as_the_api_tells_it(engine: Engine) {
    let server = setup(engine).start().await;
    let receiver = Receiver::start(Manner::Takes).await;
    post_hits(&server, "pageview", &["before".to_owned()]).await;
    let (path, secret) = make(&server, &receiver, json!({"kind": "event"})).await;
    post_hits(&server, "event", &titles(3)).await;
    post_hits(&server, "pageview", &titles(2)).await;
    wait_count(&receiver, 3).await;

    let told = server.client().admin().get("/api/v1/hits?kind=event").await;
    let told: Vec<Value> = told
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let id = path.trim_start_matches('/').replace('-', "");
    for received in receiver.received() {
        assert_signed(&received, &secret);
        let body = received.json();
        assert!(told.contains(&body["data"]), "{body}");
        assert_eq!(body["type"], "hit.event");
        assert_eq!(body["timestamp"], body["data"]["received_at"]);
        assert_eq!(received.id(), format!("{id}_{}", received.seq()));
        assert_eq!(received.headers["content-type"], "application/json");
    }

    // Both secrets sign until the old one ends.
    let rotate = format!("{path}/secret");
    let rotated = done(&server, Method::POST, &rotate, Value::Null).await;
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, secret);
    post_hits(&server, "event", &titles(1)).await;
    wait_count(&receiver, 4).await;
    let received = receiver.received().pop().unwrap();
    assert_eq!(signatures(&received), 2);
    assert_signed(&received, &secret);
    assert_signed(&received, &new);
    let newest = done(&server, Method::POST, &rotate, json!({"keep_hours": 0})).await;
    post_hits(&server, "event", &titles(1)).await;
    wait_count(&receiver, 5).await;
    let received = receiver.received().pop().unwrap();
    assert_eq!(signatures(&received), 1);
    let newest = newest["secret"].as_str().unwrap().to_owned();
    assert_signed(&received, &newest);

    // An ended one goes on where it stopped.
    let ended = done(&server, Method::POST, &format!("{path}/end"), Value::Null).await;
    assert_eq!(ended["ended_because"], "operator");
    post_hits(&server, "event", &titles(2)).await;
    done(
        &server,
        Method::PATCH,
        &path,
        json!({"ended": false, "label": null}),
    )
    .await;
    wait_count(&receiver, 7).await;
    wait_for("it is written down", WITHIN, async || {
        get(&server, &path).await["sent"] == 7
    })
    .await;
    let view = get(&server, &path).await;
    assert_eq!(view["label"], Value::Null);
    assert_eq!(view["filter"], json!({"kind": "event"}));
    let list = get(&server, "").await;
    assert_eq!(list["webhooks"], json!([view]));

    // From a place on, under the same ids.
    let ids = |received: &[Received]| -> BTreeSet<String> {
        received.iter().map(|one| one.id().to_owned()).collect()
    };
    let before = ids(&receiver.received());
    let again = format!("{path}/send-again");
    done(&server, Method::POST, &again, json!({"after": "0"})).await;
    wait_count(&receiver, 14).await;
    assert_eq!(ids(&receiver.received()), before);

    // Nobody is told a secret again, nor what may be one in the address.
    for secret in [secret, new, newest, "in-the-url".to_owned()] {
        let secret = secret.trim_start_matches("whsec_");
        assert!(!server.log().contains(secret), "{}", server.log());
        if secret != "in-the-url" {
            assert!(!list.to_string().contains(secret));
        }
    }
    let (status, _) = call(&server, Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, 204);
    let (status, _) = call(&server, Method::GET, &path, Value::Null).await;
    assert_eq!(status, 404);
    let secrets = "select count(*) from webhook_secrets";
    assert_eq!(server.db().number(secrets).await, 0);
    server.finish().await;
}
on_both!(a_receiver_gets_each_matching_hit_signed_as_the_api_tells_it);

async fn a_hit_that_is_not_taken_is_put_aside_and_the_others_arrive(engine: Engine) {
    let server = setup(engine).start().await;
    let no = "422 No\r\ncontent-length: 29\r\n\r\n<script>alert(1)</script>\0\x1b[0";
    let receiver = Receiver::start(Manner::Refuses("poison", no.to_owned())).await;
    let (path, _) = make(&server, &receiver, json!({})).await;
    let mut all = titles(20);
    all[3] = "poison".to_owned();
    post_hits(&server, "pageview", &all).await;
    wait_count(&receiver, 19).await;
    wait_for("it is put aside", WITHIN, async || {
        get(&server, &path).await["failures"] == 1
    })
    .await;
    let view = get(&server, &path).await;
    assert_eq!(view["failing_since"], Value::Null, "{view}");
    let failures = get(&server, &format!("{path}/failures")).await;
    let failure = &failures["failures"][0];
    assert_eq!(failure["status"], 422, "{failures}");
    assert_eq!(failure["answer"], "<script>alert(1)</script>[0");
    assert!(failure["next_attempt_at"].is_string(), "{failures}");
    let attempts = get(&server, &format!("{path}/attempts")).await;
    assert_eq!(attempts["attempts"][0]["seq"], failure["seq"], "{attempts}");

    receiver.set(Manner::Takes);
    let again = format!("{path}/send-again");
    done(&server, Method::POST, &again, Value::Null).await;
    wait_count(&receiver, 20).await;
    let last = receiver.received().pop().unwrap();
    assert_eq!(last.json()["data"]["page_title"], "poison");
    assert_eq!(failure["webhook_id"], last.id());
    wait_for("nothing is left", WITHIN, async || {
        get(&server, &path).await["failures"] == 0
    })
    .await;
    // One that arrived long ago, once more.
    let first = receiver.received()[0].seq();
    done(&server, Method::POST, &again, json!({"seq": first})).await;
    wait_count(&receiver, 21).await;
    assert_eq!(receiver.received()[20].seq(), first);
    server.finish().await;
}
on_both!(a_hit_that_is_not_taken_is_put_aside_and_the_others_arrive);

async fn receivers_that_misbehave_hold_up_nobody(engine: Engine) {
    let server = setup(engine).start().await;
    let says = |lines: &str| Manner::Says(lines.to_owned());
    let well = Receiver::start(Manner::Takes).await;
    let hanging = Receiver::start(Manner::Hangs).await;
    let flooding = Receiver::start(Manner::Floods).await;
    let gone = Receiver::start(says("410 Gone\r\ncontent-length: 0\r\n\r\n")).await;
    let busy = "503 Busy\r\nretry-after: 7200\r\ncontent-length: 0\r\n\r\n";
    let busy = Receiver::start(says(busy)).await;
    let moved = "301 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    let moved = Receiver::start(says(moved)).await;
    let mut paths = Vec::new();
    for receiver in [&hanging, &flooding, &gone, &busy, &moved, &well] {
        paths.push(make(&server, receiver, json!({})).await.0);
    }
    post_hits(&server, "pageview", &titles(500)).await;
    wait_count(&well, 500).await;
    let [_, flooding, gone, busy, moved, _] = &paths[..] else {
        panic!("six")
    };
    wait_for("it is ended", WITHIN, async || {
        get(&server, gone).await["ended_because"] == "gone"
    })
    .await;
    for (path, status) in [(flooding, 500), (busy, 503), (moved, 301)] {
        wait_for("it waits", WITHIN, async || {
            get(&server, path).await["failing_since"].is_string()
        })
        .await;
        let attempts = get(&server, &format!("{path}/attempts")).await;
        assert_eq!(attempts["attempts"][0]["status"], status, "{attempts}");
    }
    let view = get(&server, busy).await;
    let at = |name: &str| {
        let text = view[name].as_str().unwrap();
        sillage::door::Micros::parse_rfc3339(text).unwrap().0 / 1_000_000
    };
    let wait = at("next_attempt_at") - at("failing_since");
    assert!((7_199..=7_201).contains(&wait), "{view}");
    // What waits costs nothing that grows.
    let rows = "select count(*) from webhook_failures";
    assert_eq!(server.db().number(rows).await, 0);
    wait_for("patience ends", WITHIN, async || {
        get(&server, &paths[0]).await["failing_since"].is_string()
    })
    .await;
    let attempts = get(&server, &format!("{}/attempts", paths[0])).await;
    let attempt = &attempts["attempts"][0];
    assert_eq!(
        attempt["answer"], "no answer within 20 seconds",
        "{attempts}"
    );
    assert_eq!(attempt["status"], Value::Null);
    assert!(server.metric("sillage_webhook_requests_total").await > 500.0);
    server.finish().await;
}
on_both!(receivers_that_misbehave_hold_up_nobody);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_public_addresses_by_https_are_called_unless_networks_are_allowed() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    for url in [
        "http://crm.example.com/",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://user:word@crm.example.com/",
    ] {
        let (status, told) = call(&server, Method::POST, "", json!({"url": url})).await;
        assert_eq!((status, &told["field"]), (422, &json!("url")), "{told}");
    }
    // A name is looked at when it is called.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://localhost:{port}/hook");
    let made = done(&server, Method::POST, "", json!({"url": url})).await;
    let path = format!("/{}", made["id"].as_str().unwrap());
    post_hits(&server, "pageview", &titles(1)).await;
    wait_for("it is refused", WITHIN, async || {
        get(&server, &path).await["failing_since"].is_string()
    })
    .await;
    let attempts = get(&server, &format!("{path}/attempts")).await;
    let answer = attempts["attempts"][0]["answer"].as_str().unwrap();
    assert!(answer.contains("is not a public address"), "{attempts}");
    let came = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(came.is_err(), "nobody connected");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_servers_sends_and_the_other_takes_over() {
    let url = PostgresServer::new_shared_database().await;
    let mut one = setup(Engine::Postgres).database(&url).start().await;
    let other = setup(Engine::Postgres).database(&url).start().await;
    let receiver = Receiver::start(Manner::Takes).await;
    make(&one, &receiver, json!({})).await;
    for _ in 0..5 {
        post_hits(&one, "pageview", &titles(100)).await;
        post_hits(&other, "pageview", &titles(100)).await;
    }
    // Not once too often, although both look.
    wait_count(&receiver, 1_000).await;
    let both = [&one, &other];
    let mut sent = Vec::new();
    for server in both {
        sent.push(server.metric("sillage_webhook_requests_total").await);
    }
    sent.sort_by(f64::total_cmp);
    assert_eq!(sent, [0.0, 1_000.0]);
    // Whoever sends is killed, and the rest goes on.
    let (killed, left) = match one.metric("sillage_webhook_requests_total").await > 0.0 {
        true => (&mut one, other),
        false => {
            let mut other = other;
            other.kill().await;
            post_hits(&one, "pageview", &titles(10)).await;
            wait_count(&receiver, 1_010).await;
            return;
        }
    };
    killed.kill().await;
    post_hits(&left, "pageview", &titles(10)).await;
    wait_count(&receiver, 1_010).await;
    left.finish().await;
}

/// Kills in the suite; `SILLAGE_IT_KILLS` makes a longer run.
fn kills() -> u64 {
    let kills = std::env::var("SILLAGE_IT_KILLS").ok();
    kills.and_then(|kills| kills.parse().ok()).unwrap_or(6)
}

async fn every_hit_arrives_whatever_is_killed(engine: Engine) {
    let mut server = setup(engine).start().await;
    let mut receiver = Receiver::start(Manner::Takes).await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let request = json!({"url": receiver.url(), "after": "0"});
    let made = done(&server, Method::POST, "", request).await;
    let path = format!("/{}", made["id"].as_str().unwrap());
    let load = Load::start("webhooks", server.address(), &mail, 4, Some(400));
    let (mut servers, mut receivers) = (0, 0);
    for _ in 0..kills() {
        let chance = getrandom::u64().unwrap();
        let moment = Duration::from_millis(200 + chance % 1_500);
        tokio::time::sleep(moment).await;
        if chance.is_multiple_of(2) {
            servers += 1;
            server.kill().await;
            server.launch();
            server.wait_ready().await;
        } else {
            receivers += 1;
            receiver.kill().await;
            tokio::time::sleep(Duration::from_millis(chance % 700)).await;
            receiver.begin().await;
        }
        // The operator says that it is back, rather than wait for minutes.
        send_again(&mut server.client().admin(), &path).await;
    }
    let report = load.stop().await;
    server.wait_drained(Duration::from_secs(60)).await;
    report.compare(server.db()).await.assert_stored_once();
    send_again(&mut server.client().admin(), &path).await;
    let within = Duration::from_secs(120);
    wait_for("everything has arrived", within, async || {
        let view = get(&server, &path).await;
        let last = server.db().number("select max(seq) from hits").await;
        let cursor: i64 = view["cursor"].as_str().unwrap().parse().unwrap();
        cursor >= last && view["failures"] == 0
    })
    .await;
    let mut ids: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for received in receiver.received() {
        let id = format!("{} {}", received.id(), received.json()["data"]["id"]);
        ids.entry(received.seq()).or_default().insert(id);
    }
    let hits = server.db().hits().await;
    let requests = receiver.count();
    println!(
        "{engine:?}: {servers} kills of the server, {receivers} of the receiver: {hits} hits in \
        {requests} requests"
    );
    assert_eq!(ids.len() as i64, hits, "none is missing");
    assert!(ids.values().all(|ids| ids.len() == 1), "ids are stable");
    let least = server.db().number("select min(seq) from hits").await;
    assert_eq!(ids.keys().next(), Some(&least));
    server.finish().await;
}
on_both!(every_hit_arrives_whatever_is_killed);

async fn send_again(api: &mut Client, path: &str) {
    let path = format!("/api/v1/webhooks{path}/send-again");
    // A server that has just started may not have its tables yet: the next call does.
    let _ = api.request(Method::POST, &path, &[], Bytes::new()).await;
}
