//! What the types of a configuration cannot say: values that would be taken and then ignored, that shadow each other, or that make no sense.
//!
//! A mistake names its key and its value, says what is wrong and what is allowed. `config/load.rs` adds the place: the file with its line,
//! the variable or the flag.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value as Json;
use url::Url;

use super::words::{Duplicates, allowed, did_you_mean, nearest};
use super::{Config, Secret};

/// Something wrong with one key.
pub(super) struct Mistake {
    pub(super) key: &'static str,
    /// The key that it clashes with: its place is told where this one was not given.
    pub(super) with: Option<&'static str>,
    /// The item of a list.
    pub(super) item: Option<usize>,
    /// As it stands in a file; none for secrets.
    pub(super) value: Option<String>,
    /// What is wrong, what is allowed.
    pub(super) text: String,
}

/// What the server answers itself, with everything below it.
const OWN_TREES: [&str; 6] = ["/api", "/demo", "/email", "/form", "/o", "/r"];
/// What it answers itself.
const OWN_PATHS: [&str; 12] = [
    "/favicon.ico",
    // What may stand before the usual names in Mautic's addresses.
    "/index.php",
    "/index_dev.php",
    "/livez",
    "/mautic",
    "/metrics",
    "/mtc",
    "/mtc.js",
    "/mtc/event",
    "/mtracking.gif",
    "/readyz",
    "/robots.txt",
];
/// Crates that write log lines.
const LOGGING: [&str; 7] = [
    "axum",
    "hyper",
    "hyper_util",
    "rustls",
    "sillage",
    "sqlx",
    "tower",
];
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// What `database_url` of Postgres may say behind its `?`.
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

/// All that is wrong.
pub(super) fn check(config: &Config) -> Vec<Mistake> {
    let mut found = Found::default();
    check_addresses(config, &mut found);
    check_urls(config, &mut found);
    check_places(config, &mut found);
    check_secrets(config, &mut found);
    check_networks(config, &mut found);
    check_names(config, &mut found);
    check_paths(config, &mut found);
    check_sizes(config, &mut found);
    if let Some(text) = wrong_level(&config.log.level) {
        found.say("log.level", &config.log.level, text);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Mistake>);

impl Found {
    fn add(&mut self, key: &'static str, value: Option<String>, text: String) -> &mut Mistake {
        self.0.push(Mistake {
            key,
            with: None,
            item: None,
            value,
            text,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn say(&mut self, key: &'static str, value: &str, text: impl Into<String>) -> &mut Mistake {
        self.add(key, Some(Json::from(value).to_string()), text.into())
    }

    /// An item of a list.
    fn item(&mut self, key: &'static str, item: usize, value: &str, text: impl Into<String>) {
        self.say(key, value, text).item = Some(item);
    }

    /// A value that nobody may read in a log.
    fn secret(&mut self, key: &'static str, item: Option<usize>, text: impl Into<String>) {
        self.add(key, None, text.into()).item = item;
    }

    fn number(&mut self, key: &'static str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            let text = format!("is out of range; give {least} to {most}");
            self.add(key, Some(value.to_string()), text);
        }
    }

    fn duration(&mut self, key: &'static str, value: Duration, least: Duration, most: Duration) {
        if !(least..=most).contains(&value) {
            let shown = |value| humantime_serde::re::humantime::format_duration(value).to_string();
            let text = format!(
                "is out of range; give \"{}\" to \"{}\"",
                shown(least),
                shown(most)
            );
            self.say(key, &shown(value), text);
        }
    }
}

fn check_addresses(config: &Config, found: &mut Found) {
    if let Some(metrics) = config.metrics.listen
        && meet(config.listen, metrics)
    {
        let text = format!(
            "is the port of listen ({}) too; give it another port, or \"\" for none",
            config.listen
        );
        found.say("metrics.listen", &metrics.to_string(), text).with = Some("listen");
    }
}

/// Whether two listeners cannot be at once.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    // 0: the system chooses.
    let both = |one: IpAddr, other: IpAddr| {
        one == other
            || one.is_unspecified() && (one.is_ipv6() || other.is_ipv4())
            || other.is_unspecified() && (other.is_ipv6() || one.is_ipv4())
    };
    one.port() != 0 && one.port() == other.port() && both(one.ip(), other.ip())
}

fn check_urls(config: &Config, found: &mut Found) {
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
        let wrong = match crate::link::check_template(url) {
            Err(error) => Some(error.to_string()),
            Ok(_) if leads_to_links(url, &config.base_url(), &config.paths.redirect) => Some(
                "leads to a tracked link of this server, which may be the unknown one itself"
                    .to_owned(),
            ),
            Ok(_) => None,
        };
        if let Some(wrong) = wrong {
            let text = format!("{wrong}; {}", allowed("links.fallback_url"));
            found.say("links.fallback_url", url, text);
        }
    }
}

fn wrong_public_url(text: &str) -> Option<String> {
    let Ok(url) = Url::parse(text) else {
        let guess = format!("https://{text}");
        let is_host = !text.contains("://")
            && Url::parse(&guess).is_ok_and(|url| url.domain().is_some_and(|d| d.contains('.')));
        return Some(format!(
            "is no URL{}",
            did_you_mean(is_host.then_some(guess))
        ));
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Some(format!("is neither http nor https but {}", url.scheme()));
    }
    let has_end = text.contains(['?', '#']);
    let host = url.host_str().unwrap_or_default();
    let is_everywhere = matches!(host, "0.0.0.0" | "[::]");
    if has_end || !url.username().is_empty() || url.password().is_some() {
        Some(
            "has a query, a fragment or a user, but links are made by writing /r/… behind it"
                .to_owned(),
        )
    } else if is_everywhere || host.contains('*') {
        Some("has a host that no reader can reach".to_owned())
    } else if text.trim() != text {
        Some("has spaces around it".to_owned())
    } else {
        None
    }
}

/// Whether a page is one of our own tracked links: then a link that nobody knows would lead to itself.
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

fn check_places(config: &Config, found: &mut Found) {
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

const NO_SHELL: &str = "holds ~ or $, which only a shell replaces; write the path out";

fn is_for_a_shell(path: &str) -> bool {
    path.starts_with('~') || path.contains('$')
}

/// Says nothing of what the URL holds: it may be the password.
fn wrong_database(text: &str) -> Option<String> {
    if let Some(file) = text.strip_prefix("sqlite:") {
        let file = file.trim_start_matches("//");
        return match file {
            "" => Some("names no file".to_owned()),
            ":memory:" => Some("names memory, which a restart would empty".to_owned()),
            _ if file.contains('?') => {
                Some("has a query, which a file of SQLite has not".to_owned())
            }
            _ if is_for_a_shell(file) => Some(NO_SHELL.to_owned()),
            _ => None,
        };
    }
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Some("is neither postgres:// nor sqlite:".to_owned());
    }
    let Ok(url) = Url::parse(text) else {
        return Some(
            "is no URL (in a password @ is written %40, / %2F, # %23, ? %3F and % %25)".to_owned(),
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
                "has an unknown sslmode{near} (there are {})",
                SSL_MODES.join(", ")
            ));
        }
    }
    None
}

