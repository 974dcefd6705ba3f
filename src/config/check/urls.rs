//! Where things are: URLs, the data directory, the database.

use url::Url;

use super::Found;
use crate::config::words::{allowed, did_you_mean, nearest};
use crate::config::{Config, Secret};

/// Parameters allowed behind the `?` of a Postgres `database_url`.
const POSTGRES_OPTIONS: [&str; 19] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    "options[…]",
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

pub(super) fn check_urls(config: &Config, found: &mut Found) {
    let own = config.public_url.as_deref();
    if let Some(url) = own
        && let Some(wrong) = wrong_public_url(url)
    {
        found.say(
            "public_url",
            url,
            format!("{wrong}; {}", allowed("public_url")),
        );
    }
    if let Some(url) = &config.links.fallback_url {
        let wrong = match crate::model::link::check_template(url) {
            Err(_) => Some("is not a URL that readers can be redirected to".to_owned()),
            Ok(_) if leads_to_links(url, &config.base_url(), &config.paths.redirect) => Some(
                "leads to a tracked link of this server, which may itself be unknown".to_owned(),
            ),
            Ok(_) => None,
        };
        if let Some(wrong) = wrong {
            let text = format!("{wrong}; {}", allowed("links.fallback_url"));
            found.say("links.fallback_url", url, text);
        }
    }
}

/// The old system must have its own name: this server's would loop.
pub(super) fn check_upstream(config: &Config, found: &mut Found) {
    let upstream = &config.upstream;
    if let Some(url) = &upstream.url {
        let own = Url::parse(&config.base_url()).ok();
        let is_own = |url: &Url| {
            own.as_ref().is_some_and(|own| {
                own.host_str() == url.host_str()
                    && own.port_or_known_default() == url.port_or_known_default()
            })
        };
        let wrong = match wrong_public_url(url) {
            Some(wrong) => Some(wrong.replace(", but links are made by appending /r/… to it", "")),
            None if Url::parse(url).is_ok_and(|url| is_own(&url)) => {
                Some("is this server itself (public_url)".to_owned())
            }
            None => None,
        };
        if let Some(wrong) = wrong {
            let text = format!("{wrong}; {}", allowed("upstream.url"));
            found.say("upstream.url", url, text);
        }
    }
    if let Some(host) = &upstream.host {
        let is_host = host
            .parse::<http::uri::Authority>()
            .is_ok_and(|at| !host.contains('@') && !at.host().is_empty());
        if !is_host {
            let text = format!("is not a host name; {}", allowed("upstream.host"));
            found.say("upstream.host", host, text);
        }
    }
    if upstream.max_requests == 0 {
        let text = "is 0, so nothing would be passed on; give 1 or more, or leave upstream.url \
        unset";
        found.say("upstream.max_requests", "0", text);
    }
    if upstream.timeout.is_zero() {
        let text = format!("is 0; {}", allowed("upstream.timeout"));
        found.say("upstream.timeout", "0s", text);
    }
}

fn wrong_public_url(text: &str) -> Option<String> {
    let Ok(url) = Url::parse(text) else {
        let guess = format!("https://{text}");
        let is_host = !text.contains("://")
            && Url::parse(&guess).is_ok_and(|url| url.domain().is_some_and(|d| d.contains('.')));
        return Some(format!(
            "is not a URL{}",
            did_you_mean(is_host.then_some(guess))
        ));
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Some(format!("must be http or https, not {}", url.scheme()));
    }
    let has_end = text.contains(['?', '#']);
    let host = url.host_str().unwrap_or_default();
    let is_everywhere = matches!(host, "0.0.0.0" | "[::]");
    if has_end || !url.username().is_empty() || url.password().is_some() {
        Some(
            "has a query, a fragment or a user name, but links are made by appending /r/… to it"
                .to_owned(),
        )
    } else if is_everywhere || host.contains('*') {
        Some("has a host that readers cannot reach".to_owned())
    } else if text.trim() != text {
        Some("has spaces around it".to_owned())
    } else {
        None
    }
}

/// Whether a page is one of our own tracked links: an unknown link would then redirect to itself.
fn leads_to_links(page: &str, base: &str, redirect: &str) -> bool {
    let (Ok(page), Ok(base)) = (Url::parse(page), Url::parse(base)) else {
        return false;
    };
    let is_link = |prefix: &str| {
        let rest = page.path().strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    page.host_str() == base.host_str()
        && page.port_or_known_default() == base.port_or_known_default()
        && (is_link("/r") || is_link(redirect))
}

pub(super) fn check_places(config: &Config, found: &mut Found) {
    let dir = config.data_dir.to_string_lossy();
    if dir.trim().is_empty() {
        found.say(
            "data_dir",
            &dir,
            format!("is empty; {}", allowed("data_dir")),
        );
    } else if is_for_a_shell(&dir) {
        found.say("data_dir", &dir, NO_SHELL);
    }
    let Some(Secret(url)) = &config.database_url else {
        return;
    };
    if let Some(wrong) = wrong_database(url) {
        found.secret(
            "database_url",
            None,
            format!("{wrong}; {}", allowed("database_url")),
        );
    }
}

const NO_SHELL: &str = "contains ~ or $, which only a shell expands; write the full path";

fn is_for_a_shell(path: &str) -> bool {
    path.starts_with('~') || path.contains('$')
}

/// Reveals nothing of the URL: it may be the password.
fn wrong_database(text: &str) -> Option<String> {
    if let Some(file) = text.strip_prefix("sqlite:") {
        let file = file.trim_start_matches("//");
        return match file {
            "" => Some("does not name a file".to_owned()),
            ":memory:" => Some(
                "names an in-memory database, which a restart would \
            erase"
                    .to_owned(),
            ),
            _ if file.contains('?') => {
                Some("has a query, which a SQLite path cannot have".to_owned())
            }
            _ if is_for_a_shell(file) => Some(NO_SHELL.to_owned()),
            _ => None,
        };
    }
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Some("starts with neither postgres:// nor sqlite:".to_owned());
    }
    let Ok(url) = Url::parse(text) else {
        return Some(
            "is not a URL (in a password, write @ as %40, / as %2F, # as %23, ? as %3F and % as \
            %25)"
                .to_owned(),
        );
    };
    for (name, value) in url.query_pairs() {
        let is_known = name.starts_with("options[") || POSTGRES_OPTIONS.contains(&&*name);
        if !is_known {
            let name: String = name.chars().take(40).collect();
            let near = nearest(&name, POSTGRES_OPTIONS.into_iter());
            return Some(format!("has an unknown setting {name:?}{near}"));
        }
        if matches!(&*name, "sslmode" | "ssl-mode") && !SSL_MODES.contains(&&*value) {
            let near = nearest(&value, SSL_MODES.into_iter());
            return Some(format!(
                "has an unknown sslmode{near} (allowed: {})",
                SSL_MODES.join(", ")
            ));
        }
    }
    None
}
