//! Builds a server from its configuration. Only the spool's writer runs at this point;
//! `Server::start` in `server.rs` starts the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answering::Answering;
use super::data_dir::{self, DataDir, ServerNote};
use super::database::{name_of, open_store};
use super::known_keys::{self, KeyState, KeyWatch};
use super::readiness::State;
use super::secrets::{self, FoundKeys};
use super::tables::TableMaker;
use super::telemetry;
use super::welcome::Welcome;
use crate::config::{Ack, Config};
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::projection::{DatabaseHealth, Eraser, Projection, ProjectionRules, Settler};
use crate::queue::local::{Spool, SpoolLimits, SpoolReader, spool_id};
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::replica::tokens::TokenCopy;
use crate::store::{self, Store};
use crate::web::{AdminState, UnknownPaths};

/// How long the writer waits in fast mode to batch up more: fewer flushes, and no response waits
/// for them.
const FAST_LINGER: Duration = Duration::from_millis(5);

/// A server with all its parts open.
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) spool: Spool,
    /// The spool's writer.
    pub(super) writing: JoinHandle<()>,
    pub(super) links: LinkCopy,
    pub(super) forms: FormCopy,
    pub(super) tokens: TokenCopy,
    pub(super) projection: Projection<SpoolReader>,
    pub(super) settler: Settler,
    pub(super) eraser: Eraser,
    pub(super) health: DatabaseHealth,
    pub(super) tables: TableMaker,
    pub(super) key_watch: KeyWatch,
    /// Where a reload publishes new keys.
    pub(super) signing: watch::Sender<Keys>,
    /// What the next configuration shares.
    pub(super) answering: Answering,
    pub(super) admin: Arc<AdminState>,
    pub(super) state: Arc<State>,
    pub(super) welcome: Welcome,
    /// Under which it takes what one server of several does.
    pub(super) sender_id: Uuid,
    /// Said as soon as the server is told to stop.
    pub(super) stopping: CancellationToken,
    /// Held as long as the server uses the directory.
    pub(super) taken: DataDir,
}

impl Server {
    /// Opens all parts.
    ///
    /// # Errors
    /// The data directory, the spool or the embedded database cannot be used, or keys that links
    /// were signed with are missing. Postgres being away is no error.
    pub(super) async fn build(config: Config, clock: Clock, is_demo: bool) -> anyhow::Result<Self> {
        telemetry::prometheus();
        let Ground {
            taken,
            noted,
            store,
            keys,
            token,
            is_token_new,
        } = Ground::take(&config).await?;
        let dir = config.data_dir.as_path();
        let patience = config.spool.patience;
        let (spool, reader, writing) = Spool::open(dir, limits_of(&config), &clock).await?;
        let links = LinkCopy::open(dir, store.clone(), patience, clock.clone()).await;
        let forms = FormCopy::open(dir, store.clone(), patience, &clock).await;
        let tokens = TokenCopy::open(dir, store.clone(), patience, &clock).await;
        let projection = Projection::new(
            store.clone(),
            reader,
            clock.clone(),
            ProjectionRules::new(&config.contacts, &config.revenue),
            config.spool.give_way,
        );
        let settler = Settler::new(
            store.clone(),
            clock.clone(),
            ProjectionRules::new(&config.contacts, &config.revenue),
        );
        let eraser = Eraser::new(
            store.clone(),
            clock.clone(),
            ProjectionRules::new(&config.contacts, &config.revenue),
        );
        let health = projection.health();
        let tables = TableMaker::new(store.clone(), health.clone());
        let stopping = CancellationToken::new();
        let state = Arc::new(State {
            data_dir: dir.to_owned(),
            spool: spool.clone(),
            health: health.clone(),
            tables: tables.watch(),
            keys: Arc::default(),
            stopping: stopping.clone(),
        });
        let answering = Answering {
            spool: spool.clone(),
            links: links.clone(),
            forms: forms.clone(),
            tokens: tokens.clone(),
            store: store.clone(),
            clock: clock.clone(),
            state: Arc::<State>::clone(&state),
            tables: tables.watch(),
            demo: is_demo.then(Arc::default),
            unknown_paths: UnknownPaths::new(clock.clone()),
        };
        let admin = Arc::new(answering.by(&config, &keys, token)?);
        let note = renew_note(&config, &keys, noted);
        let (signing, signed_by) = watch::channel(keys);
        let key_state: Arc<KeyState> = Arc::clone(&state.keys);
        let key_watch = KeyWatch::new(
            store.clone(),
            signed_by,
            dir,
            clock.clone(),
            key_state,
            note,
        );
        // The spool's: it stays with the directory, which no two servers have.
        let sender_id = spool_id(dir).unwrap_or_else(|| clock.new_id(clock.now()));
        let welcome = Welcome {
            database: name_of(&config, &store),
            is_token_new,
        };
        Ok(Self {
            config,
            clock,
            store,
            spool,
            writing,
            links,
            forms,
            tokens,
            projection,
            settler,
            eraser,
            health,
            tables,
            key_watch,
            signing,
            answering,
            admin,
            state,
            welcome,
            sender_id,
            stopping,
            taken,
        })
    }
}

/// The base of a server: a directory of its own, a database, and its secrets.
struct Ground {
    taken: DataDir,
    /// What the last start noted.
    noted: Option<ServerNote>,
    store: Store,
    keys: Keys,
    token: String,
    is_token_new: bool,
}

impl Ground {
    /// Compares the keys with all that is known of them before anything is created: a refused start
    /// leaves nothing behind.
    async fn take(config: &Config) -> anyhow::Result<Self> {
        let dir = config.data_dir.as_path();
        let taken = DataDir::take(dir)?;
        let noted = ServerNote::read(dir);
        let found = FoundKeys::find(config)?;
        known_keys::check_note(&found, noted.as_ref(), dir)?;
        let store = open_store(config).await?;
        let url = config.database_url.as_ref();
        if let Some(file) = url.and_then(|url| store::sqlite_file(&url.0)) {
            data_dir::warn_of_readers(file);
        }
        known_keys::check_database(&found, noted.as_ref(), &store).await?;
        let keys = found.or_make()?;
        let (token, is_token_new) = secrets::load_or_make_token(config)?;
        Ok(Self {
            taken,
            noted,
            store,
            keys,
            token,
            is_token_new,
        })
    }
}

fn limits_of(config: &Config) -> SpoolLimits {
    SpoolLimits {
        max_bytes: config.spool.max_bytes,
        linger: match config.spool.ack {
            Ack::Fast => FAST_LINGER,
            Ack::Durable => Duration::ZERO,
        },
    }
}

/// What this server leaves for its next start and for commands beside it.
fn renew_note(config: &Config, keys: &Keys, noted: Option<ServerNote>) -> ServerNote {
    let mut note = noted.clone().unwrap_or_default();
    note.public_url = config.base_url();
    note.redirect.clone_from(&config.paths.redirect);
    if let Some(own) = keys.prints().into_iter().next()
        && !note.keys.contains(&own)
    {
        note.keys.push(own);
        note.is_confirmed = false;
    }
    if noted.as_ref() != Some(&note) {
        write_note(&note, &config.data_dir);
    }
    note
}

/// A full disk does not prevent serving.
fn write_note(note: &ServerNote, dir: &Path) {
    if let Err(error) = note.write(dir) {
        tracing::warn!(%error, "cannot write server.json");
    }
}
