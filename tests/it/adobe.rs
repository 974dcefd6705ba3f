//! Adobe's protocol, where a recorded case cannot say it: rows that only an import makes, the
//! command line, and what is counted.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use sillage::both;
use sillage::door::Clock;

use crate::harness::{Campaign, Client, Engine, TestServer, on_both};

const STORED: Duration = Duration::from_secs(20);

async fn status(client: &mut Client, path: &str) -> u16 {
    client.get(path).await.status
}

async fn a_link_imported_with_a_negative_id_is_found_by_its_unsigned_hex(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let now = Clock::system().now();
    for (id, url) in [
        (-5_i64, "https://shop.example/minus-5"),
        (-1 << 40, "https://shop.example/far-below"),
        (0xffff_fff0, "https://shop.example/positive"),
        (-16, "https://shop.example/never-reached"),
    ] {
        both!(server.db().pool(), pool => sqlx::query("insert into links (id, url, created_at, \
            changed_at) values ($1, $2, $3, $3)")
            .bind(id).bind(url).bind(now).execute(pool).await.map(|_| ()))
        .unwrap();
    }
    both!(server.db().pool(), pool => sqlx::query("insert into deliveries (id, label, channel, \
        created_at, changed_at) values (2, 'Two', 'email', $1, $1)")
        .bind(now).execute(pool).await.map(|_| ()))
    .unwrap();
    let mut reader = server.client();
    for (hex, url) in [
        ("fffffffb", "https://shop.example/minus-5"),
        ("fffffffffffffffb", "https://shop.example/minus-5"),
        ("ffffff0000000000", "https://shop.example/far-below"),
        ("fffffff0", "https://shop.example/positive"),
    ] {
        let answer = reader.get(&format!("/r/?id=h1,2,{hex}")).await;
        assert_eq!((answer.status, answer.header("location")), (302, url));
    }
    server.wait_stored(STORED).await;
    assert_eq!(
        server
            .db()
            .number("select count(*) from hits where link_id = -5 and delivery_id = 2")
            .await,
        2
    );
    server.finish().await;
}

async fn a_message_imported_with_its_uuid_names_the_person_and_the_session(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let (broadlog, contact) = mail.messages[0];
    both!(server.db().pool(), pool => sqlx::query("insert into message_keys (key, broadlog_id) \
        values ('adobe:3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70', $1)")
        .bind(broadlog).execute(pool).await.map(|_| ()))
    .unwrap();
    let mut reader = server.client();
    let id = format!(
        "h3F7691E6-f0e8-4a05-a0b7-0d2f79f8be70,{:x},{:x}",
        mail.delivery, mail.link
    );
    assert_eq!(status(&mut reader, &format!("/r/?id={id}")).await, 302);
    assert_eq!(status(&mut reader, "/r/1?tagid=home").await, 200);
    server.wait_stored(STORED).await;
    let counted: i64 = both!(server.db().pool(), pool => sqlx::query_scalar("select count(*) from \
        hits where broadlog_id = $1 and contact_id = $2")
        .bind(broadlog).bind(contact).fetch_one(pool).await)
    .unwrap();
    assert_eq!(counted, 2);
    server.finish().await;
}

/// The reason's counter, and nothing in the table.
async fn tags_that_do_not_count_are_counted(engine: Engine) {
    for (mode, reason) in [("session", "no session"), ("permanent", "visitor unknown")] {
        let server = TestServer::on(engine)
            .with("ADOBE__MODE", mode)
            .start()
            .await;
        let mut visitor = server.client();
        let cookie = "uuid230=3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70";
        let answer = visitor
            .get_with("/r/1?tagid=home%7Cw", &[("cookie", cookie)])
            .await;
        assert_eq!(answer.status, 200);
        server.wait_stored(STORED).await;
        let name = format!("sillage_hits_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&name).await, 1.0, "{mode}");
        assert_eq!(server.db().hits().await, 0);
        let tags = server.db().number("select count(*) from page_tags").await;
        assert_eq!(tags, 0, "who is not counted makes no tag");
        server.finish().await;
    }
}

async fn a_guessed_message_takes_no_browser_over(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 2).await;
    let (first, second) = (mail.messages[0], mail.messages[1]);
    let mut reader = server.client();
    assert_eq!(status(&mut reader, &mail.link_path(0)).await, 302);
    let guessed = format!("/r/?id=h{:x},{:x},{:x}", second.0, mail.delivery, mail.link);
    assert_eq!(status(&mut reader, &guessed).await, 302);
    reader.end_session();
    assert_eq!(
        status(&mut reader, "/mtracking.gif?page_url=later").await,
        200
    );
    server.wait_stored(STORED).await;
    let later: Vec<uuid::Uuid> = both!(server.db().pool(), pool => sqlx::query_scalar("select contact_id from hits where page_url = 'later'")
        .fetch_all(pool).await)
    .unwrap();
    assert_eq!(later, [first.1], "what is proved stays");
    server.finish().await;
}