fn check_secrets(config: &Config, found: &mut Found) {
    for (key, secret) in [
        ("admin_token", &config.admin_token),
        ("debug.key", &config.debug.key),
    ] {
        let Some(Secret(text)) = secret else { continue };
        let wrong = if text.chars().count() < 16 {
            "has fewer than 16 characters"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "holds spaces or letters that a header cannot carry, so no request could match it"
        } else {
            continue;
        };
        found.secret(key, None, format!("{wrong}; {}", allowed(key)));
    }
    let mut numbers = BTreeSet::new();
    for (index, Secret(text)) in config.keys.signing.iter().enumerate() {
        let number = text
            .split_once(':')
            .and_then(|(number, _)| number.trim().parse::<u8>().ok())
            .filter(|number| *number < 16);
        let wrong = match (number, text.split_once(':')) {
            (Some(number), _) if !numbers.insert(number) => {
                format!(
                    "has the number {number}, which another key has; each number names one secret for ever"
                )
            }
            (Some(_), Some((_, secret))) if secret.len() < 32 => {
                "has fewer than 32 characters of secret".to_owned()
            }
            (Some(_), _) => continue,
            (None, _) => "is not \"<number 0-15>:<secret>\"".to_owned(),
        };
        let text = format!("entry {}: {wrong}; {}", index + 1, allowed("keys.signing"));
        found.secret("keys.signing", Some(index), text);
    }
    for (index, Secret(text)) in config.mapp.secrets.iter().enumerate() {
        let is_site = |site: &str| {
            !site.is_empty()
                && site
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let wrong = match text.split_once(':') {
            Some((site, _)) if !is_site(site) => {
                "begins with what is no track id (letters, digits, _ and -)"
            }
            Some((_, secret)) if secret.len() < 16 => "has fewer than 16 characters of secret",
            Some(_) => continue,
            None => "is not \"<track id>:<secret>\"",
        };
        let text = format!("entry {}: {wrong}; {}", index + 1, allowed("mapp.secrets"));
        found.secret("mapp.secrets", Some(index), text);
    }
}

fn check_networks(config: &Config, found: &mut Found) {
    for (key, networks) in [
        ("trust.proxies", &config.trust.proxies),
        ("trust.senders", &config.trust.senders),
    ] {
        for (index, network) in networks.iter().enumerate() {
            let address = network.addr();
            let wrong = if network.trunc() != *network {
                format!(
                    "has bits behind its prefix; write \"{}\" for the network, or \"{}\" for the one address",
                    network.trunc(),
                    IpNet::from(address)
                )
            } else if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                "is an IPv4 network in IPv6's clothes, which no client's address is in; write it as IPv4".to_owned()
            } else {
                continue;
            };
            found.item(key, index, &network.to_string(), wrong);
        }
    }
}

