//! What becomes of a request, told without its happening, and told to those who carry the key.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Campaign, Engine, TestServer, on_both};

const DRAINED: Duration = Duration::from_secs(20);
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const DECODE: &str = "/api/v1/debug/decode";

/// Names and values.
type Headers<'h> = &'h [(&'h str, &'h str)];

async fn decode(server: &TestServer, request: Value) -> Answer {
    server.client().admin().post_json(DECODE, &request).await
}

async fn explain(server: &TestServer, request: Value) -> Value {
    let answer = decode(server, request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.set_cookies(), [""; 0], "of the caller's browser");
    answer.json()
}

/// Nothing that was explained has reached the spool or the database.
async fn assert_nothing_stored(server: &TestServer) {
    server.wait_drained(DRAINED).await;
    assert_eq!(server.metric("sillage_hits_accepted_total").await, 0.0);
    for table in ["hits", "contacts", "visitors", "quarantine"] {
        let rows = server
            .db()
            .number(&format!("select count(*) from {table}"))
            .await;
        assert_eq!(rows, 0, "{table}");
    }
}

async fn a_pixel_is_explained_and_nothing_is_stored(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "email,city")
        .start()
        .await;
    let told = explain(
        &server,
        json!({
            "url": "https://t.example.com/mtracking.gif?page_url=cart&email=ada@example.com&city=K%C3%B6ln&revenue=49.90&currency=EUR&tags=a,-b&quantity=many&x=y",
            "headers": { "User-Agent": AGENT, "Cookie": "visitorId=forged" },
            "peer": "203.0.113.9",
        }),
    )
    .await;
    assert_eq!(
        (&told["status"], &told["refused"]),
        (&json!(200), &Value::Null)
    );
    let hit = &told["hits"][0];
    assert_eq!(told["hits"].as_array().unwrap().len(), 1);
    for (name, value) in [
        ("kind", json!("transaction")),
        ("dialect", json!("native")),
        ("page_url", json!("cart")),
        ("revenue", json!("49.9")),
        ("tags", json!(["a", "-b"])),
        ("ip", json!("203.0.113.9")),
        ("user_agent", json!(AGENT)),
        ("verdict", json!("human")),
        (
            "fields",
            json!({ "email": "ada@example.com", "city": "K\u{f6}ln" }),
        ),
        ("extra", json!({ "x": "y", "quantity": "many" })),
        (
            "notes",
            json!(["quantity no number", "visitor id not signed by us"]),
        ),
        ("quarantined", Value::Null),
    ] {
        assert_eq!(hit[name], value, "{name}");
    }
    let evidence = &hit["evidence"];
    assert_eq!(
        (&evidence["authority"], &evidence["provenance"]),
        (&json!("public"), &json!("none"))
    );
    assert_eq!(
        evidence["names"],
        json!([{ "by": "field", "field": "email", "value": "ada@example.com" }])
    );
    assert_eq!(evidence["visitor"]["from"], "made for this request");
    let cookies = told["set_cookies"].as_array().unwrap();
    assert!(cookies.iter().any(|cookie| {
        cookie
            .as_str()
            .is_some_and(|cookie| cookie.starts_with("visitorId="))
    }));
    assert_nothing_stored(&server).await;
    server.finish().await;
}

async fn a_signed_link_names_its_message(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let request = json!({ "url": mail.link_path(0), "headers": [["user-agent", AGENT]] });
    let told = explain(&server, request).await;
    assert_eq!(told["status"], 302);
    assert!(told["location"].as_str().unwrap().starts_with("https://"));
    let hit = &told["hits"][0];
    assert_eq!(
        (&hit["kind"], &hit["delivery_id"]),
        (&json!("click"), &json!(4711))
    );
    assert_eq!(hit["evidence"]["provenance"], "link");
    assert_eq!(
        hit["evidence"]["names"],
        json!([{ "by": "signed link", "message": 1000 }])
    );
    let names = |cookies: &Value| -> Vec<String> {
        let cookies: Vec<String> = serde_json::from_value(cookies.clone()).unwrap();
        let name = |cookie: &String| cookie.split('=').next().unwrap().to_owned();
        cookies.iter().map(name).collect()
    };
    assert_eq!(
        names(&told["set_cookies"]),
        ["broadlogId", "deliveryId", "visitorId"]
    );

    // The cookies that it told are good: a page after it would belong to the message.
    let cookies: Vec<String> = serde_json::from_value(told["set_cookies"].clone()).unwrap();
    let jar: Vec<&str> = cookies
        .iter()
        .map(|cookie| cookie.split(';').next().unwrap())
        .collect();
    let page = json!({ "url": "/mtracking.gif?page_url=next", "headers": { "cookie": jar.join("; "), "user-agent": AGENT } });
    let told = explain(&server, page).await;
    let evidence = &told["hits"][0]["evidence"];
    assert_eq!(evidence["provenance"], "session");
    assert_eq!(evidence["names"][0]["by"], "session of an earlier click");
    assert_eq!(
        evidence["names"][1]["from"],
        "an id that this server signed"
    );
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, 0);
    server.finish().await;
}

