//! Configuration: defaults, then the file, then the environment, then flags.
//!
//! [`Config::load`] takes the environment as an argument, so no test sets variables. All problems
//! are reported at once. `server` hands each part its own section; nothing else reads the whole.

mod check;
#[cfg(test)]
mod example;
mod load;
mod shown;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::hit::LeastProof;
use crate::model::host_pattern::HostPattern;
use crate::tracking::{AdobeMode, route};

pub use load::{Flags, Problems};

/// Every key with its default. `config.example.toml` explains them; a test holds the two together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the tracking and API listener.
    pub listen: SocketAddr,
    /// Where the public reaches this server; decides links and `Secure` cookies.
    pub public_url: Option<String>,
    /// Spool, local link copy, embedded database, generated secrets.
    pub data_dir: PathBuf,
    /// `postgres://…`, `sqlite://…`; none: SQLite in the data directory.
    pub database_url: Option<Secret>,
    /// Token of the API; none: generated at the first start.
    pub admin_token: Option<Secret>,
    /// Whom to believe.
    pub trust: Trust,
    /// Which sites may read answers.
    pub cors: Cors,
    /// Where cookies are valid.
    pub cookies: Cookies,
    /// What identifies and describes a contact.
    pub contacts: Contacts,
    /// What counts as revenue of a delivery.
    pub revenue: Revenue,
    /// The durable queue.
    pub spool: Spool,
    /// The database.
    pub database: Database,
    /// Names of the public URLs.
    pub paths: Paths,
    /// Redirects.
    pub links: Links,
    /// Adobe Campaign's protocol.
    pub adobe: Adobe,
    /// Mapp Intelligence's protocol.
    pub mapp: Mapp,
    /// The old system of a moved domain.
    pub upstream: Upstream,
    /// Looking at what becomes of a request.
    pub debug: Debug,
    /// The Prometheus listener.
    pub metrics: Metrics,
    /// Signing keys.
    pub keys: KeyRing,
    /// Limits of connections and of the way out.
    pub server: Server,
    /// Log lines.
    pub log: Log,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}

section!(
    /// Whom to believe; nobody by default.
    Trust {
        /// Networks of reverse proxies whose `X-Forwarded-For` counts.
        proxies: Vec<IpNet> = Vec::new(),
        /// Networks of servers that may name another client's address, agent and time.
        senders: Vec<IpNet> = Vec::new(),
    }
);
section!(
    /// Which sites may read answers.
    Cors {
        /// `https://shop.example`, `https://*.shop.example`, or `*` for every origin.
        origins: Vec<String> = Vec::new(),
    }
);
section!(
    /// Where cookies are valid.
    Cookies {
        /// `.example.com`: cookies of a host below it are set for the whole domain.
        domains: Vec<String> = Vec::new(),
    }
);
section!(
    /// What identifies and describes a contact.
    Contacts {
        /// Fields whose value belongs to one contact, strongest first.
        unique: Vec<String> = vec!["email".to_owned()],
        /// Fields that anyone may set through the pixel and the script.
        public: Vec<String> = Vec::new(),
    }
);

section!(
    /// What counts as revenue of a delivery.
    Revenue {
        /// The least proof of the delivery that makes revenue of an amount; the rest stands apart.
        proof: LeastProof = LeastProof::Signed,
        /// Days before a purchase in which clicks and campaign landings get a part of it.
        window_days: u32 = 30,
    }
);

/// When a hit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// After it is on disk.
    Durable,
    /// Before: a power cut or kill -9 loses the last milliseconds.
    Fast,
}

