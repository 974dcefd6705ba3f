//! A moved domain: what this server does not speak goes on to the old system, here a real nginx with
//! a made site of Mautic's and Adobe's.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{
    Answer, Client, Engine, Nginx, Setup, TestServer, exchange, free_port, new_dir, on_both,
    wait_for,
};

const STORED: Duration = Duration::from_secs(20);
const BIG: u64 = 100 << 20;
/// What the server may take for streams: far below any of the bodies.
const MOST_MEMORY: u64 = 24 << 20;

/// The old system: its port, and the process.
async fn old_system() -> (u16, Nginx) {
    let (port, dir) = (free_port(), new_dir("old-system"));
    let put = |path: &str, bytes: &[u8]| {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    };
    let image: Vec<u8> = (0..70_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    put("media/images/logo.png", &image);
    put("res/mail/header.jpg", &image);
    put("form/generate.js", b"document.write('form')");
    put("webApp/welcome", b"<h1>Landing</h1>");
    put("nl/jsp/m.jsp", b"mirror");
    let big = std::fs::File::create(dir.join("big.bin")).unwrap();
    big.set_len(BIG).unwrap();
    let root = dir.display();
    let http = format!(
        "client_max_body_size 200m; client_body_buffer_size 64k;
         server {{ listen 127.0.0.1:{port}; root {root}; etag on;
           location /echo {{ add_header X-Old \"kept\"; add_header Set-Cookie \"mautic_session=7; Domain=old.example; Path=/\";
             return 200 \"$request_method $request_uri host=$http_host for=$http_x_forwarded_for proto=$http_x_forwarded_proto as=$http_x_forwarded_host cookie=$http_cookie upgrade=$http_upgrade hop=$http_x_hop via=$http_via auth=$http_authorization debug=$http_x_sillage_debug agent=$http_user_agent\"; }}
           location /moved {{ return 302 http://old.example/landing?a=1; }}
           location /form/submit {{ proxy_pass http://127.0.0.1:{port}/taken; }}
           location /taken {{ return 200 \"$request_method $content_type $content_length\"; }}
           location /gone {{ return 410 \"gone\"; }}
           location /upload {{ proxy_pass http://127.0.0.1:{port}/length; }}
           location /length {{ return 200 \"$content_length\"; }} }}"
    );
    (port, Nginx::start(&http, port).await)
}

fn with_upstream(engine: Engine, port: u16) -> Setup {
    TestServer::on(engine)
        .with("UPSTREAM__URL", &format!("http://127.0.0.1:{port}"))
        .with("UPSTREAM__HOST", "old.example")
}

/// Headers but those of the time and the connection.
fn lasting(answer: &Answer) -> BTreeMap<String, String> {
    let headers = answer.headers.iter();
    headers
        .filter(|(name, _)| !["date", "connection", "keep-alive"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

/// The most memory that the server has had, in bytes.
fn peak(server: &TestServer) -> u64 {
    let file = Path::new("/proc")
        .join(server.id().to_string())
        .join("status");
    let status = std::fs::read_to_string(file).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

async fn what_we_do_not_speak_goes_on_and_comes_back_unchanged(engine: Engine) {
    let (port, _old) = old_system().await;
    let server = with_upstream(engine, port).start().await;
    let mut there = Client::new(([127, 0, 0, 1], port).into());
    let mut here = server.client();
    for path in [
        "/media/images/logo.png",
        "/res/mail/header.jpg",
        "/form/generate.js?id=3",
        "/webApp/welcome?id=%2F7&x=a+b",
        "/nl/jsp/m.jsp",
        "/gone",
        "/nothing/there",
    ] {
        let (direct, through) = (there.get(path).await, here.get(path).await);
        assert_eq!(through.status, direct.status, "{path}");
        assert_eq!(through.body, direct.body, "{path}");
        assert_eq!(lasting(&through), lasting(&direct), "{path}");
    }
    let tag = here.get("/media/images/logo.png").await;
    let etag = tag.header("etag").to_owned();
    let head = |path: &'static str| (http::Method::HEAD, path);
    for (method, path) in [head("/media/images/logo.png"), head("/nothing/there")] {
        let direct = there.request(method.clone(), path, &[], bytes::Bytes::new());
        let through = here.request(method, path, &[], bytes::Bytes::new());
        let (direct, through) = (direct.await.unwrap(), through.await.unwrap());
        assert_eq!(through.status, direct.status, "HEAD {path}");
        assert_eq!(lasting(&through), lasting(&direct), "HEAD {path}");
    }
    let again = here
        .get_with("/media/images/logo.png", &[("if-none-match", &etag)])
        .await;
    assert_eq!(again.status, 304);

    here.cookies.insert("visitorId".into(), "ours".into());
    here.cookies
        .insert("mautic_device_id".into(), "theirs".into());
    let told = here
        .get_with(
            "/echo/x?a=1",
            &[
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("x-forwarded-for", "6.6.6.6"),
                ("upgrade", "websocket"),
            ],
        )
        .await;
    let text = told.text();
    for part in [
        "GET /echo/x?a=1 host=old.example for=127.0.0.1 proto=http as=127.0.0.1:",
        "cookie=mautic_device_id=theirs upgrade= hop= via=1.1 sillage auth= debug= agent=Mozilla/5.0",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(told.header("x-old"), "kept");
    assert_eq!(told.set_cookies(), ["mautic_session=7; Path=/"]);
    // An operator's secrets stay here, and what a page of the old system is protected by goes on.
    let mut admin = server.client().admin();
    let told = admin
        .get_with("/echo/y", &[("x-sillage-debug", "k")])
        .await
        .text();
    assert!(told.contains("auth= debug="), "{told}");
    let basic = [("authorization", "Basic b2xk")];
    let told = server.client().get_with("/echo/y", &basic).await.text();
    assert!(told.contains("auth=Basic b2xk debug="), "{told}");
    let moved = here.get("/moved").await;
    let ours = format!("{}/landing?a=1", server.url());
    assert_eq!(
        (moved.status, moved.header("location")),
        (302, ours.as_str())
    );
    let sent = here
        .post("/upload", "text/plain", vec![b'x'; 300_000])
        .await;
    assert_eq!(sent.text(), "300000");

    // What is ours is not theirs, whatever they would say to it.
    assert_eq!(here.get("/r/unknown").await.status, 404);
    assert_eq!(
        here.get("/mtracking.gif?page_url=a")
            .await
            .header("content-type"),
        "image/gif"
    );
    assert_eq!(here.get("/api/v1/nothing").await.status, 401);
    assert_eq!(here.get("/api").await.status, 404);
    server.wait_stored(STORED).await;

    let mut admin = server.client().admin();
    let mut listed = async || {
        let listed = admin.get("/api/v1/unknown-paths").await.json();
        let listed = listed["unknown_paths"].as_array().unwrap().clone();
        let of = |segment: &str| {
            let found = listed.iter().find(|one| one["segment"] == segment);
            found.map(|one| one["passed_on"].as_i64().unwrap())
        };
        (of("/media"), of("/echo"), of("/r"))
    };
    wait_for("counted paths", STORED, async || {
        listed().await == (Some(4), Some(3), None)
    })
    .await;
    server.finish().await;
}

/// Half of the forms have moved, the others are still the old system's.
async fn forms_are_answered_where_they_are_defined(engine: Engine) {
    let (port, old) = old_system().await;
    let server = with_upstream(engine, port).start().await;
    let mut admin = server.client().admin();
    let form = json!({ "id": 4, "name": "Moved", "fields": [{ "alias": "email", "type": "email" }],
        "return_url": "https://shop.example/" });
    assert_eq!(admin.post_json("/api/v1/forms", &form).await.status, 201);
    let mut here = server.client();
    let kind = "application/x-www-form-urlencoded";
    let body = "mauticform[email]=a%40b.example&mauticform[formId]=3";
    let theirs = format!("POST {kind} {}", body.len());
    for path in ["/form/submit?formId=3", "/form/submit", "/form/submit/ajax"] {
        let told = here.post(path, kind, body).await;
        assert_eq!((told.status, told.text()), (200, theirs.clone()), "{path}");
    }
    assert_eq!(
        here.get("/form/generate.js?id=3").await.text(),
        "document.write('form')"
    );
    // Ours never ask it.
    drop(old);
    let script = here.get("/form/generate.js?id=4").await.text();
    assert!(script.contains("mauticform_moved"), "{script}");
    assert_eq!(here.get("/form/4").await.status, 200);
    assert_eq!(here.get("/form/embed/4").await.status, 200);
    assert_eq!(here.get("/media/js/mautic-form.js").await.status, 200);
    let told = here
        .post(
            "/form/submit?formId=4",
            kind,
            "mauticform[email]=a%40b.example",
        )
        .await;
    assert_eq!(
        (told.status, told.header("location")),
        (302, "https://shop.example/")
    );
    for path in ["/form/3", "/form/generate.js?id=3"] {
        assert_eq!(here.get(path).await.status, 502, "{path}");
    }
    assert_eq!(here.post("/form/submit", kind, body).await.status, 502);
    server.wait_stored(STORED).await;
    assert_eq!(server.db().number("select count(*) from hits").await, 1);
    server.finish().await;
}

async fn streams_take_no_memory_and_an_old_system_that_is_away_hurts_no_click(engine: Engine) {
    let (port, old) = old_system().await;
    let server = with_upstream(engine, port).start().await;
    let mut admin = server.client().admin();
    let link = json!({ "url": "https://shop.example/", "slug": "lamp" });
    assert_eq!(admin.post_json("/api/v1/links", &link).await.status, 201);
    let mut here = server.client();
    here.patience = Duration::from_secs(60);
    assert_eq!(here.get("/gone").await.status, 410);
    let before = peak(&server);
    let big = here.get("/big.bin").await;
    assert_eq!(big.body.len() as u64, BIG);
    let sent = here
        .post("/upload", "text/plain", vec![b'x'; 50 << 20])
        .await;
    assert_eq!(sent.text(), (50 << 20).to_string());
    let grown = peak(&server) - before;
    assert!(grown < MOST_MEMORY, "{grown} bytes for 150 MB");
    let too_large = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        65 << 20
    );
    let refused = exchange(server.address(), too_large.as_bytes(), STORED).await;
    assert_eq!(refused.unwrap().status, 413);

    drop(old);
    wait_for("the old system is away", STORED, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    })
    .await;
    let mut here = server.client();
    for _ in 0..20 {
        let page = here.get("/media/images/logo.png").await;
        assert_eq!(page.status, 502, "{}", page.text());
        assert!(page.text().contains("cannot be shown"));
        assert_eq!(here.get("/r/lamp").await.status, 302);
    }
    server.wait_stored(STORED).await;
    assert_eq!(server.db().number("select count(*) from hits").await, 20);
    server.finish().await;
}

/// Whoever answers nothing holds its own requests only, and not for ever.
async fn an_old_system_that_hangs_is_given_up(engine: Engine) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = with_upstream(engine, port)
        .with("UPSTREAM__TIMEOUT", "300ms")
        .with("UPSTREAM__MAX_REQUESTS", "1")
        .start()
        .await;
    let mut here = server.client();
    assert_eq!(here.get("/dwc/slot").await.status, 504);
    // One hangs in the middle of its answer: then the connection breaks off.
    let half = tokio::spawn(async move {
        loop {
            let (mut stream, _) = silent.accept().await.unwrap();
            let mut head = [0; 2_000];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
            std::mem::forget(stream);
        }
    });
    let mut first = server.client();
    let broken = first
        .request(http::Method::GET, "/dwc/half", &[], bytes::Bytes::new())
        .await;
    assert!(broken.is_err(), "{broken:?}");
    // Its place is free again.
    wait_for("another is asked", STORED, async || {
        let mut next = server.client();
        next.request(http::Method::GET, "/dwc/half", &[], bytes::Bytes::new())
            .await
            .is_err()
    })
    .await;
    half.abort();
    server.finish().await;
}

async fn a_loop_ends_and_without_an_old_system_people_are_led_on(engine: Engine) {
    let server = TestServer::on(engine)
        .with("LINKS__FALLBACK_URL", "https://www.shop.example/")
        .start()
        .await;
    // Another name of the same server: the check of the configuration cannot know it.
    let loops = TestServer::on(engine)
        .with("UPSTREAM__URL", &server.url())
        .start()
        .await;
    let mut through = loops.client();
    let twice = [("via", "1.1 sillage, 1.1 sillage")];
    assert_eq!(through.get_with("/x", &twice).await.status, 508);
    let page = ("accept", "text/html,*/*;q=0.8");
    let opened = through.get_with("/x/y", &[page]).await;
    assert_eq!(
        (opened.status, opened.header("location")),
        (302, "https://www.shop.example/"),
        "passed through"
    );
    let mut here = server.client();
    assert_eq!(here.get("/landing").await.status, 404, "no person");
    let image = [page, ("sec-fetch-mode", "no-cors")];
    assert_eq!(here.get_with("/x.png", &image).await.status, 404);
    assert_eq!(here.get_with("/landing", &[page]).await.status, 302);
    let long = format!("/{}/x", "<script>".repeat(200));
    here.get(&long.replace('<', "%3C").replace('>', "%3E"))
        .await;
    let mut admin = server.client().admin();
    wait_for("counted paths", STORED, async || {
        let listed = admin.get("/api/v1/unknown-paths").await.json();
        let listed = listed["unknown_paths"].as_array().unwrap().clone();
        let refused = |segment: &str| {
            let found = listed.iter().find(|one| one["segment"] == segment);
            found.and_then(|one| one["refused"].as_i64())
        };
        let is_cut = listed
            .iter()
            .all(|one| one["segment"].as_str().unwrap().chars().count() <= 101);
        is_cut && refused("/landing") == Some(2) && refused("/x") == Some(1)
    })
    .await;
    loops.finish().await;
    server.finish().await;
}

/// Paths that the vendors' clients and mails ask for: from the routes of Mautic, the SDKs of Adobe
/// and Mapp, and recorded mails.
const VENDORS: &str = include_str!("upstream/vendors.tsv");

async fn what_vendors_clients_ask_for_is_answered_or_goes_on(engine: Engine) {
    let port = free_port();
    let http =
        format!("server {{ listen 127.0.0.1:{port}; location / {{ return 299 \"theirs\"; }} }}");
    let _old = Nginx::start(&http, port).await;
    let hosts = "shop.example";
    let moved = with_upstream(engine, port).with("MAPP__REDIRECT_HOSTS", hosts);
    let moved = moved.start().await;
    let alone = TestServer::on(engine).with("MAPP__REDIRECT_HOSTS", hosts);
    let alone = alone.start().await;
    for server in [&moved, &alone] {
        let mut api = server.client().admin();
        let link = json!({ "slug": "0123456789abcdef012345678", "url": "https://shop.example/" });
        let adobes = json!({ "id": 0x71ffa8, "url": "https://shop.example/" });
        let form = json!({ "id": 3, "name": "News", "fields": [{ "alias": "email" }] });
        for (path, body) in [("links", link), ("links", adobes), ("forms", form)] {
            let made = api.post_json(&format!("/api/v1/{path}"), &body).await;
            assert!(made.status < 300, "{}", made.text());
        }
        wait_for("the form is known", STORED, async || {
            server.client().get("/form/3").await.status == 200
        })
        .await;
    }
    let mut wrong = Vec::new();
    for line in VENDORS.lines().skip(1) {
        let [vendor, shown, caller, outcome, method, path] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{line}");
        };
        let ask = async |server: &TestServer| {
            let method = method.parse().unwrap();
            let header = [("content-type", "application/x-www-form-urlencoded")];
            let mut client = server.client();
            let body = bytes::Bytes::from_static(b"wt?p=300,x&a=1");
            let asked = client.request(method, path, &header, body);
            asked.await.unwrap()
        };
        let (with, without) = (ask(&moved).await, ask(&alone).await);
        let is_theirs = with.status == 299 && with.text() == "theirs";
        let is_right = match outcome {
            "answered" => !is_theirs && with.status == without.status && with.status < 400,
            "passed on" => is_theirs && without.status == 404,
            "refused" => !is_theirs && with.status == 404 && without.status == 404,
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{line}: {} with, {} without",
                with.status, without.status
            ));
        }
        // The manual says the same.
        let code: Vec<String> = shown
            .split(", ")
            .map(|part| match part.starts_with('/') {
                true => format!("`{part}`"),
                false => part.to_owned(),
            })
            .collect();
        let row = format!(
            "| {vendor} | {} | {caller} | {outcome} |\n",
            code.join(", ")
        );
        if !MIGRATING.contains(&row) {
            wrong.push(format!("not in the manual: {row}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    moved.finish().await;
    alone.finish().await;
}

const MIGRATING: &str = include_str!("../../static/docs/migrating.md");

on_both!(
    what_vendors_clients_ask_for_is_answered_or_goes_on,
    forms_are_answered_where_they_are_defined,
    what_we_do_not_speak_goes_on_and_comes_back_unchanged,
    streams_take_no_memory_and_an_old_system_that_is_away_hurts_no_click,
    an_old_system_that_hangs_is_given_up,
    a_loop_ends_and_without_an_old_system_people_are_led_on,
);
