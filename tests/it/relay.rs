//! The files of `static/relay`, as the manual tells people to copy them: run as they are against a
//! tracker that writes down what reaches it, and against the server. Nothing of them is changed
//! here but names, addresses and the certificate.

mod recorder;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use self::recorder::Recorder;
use crate::harness::{
    Client, Engine, Nginx, Process, TestServer, certificate, free_port, new_dir, on_both, wait_for,
};

const DRAINED: Duration = Duration::from_secs(20);
const TRACK_ID: &str = "111111111111111";
const SECRET: &str = "change-me-to-16-or-more";
const VISITOR: &str = "203.0.113.7";
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// A reader's browser on a site with a login, with cookies of the tracker among the site's own.
const COOKIES: &str = "PHPSESSID=secret1; visitorId=another-tools; \
    wteid_111111111111111=4179528021194246163; login=secret2; wtsid_111111111111111=1; \
    visitorId=v; broadlogId=b; csrf=secret3; deliveryId=d; xbroadlogId=secret4";
const FORGED: &str = "X-WT-IP: 198.51.100.66\r\nX-WT-UA: forged\r\nX-WT-Secret: \
    guessed-by-somebody\r\nX-WT-RQ: forged\r\n\
    X-Forwarded-For: 198.51.100.66\r\nForwarded: for=198.51.100.66\r\nX-Real-IP: \
    198.51.100.66\r\nAuthorization: Basic c2VjcmV0NQ==\r\n";

fn relay_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("static/relay")
}

/// The documented nginx configuration with the tracker's address and ports of this machine; beside
/// the one with TLS a plain one, for clients that speak none. Around it, in `http { }`, what a test
/// needs to come from an address of its own.
pub fn documented_nginx(tracker: SocketAddr, port: u16, plain_port: u16) -> String {
    let mut config = std::fs::read_to_string(relay_dir().join("nginx.conf")).unwrap();
    let (certificate, key) = certificate();
    for (documented, here) in [
        (
            "listen 443 ssl;",
            format!("listen 127.0.0.1:{port} ssl; listen 127.0.0.1:{plain_port};"),
        ),
        ("127.0.0.1:8080", tracker.to_string()),
        (
            "/etc/ssl/www.example.com.pem",
            certificate.display().to_string(),
        ),
        ("/etc/ssl/www.example.com.key", key.display().to_string()),
    ] {
        assert_eq!(config.matches(documented).count(), 1, "{documented}");
        config = config.replace(documented, &here);
    }
    format!("set_real_ip_from 127.0.0.1; real_ip_header X-Test-Visitor; {config}")
}

/// What a browser sends with a hit, and its answer.
async fn browse(address: SocketAddr, target: &str, more: &str) -> String {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: {AGENT}\r\nReferer: \
        https://www.example.com/page\r\n\
         Cookie: {COOKIES}\r\n{more}Connection: close\r\n\r\n"
    );
    let answer = Client::new(address).raw(request.as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1."), "{answer:?}");
    answer
}

fn set_cookies(answer: &str) -> Vec<&str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value)
        .collect()
}

/// What every relay has to do with a browser that lies.
fn assert_faithful(head: &str, answer: &str, visitor: &str) {
    let header = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let found: Vec<&str> = lines
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
            .collect();
        found.join(" | ")
    };
    assert_eq!(header("x-wt-ip"), visitor, "{head}");
    assert_eq!(header("x-wt-ua"), AGENT);
    assert_eq!(header("user-agent"), AGENT);
    assert_eq!(header("x-wt-secret"), SECRET);
    assert_eq!(header("referer"), "https://www.example.com/page");
    assert_eq!(header("x-wt-rq"), "");
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "authorization"] {
        assert_eq!(header(name), "", "{name}");
    }
    let cookies = header("cookie");
    let mut passed: Vec<&str> = cookies
        .split(';')
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty())
        .collect();
    passed.sort_unstable();
    assert_eq!(
        passed,
        [
            "broadlogId=b",
            "deliveryId=d",
            "visitorId=another-tools",
            "visitorId=v",
            "wteid_111111111111111=4179528021194246163",
            "wtsid_111111111111111=1"
        ]
    );
    assert!(
        !head.contains("secret1") && !head.contains("forged-by"),
        "{head}"
    );
    assert_eq!(set_cookies(answer), recorder::COOKIES, "both, unchanged");
}