fn check_names(config: &Config, found: &mut Found) {
    let origins = &config.cors.origins;
    for (index, origin) in origins.iter().enumerate() {
        let wrong = if origin == "*" && origins.len() > 1 {
            Some(
                "stands for every origin, so the others say nothing; leave it or them out"
                    .to_owned(),
            )
        } else {
            wrong_origin(origin).map(|wrong| format!("{wrong}; {}", allowed("cors.origins")))
        };
        if let Some(wrong) = wrong {
            found.item("cors.origins", index, origin, wrong);
        }
    }
    for (index, domain) in config.cookies.domains.iter().enumerate() {
        if let Some(wrong) = wrong_domain(domain) {
            let text = format!("{wrong}; {}", allowed("cookies.domains"));
            found.item("cookies.domains", index, domain, text);
        }
    }
    for (key, hosts) in [
        ("links.personal_hosts", &config.links.personal_hosts),
        ("mapp.redirect_hosts", &config.mapp.redirect_hosts),
    ] {
        for (index, host) in hosts.iter().enumerate() {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if name.contains('*') || url::Host::parse(name).is_err() {
                let near = host_of(host);
                let text = format!("is no host{near}; {}", allowed(key));
                found.item(key, index, host, text);
            }
        }
    }
    for (key, fields) in [
        ("contacts.unique", &config.contacts.unique),
        ("contacts.public", &config.contacts.public),
    ] {
        for (index, field) in fields.iter().enumerate() {
            let is_name = (1..=64).contains(&field.len())
                && field
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            if !is_name {
                let text = format!("is no field name; {}", allowed(key));
                found.item(key, index, field, text);
            }
        }
        for (index, field) in Duplicates::of(fields) {
            found.item(key, index, field, "stands in the list twice; leave one out");
        }
    }
}

fn wrong_origin(origin: &str) -> Option<String> {
    if origin == "*" {
        return None;
    }
    // A star is no letter of a host; the rest is held against what a browser sends.
    let plain = origin.replacen("://*.", "://", 1);
    let star = if plain.len() < origin.len() { "*." } else { "" };
    let url = Url::parse(&plain)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        let guess = format!("https://{origin}");
        let is_host = !origin.is_empty() && !origin.contains([':', '*', ' ']);
        return Some(format!(
            "is no origin{}",
            did_you_mean(is_host.then_some(guess))
        ));
    };
    if plain.contains('*') {
        return Some("has a * elsewhere than before the first dot".to_owned());
    }
    let sent = url.origin().ascii_serialization();
    (!sent.eq_ignore_ascii_case(&plain)).then(|| {
        let meant = sent.replacen("://", &format!("://{star}"), 1);
        format!(
            "is not what a browser sends, so it would match nobody{}",
            did_you_mean(Some(meant))
        )
    })
}

fn wrong_domain(domain: &str) -> Option<String> {
    let name = domain.strip_prefix('.').unwrap_or(domain);
    let labels: Vec<&str> = name.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.parse::<IpAddr>().is_ok() {
        return Some("is an address, and browsers take no domain that is one".to_owned());
    }
    if !labels.iter().all(is_label) {
        return Some(format!("is no domain{}", host_of(domain)));
    }
    (labels.len() < 2).then(|| "is a whole top-level domain, which no browser takes".to_owned())
}

/// ` (did you mean …?)` where what should be a host is a URL or has a star.
fn host_of(text: &str) -> String {
    let meant = Url::parse(text)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .or_else(|| text.strip_prefix("*.").map(str::to_owned))
        .or_else(|| text.split_once(['/', ':']).map(|(host, _)| host.to_owned()))
        .filter(|host| host.contains('.') && !host.contains(['*', ' ']));
    did_you_mean(meant)
}

