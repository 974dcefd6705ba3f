//! Forms beyond single requests (those are in `tests/cases/mautic/form-*.json`): the API, a
//! database that is away, several servers, and bodies that are no forms.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sillage::both;

use crate::full_spool::hold_hits;
use crate::harness::{Client, Engine, PostgresServer, TestServer, on_both, wait_for};

const DRAINED: Duration = Duration::from_secs(30);
const URLENCODED: &str = "application/x-www-form-urlencoded";

fn newsletter() -> Value {
    json!({
        "id": 3, "name": "Newsletter",
        "fields": [
            { "alias": "email", "label": "E-mail", "type": "email", "required": true, "contact_field": "email" },
            { "alias": "firstname", "contact_field": "firstname" },
        ],
        "allowed_hosts": ["shop.example"], "success_message": "Thanks",
    })
}

async fn make_newsletter(server: &TestServer) {
    let made = server
        .client()
        .admin()
        .post_json("/api/v1/forms", &newsletter())
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// Posts the newsletter form as a page would; returns where it leads.
async fn post(client: &mut Client, email: &str) -> (u16, String) {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("mauticform[email]", email)
        .append_pair("mauticform[return]", "https://shop.example/")
        .finish();
    let answer = client.post("/form/submit?formId=3", URLENCODED, body).await;
    (answer.status, answer.header("location").to_owned())
}

const THANKS: &str = "https://shop.example/?mauticMessage=Thanks";

async fn forms_are_made_shown_and_changed_through_the_api(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = api.post_json("/api/v1/forms", &newsletter()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["alias"], "newsletter");
    assert_eq!(
        made["submit_url"],
        format!("{}/form/submit?formId=3", server.url())
    );
    assert_eq!(api.get("/api/v1/forms/3").await.json(), made);

    let mut form = newsletter();
    assert_eq!(api.post_json("/api/v1/forms", &form).await.status, 409);
    form.as_object_mut().unwrap().remove("id");
    let next = api.post_json("/api/v1/forms", &form).await.json();
    assert_eq!(next["id"], 4, "a number that was chosen is not given again");

    // Served at once, as it is and as it is changed.
    let mut page = server.client();
    assert_eq!(
        post(&mut page, "a@forms.example").await,
        (302, THANKS.into())
    );
    form["fields"][0]["required"] = false.into();
    form["success_message"] = Value::Null;
    let changed = api
        .request(Method::PUT, "/api/v1/forms/3", &[], form.to_string().into())
        .await
        .unwrap();
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(
        post(&mut page, "").await,
        (302, "https://shop.example/".into())
    );
    let all = api.get("/api/v1/forms").await.json();
    assert_eq!(
        (&all["forms"][0]["id"], &all["forms"][1]["id"]),
        (&json!(3), &json!(4))
    );

    for (method, path, body, status, field) in [
        (
            "POST",
            "/api/v1/forms",
            json!({ "fields": [] }),
            422,
            "name",
        ),
        (
            "POST",
            "/api/v1/forms",
            json!({ "name": "x", "fields": [{ "alias": "a", "type": "colour" }] }),
            422,
            "fields[0].type",
        ),
        (
            "POST",
            "/api/v1/forms",
            json!({ "name": "x", "fields": [{ "alias": "return" }] }),
            422,
            "fields[0].alias",
        ),
        (
            "POST",
            "/api/v1/forms",
            json!({ "name": "x", "fields": [], "allowed_hosts": ["*"] }),
            422,
            "allowed_hosts[0]",
        ),
        (
            "PUT",
            "/api/v1/forms/3",
            json!({ "id": 4, "name": "x", "fields": [] }),
            422,
            "id",
        ),
        (
            "PUT",
            "/api/v1/forms/3",
            json!({ "name": "x", "fields": [], "return_url": "ftp://x.example" }),
            422,
            "return_url",
        ),
        (
            "PUT",
            "/api/v1/forms/99",
            json!({ "name": "x", "fields": [] }),
            404,
            "",
        ),
        ("GET", "/api/v1/forms/99", Value::Null, 404, ""),
        ("GET", "/api/v1/forms/x", Value::Null, 404, ""),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = api
            .request(method, path, &[], body.to_string().into())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["field"].as_str().unwrap_or_default(), field);
    }
    assert_eq!(server.client().get("/api/v1/forms").await.status, 401);
    server.finish().await;
}

