//! A site: what the host that a request came to decides. There is one today, made of the
//! configuration; what is downstream of a request takes its site from the request all the same, so
//! that a second one changes nothing there.

use std::sync::LazyLock;

use super::host_pattern::HostPattern;

/// The site of a hit that names none.
pub const DEFAULT_SITE: &str = "default";
/// The usual name of tracked links.
pub const REDIRECT: &str = "/r";
/// The usual name of the script.
pub const SCRIPT: &str = "/mtc.js";
/// The usual name of the pixel.
pub const PIXEL: &str = "/mtracking.gif";
/// Where the script usually sends hits.
pub const EVENT: &str = "/mtc/event";

/// Paths of the operator's side, with everything below them.
pub const OPERATOR_TREES: [&str; 4] = ["/api", "/console", "/demo", "/docs"];
/// Paths that tell operators about the server's state.
pub const OPERATOR_PATHS: [&str; 3] = ["/livez", "/metrics", "/readyz"];

/// A public address of this server, and the rules that apply there.
#[derive(Clone, Debug)]
pub struct Site {
    /// Public URL without a trailing slash.
    pub base_url: String,
    /// Its host.
    pub host: String,
    /// Domains of cookies, longest first.
    pub cookie_domains: Vec<HostPattern>,
    /// Origins whose scripts may read answers, as configured: `*`, `https://*.shop.example`.
    pub origins: Vec<String>,
    /// Where a click goes that leads nowhere; `None` means a small page.
    pub fallback_url: Option<String>,
    /// Whether a click carries its session over to pages that do not get our cookies.
    pub hands_over: bool,
    /// Names of its URLs.
    pub paths: Paths,
}

impl Site {
    /// A site at a public URL without a trailing slash, with the usual names and nothing allowed.
    pub fn new(base_url: String) -> Self {
        let host = url::Url::parse(&base_url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default();
        Self {
            base_url,
            host,
            cookie_domains: Vec::new(),
            origins: Vec::new(),
            fallback_url: None,
            hands_over: false,
            paths: Paths::default(),
        }
    }

    /// A site without any configuration.
    pub fn usual() -> &'static Self {
        static USUAL: LazyLock<Site> =
            LazyLock::new(|| Site::new("http://127.0.0.1:8080".to_owned()));
        &USUAL
    }

    /// Prefix of its tracked links: `https://t.example.com/r`.
    pub fn redirect_url(&self) -> String {
        format!("{}{}", self.base_url, self.paths.redirect)
    }

    /// Whether browsers reach it over TLS.
    pub fn is_https(&self) -> bool {
        self.base_url.starts_with("https://")
    }

    /// Whether a page is on a host that does not get our cookies, and should be handed the session.
    pub fn hands_over_to(&self, page: &str) -> bool {
        self.hands_over && {
            let url = url::Url::parse(page).ok();
            let host = url.as_ref().and_then(url::Url::host_str);
            host.is_some_and(|host| !self.shares_cookies(host))
        }
    }

    /// Whether pages of a host get our cookies.
    fn shares_cookies(&self, host: &str) -> bool {
        let mut domains = self.cookie_domains.iter();
        host.eq_ignore_ascii_case(&self.host) || domains.any(|domain| gets_cookies(host, domain))
    }
}

/// Whether a host is a cookie's domain or below it. A trailing dot does not match: browsers send
/// the domain's cookies to no such host.
pub fn gets_cookies(host: &str, domain: &HostPattern) -> bool {
    !host.ends_with('.') && domain.covers(host)
}

/// The operator's names of the public URLs. The usual ones keep working beside them, so that old
/// links and pages do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Tracked links.
    pub redirect: String,
    /// The script.
    pub script: String,
    /// The pixel.
    pub pixel: String,
    /// Where the script sends hits.
    pub event: String,
    /// A further path of Mapp's hits; empty: none.
    pub mapp: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            redirect: REDIRECT.to_owned(),
            script: SCRIPT.to_owned(),
            pixel: PIXEL.to_owned(),
            event: EVENT.to_owned(),
            mapp: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_handed_over_where_our_cookies_do_not_reach() {
        let mut site = Site::new("https://t.shop.example".to_owned());
        site.cookie_domains = vec![HostPattern::parse_domain(".shop.example").unwrap()];
        assert!(
            !site.hands_over_to("https://other.example/"),
            "not asked for"
        );
        site.hands_over = true;
        for (page, is_handed) in [
            ("https://other.example/", true),
            ("https://shop.example/a", false),
            ("https://www.shop.example/a", false),
            ("https://www.shop.example./a", true),
            ("https://T.shop.example/", false),
            ("no page", false),
        ] {
            assert_eq!(site.hands_over_to(page), is_handed, "{page}");
        }
        assert!(site.is_https() && !Site::usual().is_https());
        assert_eq!(
            (&*site.host, &*Site::usual().host),
            ("t.shop.example", "127.0.0.1")
        );
    }
}