#[tokio::test]
async fn nginx_passes_what_the_tracker_needs_and_nothing_else() {
    let tracker = Recorder::start().await;
    let (port, plain) = (free_port(), free_port());
    let nginx = Nginx::start(&documented_nginx(tracker.address, port, plain), plain).await;
    let at = SocketAddr::from(([127, 0, 0, 1], plain));
    let more = format!("X-Test-Visitor: {VISITOR}\r\n{FORGED}");
    for path in ["/111111111111111/wt", "/relay/wt"] {
        let target = format!("{path}?p=600,a%2Cb,1&X-WT-IP=198.51.100.66");
        let answer = browse(at, &target, &more).await;
        let head = tracker.last();
        assert!(
            head.starts_with(
                "GET /111111111111111/wt?p=600,a%2Cb,1&X-WT-IP=198.51.100.66 HTTP/1.1\r\n"
            ),
            "{head}"
        );
        assert!(head.contains("Host: t.example.com\r\n"), "{head}");
        assert_faithful(&head, &answer, VISITOR);
    }
    assert!(!nginx.errors().contains("[error]"), "{}", nginx.errors());
}

/// The server behind the documented nginx, as far as a browser with forged headers and parameters
/// is concerned.
async fn behind_nginx_the_visitor_is_who_it_is(engine: Engine) {
    let server = TestServer::on(engine)
        .with("MAPP__SECRETS", &format!("{TRACK_ID}:{SECRET}"))
        .with("MAPP__THIRD_PARTY_COOKIES", "true")
        .start()
        .await;
    let (port, plain) = (free_port(), free_port());
    let _nginx = Nginx::start(&documented_nginx(server.address(), port, plain), plain).await;
    let at = SocketAddr::from(([127, 0, 0, 1], plain));
    let more = format!("X-Test-Visitor: {VISITOR}\r\n{FORGED}");
    let forged = "X-WT-IP=198.51.100.66&X-WT-UA=forged&X-WT-Secret=guessed-by-somebody";
    let target =
        format!("/{TRACK_ID}/wt?p=600,page&pu=https%3A%2F%2Fwww.example.com%2Fpage&{forged}");
    let answer = browse(at, &target, &more).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        set_cookies(&answer)
            .iter()
            .any(|cookie| cookie.starts_with(&format!("wteid_{TRACK_ID}="))),
        "{answer}"
    );
    // Past the relay, without its secret: not believed.
    let direct = Client::new(server.address())
        .get_with(
            &target,
            &[
                ("x-wt-ip", "198.51.100.66"),
                ("x-forwarded-for", "198.51.100.66"),
            ],
        )
        .await;
    assert_eq!(direct.status, 200);
    // A batch in the browser's name, with lines that lie.
    let body = "?p=600,beacon&X-WT-IP=198.51.100.66";
    let request = format!(
        "POST /{TRACK_ID}/batch HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: \
        {AGENT}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {}\r\n{more}Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = Client::new(at).raw(request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    server.wait_drained(DRAINED).await;
    let hits = all_hits(&server).await;
    assert_eq!(hits.len(), 3);
    for (place, hit) in [(0, &hits[0]), (2, &hits[2])] {
        assert_eq!(
            (&hit["ip"], &hit["user_agent"]),
            (&json!(VISITOR), &json!(AGENT)),
            "hit {place}"
        );
        assert!(!hit.to_string().contains("guessed-by-somebody"));
    }
    assert_eq!(hits[1]["ip"], "127.0.0.1");
    assert!(
        hits[1]["reason"].as_str().unwrap().contains("untrusted"),
        "marked: {}",
        hits[1]
    );
    server.finish().await;
}