/// What is explained is what happens: the same requests, explained and then sent, make the same
/// rows.
async fn what_is_explained_is_what_happens(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "email")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let click = format!("{}?utm_source=x", mail.link_path(0));
    let open = mail.open_path(0);
    let long = format!("/mtracking.gif?page_url=long&filler={}", "x".repeat(70_000));
    let requests: [(&str, &str, &str, Headers); 7] = [
        ("GET", &click, "", &[("referer", "https://a.example/")]),
        ("HEAD", &click, "", &[]),
        ("GET", &open, "", &[("sec-purpose", "prefetch")]),
        (
            "GET",
            "/mtracking.gif?page_url=a<b>c&revenue=1e9&tags=t",
            "",
            &[("user-agent", "curl/8.0")],
        ),
        ("GET", &long, "", &[]),
        (
            "POST",
            "/mtc/event",
            "page_url=https%3A%2F%2Fshop.example%2F&event=seen",
            &[("content-type", "application/x-www-form-urlencoded")],
        ),
        (
            "GET",
            "/mtracking.gif?page_url=x&email=ada%40example.com",
            "",
            &[],
        ),
    ];
    let mut explained = Vec::new();
    for (method, url, body, headers) in requests {
        let mut all = vec![("host", "127.0.0.1")];
        if !headers.iter().any(|(name, _)| *name == "user-agent") {
            all.push(("user-agent", AGENT));
        }
        all.extend(headers);
        let mut request =
            json!({ "method": method, "url": url, "headers": all, "peer": "127.0.0.1" });
        if !body.is_empty() {
            request["body"] = body.into();
        }
        let told = explain(&server, request).await;
        let mut raw = format!("{method} {url} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in all {
            raw += &format!("{name}: {value}\r\n");
        }
        raw += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let answer = server.client().raw(raw.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = told["status"].as_u64().unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{url}: {answer}"
        );
        explained.extend(told["hits"].as_array().unwrap().clone());
    }
    server.wait_drained(DRAINED).await;
    let stored = server.client().admin().get("/api/v1/hits").await.text();
    let stored: Vec<Value> = stored
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(stored.len() - 1, explained.len());
    for (stored, explained) in stored.iter().zip(&explained) {
        for (name, value) in stored.as_object().unwrap() {
            // Made for each request anew, or found by the projection.
            let is_own = ["seq", "id", "received_at", "visitor_id", "contact_id"];
            if !is_own.contains(&name.as_str()) {
                assert_eq!(explained[name], *value, "{name} of {stored}");
            }
        }
    }
    server.finish().await;
}

async fn what_is_repaired_and_what_is_not_taken_is_told(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let reason = |told: &Value| told["hits"][0]["notes"].clone();
    let long = format!("/mtracking.gif?page_url=a&x={}", "y".repeat(100_000));
    let told = explain(
        &server,
        json!({ "url": long, "headers": { "user-agent": AGENT } }),
    )
    .await;
    assert_eq!(reason(&told)[0], "request cut");
    let told = explain(
        &server,
        json!({ "url": "/mtracking.gif?page_url=a", "headers": { "user-agent": AGENT, "bad name": "x" } }),
    )
    .await;
    assert_eq!(reason(&told)[0], "request repaired");

    let unknown = explain(&server, json!({ "url": "/r/nothing-here" })).await;
    assert_eq!(
        (&unknown["status"], &unknown["hits"]),
        (&json!(404), &json!([]))
    );
    // A head that no client is allowed, with a method that is not mended.
    let told = explain(&server, json!({ "url": "/mtc/event x", "body": "a=b" })).await;
    assert_eq!(told["refused"], "malformed request");
    assert_eq!(told["hits"], json!([]));
    assert_nothing_stored(&server).await;
    server.finish().await;
}

