//! Which listener carries what: tracking for everybody, the rest for operators.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::{
    Campaign, Client, Engine, Setup, TestServer, free_port, new_dir, on_both, wait_for,
};

const SOON: Duration = Duration::from_secs(20);
/// The operator's side, and what it answers there to the holder of the admin token.
const OPERATORS: [(&str, u16); 8] = [
    ("/api/v1/deliveries", 200),
    ("/api/v1/hits", 200),
    ("/api/v1/tokens", 200),
    ("/api/v1/nothing", 404),
    ("/docs/", 200),
    ("/docs/access", 200),
    ("/metrics", 200),
    ("/", 303),
];

fn with_console(setup: Setup) -> (Setup, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (setup.with("CONSOLE__LISTEN", &address.to_string()), address)
}

async fn the_public_listener_carries_tracking_and_the_operators_one_the_rest(engine: Engine) {
    let (setup, address) = with_console(TestServer::on(engine).with("API__PUBLIC", "false"));
    let server = setup.start_without_database().await;
    server.wait_tables().await;
    let mut console = Client::new(address).admin();
    for (path, status) in OPERATORS {
        let answer = console.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    assert_eq!(console.get("/").await.header("location"), "/console/");
    assert_eq!(
        Client::new(address).get("/api/v1/deliveries").await.status,
        401
    );
    assert_eq!(Client::new(address).get("/metrics").await.status, 401);

    let mut public = server.client().admin();
    for (path, _) in OPERATORS {
        let answer = public.get(path).await;
        let expected = match path {
            // A page of ours for whoever looks, and a path that takes only what is sent.
            "/" => 200,
            "/api/v1/hits" => 405,
            _ => 404,
        };
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
    for (method, path) in [
        (Method::POST, "/api/v1/links"),
        (Method::DELETE, "/api/v1/tokens/1"),
    ] {
        let answer = public
            .request(method, path, &[], Bytes::new())
            .await
            .unwrap();
        assert_eq!(answer.status, 404, "{path}");
    }
    // What senders' servers send comes in here.
    let hit = json!({"kind": "event", "event": "signup", "page_url": "https://shop.example/"});
    assert_eq!(public.post_json("/api/v1/hits", &hit).await.status, 202);
    let mut nobody = server.client();
    assert_eq!(nobody.post_json("/api/v1/hits", &hit).await.status, 401);

    // Tracking is on the one, and on the other it is not even counted.
    let mail = Campaign::make(server.db(), 1).await;
    let click = mail.link_path(0);
    assert_eq!(server.client().get(&click).await.status, 302);
    for path in [
        &click[..],
        "/mtracking.gif",
        "/mtc.js",
        "/mtc",
        "/o/x.gif",
        "/robots.txt",
    ] {
        let answer = console.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.set_cookies(), Vec::<&str>::new(), "{path}");
    }
    for mut watcher in [server.client(), Client::new(address)] {
        assert_eq!(watcher.get("/livez").await.status, 200);
        assert_eq!(watcher.get("/readyz").await.status, 200);
    }
    server.wait_drained(SOON).await;
    assert_eq!(server.db().hits().await, 2);
    server.finish().await;
}

on_both!(the_public_listener_carries_tracking_and_the_operators_one_the_rest);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_it_is_said_otherwise_the_api_is_on_both_and_a_hangup_takes_it_away() {
    let file = new_dir("configuration").join("sillage.toml");
    std::fs::write(&file, "").unwrap();
    let (setup, address) = with_console(TestServer::on(Engine::Sqlite));
    let setup = setup.argument("--config").argument(file.to_str().unwrap());
    let server = setup.start().await;
    let mut public = server.client().admin();
    for (path, status) in OPERATORS {
        if path != "/" {
            assert_eq!(public.get(path).await.status, status, "{path}");
            assert_eq!(
                Client::new(address).admin().get(path).await.status,
                status,
                "{path}"
            );
        }
    }
    let log = server.log();
    assert!(log.contains("api.public is not set"), "{log}");
    assert!(log.contains(&format!(
        "For operators (console, API, manual): http://{address}/"
    )));

    std::fs::write(&file, "[api]\npublic = false").unwrap();
    server.hang_up();
    wait_for("the API is gone", SOON, async || {
        public.get("/api/v1/deliveries").await.status == 404
    })
    .await;
    assert_eq!(
        Client::new(address)
            .admin()
            .get("/api/v1/deliveries")
            .await
            .status,
        200
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usual_address_that_is_taken_stops_no_server_whose_api_is_public() {
    // Where somebody else has it already, all the better.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8081");
    let usual = |public: &str| {
        let setup = TestServer::on(Engine::Sqlite).with("CONSOLE__LISTEN", "127.0.0.1:8081");
        setup.with("API__PUBLIC", public)
    };
    let server = usual("true").start().await;
    let log = server.log();
    assert!(
        log.contains("serving without the operators' listener"),
        "{log}"
    );
    assert!(!log.contains("api.public is not set"), "{log}");
    assert_eq!(
        server
            .client()
            .admin()
            .get("/api/v1/deliveries")
            .await
            .status,
        200
    );
    server.finish().await;

    let mut lost = usual("false").be().await;
    let (code, told) = lost.start_refused().await;
    assert_eq!(code, Some(1), "{told}");
    let why = "console.listen = \"127.0.0.1:8081\": another program is already listening there";
    assert!(told.contains(why), "{told}");
}