async fn all_hits(server: &TestServer) -> Vec<Value> {
    let answer = server.client().admin().get("/api/v1/hits").await;
    let lines = answer.text();
    let hits = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    hits.filter(|hit| hit.get("cursor").is_none()).collect()
}

/// The languages of the snippets.
#[derive(Clone, Copy, Debug)]
enum Language {
    Php,
    Node,
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::Php, Self::Node, Self::Python];

    fn file(self, name: &str) -> PathBuf {
        relay_dir().join(match self {
            Self::Php => format!("{name}.php"),
            Self::Node => format!("{name}.mjs"),
            Self::Python => format!("{name}.py"),
        })
    }

    /// The file as a web server on a port.
    fn serve(self, name: &str, port: u16) -> Command {
        let file = self.file(name);
        let mut command = Command::new(match self {
            Self::Php => "php",
            Self::Node => "node",
            Self::Python => "python3",
        });
        if let Self::Php = self {
            command.arg("-S").arg(format!("127.0.0.1:{port}"));
        }
        command.arg(file).env("PORT", port.to_string());
        command
    }
}

/// A site of one file.
struct Snippet {
    address: SocketAddr,
    _process: Process,
}

impl Snippet {
    async fn start(language: Language, name: &str, tracker: SocketAddr, queue: &Path) -> Self {
        let port = free_port();
        let log = std::fs::File::create(new_dir("snippet").join("log")).unwrap();
        let mut command = language.serve(name, port);
        configure(&mut command, tracker, queue);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = Process::start(&mut command, "TERM");
        wait_for("the snippet listens", DRAINED, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _process: process,
        }
    }
}

fn configure(command: &mut Command, tracker: SocketAddr, queue: &Path) {
    command
        .env("TRACKER", format!("http://{tracker}/{TRACK_ID}"))
        .env("TRACKER_SECRET", SECRET)
        .env("QUEUE", queue)
        .env("QUEUE_SECONDS", "0.2");
}

#[tokio::test]
async fn relays_in_php_node_and_python_do_the_same_as_nginx() {
    for language in Language::ALL {
        let tracker = Recorder::start().await;
        let site = Snippet::start(language, "relay", tracker.address, Path::new("")).await;
        let answer = browse(site.address, "/relay/wt?p=600,a%2Cb,1", FORGED).await;
        let head = tracker.last();
        assert!(
            head.starts_with("GET /111111111111111/wt?p=600,a%2Cb,1 HTTP/1.1\r\n"),
            "{language:?}: {head}"
        );
        assert_faithful(&head, &answer, "127.0.0.1");
        assert!(answer.contains("GIF89a"), "{language:?}: {answer}");
        drop(tracker);
    }
}

#[tokio::test]
async fn a_relay_whose_tracker_is_away_answers_the_page() {
    for language in Language::ALL {
        let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let site = Snippet::start(language, "relay", nobody, Path::new("")).await;
        let answer = browse(site.address, "/relay/wt?p=600,a", "").await;
        assert!(
            answer.starts_with("HTTP/1.") && answer.contains(" 200 ") && answer.contains("GIF89a"),
            "{language:?}: {answer}"
        );
    }
}

/// What a hit of the snippets' page holds, whichever way it came. The address is one of this
/// machine, which the server keeps but does not take for a visitor's.
fn assert_order(hit: &Value, language: Language) {
    let expected = [
        ("/kind", json!("transaction")),
        ("/dialect", json!("mapp")),
        ("/site", json!(TRACK_ID)),
        ("/page_title", json!("thank you")),
        ("/revenue", json!("49.9")),
        ("/currency", json!("EUR")),
        ("/order_id", json!("A-1")),
        ("/referrer", json!("https://www.example.com/page")),
        ("/user_agent", json!(AGENT)),
        ("/extra/X-WT-IP", json!("127.0.0.1")),
    ];
    for (pointer, value) in expected {
        let found = hit.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &value, "{language:?}: {pointer} of {hit:#}");
    }
    let url = hit["page_url"].as_str().unwrap();
    assert!(
        url.ends_with("://www.example.com/thanks?a=b%20c"),
        "{language:?}: {url}"
    );
}

