//! Chromium through chromedriver, from Debian's packages. One browser at a time: two cores hold no
//! more without stumbling.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{Process, free_port, need, new_dir, send_signal, wait_for};

/// Chromium's own start, on a machine that compiles at the same time.
const STARTING: Duration = Duration::from_secs(60);
/// A page's load, a script's answer.
pub const LOADING: Duration = Duration::from_secs(20);

/// A command that chromedriver has beside the standard's.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, id: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", id.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// A new browser without history.
pub struct Browser {
    client: Client,
    profile: PathBuf,
    _driver: Process,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    pub async fn start() -> Self {
        need("Chromium");
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let (port, profile) = (free_port(), new_dir("chromium"));
        let log = std::fs::File::create(profile.join("chromedriver.log")).unwrap();
        let driver = Process::start(
            Command::new("chromedriver")
                .arg(format!("--port={port}"))
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log),
            "TERM",
        );
        let arguments = [
            "--headless=new",
            // It plays a person: by its own agent it would count as the automated browser that it
            // is.
            "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
            Chrome/140.0.0.0 Safari/537.36",
            // As root there is no sandbox to be had.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=de-DE",
            "--window-size=1200,900",
        ];
        let arguments = arguments.map(str::to_owned).into_iter();
        let profile_argument = format!("--user-data-dir={}", profile.display());
        let options = json!({ "args": arguments.chain([profile_argument]).collect::<Vec<_>>(), "prefs": { "intl.accept_languages": "de-DE,de" } });
        let capabilities = [
            ("browserName".to_owned(), json!("chrome")),
            // Nobody signs a certificate for a test.
            ("acceptInsecureCerts".to_owned(), json!(true)),
            ("goog:chromeOptions".to_owned(), options),
            ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
        ];
        let url = format!("http://127.0.0.1:{port}");
        wait_for("chromedriver listens", STARTING, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.into_iter().collect())
            .connect(&url)
            .await
            .unwrap();
        Self {
            client,
            profile,
            _driver: driver,
            _turn: turn,
        }
    }

    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Follows the link or presses the button that a selector finds.
    pub async fn click(&self, selector: &str) {
        let element = self
            .client
            .find(fantoccini::Locator::Css(selector))
            .await
            .unwrap();
        element.click().await.unwrap();
    }

    /// Types into the field that a selector finds.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = fantoccini::Locator::Css(selector);
        let field = self.client.find(field).await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Value {
        let command = Vendor { path, body };
        self.client.issue_cmd(command).await.unwrap()
    }

    /// A command of Chrome's own protocol.
    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.vendor("goog/cdp/execute", body).await;
    }

    /// Shows pages as a screen of a width does, in `light` or `dark`.
    pub async fn look(&self, width: u32, scheme: &str) {
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Whether pages may run scripts; the test's own run in any case.
    pub async fn allow_scripts(&self, may: bool) {
        let value = json!({ "value": !may });
        self.devtools("Emulation.setScriptExecutionDisabled", value)
            .await;
    }

    /// What the browser has complained about since it was asked last: failures of loading, of
    /// scripts, and what a page's policy stopped.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.vendor("se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().map(text).collect()
    }

    /// Goes on in the page's first frame.
    pub async fn enter_frame(&self) {
        let frame = fantoccini::Locator::Css("iframe");
        let frame = self.client.find(frame).await.unwrap();
        frame.enter_frame().await.unwrap();
    }

    /// Goes on in the page around the frame.
    pub async fn leave_frame(&self) {
        self.client.enter_parent_frame().await.unwrap();
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub async fn address(&self) -> String {
        self.client.current_url().await.unwrap().into()
    }

    /// Waits until an expression is true in the page, through whatever pages come on the way.
    pub async fn wait_until(&self, expression: &str) {
        let script = format!("return !!({expression})");
        wait_for(expression, LOADING, async || {
            self.client
                .execute(&script, Vec::new())
                .await
                .is_ok_and(|value| value == true)
        })
        .await;
    }

    /// The list that the page keeps in `told`, once it has so many entries.
    pub async fn told(&self, entries: usize) -> Vec<String> {
        self.wait_until(&format!("window.told && told.length >= {entries}"))
            .await;
        serde_json::from_value(self.run("return told").await).unwrap()
    }

    /// Names and values of the cookies that the present page would send.
    pub async fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.client.get_all_cookies().await.unwrap();
        let pair = |cookie: &fantoccini::cookies::Cookie<'_>| {
            (cookie.name().to_owned(), cookie.value().to_owned())
        };
        cookies.iter().map(pair).collect()
    }

    /// A picture of the page in the directory that `SILLAGE_SCREENSHOTS` names, for those who look.
    pub async fn picture(&self, name: &str) {
        if let Ok(dir) = std::env::var("SILLAGE_SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(format!("{dir}/{name}.png"), picture).unwrap();
        }
    }

    pub async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    /// A test that failed has not closed its browser, and chromedriver leaves it behind.
    fn drop(&mut self) {
        let profile = self.profile.display().to_string();
        let own = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let command = std::fs::read(entry.path().join("cmdline")).ok()?;
                String::from_utf8_lossy(&command)
                    .contains(&profile)
                    .then_some(entry)?
                    .file_name()
                    .to_str()?
                    .parse()
                    .ok()
            });
        send_signal("KILL", &own.collect::<Vec<u32>>());
    }
}
