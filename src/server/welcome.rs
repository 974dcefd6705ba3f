//! What the terminal shows at the start: where the server listens, and what to try next. On
//! standard output; the log is on standard error.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::demo;
use crate::web::AdminState;

/// What is known only while the server is being built.
pub(super) struct Welcome {
    /// The database as the operator knows it, without its password.
    pub(super) database: String,
    /// The token was generated just now: this is the only time it is printed.
    pub(super) is_token_new: bool,
}

impl Welcome {
    /// Tells what holds at once.
    pub(super) fn tell(&self, app: &AdminState, console: Option<SocketAddr>) {
        let base = &app.default_site().base_url;
        say(&format!(
            "Sillage listens at {base}, database: {}",
            self.database
        ));
        let base = match console {
            Some(address) if !app.api.is_public() => &format!("http://{address}"),
            _ => base,
        };
        if let Some(address) = console {
            say(&format!(
                "For operators (console, API, manual): http://{address}/"
            ));
        }
        if self.is_token_new {
            say(&format!(
                "The API token, shown only once (it is kept in admin.token in the data \
                directory):\n  {token}\n\
                 Make a tracked link, then follow its short_url:\n  \
                 curl -sS {base}/api/v1/links -H 'Authorization: Bearer {token}' -d '{{\"url\": \"https://www.example.com/\"}}'",
                token = app.token
            ));
        }
    }
}

/// Prepares the demo as soon as the database is ready, and prints its URL.
pub(super) async fn open_demo(app: Arc<AdminState>) {
    let mut is_told = false;
    loop {
        match demo::prepare(&app).await {
            Ok(links) => {
                say(&format!(
                    "Demo: a mail and a shop at {base}/demo\nThe manual: {base}/docs/\n\
                     A tracked link, ready to click:\n  {}\n\
                     What came of the click, with the API token: {console}/console/hits",
                    links.shop,
                    base = app.default_site().base_url,
                    console = console_url(&app),
                ));
                if let Some(demo) = &app.demo {
                    let _ = demo.set(links);
                }
                return;
            }
            Err(error) => {
                if !is_told {
                    tracing::warn!(%error, "the demo is not ready; trying again");
                }
                is_told = true;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Where the console is: on the public listener if it may be, which a container publishes too.
fn console_url(app: &AdminState) -> String {
    match app.console.listen {
        Some(address) if !app.api.is_public() => format!("http://{address}"),
        _ => app.default_site().base_url.clone(),
    }
}

/// A closed standard output does not stop the server.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