async fn page_tags_are_made_and_listed_on_the_command_line(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let run = |arguments: &[&str]| {
        let done = server
            .command()
            .arg("page-tag")
            .args(arguments)
            .output()
            .unwrap();
        (
            done.status.code(),
            String::from_utf8(done.stdout).unwrap(),
            String::from_utf8(done.stderr).unwrap(),
        )
    };
    let paid = [
        "create",
        "paid",
        "--kind",
        "transaction",
        "--label",
        "Order paid",
    ];
    let (code, made, _) = run(&paid);
    assert_eq!(code, Some(0));
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        (&made["identifier"], &made["kind"], &made["label"]),
        (&"paid".into(), &"transaction".into(), &"Order paid".into())
    );
    assert_eq!(run(&["create", "home"]).0, Some(0));
    let (code, _, why) = run(&paid);
    assert_eq!(
        (code, why.contains("is already taken")),
        (Some(2), true),
        "{why}"
    );
    assert_eq!(run(&["create", "a|w"]).0, Some(2));
    let (code, list, _) = run(&["list"]);
    assert_eq!((code, list.lines().count()), (Some(0), 2), "{list}");
    let mut buyer = server.client();
    assert_eq!(status(&mut buyer, "/r/1?tagid=paid&jobid=1").await, 200);
    server.wait_stored(STORED).await;
    let kinds = server.db().texts("select kind from hits").await;
    assert_eq!(kinds, [Some("transaction".to_owned())], "it holds at once");
    server.finish().await;
}

async fn what_an_unsigned_link_says_is_no_truer_after_a_landing_page(engine: Engine) {
    let server = TestServer::on(engine)
        .with("LINKS__LANDING_PARAMETER", "true")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 2).await;
    let (first, second) = (mail.messages[0], mail.messages[1]);
    let mut reader = server.client();
    assert_eq!(status(&mut reader, &mail.link_path(0)).await, 302);
    let guessed = format!("/r/?id=h{:x},{:x},{:x}", second.0, mail.delivery, mail.link);
    let answer = reader.get(&guessed).await;
    let (_, sealed) = answer.header("location").split_once("?_sl=").unwrap();
    // On another domain our cookies are not there: the parameter says who it is.
    let landing = format!("/mtracking.gif?page_url=landed&_sl={sealed}");
    assert_eq!(status(&mut server.client(), &landing).await, 200);
    reader.end_session();
    assert_eq!(
        status(&mut reader, "/mtracking.gif?page_url=later").await,
        200
    );
    server.wait_stored(STORED).await;
    let landed = "select broadlog_id from hits where page_url = 'landed'";
    assert_eq!(server.db().number(landed).await, second.0);
    let later: Vec<uuid::Uuid> = both!(server.db().pool(), pool => sqlx::query_scalar("select contact_id from hits where page_url = 'later'")
        .fetch_all(pool).await)
    .unwrap();
    assert_eq!(later, [first.1], "what is proved stays");
    server.finish().await;
}

/// Links as senders make them: source, the values of its parts, and where Adobe leads: it puts the
/// values into the source as they are. The last rows are those where that would lead somewhere
/// else than the sender meant.
const TEMPLATES: &str = include_str!("adobe/templates.tsv");

async fn each_personal_link_leads_where_adobes_does(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let rows: Vec<Vec<&str>> = TEMPLATES
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(rows.len() >= 200, "{}", rows.len());
    let mut file = "id\tsource\tdelivery-id\n".to_owned();
    for (number, row) in rows.iter().enumerate() {
        file += &format!("{}\t{}\t9\n", number + 100, row[0]);
    }
    let deliveries = "id\tlabel\n9\tPersonal\n";
    for (what, text) in [("adobe-deliveries", deliveries), ("adobe-urls", &file)] {
        let mut child = server
            .command()
            .args(["import", what, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "{what}");
    }
    let mut reader = server.client();
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let mut path = format!("/r/?id=h1,9,{:x}", number + 100);
        let values = row[1].split(' ').filter(|value| !value.is_empty());
        for (place, value) in values.enumerate() {
            path += &format!("&p{}={}", place + 1, value.replace("''", ""));
        }
        let answer = reader.get(&path).await;
        if (answer.status, answer.header("location")) != (302, row[2]) {
            let (status, led) = (answer.status, answer.header("location"));
            wrong.push(format!(
                "{} {}: {status} {led}\n  not {}",
                row[0], row[1], row[2]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    server.finish().await;
}

on_both!(
    each_personal_link_leads_where_adobes_does,
    a_link_imported_with_a_negative_id_is_found_by_its_unsigned_hex,
    a_message_imported_with_its_uuid_names_the_person_and_the_session,
    tags_that_do_not_count_are_counted,
    a_guessed_message_takes_no_browser_over,
    page_tags_are_made_and_listed_on_the_command_line,
    what_an_unsigned_link_says_is_no_truer_after_a_landing_page,
);
