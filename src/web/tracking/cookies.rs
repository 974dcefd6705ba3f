//! The one place that builds cookies.

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::model::host_pattern::HostPattern;
use crate::model::site::{Site, gets_cookies};
use crate::tracking::decoded::Cookies;
use crate::tracking::session::{
    BROADLOG_COOKIE, DELIVERY_COOKIE, LAST_DELIVERY_COOKIE, SessionCookies,
};
use crate::tracking::visitor::VISITOR_COOKIE;

/// The attributes of this server's cookies.
#[derive(Clone, Debug)]
pub struct CookieMaker {
    is_https: bool,
    /// The attributes of cookies on the configured domains, longest first.
    domains: Vec<Attributes>,
    /// The same if none of them was requested.
    host_only: Attributes,
}

/// A cookie's attributes. They are the same for every browser, so they are written once.
#[derive(Clone, Debug)]
struct Attributes {
    domain: Option<HostPattern>,
    /// Gone when the browser closes.
    session: String,
    /// One year from now.
    year: String,
    /// Takes the cookie away.
    gone: String,
}

impl CookieMaker {
    /// Cookies of a site.
    pub fn new(site: &Site) -> Self {
        let is_https = site.is_https();
        let attributes = |domain: Option<HostPattern>| {
            let of = |max_age| {
                let mut cookie = cookie(is_https, domain.as_ref());
                cookie.set_max_age(max_age);
                attributes(&cookie)
            };
            Attributes {
                session: of(None),
                year: of(Some(Duration::days(365))),
                gone: of(Some(Duration::ZERO)),
                domain,
            }
        };
        Self {
            is_https,
            host_only: attributes(None),
            domains: site
                .cookie_domains
                .iter()
                .cloned()
                .map(Some)
                .map(attributes)
                .collect(),
        }
    }

    /// Writes what the browser should remember.
    pub(in crate::web) fn write(
        &self,
        cookies: &Cookies,
        request: &HeaderMap,
        answer: &mut HeaderMap,
    ) {
        if *cookies == Cookies::default() {
            return;
        }
        let known = self.attributes(request);
        if let Some(SessionCookies { message, delivery }) = &cookies.session {
            for (name, value) in [(BROADLOG_COOKIE, message), (DELIVERY_COOKIE, delivery)] {
                match value {
                    Some(value) => append(name, value, &known.session, answer),
                    None => append(name, "", &known.gone, answer),
                }
            }
        }
        let lasting = [
            (VISITOR_COOKIE, &cookies.visitor),
            (LAST_DELIVERY_COOKIE, &cookies.last_delivery),
        ];
        for (name, value) in lasting {
            if let Some(value) = value {
                append(name, value, &known.year, answer);
            }
        }
        for own in &cookies.own {
            let mut cookie = cookie(self.is_https, known.domain.as_ref());
            cookie.set_http_only(!own.is_for_scripts);
            cookie.set_max_age(own.days.map(Duration::days));
            append(&own.name, &own.value, &attributes(&cookie), answer);
        }
    }

    /// The attributes on the configured domain that the request's host belongs to.
    fn attributes(&self, request: &HeaderMap) -> &Attributes {
        self.configured(request).unwrap_or(&self.host_only)
    }

    fn configured(&self, request: &HeaderMap) -> Option<&Attributes> {
        if self.domains.is_empty() {
            return None;
        }
        let host = std::str::from_utf8(request.get(http::header::HOST)?.as_bytes()).ok()?;
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.domains.iter().find(|known| known.covers(host))
    }
}

impl Attributes {
    /// Whether a host is the domain or below it.
    fn covers(&self, host: &str) -> bool {
        self.domain
            .as_ref()
            .is_some_and(|domain| gets_cookies(host, domain))
    }
}

/// A session cookie; its name and value do not matter.
fn cookie(is_https: bool, domain: Option<&HostPattern>) -> Cookie<'static> {
    // Third-party requests of the script need SameSite=None, which browsers take with Secure only.
    let same_site = if is_https {
        SameSite::None
    } else {
        SameSite::Lax
    };
    let mut cookie = Cookie::build(("", ""))
        .path("/")
        .http_only(true)
        .same_site(same_site)
        .secure(is_https)
        .build();
    if let Some(domain) = domain {
        cookie.set_domain(domain.host().to_owned());
    }
    cookie
}

/// What follows the value: `; HttpOnly; …`.
fn attributes(cookie: &Cookie<'_>) -> String {
    let mut line = cookie.to_string();
    line.split_off(cookie.name().len() + 1 + cookie.value().len())
}

fn append(name: &str, value: &str, attributes: &str, answer: &mut HeaderMap) {
    if let Ok(line) = HeaderValue::try_from([name, "=", value, attributes].concat()) {
        answer.append(SET_COOKIE, line);
    }
}
