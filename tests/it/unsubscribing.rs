//! Unsubscribing: by the page's button, by a mailbox's own (RFC 8058), with the database dead and the
//! server killed; and who does not: scanners.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Campaign, Client, Engine, Nginx, TestServer, free_port, new_dir, on_both, wait_for,
};

const STORED: Duration = Duration::from_secs(30);
/// Pauses between tries double from five seconds on.
const TOLD: Duration = Duration::from_secs(120);
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// What scans links on the way to a mailbox, fetches pages ahead, previews and crawls.
const SCANNERS: [&str; 40] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/120.0 Safari/537.36 Edg/120.0",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; SLCC2)",
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0; Pro)",
    "Microsoft Office Existence Discovery",
    "Microsoft-SafeLinks/1.0",
    "SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Mozilla/5.0 (compatible; Barracuda Sentinel/1.0)",
    "Proofpoint-URLDefense/1.0",
    "Mozilla/5.0 (compatible; MimecastScanner/2.1)",
    "Symantec Email Security",
    "FortiMail/7.4",
    "Trend Micro WTP Add-On/1.0",
    "Mozilla/5.0 (compatible; Cisco-IronPort)",
    "Sophos Email Appliance",
    "Mozilla/5.0 (compatible; Google-Safety; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "WhatsApp/2.23.20.0",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "BingPreview/1.0b",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    HeadlessChrome/126.0 Safari/537.36",
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0",
    "python-requests/2.32.3",
    "curl/8.5.0",
    "Wget/1.21.4",
    "Go-http-client/1.1",
    "Java/17.0.15",
    "okhttp/4.12.0",
];

fn way_out(mail: &Campaign, message: usize) -> String {
    let open = mail.open_path(message);
    let token = open.trim_start_matches("/o/").trim_end_matches(".gif");
    format!("/u/{token}")
}

async fn post(client: &mut Client, path: &str) -> Answer {
    let form = "application/x-www-form-urlencoded";
    client.post(path, form, ONE_CLICK).await
}

async fn a_get_changes_nothing_whoever_sends_it(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let paths = [
        way_out(&mail, 0),
        "/email/unsubscribe/5c3a9f1e2b4d7".to_owned(),
        "/index.php/email/dnc/5c3a9f1e2b4d7/a%40b/00ff".to_owned(),
    ];
    for agent in SCANNERS {
        let mut scanner = server.client().header("user-agent", agent);
        for path in &paths {
            let page = scanner.get(path).await;
            assert_eq!(page.status, 200, "{path}");
            assert!(
                page.text().contains("<form method=\"post\">"),
                "{}",
                page.text()
            );
            assert!(
                page.header("content-security-policy")
                    .contains("default-src 'none'")
            );
            let head = scanner.request(Method::HEAD, path, &[], bytes::Bytes::new());
            assert_eq!(head.await.unwrap().status, 200);
        }
    }
    // As the link comes out of a text, a chat or a shouted address.
    let path = &paths[0];
    let shouted = path.to_uppercase();
    for mangled in [
        format!("{path}."),
        format!("{path}_"),
        format!("{path}%3E"),
        shouted,
    ] {
        assert_eq!(server.client().get(&mangled).await.status, 200, "{mangled}");
    }
    let mut reader = server
        .client()
        .header("accept-language", "de-AT,de;q=0.9,en;q=0.5");
    assert!(reader.get(&paths[0]).await.text().contains("Abmelden"));
    assert_eq!(reader.get("/u/forged").await.status, 404);
    assert_eq!(post(&mut reader, "/u/forged").await.status, 404);
    assert_eq!(
        post(&mut reader, &mail.link_path(0)).await.status,
        405,
        "no opt-out"
    );
    server.wait_stored(STORED).await;
    assert_eq!(server.db().hits().await, 0);
    server.finish().await;
}

