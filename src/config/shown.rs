//! A configuration as a file that can be used again, without its secrets.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::Config;
use super::words::SECRETS;
use crate::model::host_pattern::HostPattern;

/// Secrets of config.example.toml.
const EXAMPLES: [&str; 2] = ["0123456789abcdef0123456789abcdef", "0123456789abcdef"];

impl Config {
    /// The effective configuration as TOML. Secrets and keys without a value become comments.
    pub fn to_toml(&self) -> String {
        let all = serde_json::to_value(self).unwrap_or_default();
        let mut text = String::new();
        // The keys of no section come first, as a file has them.
        for (key, value) in all.as_object().into_iter().flatten() {
            if !value.is_object() {
                write_key(&mut text, key, key, value);
            }
        }
        for (section, keys) in all.as_object().into_iter().flatten() {
            let Some(keys) = keys.as_object() else {
                continue;
            };
            let _ = writeln!(text, "\n[{section}]");
            for (key, value) in keys {
                write_key(&mut text, key, &format!("{section}.{key}"), value);
            }
        }
        text
    }

    /// Settings that are allowed but rarely intended; one line each.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.public_url.is_none() && self.listen.ip().is_unspecified() {
            doubts.push(format!(
                "public_url is not set: new links begin with {}, which no reader can reach; set \
                it to the public address of this server",
                self.base_url()
            ));
        }
        for (key, networks) in [
            ("trust.proxies", &self.trust.proxies),
            ("trust.senders", &self.trust.senders),
        ] {
            if let Some(network) = networks.iter().find(|network| network.prefix_len() == 0) {
                doubts.push(format!(
                    "{key} contains \"{network}\", which trusts the whole internet; list the \
                    networks of your own machines"
                ));
            }
        }
        if !self.api.is_public() && self.console.listen.is_none() {
            doubts.push(
                "api.public is false and console.listen is \"\": the API answers nowhere, except \
                for POST /hits; give console.listen an address such as \"127.0.0.1:8081\""
                    .to_owned(),
            );
        }
        if self.console.user_header.is_some() && self.trust.proxies.is_empty() {
            doubts.push(
                "console.user_header signs nobody in, because trust.proxies is empty; list the \
                proxy's network there"
                    .to_owned(),
            );
        }
        for (key, secret) in [
            ("admin_token", &self.admin_token),
            ("debug.key", &self.debug.key),
        ] {
            if secret
                .as_ref()
                .is_some_and(|secret| EXAMPLES.contains(&secret.0.as_str()))
            {
                doubts.push(format!(
                    "{key} is the one in config.example.toml, which is public; generate your own \
                    with `openssl rand -hex 24`"
                ));
            }
        }
        let host = self.public_url.as_deref().and_then(|url| {
            let url = url::Url::parse(url).ok()?;
            url.domain().map(str::to_ascii_lowercase)
        });
        if let Some(host) = host
            && !self.cookies.domains.is_empty()
            && !self.cookies.domains.iter().any(|domain| {
                HostPattern::parse_domain(domain).is_ok_and(|domain| domain.covers(&host))
            })
        {
            doubts.push(format!(
                "cookies.domains does not cover {host}, the host of public_url: its cookies are \
                valid for that host only"
            ));
        }
        doubts
    }
}

fn write_key(text: &mut String, key: &str, full: &str, value: &Json) {
    let _ = match value {
        Json::Null => writeln!(text, "# {key} is not set"),
        Json::Array(items) if SECRETS.contains(&full) && !items.is_empty() => {
            writeln!(text, "# {key} is set: {} not shown", items.len())
        }
        Json::Array(_) if !SECRETS.contains(&full) => writeln!(text, "{key} = {}", toml(value)),
        Json::String(url) if full == "database_url" && !url.starts_with("sqlite:") => {
            writeln!(text, "# {key} is set: {}", place_of_database(url))
        }
        Json::String(_) if full == "database_url" => writeln!(text, "{key} = {}", toml(value)),
        _ if SECRETS.contains(&full) && !matches!(value, Json::Array(_)) => {
            writeln!(text, "# {key} is set, not shown")
        }
        value => writeln!(text, "{key} = {}", toml(value)),
    };
}

/// JSON strings are TOML strings, except for one character.
fn toml(value: &Json) -> String {
    value.to_string().replace('\u{7f}', "\\u007F")
}

/// Where Postgres is, without credentials.
fn place_of_database(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => format!(
            "postgres at {}{}{} (user and password not shown)",
            url.host_str().unwrap_or_default(),
            url.port()
                .map_or_else(String::new, |port| format!(":{port}")),
            url.path()
        ),
        Err(_) => "not shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Flags};

    const SECRETS: &str = r#"
        public_url = "https://t.example.com"
        database_url = "postgres://sillage:letmein@db.example:6432/hits?password=letmein"
        admin_token = "letmein-letmein-letmein"
        [debug]
        key = "letmein-letmein-letmein"
        [keys]
        signing = ["2:letmein-letmein-letmein-letmein-", "1:letmein-letmein-letmein-letmein-"]
        [mapp]
        secrets = ["111:letmein-letmein-letmein"]
        [cors]
        origins = ["https://*.shop.example"]
        [spool]
        patience = "1s 500ms"
    "#;

    fn load(text: &str) -> Config {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), [], &Flags::default()).unwrap()
    }

    #[test]
    fn what_is_shown_is_the_same_configuration_without_its_secrets() {
        let mut config = load(SECRETS);
        let shown = config.to_toml();
        assert!(!shown.contains("letmein"), "{shown}");
        assert!(
            shown.contains("postgres at db.example:6432/hits"),
            "{shown}"
        );
        let again = load(&shown);
        config.database_url = None;
        config.admin_token = None;
        config.debug.key = None;
        config.keys.signing.clear();
        config.mapp.secrets.clear();
        assert_eq!(again, config);
        assert_eq!(load(&Config::default().to_toml()), Config::default());
    }

    #[test]
    fn what_is_seldom_meant_is_told() {
        for (text, doubts) in [
            ("", 0),
            ("listen = '0.0.0.0:80'", 1),
            ("[api]\npublic = false", 0),
            ("[console]\nuser_header = 'X-Remote-User'", 1),
            ("[api]\npublic = false\n[console]\nlisten = ''", 1),
            (
                "listen = '[::]:80'\n[trust]\nproxies = ['0.0.0.0/0']\nsenders = ['::/0']",
                3,
            ),
            (
                "admin_token = '0123456789abcdef0123456789abcdef'\n[debug]\nkey = \
                '0123456789abcdef'",
                2,
            ),
            (
                "public_url = 'https://t.example.com'\n[cookies]\ndomains = ['.example.com']",
                0,
            ),
            (
                "public_url = 'https://t.exmaple.com'\n[cookies]\ndomains = ['.example.com', \
                'aple.com']",
                1,
            ),
            (
                "listen = '0.0.0.0:80'\npublic_url = 'https://t.example.com'",
                0,
            ),
        ] {
            let told = load(text).doubts();
            assert_eq!(told.len(), doubts, "{text}: {told:?}");
        }
    }
}