async fn pages_without_script_are_told_while_they_are_built(engine: Engine) {
    let server = TestServer::on(engine)
        .with("MAPP__SECRETS", &format!("{TRACK_ID}:{SECRET}"))
        .start()
        .await;
    for (index, language) in Language::ALL.into_iter().enumerate() {
        let site = Snippet::start(language, "direct", server.address(), Path::new("")).await;
        let first = browse(site.address, "/thanks?a=b%20c", "").await;
        assert!(first.contains("Thank you"), "{language:?}: {first}");
        let cookie = set_cookies(&first)[0].split(';').next().unwrap();
        let second = browse(
            site.address,
            "/thanks?a=b%20c",
            &format!("Cookie: x=y; {cookie}\r\n"),
        )
        .await;
        assert!(second.contains("Thank you"), "{language:?}: {second}");
        server.wait_drained(DRAINED).await;
        let hits = all_hits(&server).await;
        let own = &hits[2 * index..];
        assert_eq!(own.len(), 2, "{language:?}");
        for hit in own {
            assert_order(hit, language);
        }
        assert_eq!(own[0]["visitor_id"], own[1]["visitor_id"], "{language:?}");
    }
    server.finish().await;
}

/// The queue of one language against a tracker that is away at first, and against one that refuses.
async fn queues_send_again_until_the_answer_is_200(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("MAPP__SECRETS", &format!("{TRACK_ID}:{SECRET}"))
        .start()
        .await;
    for (index, language) in Language::ALL.into_iter().enumerate() {
        let tracker = Recorder::start().await;
        let queue = new_dir("queue").join("hits");
        // Three answers that are not 200, then nobody at all.
        let site = Snippet::start(language, "batch", tracker.address, &queue).await;
        tracker.answer_with(503);
        browse(site.address, "/thanks?a=b%20c", "").await;
        browse(site.address, "/thanks?a=b%20c", "").await;
        for status in [503, 202, 404] {
            tracker.answer_with(status);
            let before = tracker.count();
            send(language, tracker.address, &queue, Some(1));
            wait_for("another round", DRAINED, async || tracker.count() > before).await;
        }
        drop((site, tracker));

        server.kill().await;
        send_once(language, server.address(), &queue, Some(1));
        server.start_again().await;
        let site = Snippet::start(language, "batch", server.address(), &queue).await;
        let sending = queue.with_extension("sending");
        wait_for("the queue is sent", DRAINED, async || {
            send(language, server.address(), &queue, Some(0));
            !queue.exists() && !sending.exists()
        })
        .await;
        drop(site);
        server.wait_drained(DRAINED).await;
        let hits = all_hits(&server).await;
        let own = &hits[2 * index..];
        assert_eq!(own.len(), 2, "{language:?}: each once");
        for hit in own {
            assert_order(hit, language);
        }
    }
    server.finish().await;
}

/// A round of sending, where it is a program of its own; Node's server does it by itself.
fn send(language: Language, tracker: SocketAddr, queue: &Path, expected: Option<i32>) {
    if !matches!(language, Language::Node) {
        send_once(language, tracker, queue, expected);
    }
}

fn send_once(language: Language, tracker: SocketAddr, queue: &Path, expected: Option<i32>) {
    let file = language.file("batch");
    let mut command = match language {
        Language::Php => {
            let mut command = Command::new("php");
            command.arg(file);
            command
        }
        Language::Python => {
            let mut command = Command::new("python3");
            command.arg(file).arg("send");
            command
        }
        Language::Node => return,
    };
    configure(&mut command, tracker, queue);
    let sent = command.output().unwrap();
    assert_eq!(
        sent.status.code(),
        expected,
        "{language:?}: {}{}",
        String::from_utf8_lossy(&sent.stdout),
        String::from_utf8_lossy(&sent.stderr)
    );
}

on_both!(
    behind_nginx_the_visitor_is_who_it_is,
    pages_without_script_are_told_while_they_are_built,
    queues_send_again_until_the_answer_is_200,
);
