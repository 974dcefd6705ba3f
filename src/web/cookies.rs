//! The one place that builds cookies.

use std::borrow::Cow;

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::dialect::adobe::LAST_DELIVERY_COOKIE;
use crate::dialect::mapp::OPTOUT_COOKIE;
use crate::dialect::native::{self, BROADLOG_COOKIE, DELIVERY_COOKIE, VISITOR_COOKIE};
use crate::hit::{DeliveryId, Hit, VisitorId};
use crate::link::{Keys, Purpose};

/// Mapp's Ever-ID, with the track id behind it.
const EVER_ID_COOKIE: &str = "wteid_";
/// Mapp's session, with the track id behind it.
const MAPP_SESSION_COOKIE: &str = "wtsid_";
/// Browsers keep no cookie longer than 400 days; relays and apps may.
const MOST_OPTOUT_DAYS: i64 = 3_650;

/// How cookies of this server look.
#[derive(Clone, Debug)]
pub struct CookieMaker {
    keys: Keys,
    /// Without leading dots, longest first.
    domains: Vec<String>,
    is_https: bool,
}

impl CookieMaker {
    /// `domains` as configured; `is_https` where the public reaches us so.
    pub fn new(keys: Keys, domains: &[String], is_https: bool) -> Self {
        let mut domains: Vec<String> = domains
            .iter()
            .map(|domain| domain.trim_start_matches('.').to_ascii_lowercase())
            .collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self {
            keys,
            domains,
            is_https,
        }
    }

    /// The value of a visitor in cookies and answers.
    pub fn seal_visitor(&self, id: VisitorId) -> String {
        let mut buffer = uuid::Uuid::encode_buffer();
        self.keys
            .seal(Purpose::Visitor, id.0.simple().encode_lower(&mut buffer))
    }

    /// The session cookies of a click: gone when the browser closes. A click without a message takes an earlier one's away, so
    /// that its pages do not count for the wrong campaign.
    pub fn write_session(&self, hit: &Hit, request: &HeaderMap, answer: &mut HeaderMap) {
        let domain = self.domain(request);
        let parts = [
            (
                BROADLOG_COOKIE,
                Purpose::BroadlogCookie,
                native::session_message(hit),
            ),
            (
                DELIVERY_COOKIE,
                Purpose::DeliveryCookie,
                hit.delivery_id.map(|id| id.to_string()),
            ),
        ];
        for (name, purpose, value) in parts {
            match value {
                Some(value) => {
                    self.write(name, self.keys.seal(purpose, &value), None, domain, answer)
                }
                None => self.write(name, String::new(), Some(Duration::ZERO), domain, answer),
            }
        }
    }

    /// The visitor cookie, one year from now.
    pub fn write_visitor(&self, id: VisitorId, request: &HeaderMap, answer: &mut HeaderMap) {
        self.write(
            VISITOR_COOKIE,
            self.seal_visitor(id),
            Some(Duration::days(365)),
            self.domain(request),
            answer,
        );
    }

    /// Mapp's cookies of a track id: its Ever-ID for six months, where there is one, and the mark of a session.
    pub fn write_ever_id(
        &self,
        site: &str,
        ever_id: Option<String>,
        request: &HeaderMap,
        answer: &mut HeaderMap,
    ) {
        let domain = self.domain(request);
        if let Some(id) = ever_id {
            let name = format!("{EVER_ID_COOKIE}{site}");
            self.write(name, id, Some(Duration::days(180)), domain, answer);
        }
        let name = format!("{MAPP_SESSION_COOKIE}{site}");
        self.write(name, "1".to_owned(), None, domain, answer);
    }

    /// Mapp's opt-out for so many days; none or fewer take it away. Its pixel reads the cookie too, where the domain is the site's.
    pub fn write_optout(&self, days: i64, request: &HeaderMap, answer: &mut HeaderMap) {
        let (value, days) = match days {
            ..=0 => (String::new(), 0),
            days => ("1".to_owned(), days.min(MOST_OPTOUT_DAYS)),
        };
        let mut cookie = self.cookie(OPTOUT_COOKIE, value, self.domain(request));
        cookie.set_http_only(false);
        cookie.set_max_age(Duration::days(days));
        append(&cookie, answer);
    }

    /// The delivery clicked last, one year from now.
    pub fn write_last_delivery(&self, id: DeliveryId, request: &HeaderMap, answer: &mut HeaderMap) {
        self.write(
            LAST_DELIVERY_COOKIE,
            self.keys.seal(Purpose::LastDeliveryCookie, &id.to_string()),
            Some(Duration::days(365)),
            self.domain(request),
            answer,
        );
    }

    fn write(
        &self,
        name: impl Into<Cow<'static, str>>,
        value: String,
        max_age: Option<Duration>,
        domain: Option<&str>,
        answer: &mut HeaderMap,
    ) {
        let mut cookie = self.cookie(name, value, domain);
        if let Some(max_age) = max_age {
            cookie.set_max_age(max_age);
        }
        append(&cookie, answer);
    }

    /// A session cookie.
    fn cookie(
        &self,
        name: impl Into<Cow<'static, str>>,
        value: String,
        domain: Option<&str>,
    ) -> Cookie<'static> {
        // Third-party requests of the script need SameSite=None, which browsers take with Secure only.
        let same_site = if self.is_https {
            SameSite::None
        } else {
            SameSite::Lax
        };
        let mut cookie = Cookie::build((name.into(), value))
            .path("/")
            .http_only(true)
            .same_site(same_site)
            .secure(self.is_https)
            .build();
        if let Some(domain) = domain {
            cookie.set_domain(domain.to_owned());
        }
        cookie
    }

    /// The configured domain that the request's host belongs to.
    fn domain(&self, request: &HeaderMap) -> Option<&str> {
        if self.domains.is_empty() {
            return None;
        }
        let host = request.get(http::header::HOST)?.to_str().ok()?;
        let host = host
            .rsplit_once(':')
            .map_or(host, |(host, _)| host)
            .to_ascii_lowercase();
        self.domains.iter().map(String::as_str).find(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    /// Whether pages of a host get our cookies as their own.
    pub fn is_own_host(&self, host: &str, own: &str) -> bool {
        host == own
            || self.domains.iter().any(|domain| {
                host.strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
    }
}

fn append(cookie: &Cookie<'_>, answer: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
        answer.append(SET_COOKIE, value);
    }
}