section!(
    /// The old system of a moved tracking domain, which gets what is not ours.
    Upstream {
        /// Where it is, with what stands before its paths; none: nothing is passed on.
        url: Option<String> = None,
        /// The name that it is asked under; none: that of `url`.
        host: Option<String> = None,
        /// How long it may say nothing, before its answer and within.
        #[serde(with = "humantime_serde")]
        timeout: Duration = Duration::from_secs(30),
        /// Most bytes of a request's body.
        max_body_bytes: u64 = 64 << 20,
        /// Most requests that are on their way to it at once.
        max_requests: usize = 100,
    }
);
section!(
    /// The durable queue on local disk.
    Spool {
        /// When a hit is answered.
        ack: Ack = Ack::Durable,
        /// How long an answer may wait for the disk.
        #[serde(with = "humantime_serde")]
        patience: Duration = Duration::from_millis(250),
        /// Most bytes of hits that wait for the database.
        max_bytes: u64 = 4 << 30,
        /// How long the projection gives way to a burst of requests.
        #[serde(with = "humantime_serde")]
        give_way: Duration = Duration::from_secs(30),
    }
);
section!(
    /// The database.
    Database {
        /// Whether `serve` brings the tables up to date.
        migrate: bool = true,
        /// Most connections of this server.
        max_connections: u32 = 10,
        /// How long Postgres may take for an answer before the connection is given up.
        #[serde(with = "humantime_serde")]
        patience: Duration = Duration::from_secs(60),
        /// Months that hits are kept; 0 keeps them forever.
        keep_months: u32 = 0,
    }
);
section!(
    /// Names of the public URLs, for sites whose visitors' blockers know the usual ones.
    Paths {
        /// The script.
        script: String = route::SCRIPT.to_owned(),
        /// The pixel.
        pixel: String = route::PIXEL.to_owned(),
        /// Where the script sends hits.
        event: String = route::EVENT.to_owned(),
        /// Tracked links.
        redirect: String = route::REDIRECT.to_owned(),
    }
);
section!(
    /// Redirects.
    Links {
        /// Where unknown and expired links lead; none: a small 404 page.
        fallback_url: Option<String> = None,
        /// Whether a redirect hands the visit on to a page on another domain, as a signed parameter
        /// `_sl`.
        landing_parameter: bool = false,
        /// How often the local copy asks the database for changes.
        #[serde(with = "humantime_serde")]
        refresh: Duration = Duration::from_secs(2),
        /// Hosts that may stand in a destination whose host comes from the link's own parameters.
        personal_hosts: Vec<HostPattern> = Vec::new(),
    }
);
section!(
    /// Adobe Campaign's protocol.
    Adobe {
        /// Which hits of page tags count.
        mode: AdobeMode = AdobeMode::Session,
    }
);
section!(
    /// Mapp Intelligence's protocol.
    Mapp {
        /// A further path of its hits, beside `/<track id>/wt`; empty: none.
        path: String = String::new(),
        /// Whether its own cookies are set.
        third_party_cookies: bool = false,
        /// Hosts that `re.pl` may lead to.
        redirect_hosts: Vec<HostPattern> = Vec::new(),
        /// `"<track id>:<at least 16 characters>"`: who sends the secret may name another client's
        /// address, agent and page.
        secrets: Vec<Secret> = Vec::new(),
    }
);
section!(
    /// Looking at what becomes of a request.
    Debug {
        /// Who sends it in `X-Sillage-Debug` gets the verdict back in a header; none: nobody does.
        key: Option<Secret> = None,
    }
);
section!(
    /// The Prometheus listener.
    Metrics {
        /// Its address; empty: only `/metrics` with the admin token on the main listener.
        #[serde(with = "address_or_empty")]
        listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
    }
);
section!(
    /// Signing keys.
    KeyRing {
        /// `"<number 0-15>:<at least 32 characters>"`; the first signs, all verify. None: generated
        /// in the data directory.
        signing: Vec<Secret> = Vec::new(),
    }
);
section!(
    /// Limits of connections and of the way out.
    Server {
        /// Most connections at once.
        max_connections: usize = 10_000,
        /// Most bytes of a body.
        max_body_bytes: usize = 24 << 20,
        /// How long a request may take to arrive.
        #[serde(with = "humantime_serde")]
        read_timeout: Duration = Duration::from_secs(15),
        /// How long the way out may take after SIGTERM, projection included.
        #[serde(with = "humantime_serde")]
        shutdown: Duration = Duration::from_secs(20),
    }
);

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

section!(
    /// Log lines, on standard error.
    Log {
        /// Their form.
        format: LogFormat = LogFormat::Text,
        /// `error`, `warn`, `info`, `debug` (a line a request), `trace`, or with modules of their
        /// own: `info,sillage::projection=debug`.
        level: String = "info".to_owned(),
    }
);

/// An address, or the empty text for none.
mod address_or_empty {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(
            &address
                .map(|address| address.to_string())
                .unwrap_or_default(),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            Ok(None)
        } else {
            text.parse().map(Some).map_err(serde::de::Error::custom)
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            data_dir: PathBuf::from("data"),
            database_url: None,
            admin_token: None,
            trust: Trust::default(),
            cors: Cors::default(),
            cookies: Cookies::default(),
            contacts: Contacts::default(),
            revenue: Revenue::default(),
            spool: Spool::default(),
            database: Database::default(),
            paths: Paths::default(),
            links: Links::default(),
            adobe: Adobe::default(),
            mapp: Mapp::default(),
            debug: Debug::default(),
            upstream: Upstream::default(),
            metrics: Metrics::default(),
            keys: KeyRing::default(),
            server: Server::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Where the public reaches this server, without a slash at the end.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }
}