async fn a_batch_is_explained_line_by_line(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let told = explain(
        &server,
        json!({
            "url": "/111111111111111/batch?eid=2160000000012345678",
            "headers": { "content-type": "text/plain", "user-agent": AGENT },
            "body": "wt?p=600,first&X-WT-IP=203.0.113.7\r\nnonsense\n?p=600,third",
        }),
    )
    .await;
    assert_eq!(
        (&told["status"], &told["hits_left_out"]),
        (&json!(200), &json!(0))
    );
    let hits = told["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3);
    assert_eq!(hits[0]["page_title"], "first");
    assert_eq!(hits[0]["ip"], "192.0.2.1");
    let notes = hits[0]["notes"].to_string();
    assert!(notes.contains("untrusted"), "{notes}");
    assert_eq!(
        hits[0]["evidence"]["visitor"]["from"],
        "a vendor's id, unsigned"
    );
    assert_eq!(hits[1]["quarantined"], "line is no hit");
    let long = "?p=600,x\n".repeat(1_500);
    let told = explain(&server, json!({ "url": "/1/batch", "body": long })).await;
    assert_eq!(told["hits"].as_array().unwrap().len(), 1_000);
    assert_eq!(told["hits_left_out"], 500);
    assert_nothing_stored(&server).await;
    server.finish().await;
}

async fn only_tracking_urls_are_explained_and_only_to_the_operator(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    for url in ["/api/v1/hits", "/livez", "/", "/nothing", "nothing"] {
        let answer = decode(&server, json!({ "url": url })).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (422, &json!("url"))
        );
    }
    let answer = decode(&server, json!({ "url": "/r/x", "header": {} })).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let request = json!({ "url": "/mtracking.gif" });
    let answer = server.client().post_json(DECODE, &request).await;
    assert_eq!(answer.status, 401);
    server.finish().await;
}

async fn answers_carry_the_verdict_for_those_who_have_the_key(engine: Engine) {
    const KEY: &str = "a-key-of-sixteen-or-more";
    let server = TestServer::on(engine).with("DEBUG__KEY", KEY).start().await;
    let mut client = server.client();
    let verdict = |answer: &Answer| {
        (
            answer.header("x-sillage-verdict").to_owned(),
            answer.header("x-sillage-reason").to_owned(),
        )
    };
    let with_key = [("x-sillage-debug", KEY)];
    let answer = client
        .get_with("/mtracking.gif?page_url=a", &with_key)
        .await;
    assert_eq!(verdict(&answer), ("human".into(), String::new()));
    let robot = [("x-sillage-debug", KEY), ("user-agent", "Googlebot/2.1")];
    let answer = client
        .get_with("/mtracking.gif?page_url=a&revenue=much", &robot)
        .await;
    let (told, reason) = verdict(&answer);
    assert_eq!(told, "bot");
    assert!(
        reason.contains("user agent of a crawler") && reason.contains("revenue no number"),
        "{reason}"
    );
    let answer = client.get_with("/r/nothing-here", &with_key).await;
    assert_eq!((answer.status, verdict(&answer).0.as_str()), (404, "none"));

    for wrong in [
        "",
        "a-key-of-sixteen-or-mor",
        "a-key-of-sixteen-or-more-",
        "A-key-of-sixteen-or-more",
    ] {
        let answer = client
            .get_with("/mtracking.gif?page_url=a", &[("x-sillage-debug", wrong)])
            .await;
        assert_eq!(verdict(&answer), Default::default(), "{wrong:?}");
    }
    let answer = client.get("/mtracking.gif?page_url=a").await;
    assert_eq!(verdict(&answer), Default::default());
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, 7, "all of them are hits");
    server.finish().await;
}

async fn without_a_key_nobody_is_told(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let answer = server
        .client()
        .get_with("/mtracking.gif?page_url=a", &[("x-sillage-debug", "")])
        .await;
    assert_eq!(answer.header("x-sillage-verdict"), "");
    server.wait_drained(DRAINED).await;
    server.finish().await;
}

on_both!(
    a_pixel_is_explained_and_nothing_is_stored,
    a_signed_link_names_its_message,
    what_is_explained_is_what_happens,
    what_is_repaired_and_what_is_not_taken_is_told,
    a_batch_is_explained_line_by_line,
    only_tracking_urls_are_explained_and_only_to_the_operator,
    answers_carry_the_verdict_for_those_who_have_the_key,
    without_a_key_nobody_is_told,
);
