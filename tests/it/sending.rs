//! The sending side: deliveries, links and messages through the API and the command line, and that
//! they lead a reader to the page.

mod again;
mod builder;
mod messages;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, TestServer, on_both, wait_for};

const NDJSON: &str = "application/x-ndjson";

async fn make_delivery(api: &mut Client, delivery: Value) -> i64 {
    let answer = api.post_json("/api/v1/deliveries", &delivery).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().unwrap()
}

async fn make_messages(api: &mut Client, delivery: i64, lines: &str) -> Vec<Value> {
    let path = format!("/api/v1/deliveries/{delivery}/messages");
    let answer = api.post(&path, NDJSON, lines.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), NDJSON);
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn path_of(server: &TestServer, url: &Value) -> String {
    let url = url.as_str().unwrap();
    url.strip_prefix(&server.url()).unwrap().to_owned()
}

fn assert_problem(answer: &Answer, status: u16, field: Option<&str>) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["status"], status, "{text}");
    assert_eq!(answer.json()["field"].as_str(), field, "{text}");
}

async fn a_reader_gets_from_the_message_to_the_page(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(
        &mut api,
        json!({"label": "November", "utm": {"source": "news", "campaign": "a&b"}}),
    )
    .await;
    let links = json!([
        {"url": "https://shop.example/lamp?x=1#top", "label": "Lamp"},
        {"url": "https://shop.example/out", "category": "optout"},
    ]);
    let made = api
        .post_json(&format!("/api/v1/deliveries/{delivery}/links"), &links)
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made[0]["label"], "Lamp");
    let lamp = made[0]["id"].to_string();

    let lines = "{\"contact\":{\"email\":\" Ada@x.example \",\"firstname\":\"Ada\"},\"format\":\"html\"}\n\
                 {\"contact\":{\"email\":7}\n\
                 \n\
                 {\"contact\":{\"firstname\":\"Nobody\"}}\n\
                 {\"contact\":{\"email\":\"bob@x.example\"}}";
    let answers = make_messages(&mut api, delivery, lines).await;
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(
        answers[1]["error"]
            .as_str()
            .unwrap()
            .contains("not valid JSON")
    );
    assert!(answers[2]["error"].as_str().unwrap().contains("email"));
    assert_ne!(answers[0]["broadlog_id"], answers[3]["broadlog_id"]);
    assert_eq!(answers[0]["links"].as_object().unwrap().len(), 2);

    let mut reader = server.client();
    let click = reader
        .get(&path_of(&server, &answers[0]["links"][lamp.as_str()]))
        .await;
    assert_eq!(click.status, 302);
    assert_eq!(
        click.header("location"),
        "https://shop.example/lamp?x=1&utm_source=news&utm_campaign=a%26b#top"
    );
    let open = reader
        .get(&path_of(&server, &answers[0]["open_pixel"]))
        .await;
    assert_eq!((open.status, open.body.len()), (200, 43));
    server.wait_drained(Duration::from_secs(10)).await;
    let (broadlog, contact) = (&answers[0]["broadlog_id"], &answers[0]["contact_id"]);
    let of_message = format!(
        "select count(*) from hits where delivery_id = {delivery} and broadlog_id = {broadlog} \
        and contact_id = {}",
        match engine {
            Engine::Postgres => format!("'{}'", contact.as_str().unwrap()),
            Engine::Sqlite => format!("x'{}'", contact.as_str().unwrap().replace('-', "")),
        }
    );
    assert_eq!(server.db().number(&of_message).await, 2);
    assert_eq!(
        server
            .db()
            .texts("select value from contact_keys order by value")
            .await,
        [
            Some("ada@x.example".to_owned()),
            Some("bob@x.example".to_owned())
        ],
        "no contact comes of a wrong line"
    );

    let whole = api
        .get(&format!("/api/v1/deliveries/{delivery}"))
        .await
        .json();
    assert_eq!(
        (&whole["label"], &whole["channel"]),
        (&json!("November"), &json!("email"))
    );
    assert_eq!(whole["utm"], json!({"source": "news", "campaign": "a&b"}));
    assert_eq!(
        (&whole["messages"], whole["links"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    server.finish().await;
}

async fn a_short_link_is_served_at_once(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let random = api
        .post_json("/api/v1/links", &json!({"url": "https://shop.example/a"}))
        .await;
    assert_eq!(random.status, 201, "{}", random.text());
    let random = random.json();
    assert_eq!(random["slug"].as_str().unwrap().len(), 7);
    let path = path_of(&server, &random["short_url"]);
    // Asked for before it exists: that it was unknown must not be remembered.
    assert_eq!(server.client().get("/r/winter").await.status, 404);
    let winter = json!({"url": "https://shop.example/ü", "slug": "winter"});
    let made = api.post_json("/api/v1/links", &winter).await;
    assert_eq!(made.status, 201, "{}", made.text());
    for (path, location) in [
        (path.as_str(), "https://shop.example/a"),
        ("/r/winter", "https://shop.example/%C3%BC"),
    ] {
        let click = server.client().get(path).await;
        assert_eq!((click.status, click.header("location")), (302, location));
    }
    assert_problem(
        &api.post_json("/api/v1/links", &winter).await,
        409,
        Some("slug"),
    );

    let delivery = make_delivery(
        &mut api,
        json!({"label": "x", "expires_at": "2020-01-01T00:00:00+01:00", "expiration_url": "https://shop.example/over"}),
    )
    .await;
    let of_delivery = json!({"url": "https://shop.example/a", "slug": "old", "delivery_id": delivery.to_string()});
    let made = api.post_json("/api/v1/links", &of_delivery).await;
    assert_eq!(made.json()["delivery_id"], delivery, "{}", made.text());
    let click = server.client().get("/r/old").await;
    assert_eq!(click.header("location"), "https://shop.example/over");
    server.wait_drained(Duration::from_secs(10)).await;
    server.finish().await;
}

async fn ids_are_taken_as_given_and_never_given_out_again(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    assert_eq!(
        make_delivery(&mut api, json!({"label": "x", "id": 41})).await,
        41
    );
    assert_eq!(make_delivery(&mut api, json!({"label": "x"})).await, 42);
    let taken = json!({"label": "x", "id": "42"});
    assert_problem(
        &api.post_json("/api/v1/deliveries", &taken).await,
        409,
        Some("id"),
    );
    // The greatest number there is must not use up the counter.
    let greatest = json!({"label": "x", "id": "9223372036854775807"});
    let made = api.post_json("/api/v1/deliveries", &greatest).await;
    assert_eq!(made.json()["id"], "9223372036854775807", "{}", made.text());
    assert_eq!(make_delivery(&mut api, json!({"label": "x"})).await, 43);

    let links =
        json!([{"url": "https://a.example", "id": 9}, {"url": "https://b.example", "id": 9}]);
    let clash = api.post_json("/api/v1/deliveries/41/links", &links).await;
    assert_problem(&clash, 409, Some("[1].id"));
    assert_eq!(
        server.db().number("select count(*) from links").await,
        0,
        "all or none"
    );

    let first = api.get("/api/v1/deliveries?limit=2").await.json();
    assert_eq!(first["deliveries"][0]["id"], "9223372036854775807");
    let rest = format!("/api/v1/deliveries?before={}", first["next"]);
    let rest = api.get(&rest).await.json();
    assert_eq!(
        (&rest["deliveries"][0]["id"], &rest["deliveries"][1]["id"]),
        (&json!(42), &json!(41))
    );
    assert_eq!(rest["next"], Value::Null);
    server.finish().await;
}

async fn every_mistake_is_a_problem_that_names_its_field(engine: Engine) {
    let server = TestServer::on(engine)
        .with("SERVER__MAX_BODY_BYTES", "10000")
        .start()
        .await;
    let mut api = server.client().admin();
    let json = "application/json";
    for (path, body, status, field) in [
        ("/deliveries", "", 400, None),
        ("/deliveries", "{\"label\":", 400, None),
        ("/deliveries", "\u{0}", 400, None),
        ("/deliveries", "{}", 422, Some("label")),
        ("/deliveries", "{\"label\":7}", 422, Some("label")),
        (
            "/deliveries",
            "{\"label\":\"a\\u0000\"}",
            422,
            Some("label"),
        ),
        ("/deliveries", "{\"label\":\"x\",\"id\":0}", 422, Some("id")),
        (
            "/deliveries",
            "{\"label\":\"x\",\"id\":1e40}",
            422,
            Some("id"),
        ),
        (
            "/deliveries",
            "{\"label\":\"x\",\"sent_at\":\"soon\"}",
            422,
            Some("sent_at"),
        ),
        (
            "/deliveries",
            "{\"label\":\"x\",\"utm\":{\"source\":[]}}",
            422,
            Some("utm.source"),
        ),
        (
            "/deliveries",
            "{\"label\":\"x\",\"lable\":1}",
            422,
            Some("lable"),
        ),
        (
            "/deliveries/1/links",
            "{\"url\":\"https://x.example\"}",
            404,
            None,
        ),
        (
            "/deliveries/x/links",
            "{\"url\":\"https://x.example\"}",
            404,
            None,
        ),
        ("/deliveries/1/messages", "{}", 404, None),
        (
            "/links",
            "{\"url\":\"javascript:alert(1)\"}",
            422,
            Some("url"),
        ),
        (
            "/links",
            "{\"url\":\"https://x.example\",\"slug\":\"a/b\"}",
            422,
            Some("slug"),
        ),
        (
            "/links",
            "{\"url\":\"https://x.example\",\"delivery_id\":9}",
            422,
            Some("delivery_id"),
        ),
        ("/nowhere", "{}", 404, None),
    ] {
        let answer = api.post(&format!("/api/v1{path}"), json, body).await;
        assert_problem(&answer, status, field);
    }
    let large = format!("{{\"label\":\"{}\"}}", "x".repeat(20_000));
    assert_problem(
        &api.post("/api/v1/deliveries", json, large).await,
        413,
        None,
    );
    assert_problem(&api.get("/api/v1/links/1/end").await, 405, None);
    assert_problem(
        &api.get("/api/v1/deliveries?limit=0").await,
        422,
        Some("limit"),
    );
    assert_problem(
        &api.get("/api/v1/deliveries?limit=x").await,
        422,
        Some("limit"),
    );
    assert_problem(&api.get("/api/v1/deliveries/%ff").await, 404, None);
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let links = json!([{"url": "https://x.example"}, {"url": "x"}]);
    let path = format!("/api/v1/deliveries/{delivery}/links");
    assert_problem(&api.post_json(&path, &links).await, 422, Some("[1].url"));
    // No limit where a million lines are expected.
    let lines = "{\"contact\":{\"email\":\"a@x\"}}\n".repeat(1_000);
    assert_eq!(make_messages(&mut api, delivery, &lines).await.len(), 1_000);

    for token in ["", "Bearer", "Bearer wrong", "Basic x"] {
        let mut stranger = server.client().header("authorization", token);
        for path in ["/api/v1/deliveries", "/api/v1/nowhere"] {
            let answer = stranger.get(path).await;
            assert_problem(&answer, 401, None);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    server.finish().await;
}

async fn the_command_line_makes_deliveries_and_links_beside_a_running_server(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let run = async |arguments: &[&str]| {
        let mut command = server.command();
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text, errors)
    };
    let (code, text, errors) = run(&[
        "delivery",
        "create",
        "--label",
        "CLI",
        "--utm-source",
        "cli",
    ])
    .await;
    assert_eq!(code, Some(0), "{errors}");
    let delivery: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(delivery["utm"], json!({"source": "cli"}));
    let id = delivery["id"].to_string();
    let (code, text, errors) = run(&[
        "link",
        "create",
        "https://shop.example/",
        "--slug",
        "cli",
        "--delivery",
        &id,
    ])
    .await;
    assert_eq!(code, Some(0), "{errors}");
    let link: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(link["short_url"], format!("{}/r/cli", server.url()));
    wait_for(
        "the server learns of it",
        Duration::from_secs(10),
        async || server.client().get("/r/cli").await.status == 302,
    )
    .await;

    let taken = run(&["link", "create", "https://shop.example/", "--slug", "cli"]).await;
    let no_url = run(&["link", "create", "shop"]).await;
    let no_time = run(&["delivery", "create", "--label", "x", "--sent-at", "soon"]).await;
    let no_id = run(&["quarantine", "retry"]).await;
    for ((code, _, errors), part) in [
        (taken, "slug cli is already taken"),
        (no_url, "url"),
        (no_time, "--sent-at"),
        (no_id, "--all"),
    ] {
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(part), "{errors}");
    }
    server.wait_drained(Duration::from_secs(10)).await;
    let (code, text, errors) = run(&["spool", "status"]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        serde_json::from_str::<Value>(&text).unwrap()["hits"].is_number(),
        "{text}"
    );
    for arguments in [
        &["spool", "inspect", "--limit", "5"][..],
        &["quarantine", "list"],
        &["quarantine", "retry", "--all"],
    ] {
        let (code, _, errors) = run(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    }
    server.finish().await;
}

on_both!(
    a_reader_gets_from_the_message_to_the_page,
    a_short_link_is_served_at_once,
    ids_are_taken_as_given_and_never_given_out_again,
    every_mistake_is_a_problem_that_names_its_field,
    the_command_line_makes_deliveries_and_links_beside_a_running_server,
);