async fn an_app_posts_a_form_once_and_is_known_from_then_on(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "[\"email\"]")
        .start()
        .await;
    make_newsletter(&server).await;
    let mut app = server.client().header("user-agent", "okhttp/5.1");
    let body = "mauticform%5BformId%5D=3&mauticform%5Bemail%5D=app%40forms.example";
    let form = app.post("/form/submit", URLENCODED, body).await;
    assert_eq!(form.status, 200, "there is no page to return to");
    let pixel = app
        .get("/mtracking.gif?page_url=cart_screen&email=app%40forms.example")
        .await;
    assert_eq!((pixel.status, pixel.body.len()), (200, 43));
    server.wait_drained(DRAINED).await;
    let people = "select count(*) from hits where contact_id = (select contact_id from \
        contact_keys where value = 'app@forms.example')";
    assert_eq!(server.db().number(people).await, 2);
    assert_eq!(
        server
            .db()
            .number("select count(distinct visitor_id) from hits")
            .await,
        1
    );
    server.finish().await;
}

async fn what_is_refused_is_counted(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    make_newsletter(&server).await;
    let mut page = server.client();
    assert_eq!(post(&mut page, "nobody").await.0, 302);
    page.post("/form/submit?formId=99", URLENCODED, "x=y").await;
    page.post("/form/submit?formId=3", "multipart/form-data", "")
        .await;
    for reason in ["form invalid", "form unknown", "form unreadable"] {
        let metric = format!("sillage_hits_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&metric).await, 1.0, "{reason}");
    }
    assert_eq!(server.db().hits().await, 0);
    server.finish().await;
}

async fn no_body_brings_the_server_down(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    make_newsletter(&server).await;
    let part = |name: &str, content: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let email = part("mauticform[email]", "a@forms.example");
    let many: String = (0..2_000)
        .map(|n| part(&format!("mauticform[f{n}]"), "x"))
        .collect();
    let file = |bytes: usize| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"cv\"; filename=\"cv.pdf\"\r\n\r\n{}\r\n",
            "x".repeat(bytes)
        )
    };
    let multipart = "multipart/form-data; boundary=B";
    let mut client = server.client();
    for (name, content_type, body, status) in [
        ("2,000 parts", multipart, format!("{email}{many}--B--"), 200),
        (
            "1 MB of text",
            multipart,
            format!(
                "{email}{}--B--",
                part("mauticform[firstname]", &"x".repeat(1 << 20))
            ),
            413,
        ),
        (
            "a file of 5 MB",
            multipart,
            format!("{email}{}--B--", file(5 << 20)),
            200,
        ),
        (
            "a file of 9 MB",
            multipart,
            format!("{email}{}--B--", file(9 << 20)),
            413,
        ),
        (
            "no end",
            multipart,
            format!("{email}{}", file(100_000)),
            400,
        ),
        (
            "a header without end",
            multipart,
            format!("--B\r\n{}", "x".repeat(1 << 20)),
            400,
        ),
        ("urlencoded, 2 MB", URLENCODED, "a=b&".repeat(1 << 19), 413),
        (
            "urlencoded, 100,000 fields",
            URLENCODED,
            format!(
                "mauticform[email]=a@forms.example&{}",
                "a[]=b&".repeat(100_000)
            ),
            200,
        ),
        (
            "NUL and half a character",
            URLENCODED,
            "mauticform[email]=a@forms.example&mauticform[firstname]=%00%ff%c3".into(),
            200,
        ),
        (
            "JSON",
            "application/json",
            "{\"mauticform\":{}}".into(),
            200,
        ),
        (
            "a boundary that is none",
            "multipart/form-data; boundary=\"",
            "--".into(),
            400,
        ),
    ] {
        // A refused body is not read to its end, so the connection is no good for another request.
        let answer = server
            .client()
            .request(
                Method::POST,
                "/form/submit?formId=3",
                &[("content-type", content_type)],
                body.into(),
            )
            .await;
        match answer {
            Ok(answer) => assert_eq!(answer.status, status, "{name}: {}", answer.text()),
            Err(failure) => assert_eq!(status, 413, "{name}: {failure:?}"),
        }
    }
    assert_eq!(
        post(&mut client, "still@forms.example").await,
        (302, THANKS.into())
    );
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, 5);
    server.finish().await;
}

