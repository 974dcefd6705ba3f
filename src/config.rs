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

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    /// Public address of this server; decides how links begin and whether cookies are `Secure`.
    pub public_url: Option<String>,
    /// Spool, local link copy, embedded database, generated secrets.
    pub data_dir: PathBuf,
    /// `postgres://…`, `sqlite://…`; `None` means SQLite in the data directory.
    pub database_url: Option<Secret>,
    /// Token of the API; `None` means generated at the first start.
    pub admin_token: Option<Secret>,
    /// Whom to believe.
    pub trust: Trust,
    /// Which sites may read responses.
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
    /// Who caused a hit.
    pub verdict: Verdict,
    /// Debugging: seeing how a request is handled.
    pub debug: Debug,
    /// Servers that are told of hits.
    pub webhooks: Webhooks,
    /// The Prometheus listener.
    pub metrics: Metrics,
    /// The operators' listener.
    pub console: Console,
    /// Where the API answers.
    pub api: Api,
    /// Signing keys.
    pub keys: KeyRing,
    /// Limits on connections and on shutdown.
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
    /// Whom to trust; nobody by default.
    Trust {
        /// Networks of reverse proxies whose `X-Forwarded-For` counts.
        proxies: Vec<IpNet> = Vec::new(),
        /// Networks of servers that may name another client's address, agent and time.
        senders: Vec<IpNet> = Vec::new(),
    }
);
section!(
    /// Which sites may read responses.
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
        /// Fields whose value identifies one contact, strongest first.
        unique: Vec<String> = vec!["email".to_owned()],
        /// Fields that anyone may set through the pixel and the script.
        public: Vec<String> = Vec::new(),
    }
);

section!(
    /// What counts as revenue of a delivery.
    Revenue {
        /// The weakest proof of the delivery with which an amount counts as its revenue; other
        /// amounts are reported apart.
        proof: LeastProof = LeastProof::Signed,
        /// Days before a purchase within which clicks and campaign landings are credited for it.
        window_days: u32 = 30,
    }
);

/// When a hit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// After it is on disk.
    Durable,
    /// Responds first: a power cut or kill -9 loses the last milliseconds.
    Fast,
}

