//! What answers requests: put together from a configuration, at the start and at each reload.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tokio::sync::watch;

use super::known_keys;
use super::secrets::{FoundKeys, load_or_make_token};
use crate::config::{Config, Secret};
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::queue::local::Spool;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::server::data_dir::ServerNote;
use crate::store::Store;
use crate::tracking::route::Paths;
use crate::tracking::{ClickRules, MappRules, OwnHosts, Rules};
use crate::web::{
    AdminState, CookieMaker, Cors, Counters, DemoLinks, Script, ServerState, Tables, TrackingState,
};

/// What holds beyond a configuration, so that the next one shares it.
pub(super) struct Answering {
    pub(super) spool: Spool,
    pub(super) links: LinkCopy,
    pub(super) forms: FormCopy,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) state: Arc<dyn ServerState>,
    pub(super) tables: watch::Receiver<Tables>,
    pub(super) demo: Option<Arc<OnceLock<DemoLinks>>>,
}

impl Answering {
    /// Answers by a configuration.
    pub(super) fn by(&self, config: &Config, keys: &Keys, token: String) -> AdminState {
        let sink: Arc<dyn Sink> = Arc::new(self.spool.clone());
        AdminState {
            store: self.store.clone(),
            clock: self.clock.clone(),
            sink: Arc::clone(&sink),
            links: self.links.clone(),
            forms: self.forms.clone(),
            keys: keys.clone(),
            token,
            base_url: config.base_url(),
            contacts: config.contacts.clone(),
            paths: config.paths.clone(),
            redirects: config.links.clone(),
            spool: config.spool.clone(),
            limits: config.server.clone(),
            data_dir: config.data_dir.clone(),
            demo: self.demo.clone(),
            state: Arc::clone(&self.state),
            tables: self.tables.clone(),
            tracking: Arc::new(self.track_by(config, keys, sink)),
        }
    }

    fn track_by(&self, config: &Config, keys: &Keys, sink: Arc<dyn Sink>) -> TrackingState {
        let base_url = config.base_url();
        let is_https = base_url.starts_with("https://");
        TrackingState {
            rules: rules_of(config, keys),
            sink,
            links: self.links.clone(),
            forms: self.forms.clone(),
            clock: self.clock.clone(),
            cookies: CookieMaker::new(&config.cookies, is_https),
            cors: Cors::new(&config.cors, &base_url),
            script: Script::new(&config.paths),
            trust: config.trust.clone(),
            paths: paths_of(config),
            redirects: config.links.clone(),
            debug: config.debug.clone(),
            spool: config.spool.clone(),
            counters: Counters::default(),
        }
    }
}

/// How requests are read, in words of `tracking`, which knows no configuration.
fn rules_of(config: &Config, keys: &Keys) -> Rules {
    let own_host = url::Url::parse(&config.base_url())
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    Rules {
        keys: keys.clone(),
        unique: config.contacts.unique.clone(),
        public: config.contacts.public.clone(),
        adobe_mode: config.adobe.mode,
        mapp: MappRules {
            secrets: mapp_secrets(&config.mapp.secrets),
            redirect_hosts: config.mapp.redirect_hosts.clone(),
            sets_cookies: config.mapp.third_party_cookies,
        },
        clicks: ClickRules {
            personal_hosts: config.links.personal_hosts.clone(),
            landing: config.links.landing_parameter.then(|| OwnHosts {
                host: own_host.clone(),
                domains: CookieMaker::domains(&config.cookies),
            }),
        },
        own_host,
    }
}

/// Names of the public URLs, Mapp's among them.
fn paths_of(config: &Config) -> Paths {
    let names = config.paths.clone();
    Paths {
        redirect: names.redirect,
        script: names.script,
        pixel: names.pixel,
        event: names.event,
        mapp: config.mapp.path.clone(),
    }
}

/// The keys and the token of a configuration that a running server is to go on with.
///
/// # Errors
/// A file cannot be read or is empty, or links were signed with keys that are missing.
pub(super) fn secrets_again(config: &Config, dir: &Path) -> anyhow::Result<(Keys, String)> {
    let found = FoundKeys::find(config)?;
    known_keys::check_note(&found, ServerNote::read(dir).as_ref(), dir)?;
    let file = found.file.display().to_string();
    let keys = found.keys.with_context(|| format!("{file} is missing"))?;
    let (token, _) = load_or_make_token(config)?;
    Ok((keys, token))
}

/// `<track id>:<secret>`, as the configuration was checked to be.
fn mapp_secrets(secrets: &[Secret]) -> Vec<(String, String)> {
    secrets
        .iter()
        .filter_map(|secret| secret.0.split_once(':'))
        .map(|(site, secret)| (site.to_owned(), secret.to_owned()))
        .collect()
}
