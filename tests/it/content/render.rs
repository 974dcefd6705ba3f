//! `messages?render=html,text`: each line has the finished mail.

use serde_json::{Value, json};

use super::{HTML, TEXT, ids, make_delivery, post, save};
use crate::harness::{Client, Engine, TestServer, on_both};

async fn lines(api: &mut Client, delivery: i64, query: &str, body: &str) -> Vec<Value> {
    let path = format!("/api/v1/deliveries/{delivery}/messages{query}");
    let answer = api
        .post(&path, "application/x-ndjson", body.to_owned())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn each_line_has_the_mail_of_its_reader(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api).await;
    let saved = save(&mut api, delivery, &json!({"html": HTML, "text": TEXT})).await;
    // Known from before: a message need not say it again.
    let known = "{\"contact\":{\"email\":\"eve@example.com\",\"firstname\":\"Eve <&>\"}}";
    lines(&mut api, delivery, "", known).await;
    let body = "{\"contact\":{\"email\":\"ada@example.com\",\"firstname\":\"Ada\"},\"broadlog_id\":901}\n\
        {\"contact\":{\"email\":\"eve@example.com\"},\"broadlog_id\":902}\n\
        {\"contact\":{}}\n\
        {\"contact\":{\"email\":\"nobody@example.com\"},\"broadlog_id\":903}";
    let plain = lines(&mut api, delivery, "", body).await;
    let full = lines(&mut api, delivery, "?render=html,text", body).await;
    assert_eq!(full[2], plain[2], "a bad line is told all the same");
    let numbers = ids(&saved);
    for (line, name, value) in [
        (0, "Ada", "Ada"),
        (1, "Eve &lt;&amp;&gt;", "Eve%20%3C%26%3E"),
        (3, "", ""),
    ] {
        let (mut full, plain) = (full[line].clone(), &plain[line]);
        let html = full["html"].take().as_str().unwrap().to_owned();
        let text = full["text"].take().as_str().unwrap().to_owned();
        let rest = full.as_object_mut().unwrap();
        rest.remove("html");
        rest.remove("text");
        assert_eq!(full, *plain, "all else is as without");
        let link = |place: usize| plain["links"][numbers[place].to_string()].as_str().unwrap();
        let lamp = "https://shop.example/lamp?a=1&amp;b=2#top";
        let buy = "https://shop.example/buy?for={{firstname}}";
        let pixel = plain["open_pixel"].as_str().unwrap();
        let pixel = format!("<img src=\"{pixel}\" width=\"1\" height=\"1\" alt=\"\"></body>");
        let expected = HTML
            .replacen(lamp, link(0), 1)
            .replacen(buy, &format!("{}?p1={value}", link(1)), 2)
            .replacen(lamp, link(2), 1)
            .replace("https://shop.example/out", link(3))
            .replace(" data-sillage-kind=\"optout\"", "")
            .replace("{{firstname}}", name)
            .replace("</body>", &pixel);
        assert_eq!(html, expected);
        let expected = TEXT
            .replace("https://shop.example/lamp?a=1&b=2#top", link(4))
            .replace("https://shop.example/out", link(5));
        assert_eq!(text, expected);
        // Over a socket, from the mail.
        let at = html.find("?p1=").unwrap();
        let start = html[..at].rfind('"').unwrap() + 1;
        let address = &html[start..start + html[start..].find('"').unwrap()];
        let path = address.strip_prefix(&server.url()).unwrap();
        let click = server.client().get(path).await;
        let page = format!("https://shop.example/buy?for={value}");
        assert_eq!(click.header("location"), page);
        let way_out = plain["list_unsubscribe"].as_str().unwrap();
        assert!(
            way_out.starts_with(&format!("<{}/u/", server.url())),
            "{way_out}"
        );
    }
    let html_alone = lines(&mut api, delivery, "?render=html", body).await;
    assert_eq!(html_alone[0]["html"], full[0]["html"]);
    assert_eq!(html_alone[0]["text"], Value::Null);
    server.finish().await;
}

async fn what_cannot_be_rendered_is_told_before_anything_is_stored(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let (bare, with_html) = (make_delivery(&mut api).await, make_delivery(&mut api).await);
    save(&mut api, with_html, &json!({"html": "<p>x"})).await;
    for (delivery, query, part) in [
        (bare, "render=html", "has no content"),
        (with_html, "render=text", "has no text"),
        (
            with_html,
            "render=html,mime",
            "must be html, text or html,text",
        ),
        (with_html, "render=", "must be html"),
        (with_html, "rendr=html", "did you mean render"),
    ] {
        let path = format!("/deliveries/{delivery}/messages?{query}");
        let answer = post(
            &mut api,
            &path,
            &json!({"contact": {"email": "a@x.example"}}),
        )
        .await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(
        server.db().number("select count(*) from broadlogs").await,
        0
    );
    server.finish().await;
}

/// A mail tells what a contact has: who may not read contacts gets none that does.
async fn a_mail_with_fields_needs_the_right_to_read_contacts(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let (plain, personal) = (make_delivery(&mut api).await, make_delivery(&mut api).await);
    save(&mut api, plain, &json!({"html": "<p>x"})).await;
    save(
        &mut api,
        personal,
        &json!({"html": "<p>{{secret}}", "text": "x"}),
    )
    .await;
    for (scopes, delivery, parts, status) in [
        (json!(["messages:write"]), plain, "html", 200),
        (json!(["messages:write"]), personal, "text", 200),
        (json!(["messages:write"]), personal, "html", 403),
        (
            json!(["messages:write", "contacts:read"]),
            personal,
            "html",
            200,
        ),
    ] {
        let draft = json!({"name": "sender", "scopes": scopes});
        let token = post(&mut api, "/tokens", &draft).await.json();
        let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
        let mut sender = server.client().header("authorization", &bearer);
        let path = format!("/deliveries/{delivery}/messages?render={parts}");
        let line = json!({"contact": {"email": "ada@x.example"}});
        let answer = post(&mut sender, &path, &line).await;
        assert_eq!(answer.status, status, "{scopes} {parts}: {}", answer.text());
    }
    server.finish().await;
}

/// Mails that are larger than what is written at once, and a sender that reads none of them until
/// it has written all: what waits is not the mails.
async fn thousands_of_mails_come_in_order(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api).await;
    let filler = "<p>A line of a long letter.</p>\n".repeat(3_000);
    let html = format!("{filler}<a href=\"https://shop.example/\">{{{{n}}}}</a>");
    save(&mut api, delivery, &json!({ "html": html })).await;
    let body: String = (0..2_000)
        .map(|n| format!("{{\"contact\":{{\"email\":\"r{n}@x.example\",\"n\":{n}}}}}\n"))
        .collect();
    let lines = lines(&mut api, delivery, "?render=html", &body).await;
    assert_eq!(lines.len(), 2_000);
    for (n, line) in lines.iter().enumerate() {
        let html = line["html"].as_str().unwrap();
        assert!(html.starts_with(&filler));
        assert!(html.contains(&format!("\">{n}</a>")), "line {n}");
    }
    server.finish().await;
}

on_both!(
    each_line_has_the_mail_of_its_reader,
    what_cannot_be_rendered_is_told_before_anything_is_stored,
    a_mail_with_fields_needs_the_right_to_read_contacts,
    thousands_of_mails_come_in_order,
);