section!(
    /// The old system of a moved tracking domain, which gets the requests that are not ours.
    Upstream {
        /// Its URL, with a path prefix if it has one; `None` means nothing is passed on.
        url: Option<String> = None,
        /// The `Host` it is sent; `None` means that of `url`.
        host: Option<String> = None,
        /// How long it may stay silent, before and within a response.
        #[serde(with = "humantime_serde")]
        timeout: Duration = Duration::from_secs(30),
        /// Maximum size of a request body, in bytes.
        max_body_bytes: u64 = 64 << 20,
        /// Maximum number of requests to it at once.
        max_requests: usize = 100,
    }
);
section!(
    /// The durable queue on local disk.
    Spool {
        /// When a hit is answered.
        ack: Ack = Ack::Durable,
        /// How long a response may wait for the disk.
        #[serde(with = "humantime_serde")]
        patience: Duration = Duration::from_millis(250),
        /// Maximum size of the hits that wait for the database, in bytes.
        max_bytes: u64 = 4 << 30,
        /// How long the projection gives way to a burst of requests.
        #[serde(with = "humantime_serde")]
        give_way: Duration = Duration::from_secs(30),
    }
);
section!(
    /// The database.
    Database {
        /// Whether `serve` runs the migrations.
        migrate: bool = true,
        /// Maximum number of this server's connections.
        max_connections: u32 = 10,
        /// How long Postgres may take to respond before the connection is dropped.
        #[serde(with = "humantime_serde")]
        patience: Duration = Duration::from_secs(60),
        /// Months to keep hits; 0 keeps them forever.
        keep_months: u32 = 0,
    }
);
section!(
    /// Names of the public URLs, for sites whose visitors' ad blockers know the usual ones.
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
        /// Where unknown and expired links lead; `None` means a small 404 page.
        fallback_url: Option<String> = None,
        /// Whether a redirect to another domain carries the session along, as the signed parameter
        /// `_sl`.
        landing_parameter: bool = false,
        /// How often the local copy polls the database for changes.
        #[serde(with = "humantime_serde")]
        refresh: Duration = Duration::from_secs(2),
        /// Hosts allowed in a destination whose host comes from the link's own parameters.
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
        /// A further path for its hits, beside `/<track id>/wt`; empty means none.
        path: String = String::new(),
        /// Whether Mapp's own cookies are set.
        third_party_cookies: bool = false,
        /// Hosts that `re.pl` may redirect to.
        redirect_hosts: Vec<HostPattern> = Vec::new(),
        /// `"<track id>:<at least 16 characters>"`: a sender that knows the secret may override the
        /// client's address, agent and page.
        secrets: Vec<Secret> = Vec::new(),
    }
);
section!(
    /// Who caused a hit.
    Verdict {
        /// A file with words of agents; none: those that are compiled in.
        agents: Option<PathBuf> = None,
        /// A file with networks; none: those that are compiled in.
        networks: Option<PathBuf> = None,
    }
);
section!(
    /// Debugging: seeing how a request is handled.
    Debug {
        /// A request with this key in `X-Sillage-Debug` gets the verdict in a response header;
        /// `None` means no key works.
        key: Option<Secret> = None,
    }
);
section!(
    /// Servers that are told of hits.
    Webhooks {
        /// Networks that receivers may be in although they are not public; plain HTTP is allowed
        /// there.
        allow_networks: Vec<IpNet> = Vec::new(),
    }
);
section!(
    /// The Prometheus listener.
    Metrics {
        /// Its address; empty means only `/metrics` on the main listener, with the admin token.
        #[serde(with = "address_or_empty")]
        listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
    }
);
section!(
    /// The operators' listener.
    Console {
        /// Its address; empty means none.
        #[serde(with = "address_or_empty")]
        listen: Option<SocketAddr> = Some(Console::USUAL),
        /// The header in which a trusted proxy names the user; `None` means it signs nobody in.
        user_header: Option<String> = None,
    }
);

impl Console {
    /// Where it listens unless the operator says otherwise.
    const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

    /// Whether somebody chose the address: if it is only the usual one, that something else has it
    /// already is no reason not to serve.
    pub fn is_chosen(&self) -> bool {
        self.listen != Some(Self::USUAL)
    }
}

section!(
    /// Where the API answers.
    Api {
        /// Whether it also answers on the public listener; `None` means as long as this version
        /// says so.
        public: Option<bool> = None,
    }
);

impl Api {
    /// Whether the API, the manual and the figures are on the public listener too. The next version
    /// turns this around.
    pub fn is_public(&self) -> bool {
        self.public.unwrap_or(true)
    }
}

section!(
    /// Signing keys.
    KeyRing {
        /// `"<number 0-15>:<at least 32 characters>"`; the first signs, all verify. None: generated
        /// in the data directory.
        signing: Vec<Secret> = Vec::new(),
    }
);
section!(
    /// Limits on connections and on shutdown.
    Server {
        /// Most connections at once.
        max_connections: usize = 10_000,
        /// Most bytes of a body.
        max_body_bytes: usize = 24 << 20,
        /// How long a request may take to arrive.
        #[serde(with = "humantime_serde")]
        read_timeout: Duration = Duration::from_secs(15),
        /// How long shutdown may take after SIGTERM, projection included.
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

/// An address, or an empty string for none.
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
            verdict: Verdict::default(),
            debug: Debug::default(),
            upstream: Upstream::default(),
            webhooks: Webhooks::default(),
            metrics: Metrics::default(),
            console: Console::default(),
            api: Api::default(),
            keys: KeyRing::default(),
            server: Server::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Public address of this server, without a trailing slash.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }
}