async fn a_post_says_it_of_the_contact_until_it_is_ended(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = api
        .post_json("/api/v1/deliveries", &json!({ "label": "November" }))
        .await;
    let delivery = made.json()["id"].as_i64().unwrap();
    let link = json!({ "url": "https://shop.example/bye", "category": "optout" });
    let links = format!("/api/v1/deliveries/{delivery}/links");
    let link = api.post_json(&links, &link).await.json()["id"].to_string();
    let messages = format!("/api/v1/deliveries/{delivery}/messages");
    let mut send = async |email: &str| -> Value {
        let line = json!({ "contact": { "email": email } }).to_string();
        let sent = api.post(&messages, "application/x-ndjson", line).await;
        serde_json::from_str(sent.text().trim()).unwrap()
    };
    let (ada, bob) = (send("ada@x.example").await, send("bob@x.example").await);
    assert_eq!(ada["list_unsubscribe_post"], ONE_CLICK);
    assert_eq!(ada["opted_out"], Value::Null);
    let path = |url: &Value| {
        let url = url.as_str().unwrap().trim_matches(['<', '>']);
        url.strip_prefix(&server.url()).unwrap().to_owned()
    };
    // A mailbox posts without cookies, agent or language.
    let mut mailbox = server.client();
    mailbox.headers.clear();
    let told = post(&mut mailbox, &path(&ada["list_unsubscribe"])).await;
    assert_eq!(told.status, 200);
    assert!(told.set_cookies().is_empty());
    // Bob's mail has a link of the sender's instead: a click leads on, a mailbox's POST is enough.
    let out = path(&bob["links"][&link]);
    let mut reader = server.client();
    assert_eq!(
        reader.get(&out).await.header("location"),
        "https://shop.example/bye"
    );
    server.wait_stored(STORED).await;
    let since = async |contact: &Value| {
        let at = format!(
            "/api/v1/contacts/{}",
            contact["contact_id"].as_str().unwrap()
        );
        server.client().admin().get(&at).await.json()["opted_out_at"].clone()
    };
    assert!(since(&ada).await.is_string());
    assert_eq!(since(&bob).await, Value::Null, "a click is no opt-out");
    assert_eq!(post(&mut mailbox, &out).await.status, 200);
    server.wait_stored(STORED).await;
    assert!(since(&bob).await.is_string());
    let rows = "select count(*) from hits where kind = 'optout' and event = 'unsubscribed' and \
        verdict = 'human' and delivery_id is not null and broadlog_id is not null";
    assert_eq!(server.db().number(rows).await, 2);

    assert_eq!(send("ada@x.example").await["opted_out"], true);
    let again = format!(
        "/api/v1/contacts/{}/opt-out",
        ada["contact_id"].as_str().unwrap()
    );
    let mut api = server.client().admin();
    let ended = api
        .request(Method::DELETE, &again, &[], bytes::Bytes::new())
        .await;
    assert_eq!(ended.unwrap().status, 204);
    assert_eq!(since(&ada).await, Value::Null);
    server.finish().await;
}

/// Whose opt-out is only named by a number that can be guessed stays as it was.
async fn a_guessed_number_unsubscribes_nobody(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut api = server.client().admin();
    let links = format!("/api/v1/deliveries/{}/links", mail.delivery);
    let link = json!({ "id": 77, "url": "https://shop.example/bye", "category": "optout" });
    assert_eq!(api.post_json(&links, &link).await.status, 201);
    let path = format!("/r/?id=h{:x},{:x},4d", mail.messages[0].0, mail.delivery);
    let mut stranger = server.client();
    assert_eq!(post(&mut stranger, &path).await.status, 200);
    server.wait_stored(STORED).await;
    assert_eq!(
        server
            .db()
            .number("select count(*) from hits where kind = 'optout'")
            .await,
        1
    );
    assert_eq!(server.db().number("select count(*) from opt_outs").await, 0);
    server.finish().await;
}

