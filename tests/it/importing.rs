//! `sillage import`: what other systems have sent goes on here, and the same file again changes nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, PostgresServer, TestServer, new_dir, on_both, wait_for};

/// What an import said.
struct Import {
    code: Option<i32>,
    /// Empty where it ended early.
    tally: Value,
    told: String,
}

impl Import {
    /// Rows made, changed, unchanged, ignored, refused.
    fn counts(&self) -> [u64; 5] {
        ["made", "changed", "unchanged", "ignored", "refused"]
            .map(|name| self.tally[name].as_u64().unwrap_or(u64::MAX))
    }
}

/// Runs an import of a text beside the server, through standard input.
fn import(server: &TestServer, what: &str, text: &str) -> Import {
    import_with(server, what, text.as_bytes(), &[])
}

fn import_with(server: &TestServer, what: &str, bytes: &[u8], arguments: &[&str]) -> Import {
    let mut child = server
        .command()
        .args(["import", what, "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || {
        // An import that ends early reads no further.
        let _ = input.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Import {
        code: output.status.code(),
        tally: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        told: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same file twice: the counts of the first time; the second time changes nothing.
fn import_twice(server: &TestServer, what: &str, text: &str) -> Import {
    let first = import(server, what, text);
    let [made, changed, unchanged, ignored, refused] = first.counts();
    let second = import(server, what, text);
    assert_eq!(
        second.counts(),
        [0, 0, made + changed + unchanged, ignored, refused],
        "{what} again: {}",
        second.told
    );
    assert_eq!(second.tally["deliveries_made"], 0);
    first
}

async fn wait_redirect(server: &TestServer, path: &str, to: &str) {
    wait_for(path, Duration::from_secs(10), async || {
        let answer = server.client().get(path).await;
        answer.status == 302 && answer.header("location") == to
    })
    .await;
}

async fn mautics_redirects_lead_on_and_again_after_a_change(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let file = |url: &str| {
        format!(
            "\u{feff}id;is_published;redirect_id;url;hits;unique_hits\r\n\
             7;1;0123456789abcdef012345678;{url};12;9\r\n\
             8;1;a123456789abcdef012345678;\"https://shop.example/?a=1&amp;b={{contactfield=b|2}}\";0;0\r\n\
             9;0;b123456789abcdef012345678;https://shop.example/;0;0\r\n\
             10;1;c123456789abcdef012345678;javascript:alert(1);0;0\r\n\
             11;1;d/1;https://shop.example/;0;0\r\n"
        )
    };
    // Asked before it is there: that it is unknown is not remembered for long.
    let path = "/r/0123456789abcdef012345678";
    assert_eq!(server.client().get(path).await.status, 404);
    let done = import_twice(
        &server,
        "mautic-redirects",
        &file("https://shop.example/one"),
    );
    assert_eq!((done.code, done.counts()), (Some(1), [2, 0, 0, 1, 2]));
    assert!(
        done.told.contains("row 5: url has the scheme"),
        "{}",
        done.told
    );
    assert!(done.told.contains("row 6: slug holds other characters"));
    wait_redirect(&server, path, "https://shop.example/one").await;
    let query = "/r/a123456789abcdef012345678?ct=YQ&x=1";
    let answer = server.client().get(query).await;
    assert!(
        answer
            .header("location")
            .starts_with("https://shop.example/?a=1&b=2"),
        "{}",
        answer.header("location")
    );
    // Another destination: the copy in memory learns of it.
    let done = import(
        &server,
        "mautic-redirects",
        &file("https://shop.example/two"),
    );
    assert_eq!(done.counts(), [0, 1, 1, 1, 2]);
    wait_redirect(&server, path, "https://shop.example/two").await;
    server.finish().await;
}

async fn adobes_urls_keep_their_numbers_and_become_links_and_page_tags(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let db = server.db();
    let urls = "@id,[delivery/@id],@type,@source,@label,@category,@tagId,@validity\n\
        7470243,7470014,1,https://shop.example/a?n=<%= escapeUrl(recipient.lastName) %>&m=<%= x %>&o=<%= x %>,Shop,home,,\n\
        7470244,7470014,3,https://shop.example/bye?r=<%= recipient.id %>,Bye,,,\n\
        -2,7470014,1,https://shop.example/negative,,,,\n\
        7470245,7470014,2,,Open,,,\n\
        7470246,7470014,6,<%@ include view='MirrorPageUrl' %>,Mirror,,,\n\
        7470247,7470014,1,https://<%= recipient.host %>/,Host,,,\n\
        90,0,4,https://shop.example/,Home page,,home,2030-01-01\n\
        91,0,5,,Order,,order,\n\
        92,0,4,,No tag,,,\n\
        x,7470014,1,https://shop.example/,,,,\n";
    let done = import_twice(&server, "adobe-urls", urls);
    assert_eq!(done.counts(), [5, 0, 0, 1, 4], "{}", done.told);
    assert_eq!(
        (done.code, &done.tally["deliveries_made"]),
        (Some(1), &json!(1))
    );
    assert!(done.told.contains("row 6: source URL holds code"));
    assert!(
        done.told
            .contains("row 7: source URL has a host that its parameters choose")
    );
    assert!(done.told.contains("row 11: id \"x\" is no whole number"));
    let sql = "select url from links where delivery_id = 7470014 order by id";
    let texts = |texts: &[&str]| -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    };
    assert_eq!(
        db.texts(sql).await,
        texts(&[
            "https://shop.example/a?n={p1}&m={p2}&o={p2}",
            "https://shop.example/bye?r={p1}",
            "https://shop.example/negative",
        ])
    );
    assert_eq!(db.number("select max(id) from links").await, 0xffff_fffe);
    let sql = "select category from links where id = 7470244";
    assert_eq!(db.texts(sql).await, texts(&["optout"]));
    let sql = "select kind || ' ' || label from page_tags order by identifier";
    assert_eq!(
        db.texts(sql).await,
        texts(&["web Home page", "transaction Order"])
    );

    // Mails that are out lead on, with what is personal in them.
    let path = format!("/r/?id=h1,{:x},{:x}&p1=O%27Hara&p2=9", 7_470_014, 7_470_243);
    wait_redirect(&server, &path, "https://shop.example/a?n=O%27Hara&m=9&o=9").await;
    let path = format!("/r/?id=h1,{:x},fffffffe", 7_470_014);
    wait_redirect(&server, &path, "https://shop.example/negative").await;

    // The delivery gets its name; links that were made here do not get its numbers.
    let deliveries = "iDeliveryId,sLabel,tsContact,tsValidity\n\
        7470014,November,2026-11-01 08:00:00,2026-11-06 08:00:00\n7470015,December,,\n";
    let done = import(&server, "adobe-deliveries", deliveries);
    assert_eq!((done.code, done.counts()), (Some(0), [1, 1, 0, 0, 0]));
    import_twice(&server, "adobe-deliveries", deliveries);
    let sql = "select label from deliveries order by id";
    assert_eq!(db.texts(sql).await, texts(&["November", "December"]));
    // The end of sending is not the end of the links.
    let sql = "select count(*) from deliveries where expires_at is not null";
    assert_eq!(db.number(sql).await, 0);
    let mut admin = server.client().admin();
    let own = admin
        .post_json("/api/v1/deliveries", &json!({"label": "ours"}))
        .await
        .json();
    assert_eq!(own["id"], 7_470_016);
    server.finish().await;
}

async fn what_belongs_to_something_else_is_refused(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut admin = server.client().admin();
    let own = json!({"label": "ours", "id": 5});
    assert_eq!(
        admin.post_json("/api/v1/deliveries", &own).await.status,
        201
    );
    let link = json!({"url": "https://shop.example/", "id": 50, "slug": "mine", "delivery_id": 5});
    assert_eq!(admin.post_json("/api/v1/links", &link).await.status, 201);

    let stats = "email_id,email_address,tracking_hash\n5,a@example.com,1f2e3d\n";
    let done = import(&server, "mautic-email-stats", stats);
    assert_eq!(done.counts(), [0, 0, 0, 0, 1]);
    assert!(
        done.told
            .contains("delivery 5 exists already and was made here"),
        "{}",
        done.told
    );
    let links = "id,slug,url,delivery_id\n\
        50,other,https://evil.example/,\n\
        51,mine,https://evil.example/,\n\
        50,mine,https://evil.example/,6\n\
        52,,https://shop.example/,6\n\
        ,,https://shop.example/,\n\
        50,,https://shop.example/moved,5\n";
    let done = import(&server, "links", links);
    assert_eq!(done.counts(), [0, 1, 0, 0, 5], "{}", done.told);
    for reason in [
        "row 2: link 50 exists already and has the slug mine",
        "row 3: the slug belongs to link 50",
        "row 4: link 50 exists already and belongs to delivery 5",
        "row 5: there is no delivery 6",
        "row 6: has neither an id nor a slug",
    ] {
        assert!(done.told.contains(reason), "{reason}: {}", done.told);
    }
    let urls = "id,source,delivery-id\n50,https://evil.example/,6\n";
    assert_eq!(
        import(&server, "adobe-urls", urls).counts(),
        [0, 0, 0, 0, 1]
    );
    wait_redirect(&server, "/r/mine", "https://shop.example/moved").await;
    // Said to be meant, it is taken.
    let done = import_with(
        &server,
        "mautic-email-stats",
        stats.as_bytes(),
        &["--adopt"],
    );
    assert_eq!((done.code, done.counts()), (Some(0), [1, 0, 0, 0, 0]));
    server.finish().await;
}

async fn mautics_people_and_messages_come_once(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", r#"["email", "mautic_id"]"#)
        .start()
        .await;
    let contacts = "id\tfirstname\temail\tcity\tis_published\ttags\n\
        42\tRenée\tNew@Example.com\tNULL\t1\tvip|news\n\
        43\t\"=cmd()\"\tother@example.com\tLyon\t1\t\n\
        44\tNobody\tNULL\tParis\t1\t\n";
    let done = import_twice(&server, "mautic-contacts", contacts);
    assert_eq!((done.code, done.counts()), (Some(0), [3, 0, 0, 0, 0]));
    let mut admin = server.client().admin();
    let found = admin
        .get("/api/v1/contacts?email=new@example.com")
        .await
        .json();
    assert_eq!(found["fields"]["firstname"], "Renée");
    assert_eq!(found["fields"]["mautic_id"], "42");
    assert_eq!(found["tags"], json!(["vip", "news"]));
    assert_eq!(found["fields"].get("is_published"), None);

    let stats = "id,email_id,lead_id,email_address,tracking_hash,date_sent,is_read,is_failed\n\
        1,3,42,old@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,1,0\n\
        2,3,43,other@example.com,5f0c1a2b3c4d6,2026-10-01 07:00:01,0,0\n\
        3,3,,third@example.com,5f0c1a2b3c4d7,2026-10-01 07:00:02,0,0\n\
        4,3,45,failed@example.com,5f0c1a2b3c4d8,2026-10-01 07:00:02,0,1\n\
        5,NULL,42,old@example.com,5f0c1a2b3c4d9,2026-10-01 07:00:03,0,0\n\
        6,3,42,new@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,0,0\n\
        7,4,42,new@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,0,0\n";
    let done = import(&server, "mautic-email-stats", stats);
    assert_eq!(done.counts(), [3, 0, 1, 1, 2], "{}", done.told);
    assert_eq!(done.tally["deliveries_made"], 1);
    let again = import(&server, "mautic-email-stats", stats);
    assert_eq!(again.counts(), [0, 0, 4, 1, 2]);
    let db = server.db();
    assert_eq!(db.number("select count(*) from broadlogs").await, 3);
    let sql = "select messages from deliveries where id = 3 and label = 'Mautic e-mail 3'";
    assert_eq!(db.number(sql).await, 3);
    // Known by its number, the contact keeps the address of today.
    let sql = "select count(*) from message_keys k join broadlogs b on b.id = k.broadlog_id join contact_keys c on c.contact_id = b.contact_id
               where k.key = 'mautic:5f0c1a2b3c4d5' and c.field = 'email' and c.value = 'new@example.com'";
    assert_eq!(db.number(sql).await, 1);
    // The mail is opened now.
    let open = server.client().get("/email/5f0c1a2b3c4d5.gif").await;
    assert_eq!(open.status, 200);
    server.wait_drained(Duration::from_secs(10)).await;
    let sql = "select count(*) from hits h join contact_keys c on c.contact_id = h.contact_id
               where h.kind = 'open' and h.delivery_id = 3 and c.value = 'new@example.com'";
    assert_eq!(db.number(sql).await, 1);
    // A row that names two people makes one of nobody.
    let done = import(
        &server,
        "mautic-contacts",
        "id,email\n42,other@example.com\n",
    );
    assert_eq!(done.counts(), [0, 0, 0, 0, 1]);
    assert!(done.told.contains("more than one contact"), "{}", done.told);
    server.finish().await;
}

async fn adobes_messages_are_found_by_number_and_by_uuid(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let rows = "iBroadLogId,sUuid,iDeliveryId,sAddress,tsEvent\n\
        6387601,,7470014,a@example.com,2026-11-01 08:00:00\n\
        -5,3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70,7470014,b@example.com,\n\
        71ea0e1f-9f7c-4c55-9a0f-2f1f0a3c9d11,,7470014,c@example.com,\n\
        6387602,,7470014,,\n";
    let done = import_twice(&server, "adobe-broadlogs", rows);
    assert_eq!(done.counts(), [3, 0, 0, 0, 1], "{}", done.told);
    let db = server.db();
    let sql = "select k.key from message_keys k join broadlogs b on b.id = k.broadlog_id and b.delivery_id = 7470014 order by k.key";
    assert_eq!(
        db.texts(sql).await,
        [
            Some("adobe:3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70".to_owned()),
            Some("adobe:71ea0e1f-9f7c-4c55-9a0f-2f1f0a3c9d11".to_owned()),
        ]
    );
    let sql = "select count(*) from broadlogs where id in (6387601, 4294967291)";
    assert_eq!(db.number(sql).await, 2);
    // The same numbers for somebody else, or for another delivery.
    let rows = "id,delivery,email\n6387601,7470014,b@example.com\n6387601,7470015,a@example.com\n";
    let done = import(&server, "adobe-broadlogs", rows);
    assert_eq!(done.counts(), [0, 0, 0, 0, 2]);
    assert!(done.told.contains("belongs to another contact"));
    assert!(done.told.contains("belongs to delivery 7470014"));
    // Whoever exports the UUIDs later adds them.
    let rows = "id,uuid,delivery,email\n6387601,aaaaaaaa-f0e8-4a05-a0b7-0d2f79f8be70,7470014,A@example.com\n";
    assert_eq!(
        import(&server, "adobe-broadlogs", rows).counts(),
        [0, 1, 0, 0, 0]
    );
    server.finish().await;
}

async fn a_file_that_cannot_be_read_is_told_and_a_bad_row_does_not_hold_up_the_others(
    engine: Engine,
) {
    let server = TestServer::on(engine).start().await;
    for (what, text, reason) in [
        ("links", "", "is empty"),
        (
            "links",
            "slug,link\na,https://x.example/\n",
            "no column for url: it may be called url; found: slug, link",
        ),
        (
            "links",
            "slug,url,URL\na,b,c\n",
            "columns 2 and 3 are both called \"url\"",
        ),
        (
            "mautic-email-stats",
            "id,email_id\n1,2\n",
            "no column for tracking_hash",
        ),
        (
            "adobe-broadlogs",
            "id,delivery-id,phone\n1,2,3\n",
            "no column for the person",
        ),
        ("adobe-urls", "\u{fffe}", "no column for id"),
    ] {
        let done = import(&server, what, text);
        assert_eq!(done.code, Some(2), "{what} {text}: {}", done.told);
        assert!(done.told.contains(reason), "{reason}: {}", done.told);
    }
    let missing = server
        .command()
        .args(["import", "links", "/no/such/file"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));

    let report = new_dir("refused").join("refused.ndjson");
    let mut file = b"slug,url,label\n\
        nul,https://x.example/\0,\n\
        latin,https://x.example/\xe9,\n\
        label,https://x.example/ok,\xff\n\
        few,https://x.example/\n\
        big,https://x.example/,"
        .to_vec();
    file.extend(vec![b'x'; 3 << 20]);
    file.extend(b"\nformula,https://x.example/f,\"=HYPERLINK(\"\"x\"\")\"\n");
    file.extend(b"open,https://x.example/,\"never closed\nfine,https://x.example/,\n");
    let done = import_with(
        &server,
        "links",
        &file,
        &["--refused", report.to_str().unwrap()],
    );
    assert_eq!(
        (done.code, done.counts()),
        (Some(1), [1, 0, 0, 0, 6]),
        "{}",
        done.told
    );
    let reasons: Vec<Value> = std::fs::read_to_string(&report)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [
        "url holds a NUL byte",
        "url is not UTF-8",
        "label is not UTF-8",
        "has 2 fields",
        "larger than 1 MiB",
        "never closed",
    ];
    for (told, (row, reason)) in reasons
        .iter()
        .zip([2, 3, 4, 5, 6, 8].into_iter().zip(expected))
    {
        assert_eq!(told["row"], row, "{told}");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
    }
    let sql = "select label from links where slug = 'formula'";
    assert_eq!(
        server.db().texts(sql).await,
        [Some("=HYPERLINK(\"x\")".to_owned())]
    );
    server.finish().await;
}

fn many_links(count: usize) -> String {
    (0..count).fold("slug,url\n".to_owned(), |mut text, n| {
        writeln!(text, "s{n},https://shop.example/{n}").unwrap();
        text
    })
}

async fn clicks_are_answered_and_stored_while_links_are_imported(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut admin = server.client().admin();
    let link = json!({"url": "https://shop.example/", "slug": "before"});
    assert_eq!(admin.post_json("/api/v1/links", &link).await.status, 201);
    let command = {
        let file: PathBuf = new_dir("import").join("links.csv");
        std::fs::write(&file, many_links(60_000)).unwrap();
        let mut command = server.command();
        command.args(["import", "links"]).arg(file);
        command.stdout(Stdio::null());
        command
    };
    let importing = tokio::task::spawn_blocking(move || {
        let mut command = command;
        command.status().unwrap().code()
    });
    let (mut clicks, mut reader) = (0, server.client());
    while !importing.is_finished() {
        assert_eq!(reader.get("/r/before").await.status, 302);
        clicks += 1;
    }
    assert_eq!(importing.await.unwrap(), Some(0));
    assert!(clicks > 20, "{clicks} clicks");
    wait_redirect(&server, "/r/s59999", "https://shop.example/59999").await;
    server.wait_drained(Duration::from_secs(30)).await;
    let sql = "select count(*) from hits where kind = 'click'";
    assert!(server.db().number(sql).await > clicks, "all are stored");
    server.finish().await;
}

on_both!(
    mautics_redirects_lead_on_and_again_after_a_change,
    adobes_urls_keep_their_numbers_and_become_links_and_page_tags,
    what_belongs_to_something_else_is_refused,
    mautics_people_and_messages_come_once,
    adobes_messages_are_found_by_number_and_by_uuid,
    a_file_that_cannot_be_read_is_told_and_a_bad_row_does_not_hold_up_the_others,
    clicks_are_answered_and_stored_while_links_are_imported,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_links_resolve_after_a_restart_while_the_database_is_down() {
    const LINKS: usize = 30_000;
    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    let mut server = TestServer::on(Engine::Postgres)
        .database(&url)
        .start()
        .await;
    let done = import(&server, "links", &many_links(LINKS));
    assert_eq!(done.counts(), [LINKS as u64, 0, 0, 0, 0]);
    // Nobody has clicked: they come by the refresh. Each is fetched once, so their number in the copy is all there is to wait for.
    let copy = sillage_copy(&server);
    wait_for("the copy is whole", Duration::from_secs(30), async || {
        copy_count(&copy).await == LINKS as i64
    })
    .await;
    server.kill().await;
    postgres.kill().await;
    server.start_again().await;
    let mut reader = server.client();
    for n in (0..LINKS).step_by(997) {
        let answer = reader.get(&format!("/r/s{n}")).await;
        assert_eq!(
            answer.header("location"),
            format!("https://shop.example/{n}")
        );
    }
    postgres.start_again().await;
    server.wait_drained(Duration::from_secs(30)).await;
    server.finish().await;
}

fn sillage_copy(server: &TestServer) -> PathBuf {
    server.data_dir().join("links.db")
}

async fn copy_count(file: &std::path::Path) -> i64 {
    crate::harness::Db::sqlite(file)
        .number("select count(*) from links")
        .await
}
