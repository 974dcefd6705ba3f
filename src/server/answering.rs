//! What answers requests: put together from a configuration, at the start and at each reload.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tokio::sync::watch;

use super::known_keys;
use super::secrets::{FoundKeys, load_or_make_token};
use crate::config::{Ack, Config, Secret};
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::queue::local::Spool;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::server::data_dir::ServerNote;
use crate::store::Store;
use crate::tracking::{MappRules, Rules};
use crate::web::{App, CookieMaker, Cors, Counters, DemoLinks, Script, ServerState, Tables};

/// What holds beyond a configuration, so that the next one shares it.
pub(super) struct Answering {
    pub(super) spool: Spool,
    pub(super) links: LinkCopy,
    pub(super) forms: FormCopy,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) state: Arc<dyn ServerState>,
    pub(super) tables: watch::Receiver<Tables>,
    pub(super) is_demo: bool,
    pub(super) demo: Arc<OnceLock<DemoLinks>>,
}

impl Answering {
    /// Answers by a configuration.
    pub(super) fn by(&self, config: &Config, keys: &Keys, admin_token: String) -> App {
        let base_url = config.base_url();
        let own_host = url::Url::parse(&base_url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default();
        App {
            rules: Rules {
                keys: keys.clone(),
                unique: config.contacts.unique.clone(),
                public: config.contacts.public.clone(),
                adobe_mode: config.adobe.mode,
                mapp: MappRules {
                    secrets: mapp_secrets(&config.mapp.secrets),
                },
            },
            sink: Arc::new(self.spool.clone()),
            links: self.links.clone(),
            forms: self.forms.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            cookies: CookieMaker::new(
                keys.clone(),
                &config.cookies.domains,
                base_url.starts_with("https://"),
            ),
            cors: Cors::new(&config.cors.origins, &base_url),
            proxies: config.trust.proxies.clone(),
            senders: config.trust.senders.clone(),
            paths: config.paths.clone(),
            base_url: base_url.clone(),
            own_host,
            fallback_url: config.links.fallback_url.clone(),
            landing_parameter: config.links.landing_parameter,
            personal_hosts: config.links.personal_hosts.clone(),
            mapp: config.mapp.clone(),
            debug_key: config.debug.key.as_ref().map(|key| key.0.clone()),
            is_durable: config.spool.ack == Ack::Durable,
            patience: config.spool.patience,
            admin_token,
            data_dir: config.data_dir.clone(),
            script: Script::new(&config.paths),
            is_demo: self.is_demo,
            demo: Arc::clone(&self.demo),
            state: Arc::clone(&self.state),
            tables: self.tables.clone(),
            counters: Counters::default(),
        }
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
