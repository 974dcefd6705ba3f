//! What the API, the health pages and the demo are answered by: the operator's side, which may ask
//! the database. What readers and their browsers are answered by is
//! [`TrackingState`], and has no way from there to here.

mod tally;
pub mod unknown_paths;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use tokio::sync::watch;

use super::{DemoLinks, ServerState, TrackingState, UnknownPaths, Upstream};
use crate::config;
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::model::site::Site;
use crate::projection::ProjectionRules;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::replica::tokens::TokenCopy;
use crate::store::Store;

/// What the handlers of the operator's side share.
pub struct AdminState {
    /// The database.
    pub store: Store,
    /// Times and ids.
    pub clock: Clock,
    /// Where hits posted by a sender's server go.
    pub sink: Arc<dyn Sink>,
    /// Takes new links, so that they redirect at once.
    pub links: LinkCopy,
    /// The same for forms.
    pub forms: FormCopy,
    /// Signs the links of messages.
    pub keys: Keys,
    /// The token that may do everything.
    pub token: String,
    /// The tokens that may do some of it.
    pub tokens: TokenCopy,
    /// Where the API answers.
    pub api: config::Api,
    /// How operators sign in.
    pub console: config::Console,
    /// How figures follow where a verdict changes.
    pub projection: ProjectionRules,
    /// What identifies a contact.
    pub contacts: config::Contacts,
    /// Where links may lead.
    pub redirects: config::Links,
    /// How long an answer may wait for the disk.
    pub spool: config::Spool,
    /// Limits of requests.
    pub limits: config::Server,
    /// Where a request may keep what does not fit into memory.
    pub data_dir: PathBuf,
    /// Links of `/demo`, once they exist; `None` if it is not served.
    pub demo: Option<Arc<OnceLock<DemoLinks>>>,
    /// Where webhooks may lead.
    pub webhooks: config::Webhooks,
    /// The old system, which gets everything that is not ours.
    pub upstream: Option<Upstream>,
    /// Counts what is not ours.
    pub unknown_paths: UnknownPaths,
    /// How the server is.
    pub state: Arc<dyn ServerState>,
    /// Whether the database has its tables.
    pub tables: watch::Receiver<Tables>,
    /// The state behind tracking requests, for explaining one.
    pub tracking: Arc<TrackingState>,
}

impl AdminState {
    /// The site that a request came to: URLs that are created for it begin with its public URL.
    pub(in crate::web) fn site_of(&self, request: &HeaderMap) -> &Site {
        &self.tracking.site_of(request).site
    }

    /// The site that the server names when it says where it is.
    pub(crate) fn default_site(&self) -> &Site {
        &self.tracking.sites.default_site().site
    }
}

/// Whether the database has its tables, which a start creates or migrates first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// The first attempt is in progress.
    Awaited,
    /// An attempt failed: the database cannot be reached, or refuses. There will be another.
    Missing,
    /// They are there.
    There,
}
