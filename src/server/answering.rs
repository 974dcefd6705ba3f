//! The state that answers requests: built from a configuration, at startup and at each reload.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tokio::sync::watch;

use super::known_keys;
use super::secrets::{FoundKeys, load_or_make_token};
use crate::config::{Config, Secret};
use crate::model::clock::Clock;
use crate::model::host_pattern::HostPattern;
use crate::model::keys::Keys;
use crate::model::site::{Paths, Site};
use crate::projection::ProjectionRules;
use crate::queue::local::Spool;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::replica::tokens::TokenCopy;
use crate::server::data_dir::ServerNote;
use crate::store::Store;
use crate::tracking::verdict::Lists;
use crate::tracking::{MappRules, Rules};
use crate::web::{
    AdminState, Counters, DemoLinks, ServedSite, ServerState, Sites, Tables, TrackingState,
    UnknownPaths, Upstream,
};

/// What outlives a configuration, and is shared with the next one.
pub(super) struct Answering {
    pub(super) spool: Spool,
    pub(super) links: LinkCopy,
    pub(super) forms: FormCopy,
    pub(super) tokens: TokenCopy,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) state: Arc<dyn ServerState>,
    pub(super) tables: watch::Receiver<Tables>,
    pub(super) demo: Option<Arc<OnceLock<DemoLinks>>>,
    pub(super) unknown_paths: UnknownPaths,
}

impl Answering {
    /// Answers by a configuration.
    ///
    /// # Errors
    /// When a list of the operator's cannot be read.
    pub(super) fn by(
        &self,
        config: &Config,
        keys: &Keys,
        token: String,
    ) -> anyhow::Result<AdminState> {
        let rules = rules_of(config, keys)?;
        let sink: Arc<dyn Sink> = Arc::new(self.spool.clone());
        Ok(AdminState {
            store: self.store.clone(),
            clock: self.clock.clone(),
            sink: Arc::clone(&sink),
            links: self.links.clone(),
            forms: self.forms.clone(),
            keys: keys.clone(),
            token,
            tokens: self.tokens.clone(),
            api: config.api.clone(),
            console: config.console.clone(),
            projection: ProjectionRules::new(&config.contacts, &config.revenue),
            contacts: config.contacts.clone(),
            redirects: config.links.clone(),
            spool: config.spool.clone(),
            limits: config.server.clone(),
            data_dir: config.data_dir.clone(),
            demo: self.demo.clone(),
            webhooks: config.webhooks.clone(),
            upstream: Upstream::new(&config.upstream),
            unknown_paths: self.unknown_paths.clone(),
            state: Arc::clone(&self.state),
            tables: self.tables.clone(),
            tracking: Arc::new(self.track_by(config, rules, sink)),
        })
    }

    fn track_by(&self, config: &Config, rules: Rules, sink: Arc<dyn Sink>) -> TrackingState {
        TrackingState {
            rules,
            sink,
            links: self.links.clone(),
            forms: self.forms.clone(),
            clock: self.clock.clone(),
            sites: Sites::one(ServedSite::new(site_of(config))),
            trust: config.trust.clone(),
            debug: config.debug.clone(),
            spool: config.spool.clone(),
            counters: Counters::default(),
        }
    }
}

/// How requests are read, in terms of `tracking`, which knows no configuration.
fn rules_of(config: &Config, keys: &Keys) -> anyhow::Result<Rules> {
    Ok(Rules {
        keys: keys.clone(),
        unique: config.contacts.unique.clone(),
        public: config.contacts.public.clone(),
        adobe_mode: config.adobe.mode,
        mapp: MappRules {
            secrets: mapp_secrets(&config.mapp.secrets),
            redirect_hosts: config.mapp.redirect_hosts.clone(),
            sets_cookies: config.mapp.third_party_cookies,
        },
        personal_hosts: config.links.personal_hosts.clone(),
        lists: lists_of(config)?,
    })
}

/// The lists that hits are judged by.
///
/// # Errors
/// When a file of the operator's cannot be read, or a line of it.
pub fn lists_of(config: &Config) -> anyhow::Result<Arc<Lists>> {
    let files = &config.verdict;
    if files.agents.is_none() && files.networks.is_none() {
        return Ok(Lists::built_in());
    }
    let agents = list_in("verdict.agents", files.agents.as_deref())?;
    let networks = list_in("verdict.networks", files.networks.as_deref())?;
    let lists = Lists::new(&agents, &networks).map_err(|error| {
        let file = match error.list {
            "agents" => &files.agents,
            _ => &files.networks,
        };
        let file = file.as_deref().unwrap_or(Path::new(""));
        anyhow::Error::new(error).context(file.display().to_string())
    })?;
    Ok(Arc::new(lists))
}

fn list_in(key: &str, file: Option<&Path>) -> anyhow::Result<String> {
    match file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("{key}: {} cannot be read", file.display())),
        None => Ok(String::new()),
    }
}

/// The one site of a configuration.
fn site_of(config: &Config) -> Site {
    let mut domains: Vec<HostPattern> = config
        .cookies
        .domains
        .iter()
        .filter_map(|domain| HostPattern::parse_domain(domain).ok())
        .collect();
    domains.sort_by_key(|domain| std::cmp::Reverse(domain.host().len()));
    Site {
        cookie_domains: domains,
        origins: config.cors.origins.clone(),
        fallback_url: config.links.fallback_url.clone(),
        hands_over: config.links.landing_parameter,
        paths: paths_of(config),
        ..Site::new(config.base_url())
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

/// The keys and the token of a configuration that a running server is to switch to.
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

/// `<track id>:<secret>`, as validated with the configuration.
fn mapp_secrets(secrets: &[Secret]) -> Vec<(String, String)> {
    secrets
        .iter()
        .filter_map(|secret| secret.0.split_once(':'))
        .map(|(site, secret)| (site.to_owned(), secret.to_owned()))
        .collect()
}
