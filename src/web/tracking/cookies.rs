//! The one place that builds cookies.

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config;
use crate::model::hit::Hit;
use crate::model::host_pattern::HostPattern;
use crate::model::keys::{Keys, Purpose};
use crate::tracking::adobe::LAST_DELIVERY_COOKIE;
use crate::tracking::mapp::OPTOUT_COOKIE;
use crate::tracking::native::{self, BROADLOG_COOKIE, DELIVERY_COOKIE, VISITOR_COOKIE};

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
    is_https: bool,
    /// What follows the values of cookies on the configured domains, longest first.
    domains: Vec<Attributes>,
    /// The same where none of them is asked.
    host_only: Attributes,
}

/// What follows a cookie's value. It is the same for every browser, so it is written once.
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
    /// `is_https` where the public reaches us so.
    pub fn new(keys: Keys, cookies: &config::Cookies, is_https: bool) -> Self {
        let mut domains: Vec<HostPattern> = cookies
            .domains
            .iter()
            .filter_map(|domain| HostPattern::parse_domain(domain).ok())
            .collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.host().len()));
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
            keys,
            is_https,
            host_only: attributes(None),
            domains: domains.into_iter().map(Some).map(attributes).collect(),
        }
    }

    /// The value of the hit's visitor in cookies and answers: an id of ours signed, a vendor's as
    /// it came. None where the hit has none.
    pub fn visitor_value(&self, hit: &Hit) -> Option<String> {
        let id = hit.visitor_id?;
        if id.is_derived() {
            return hit.foreign.as_ref()?.visitor.clone();
        }
        let mut buffer = uuid::Uuid::encode_buffer();
        let id = id.0.simple().encode_lower(&mut buffer);
        let sealed = self.keys.seal(Purpose::Visitor, id);
        let is_handed = hit.foreign.as_ref().is_some_and(|f| f.visitor_is_handed);
        Some(match is_handed {
            true => [native::HANDED, &sealed].concat(),
            false => sealed,
        })
    }

    /// The session cookies of a click, both with its time: gone when the browser closes. A click
    /// without a message takes an earlier one's away, so that its pages do not count for the wrong
    /// campaign.
    pub fn write_session(&self, hit: &Hit, request: &HeaderMap, answer: &mut HeaderMap) {
        let attributes = self.attributes(request);
        let parts = [
            (
                BROADLOG_COOKIE,
                Purpose::BroadlogCookie,
                native::session_message(hit),
            ),
            (
                DELIVERY_COOKIE,
                Purpose::DeliveryCookie,
                native::session_delivery(hit),
            ),
        ];
        for (name, purpose, value) in parts {
            match value {
                Some(value) => {
                    let sealed = self.keys.seal_at(purpose, &value, hit.received_at);
                    append(name, &sealed, &attributes.session, answer);
                }
                None => append(name, "", &attributes.gone, answer),
            }
        }
    }

    /// The visitor cookie, one year from now; `value` is what [`Self::visitor_value`] says.
    pub fn write_visitor(&self, value: &str, request: &HeaderMap, answer: &mut HeaderMap) {
        let year = &self.attributes(request).year;
        append(VISITOR_COOKIE, value, year, answer);
    }

    /// Mapp's cookies of a track id: its Ever-ID for six months, where there is one, and the mark
    /// of a session.
    pub fn write_ever_id(
        &self,
        site: &str,
        ever_id: Option<String>,
        request: &HeaderMap,
        answer: &mut HeaderMap,
    ) {
        let known = self.attributes(request);
        if let Some(id) = ever_id {
            let mut cookie = cookie(self.is_https, known.domain.as_ref());
            cookie.set_max_age(Duration::days(180));
            let name = format!("{EVER_ID_COOKIE}{site}");
            append(&name, &id, &attributes(&cookie), answer);
        }
        let name = format!("{MAPP_SESSION_COOKIE}{site}");
        append(&name, "1", &known.session, answer);
    }

    /// Mapp's opt-out for so many days; none or fewer take it away. Its pixel reads the cookie too,
    /// where the domain is the site's.
    pub fn write_optout(&self, days: i64, request: &HeaderMap, answer: &mut HeaderMap) {
        let (value, days) = match days {
            ..=0 => ("", 0),
            days => ("1", days.min(MOST_OPTOUT_DAYS)),
        };
        let mut cookie = cookie(self.is_https, self.attributes(request).domain.as_ref());
        cookie.set_http_only(false);
        cookie.set_max_age(Duration::days(days));
        append(OPTOUT_COOKIE, value, &attributes(&cookie), answer);
    }

    /// The delivery clicked last, one year from now.
    pub fn write_last_delivery(&self, hit: &Hit, request: &HeaderMap, answer: &mut HeaderMap) {
        let Some(delivery) = native::session_delivery(hit) else {
            return;
        };
        let sealed = self
            .keys
            .seal_at(Purpose::LastDeliveryCookie, &delivery, hit.received_at);
        let year = &self.attributes(request).year;
        append(LAST_DELIVERY_COOKIE, &sealed, year, answer);
    }

    /// How cookies look on the configured domain that the request's host belongs to.
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

    /// Whether pages of a host get our cookies as their own.
    pub fn is_own_host(&self, host: &str, own: &str) -> bool {
        host.eq_ignore_ascii_case(own) || self.domains.iter().any(|known| known.covers(host))
    }
}

impl Attributes {
    /// Whether a host is the domain or below it. Not with a dot at its end: browsers give cookies
    /// of the domain to no such host.
    fn covers(&self, host: &str) -> bool {
        let domain = self.domain.as_ref();
        !host.ends_with('.') && domain.is_some_and(|domain| domain.covers(host))
    }
}

/// A session cookie; its name and value are of no account.
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