async fn each_answered_one_is_stored_once_under_kill_9(engine: Engine) {
    const MESSAGES: usize = 240;
    let mut server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), MESSAGES).await;
    let mut answered = Vec::new();
    for message in 0..MESSAGES {
        if message % 40 == 20 {
            let (way, address) = (way_out(&mail, message), server.address());
            // Killed while one is on its way.
            let asked = tokio::spawn(async move {
                let mut client = Client::new(address);
                client
                    .request(Method::POST, &way, &[], bytes::Bytes::from(ONE_CLICK))
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            });
            server.kill().await;
            server.launch();
            server.wait_ready().await;
            if asked.await.unwrap() {
                answered.push(mail.messages[message].0);
            }
            continue;
        }
        let told = post(&mut server.client(), &way_out(&mail, message)).await;
        assert_eq!(told.status, 200);
        answered.push(mail.messages[message].0);
    }
    server.wait_drained(STORED).await;
    let stored = "select cast(broadlog_id as text) from hits where kind = 'optout' and event = \
        'unsubscribed'";
    let mut stored: Vec<i64> = server
        .db()
        .texts(stored)
        .await
        .into_iter()
        .map(|id| id.unwrap().parse().unwrap())
        .collect();
    stored.sort_unstable();
    let all = stored.len();
    stored.dedup();
    assert_eq!(stored.len(), all, "twice");
    let lost: Vec<i64> = answered
        .iter()
        .copied()
        .filter(|id| stored.binary_search(id).is_err())
        .collect();
    assert!(
        answered.len() >= MESSAGES - 6 && lost.is_empty(),
        "lost {lost:?}"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_while_the_database_is_dead() {
    let (mut postgres, server) = TestServer::on_own_postgres().await;
    let mail = Campaign::make(server.db(), 3).await;
    postgres.kill().await;
    for message in 0..3 {
        assert_eq!(
            server.client().get(&way_out(&mail, message)).await.status,
            200
        );
        let told = post(&mut server.client(), &way_out(&mail, message)).await;
        assert_eq!(told.status, 200);
        assert!(told.text().contains("unsubscribed"));
    }
    postgres.start_again().await;
    server.wait_drained(Duration::from_secs(60)).await;
    assert_eq!(server.db().number("select count(*) from opt_outs").await, 3);
    assert_eq!(server.db().hits().await, 3);
    server.finish().await;
}

/// The old system may still be sending.
async fn the_old_system_is_told_when_it_is_back(engine: Engine) {
    let (port, dir) = (free_port(), new_dir("told"));
    let log = dir.join("told.log");
    let mut server = TestServer::on(engine)
        .with("UPSTREAM__URL", &format!("http://127.0.0.1:{port}"))
        .start()
        .await;
    let hash = "5c3a9f1e2b4d7";
    let told = post(
        &mut server.client(),
        &format!("/email/unsubscribe/{hash}/a%40x/f0"),
    )
    .await;
    assert_eq!(told.status, 200);
    server.wait_stored(STORED).await;
    wait_for("one try failed", TOLD, async || {
        server.metric("sillage_upstream_opt_outs_total").await >= 1.0
    })
    .await;
    server.kill().await;
    server.launch();
    server.wait_ready().await;
    // A firewall's word is none of the old system's.
    let wall = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 403; }} }}");
    let wall = Nginx::start(&wall, port).await;
    let before = server.metric("sillage_upstream_opt_outs_total").await;
    wait_for("another try failed", TOLD, async || {
        server.metric("sillage_upstream_opt_outs_total").await > before
    })
    .await;
    let untold = "select count(*) from untold_opt_outs";
    assert_eq!(server.db().number(untold).await, 1);
    drop(wall);
    let http = format!(
        "log_format told \"$request_method $request_uri $request_body\"; server {{ listen \
        127.0.0.1:{port}; access_log {} told; location /done {{ return 200; }} location / {{ \
        proxy_pass http://127.0.0.1:{port}/done; }} }}",
        log.display()
    );
    let _old = Nginx::start(&http, port).await;
    wait_for("the old system knows", TOLD, async || {
        server
            .db()
            .number("select count(*) from untold_opt_outs")
            .await
            == 0
    })
    .await;
    let told = std::fs::read_to_string(&log).unwrap();
    let wanted = format!("POST /email/unsubscribe/{hash} {ONE_CLICK}");
    assert!(told.contains(&wanted), "{told}");
    server.finish().await;
}

on_both!(
    a_get_changes_nothing_whoever_sends_it,
    a_post_says_it_of_the_contact_until_it_is_ended,
    a_guessed_number_unsubscribes_nobody,
    each_answered_one_is_stored_once_under_kill_9,
    the_old_system_is_told_when_it_is_back,
);
