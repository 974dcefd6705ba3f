//! `sillage import`: what other systems have sent goes on here, and the same file again changes
//! nothing.

mod people;
mod served;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, TestServer, new_dir, on_both, wait_for};

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
        done.told
            .contains("row 5: url is not valid: \"javascript:alert(1)\" has the scheme"),
        "{}",
        done.told
    );
    assert!(
        done.told
            .contains("row 6: slug is not valid: \"d/1\" contains characters")
    );
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

async fn mysqls_escapes_and_htmls_ampersands_are_read(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let redirects = concat!(
        "id\tis_published\tredirect_id\turl\n",
        "1\t1\taaaaaaaaaaaaaaaaaaaaaaaa1\thttps://some.example.com/landing\\n\n",
        "2\t1\taaaaaaaaaaaaaaaaaaaaaaaa2\t\\n   https://some.example.com/spaces  \\n\n",
        "3\t1\taaaaaaaaaaaaaaaaaaaaaaaa3\thttps://some.example.com/a\\tb\n",
        "4\t1\taaaaaaaaaaaaaaaaaaaaaaaa4\thttps://some.example.com/?path=C:\\\\docs\n",
        "5\tNULL\taaaaaaaaaaaaaaaaaaaaaaaa5\thttps://some.example.com/p?a=1&#38;b=2&amp;amp;c=3&#x26;d=4\n",
    );
    let done = import_twice(&server, "mautic-redirects", redirects);
    assert_eq!(done.counts(), [5, 0, 0, 0, 0], "{}", done.told);
    let urls = server
        .db()
        .texts("select url from links order by slug")
        .await;
    let urls: Vec<String> = urls.into_iter().flatten().collect();
    assert_eq!(
        urls,
        [
            "https://some.example.com/landing",
            "https://some.example.com/spaces",
            "https://some.example.com/ab",
            "https://some.example.com/?path=C:\\docs",
            "https://some.example.com/p?a=1&b=2&c=3&d=4",
        ]
    );
    wait_redirect(
        &server,
        "/r/aaaaaaaaaaaaaaaaaaaaaaaa5",
        "https://some.example.com/p?a=1&b=2&c=3&d=4",
    )
    .await;
    let leads = "id\temail\taddress1\ttags\n1\tada@example.com\t12 High St\\nFlat 3\tR&amp;D\n";
    assert_eq!(
        import_twice(&server, "mautic-contacts", leads).counts(),
        [1, 0, 0, 0, 0]
    );
    let mut api = server.client().admin();
    let ada = api
        .get("/api/v1/contacts?email=ada@example.com")
        .await
        .json();
    assert_eq!(ada["fields"]["address1"], "12 High St\nFlat 3");
    assert_eq!(ada["tags"], json!(["R&D"]));
    // In a file with commas a backslash is one.
    let links = "slug,url,label\na1,https://some.example.com/?a=1&amp;b=2,C:\\new\n";
    assert_eq!(
        import_twice(&server, "links", links).counts(),
        [1, 0, 0, 0, 0]
    );
    let sql = "select label || ' ' || url from links where slug = 'a1'";
    assert_eq!(
        server.db().texts(sql).await,
        [Some("C:\\new https://some.example.com/?a=1&b=2".to_owned())]
    );
    server.finish().await;
}

async fn adobes_urls_keep_their_numbers_and_become_links_and_page_tags(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let db = server.db();
    let urls = "@id,[delivery/@id],@type,@source,@label,@category,@tagId,@validity\n\
        7470243,7470014,1,https://shop.example/a?n=<%= escapeUrl(recipient.lastName) %>&m=<%= x \
        %>&o=<%= x %>,Shop,home,,\n\
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
    assert!(done.told.contains("row 6: source URL contains code"));
    assert!(
        done.told
            .contains("row 7: source URL has a host that depends on its parameters")
    );
    assert!(done.told.contains("row 11: id \"x\" is not a whole number"));
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
    // Empty cells leave what is there.
    let bare = "@id,[delivery/@id],@type,@source,@label,@category,@tagId,@validity\n\
        90,0,4,,,,home,\n91,0,5,https://shop.example/paid,,,order,\n";
    let done = import(&server, "adobe-urls", bare);
    assert_eq!((done.code, done.counts()), (Some(0), [0, 1, 1, 0, 0]));
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
            .contains("delivery 5 already exists and was made here"),
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
        "row 2: link 50 already exists and has the slug mine",
        "row 3: the slug belongs to link 50",
        "row 4: link 50 already exists and belongs to delivery 5",
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

async fn a_file_that_cannot_be_read_is_told_and_a_bad_row_does_not_hold_up_the_others(
    engine: Engine,
) {
    let server = TestServer::on(engine).start().await;
    for (what, text, reason) in [
        ("links", "", "is empty"),
        (
            "links",
            "slug,link\na,https://x.example/\n",
            "found no column for url (accepted names: url); the file has: slug, link",
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
        "url contains a NUL byte",
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

on_both!(
    mautics_redirects_lead_on_and_again_after_a_change,
    adobes_urls_keep_their_numbers_and_become_links_and_page_tags,
    what_belongs_to_something_else_is_refused,
    a_file_that_cannot_be_read_is_told_and_a_bad_row_does_not_hold_up_the_others,
    mysqls_escapes_and_htmls_ampersands_are_read,
);
