//! What operators do with a running server: change its configuration, start a second one beside it,
//! run it where descriptors are few.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sillage::door::{BroadlogId, DeliveryId, Keys, LinkId, LinkToken};

use crate::harness::{
    Campaign, Client, Engine, SIGNING_KEY, TestServer, free_port, new_dir, on_both, wait_for,
};

const SOON: Duration = Duration::from_secs(15);
const NEW_KEY: &str = "2:fedcba9876543210fedcba9876543210";
const DEBUG_KEY: &str = "a-key-of-sixteen";
const SHOP: &str = "https://shop.example";

/// A configuration file of a test's own.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let file = Self(new_dir("configuration").join("sillage.toml"));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

/// Whether pages of the shop may read answers.
async fn shop_may_read(client: &mut Client) -> bool {
    let answer = client.get_with("/mtc", &[("origin", SHOP)]).await;
    answer.header("access-control-allow-origin") == SHOP
}

async fn a_hangup_reads_lists_and_keys_again_and_loses_nobody(engine: Engine) {
    let file = File::new(&format!("[keys]\nsigning = [\"{SIGNING_KEY}\"]"));
    let server = TestServer::on(engine)
        .with("KEYS__SIGNING", "")
        .argument("--config")
        .argument(file.0.to_str().unwrap())
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let signed_anew = LinkToken {
        delivery_id: DeliveryId(mail.delivery),
        broadlog_id: BroadlogId(mail.messages[0].0),
        link_id: Some(LinkId(mail.link)),
        sent_minute: None,
    }
    .encode(&Keys::parse(&[NEW_KEY.to_owned()]).unwrap());
    let new_path = format!("/r/{signed_anew}");
    // One connection all along.
    let mut reader = server.client();
    assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    assert_eq!(reader.get(&new_path).await.status, 404);
    assert!(!shop_may_read(&mut reader).await);

    file.write(&format!(
        "[keys]\nsigning = [\"{NEW_KEY}\", \"{SIGNING_KEY}\"]\n[cors]\norigins = \
        [\"{SHOP}\"]\n[spool]\nmax_bytes = 70000\n[log]\nlevel = \"debug\""
    ));
    server.hang_up();
    wait_for("the origin may read", SOON, async || {
        shop_may_read(&mut reader).await
    })
    .await;
    // The other key's link was asked for before, and would be remembered if it had been looked up.
    assert_eq!(reader.get(&new_path).await.status, 302);
    assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    wait_for("the log says so", SOON, async || {
        let log = server.log();
        log.contains("changed=\"cors.origins, keys.signing, log.level\"")
            && log.contains("spool.max_bytes")
            && log.contains("http.route=\"link\"")
    })
    .await;

    // A mistake changes nothing and ends nothing.
    file.write("[cors]\norigins = [\"shop.example\"]");
    server.hang_up();
    wait_for("the mistake is told", SOON, async || {
        let log = server.log();
        log.contains("cors.origins = \"shop.example\"")
            && log.contains("the configuration was not changed")
    })
    .await;
    assert!(shop_may_read(&mut reader).await);
    assert_eq!(reader.get(&new_path).await.status, 302);

    std::fs::remove_file(&file.0).unwrap();
    server.hang_up();
    wait_for("the missing file is told", SOON, async || {
        server.log().contains("cannot be read")
    })
    .await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    server.finish().await;
}

async fn keys_that_links_were_signed_with_are_not_lost_by_a_hangup(engine: Engine) {
    let server = TestServer::on(engine)
        .with("KEYS__SIGNING", "")
        .start()
        .await;
    let keys = server.data_dir().join("signing.keys");
    let before = std::fs::read_to_string(&keys).unwrap();
    let short = serde_json::json!({ "url": "https://shop.example/", "slug": "shop" });
    let mut admin = server.client().admin();
    assert_eq!(admin.post_json("/api/v1/links", &short).await.status, 201);

    std::fs::write(&keys, "").unwrap();
    server.hang_up();
    wait_for("the empty file is told", SOON, async || {
        server.log().contains("the configuration was not changed")
    })
    .await;
    assert_eq!(server.client().get("/r/shop").await.status, 302);

    std::fs::write(&keys, format!("{NEW_KEY}\n{before}")).unwrap();
    server.hang_up();
    wait_for("the keys are read", SOON, async || {
        server.log().contains("the configuration was reloaded")
    })
    .await;
    // The database knows the new one too, so that no other server is without it.
    wait_for("the new key is known", SOON, async || {
        let sql = "select count(*) from signing_keys";
        server.db().number(sql).await == 2
    })
    .await;
    assert_eq!(server.readiness().await["keys"], "ok");
    server.wait_drained(SOON).await;
    server.finish().await;
}

/// What the server takes a request for.
async fn verdict(client: &mut Client, path: &str) -> String {
    let headers = [
        ("user-agent", "Mozilla/5.0 Gecko/1 Acme"),
        ("x-sillage-debug", DEBUG_KEY),
    ];
    let answer = client.get_with(path, &headers).await;
    assert!(answer.status < 400, "{}", answer.status);
    let reason = answer.header("x-sillage-reason");
    format!("{} {reason}", answer.header("x-sillage-verdict"))
}