async fn who_submits_what_cannot_be_kept_is_told_to_try_again(engine: Engine) {
    let server = TestServer::on(engine)
        .with("SPOOL__MAX_BYTES", "65536")
        .start()
        .await;
    make_newsletter(&server).await;
    let mut page = server.client();
    // One large submission that the database does not take leaves no room.
    let held = hold_hits(server.db()).await;
    let large: String = (0..50)
        .map(|n| format!("&f{n}={}", "x".repeat(2_000)))
        .collect();
    let body = format!("mauticform[email]=kept@forms.example{large}");
    let kept = page.post("/form/submit?formId=3", URLENCODED, body).await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    let (status, location) = post(&mut page, "lost@forms.example").await;
    assert_eq!(
        (status, location.as_str()),
        (
            302,
            "https://shop.example/?mauticError=Your%20submission%20could%20not%20be%20stored.%20Please%20send%20it%20again.#mauticform_newsletter"
        )
    );
    let body = "mauticform[email]=lost@forms.example";
    let script = page
        .post("/form/submit/ajax?formId=3", URLENCODED, body)
        .await;
    assert_eq!((script.status, &script.json()["success"]), (200, &json!(0)));
    let plain = page.post("/form/submit?formId=3", URLENCODED, body).await;
    assert_eq!((plain.status, plain.header("retry-after")), (503, "2"));
    assert_eq!(server.metric("sillage_hits_lost_total").await, 3.0);
    held.release().await;
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, 1);
    server.finish().await;
}

on_both!(
    forms_are_made_shown_and_changed_through_the_api,
    an_app_posts_a_form_once_and_is_known_from_then_on,
    what_is_refused_is_counted,
    no_body_brings_the_server_down,
    who_submits_what_cannot_be_kept_is_told_to_try_again,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_is_answered_while_postgres_is_away_and_arrives_later() {
    let (mut postgres, mut server) = TestServer::on_own_postgres().await;
    make_newsletter(&server).await;
    postgres.kill().await;
    let mut page = server.client();
    assert_eq!(
        post(&mut page, "down@forms.example").await,
        (302, THANKS.into())
    );

    // A restart has the definitions from its own disk.
    assert_eq!(server.terminate(Duration::from_secs(30)).await, Some(0));
    server.start_again().await;
    let mut page = server.client();
    assert_eq!(
        post(&mut page, "restarted@forms.example").await,
        (302, THANKS.into())
    );
    let unknown = page.post("/form/submit?formId=99", URLENCODED, "x=y").await;
    assert_eq!(unknown.status, 404, "a page, not an error");

    postgres.start_again().await;
    server.wait_drained(DRAINED).await;
    let people = "select count(distinct contact_id) from hits where kind = 'form'";
    assert_eq!(server.db().number(people).await, 2);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_made_on_one_server_is_served_by_another() {
    let url = PostgresServer::new_shared_database().await;
    let setup = || TestServer::on(Engine::Postgres).database(&url);
    let (one, other) = (setup().start().await, setup().start().await);
    make_newsletter(&one).await;
    let mut page = other.client();
    assert_eq!(
        post(&mut page, "b@forms.example").await,
        (302, THANKS.into()),
        "at once"
    );
    // A change within `links.refresh`, also one that was made past the servers.
    both!(one.db().pool(), pool => sqlx::query("delete from forms").execute(pool).await.map(|_| ()))
        .unwrap();
    wait_for("the form is gone", Duration::from_secs(20), async || {
        post(&mut page, "b@forms.example").await.0 == 404
    })
    .await;
    other.wait_drained(DRAINED).await;
    one.finish().await;
    other.finish().await;
}