fn check_paths(config: &Config, found: &mut Found) {
    let paths = &config.paths;
    // Each with the usual name, which it may have.
    let all = [
        ("paths.redirect", paths.redirect.as_str(), "/r"),
        ("paths.script", paths.script.as_str(), "/mtc.js"),
        ("paths.pixel", paths.pixel.as_str(), "/mtracking.gif"),
        ("paths.event", paths.event.as_str(), "/mtc/event"),
        ("mapp.path", config.mapp.path.as_str(), ""),
    ];
    let is_below = |path: &str, tree: &str| {
        path.strip_prefix(tree)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    for (index, (key, path, usual)) in all.into_iter().enumerate() {
        if path == usual {
            continue;
        }
        if !is_path(path) {
            found.say(key, path, format!("is no path; {}", allowed(key)));
            continue;
        }
        let is_redirect = index == 0;
        let shadowed = OWN_TREES.iter().chain(&OWN_PATHS).find(|own| {
            **own != usual
                && (path == **own
                    || OWN_TREES.contains(own) && is_below(path, own)
                    || is_redirect && is_below(own, path))
        });
        if let Some(own) = shadowed {
            let text = format!("takes the place of the server's own {own}; give a path of its own");
            found.say(key, path, text);
        } else if !is_redirect && crate::dialect::mapp::recognises(path, "") {
            let text = "has the form of Mapp's /<track id>/wt, /batch, /optout or /re.pl; give a path of its own";
            found.say(key, path, text);
        }
        for (other_key, other, _) in &all[..index] {
            let clashes = path == *other || *other_key == "paths.redirect" && is_below(path, other);
            if clashes && shadowed.is_none() {
                let how = if path == *other { "is" } else { "lies below" };
                let text = format!("{how} {other_key} ({other:?}); give each a path of its own");
                found.say(key, path, text).with = Some(other_key);
            }
        }
    }
}

fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(is_part))
}

fn check_sizes(config: &Config, found: &mut Found) {
    let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
    let hour = seconds(3_600);
    let Config {
        spool,
        database,
        server,
        links,
        ..
    } = config;
    found.duration("spool.patience", spool.patience, ms(1), seconds(60));
    found.number("spool.max_bytes", spool.max_bytes, 1 << 16, 1 << 50);
    found.duration("spool.give_way", spool.give_way, Duration::ZERO, hour);
    let connections = u64::from(database.max_connections);
    found.number("database.max_connections", connections, 2, 10_000);
    found.duration("database.patience", database.patience, seconds(1), hour);
    let months = u64::from(database.keep_months);
    found.number("database.keep_months", months, 0, 1_200);
    found.duration("links.refresh", links.refresh, ms(10), hour);
    let connections = server.max_connections as u64;
    found.number("server.max_connections", connections, 2, 1_000_000);
    let bytes = server.max_body_bytes as u64;
    found.number("server.max_body_bytes", bytes, 1 << 10, 1 << 30);
    found.duration("server.read_timeout", server.read_timeout, ms(100), hour);
    found.duration("server.shutdown", server.shutdown, seconds(1), hour);
}

/// A filter takes any word for the name of a module and switches everything else off, so each word is looked at here.
fn wrong_level(filter: &str) -> Option<String> {
    let allowed = allowed("log.level");
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let mut has_general = false;
    for directive in filter.split(',').map(str::trim) {
        match directive.rsplit_once('=') {
            None if level(directive) => has_general = true,
            None => {
                let near = nearest(directive, LEVELS.into_iter());
                return Some(format!("{directive:?} is no level{near}; {allowed}"));
            }
            Some((_, word)) if !level(word) && word != "off" => {
                let near = nearest(word, LEVELS.into_iter());
                return Some(format!("{word:?} is no level{near}; {allowed}"));
            }
            Some((target, _)) => {
                let name = target.split([':', '[']).next().unwrap_or_default();
                if !LOGGING.contains(&name) {
                    let near = nearest(name, LOGGING.into_iter());
                    return Some(format!(
                        "{name:?} writes no log lines{near} (there are {}); {allowed}",
                        LOGGING.join(", ")
                    ));
                }
            }
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(filter) {
        return Some(format!("is no filter ({error}); {allowed}"));
    }
    (!has_general).then(|| {
        let meant = did_you_mean(Some(format!("info,{filter}")));
        format!("has no level for everything else, which would be switched off{meant}; {allowed}")
    })
}
