//! What the manual holds, in the order in which it is read.

use super::reference;

/// A page.
pub(super) struct Page {
    /// The path below `/docs/`: empty for the list of pages.
    pub(super) name: &'static str,
    /// Its path in the repository, which its links are relative to.
    pub(super) place: &'static str,
    /// Markdown.
    pub(super) text: &'static str,
    /// More of it, which is made here.
    pub(super) more: Option<fn() -> String>,
}

impl Page {
    /// Its first heading.
    pub(super) fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches('#').trim()
    }
}

macro_rules! page {
    ($name:literal) => {
        page!($name, concat!("static/docs/", $name, ".md"))
    };
    ($name:literal, $place:expr) => {
        Page {
            name: $name,
            place: $place,
            text: include_str!(concat!("../../../", $place)),
            more: None,
        }
    };
}

/// All pages, their list first.
pub(super) const PAGES: [Page; 29] = [
    page!("", "static/docs/README.md"),
    page!("start", "README.md"),
    page!("mail"),
    page!("content"),
    page!("links"),
    page!("website"),
    page!("server-hits"),
    page!("forms"),
    page!("console"),
    page!("reading"),
    page!("webhooks"),
    Page {
        more: Some(reference::reference),
        ..page!("api")
    },
    page!("revenue"),
    page!("identity"),
    page!("verdicts"),
    page!("privacy"),
    page!("explaining"),
    page!("configuration"),
    page!("access"),
    page!("operating"),
    page!("postgres"),
    page!("moving"),
    page!("reliability"),
    page!("benchmark"),
    page!("adobe"),
    page!("mautic"),
    page!("mapp"),
    page!("migrating"),
    page!("changelog", "CHANGELOG.md"),
];

macro_rules! file {
    ($place:literal, $name:literal) => {
        ($place, $name, include_str!(concat!("../../../", $place)))
    };
}

/// Files that pages link to: path in the repository, path below `/docs/`, text.
pub(super) const FILES: [(&str, &str, &str); 21] = [
    file!("static/kit/Caddyfile", "kit/Caddyfile"),
    file!("static/kit/compose.yaml", "kit/compose.yaml"),
    file!("static/kit/nginx.conf", "kit/nginx.conf"),
    file!("static/kit/sillage.service", "kit/sillage.service"),
    file!("static/grafana/metrics.json", "grafana/metrics.json"),
    file!("static/grafana/views.json", "grafana/views.json"),
    file!("static/postgres/readers.sql", "postgres/readers.sql"),
    file!("config.example.toml", "config.example.toml"),
    file!("LICENSE", "LICENSE"),
    file!("src/web/api/access.txt", "access.txt"),
    file!("static/alerts/sillage.rules.yml", "sillage.rules.yml"),
    file!("static/relay/batch.mjs", "relay/batch.mjs"),
    file!("static/relay/batch.php", "relay/batch.php"),
    file!("static/relay/batch.py", "relay/batch.py"),
    file!("static/relay/direct.mjs", "relay/direct.mjs"),
    file!("static/relay/direct.php", "relay/direct.php"),
    file!("static/relay/direct.py", "relay/direct.py"),
    file!("static/relay/nginx.conf", "relay/nginx.conf"),
    file!("static/relay/relay.mjs", "relay/relay.mjs"),
    file!("static/relay/relay.php", "relay/relay.php"),
    file!("static/relay/relay.py", "relay/relay.py"),
];

/// Of all pages.
pub(super) const STYLE: &str = include_str!("../../../static/docs/style.css");