async fn an_operators_lists_judge_and_a_hangup_reads_them_again(engine: Engine) {
    let list = File::new("# ours\nbot Acme\n");
    let server = TestServer::on(engine)
        .with("DEBUG__KEY", DEBUG_KEY)
        .with("VERDICT__AGENTS", list.0.to_str().unwrap())
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    assert_eq!(
        verdict(&mut reader, &mail.link_path(0)).await,
        "bot listed as bot"
    );
    assert_eq!(
        verdict(&mut reader, "/mtracking.gif?page_url=a").await,
        "bot listed as bot"
    );

    list.write("human acme");
    server.hang_up();
    wait_for("the list is read again", SOON, async || {
        verdict(&mut reader, &mail.link_path(0)).await == "human "
    })
    .await;

    // A mistake changes nothing and ends nothing.
    list.write("human acme\nrobot acme");
    server.hang_up();
    wait_for("the mistake is told", SOON, async || {
        let log = server.log();
        log.contains("line 2") && log.contains("the configuration was not changed")
    })
    .await;
    assert_eq!(verdict(&mut reader, &mail.link_path(0)).await, "human ");

    // Nothing starts on it, and the check says why.
    for arguments in [&["serve"][..], &["check-config"]] {
        let second = server
            .command()
            .env("SILLAGE_DATA_DIR", new_dir("second"))
            .env("SILLAGE_LISTEN", "127.0.0.1:0")
            .env("SILLAGE_METRICS__LISTEN", "")
            .env("SILLAGE_VERDICT__AGENTS", &list.0)
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{told}");
        assert!(
            told.contains("verdict.agents, line 2: \"robot\" is not known"),
            "{told}"
        );
    }
    let asked = server
        .command()
        .env("SILLAGE_VERDICT__NETWORKS", {
            list.write("scanner 198.51.100.0/24");
            &list.0
        })
        .args(["verdict", "--address", "198.51.100.7"])
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(told["reason"], "listed as scanner");
    assert_eq!(told["entry"]["source"], "verdict.networks, line 1");
    server.wait_drained(SOON).await;
    server.finish().await;
}

on_both!(
    an_operators_lists_judge_and_a_hangup_reads_them_again,
    a_hangup_reads_lists_and_keys_again_and_loses_nobody,
    keys_that_links_were_signed_with_are_not_lost_by_a_hangup,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_that_are_taken_are_told_with_the_key_to_change() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let second = server
        .command()
        .env("SILLAGE_DATA_DIR", new_dir("second"))
        .env(
            "SILLAGE_METRICS__LISTEN",
            taken.local_addr().unwrap().to_string(),
        )
        .output()
        .unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    for part in [
        format!(
            "listen = \"{}\": another sillage is already listening",
            server.address()
        ),
        "listen in the configuration or --listen".to_owned(),
        format!(
            "metrics.listen = \"{}\": another program is already listening",
            taken.local_addr().unwrap()
        ),
        "metrics.listen in the configuration or SILLAGE_METRICS__LISTEN, or \"\" for none"
            .to_owned(),
    ] {
        assert!(told.contains(&part), "{part} in {told}");
    }
    server.finish().await;
}

/// So many readers at once, each with a connection of its own that has answered once.
async fn connect(server: &TestServer, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = server.client();
        assert_eq!(client.get("/livez").await.status, 200);
        clients.push(client);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    // What shells and supervisors give: few at first, more for whoever asks.
    let server = TestServer::on(Engine::Sqlite)
        .descriptors(100, 400)
        .start()
        .await;
    let mut clients = connect(&server, 200).await;
    for client in &mut clients {
        assert_eq!(client.get("/mtracking.gif").await.status, 200);
    }
    let log = server.log();
    assert!(log.contains("server.max_connections is lowered"), "{log}");
    assert!(
        log.contains("limit=400 configured=10000 lowered=290"),
        "{log}"
    );
    drop(clients);
    server.wait_drained(SOON).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_out_of_descriptors_is_told_once_and_those_who_are_in_stay() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut inside = server.client().admin();
    assert_eq!(inside.get("/livez").await.status, 200);
    server.limit_descriptors(server.open_descriptors() + 3);
    // The kernel lets them connect; the server cannot let them in.
    let mut outside = Vec::new();
    for _ in 0..20 {
        outside.push(
            tokio::net::TcpStream::connect(server.address())
                .await
                .unwrap(),
        );
    }
    let failures = async |client: &mut Client| {
        let text = client.get("/metrics").await.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sillage_accept_failures_total "));
        line.map_or(0.0, |count| count.parse::<f64>().unwrap())
    };
    wait_for("accepting fails", SOON, async || {
        failures(&mut inside).await > 0.0
    })
    .await;
    let (started, before) = (Instant::now(), failures(&mut inside).await);
    wait_for("it fails again and again", SOON, async || {
        failures(&mut inside).await >= before + 20.0
    })
    .await;
    let rate = 20.0 / started.elapsed().as_secs_f64();
    assert!(rate < 40.0, "{rate} tries a second are a busy loop");
    assert_eq!(
        inside.get("/mtracking.gif").await.status,
        200,
        "who is in stays"
    );
    let told = server.log().matches("out of file descriptors").count();
    assert_eq!(told, 1, "{}", server.log());

    server.limit_descriptors(4_096);
    drop(outside);
    wait_for("others are let in", SOON, async || {
        let mut client = server.client();
        client.patience = Duration::from_secs(1);
        let answer = client.request(http::Method::GET, "/livez", &[], Default::default());
        answer.await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    server.wait_drained(SOON).await;
    server.finish().await;
}
