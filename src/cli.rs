//! The command line: `serve` and what an operator does beside it. Answers are on standard output,
//! as JSON where they are data; everything else is on standard error. Exit code 2 for wrong usage
//! or configuration, 1 for what failed.

mod campaigns;
mod check_config;
mod contact;
mod export;
mod health;
mod import;
mod judge;
mod keys;
mod move_to;
mod page_tags;
mod queue;
mod recount;
mod retire;
mod serve;
mod tokens;
mod users;
mod verdict;
mod webhooks;

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Flags, Problems};
use crate::model::site::Site;
use crate::server;
use crate::server::data_dir::{self, ServerNote};
use crate::server::telemetry;
use crate::store::{self, Store, StoreError};

/// Tracking redirect server: clicks, opens, page views and purchases, stored exactly once in your
/// own database.
#[derive(Debug, Parser)]
#[command(name = "sillage", version)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file (TOML); every key is explained in config.example.toml [env:
    /// SILLAGE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080] [env: SILLAGE_LISTEN]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// Public address of this server [default: http:// and the listen address] [env:
    /// SILLAGE_PUBLIC_URL]
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// Spool, local link copy, embedded database, generated secrets [default: data] [env:
    /// SILLAGE_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// postgres://… [default: embedded SQLite in the data directory] [env: DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests and store hits (the default)
    Serve(serve::Serve),
    /// Bring the database's tables up to date
    Migrate(Migrate),
    /// Check the configuration and print the effective one as TOML, without secrets
    CheckConfig(check_config::CheckConfig),
    /// Check that the running server answers; exit code 0 if it does
    Health(health::Health),
    /// Create deliveries
    #[command(subcommand)]
    Delivery(campaigns::DeliveryCommand),
    /// Create links
    #[command(subcommand)]
    Link(campaigns::LinkCommand),
    /// Create and list page tags for Adobe's web tracking
    #[command(subcommand)]
    PageTag(page_tags::PageTagCommand),
    /// Create and list webhooks, which are told of hits as they are stored
    #[command(subcommand)]
    Webhook(webhooks::WebhookCommand),
    /// Import links, messages and people from another system; exit code 1 if rows were refused
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Print what is stored of a person, or erase it
    #[command(subcommand)]
    Contact(contact::ContactCommand),
    /// Export stored data to standard output, even while a server is running
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Create, list and revoke tokens for the API
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Add, list and remove the people who sign in
    #[command(subcommand)]
    User(users::UserCommand),
    /// List the keys that links were signed with, and give up lost ones
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Count all figures again from the hits; exit code 1 if they differ
    Recount(recount::Recount),
    /// Move everything from SQLite to Postgres, while no server runs; interrupted, it goes on
    Move(move_to::MoveTo),
    /// Remove all months of hits past their retention at once; a server removes one a day
    Retire(retire::Retire),
    /// Judge stored hits again by today's rules and lists; shows what changes before it writes
    Judge(judge::Judge),
    /// Show what an agent or an address is taken for, and by which rule and list entry
    Verdict(verdict::Verdict),
    /// Inspect the hits that wait for the database
    #[command(subcommand)]
    Spool(queue::SpoolCommand),
    /// Inspect the hits that the database refused, and retry them
    #[command(subcommand)]
    Quarantine(queue::QuarantineCommand),
}

/// A value on the command line that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Whoever read standard output has gone: `| head` has what it wanted, so this is an end and no
/// failure.
#[derive(Debug, thiserror::Error)]
#[error("the reader of standard output is gone")]
struct NobodyReads;

#[derive(Debug, Args)]
struct Migrate {
    /// Create the embedded database if it does not exist
    #[arg(long)]
    create: bool,
}

/// Runs the command line; errors are told on standard error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let flags = Flags {
        listen: cli.global.listen.clone(),
        public_url: cli.global.public_url.clone(),
        data_dir: cli.global.data_dir.clone(),
        database_url: cli.global.database_url.clone(),
    };
    let file = cli.global.config.or_else(|| {
        // Empty is what a variable is that somebody's compose file names and nobody sets.
        let file = std::env::var_os("SILLAGE_CONFIG").filter(|file| !file.is_empty());
        file.map(PathBuf::from)
    });
    let load = move || Config::load(file.as_deref(), environment()?, &flags);
    let config = match load() {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems.0 {
                eprintln!("sillage: {problem}");
            }
            return ExitCode::from(2);
        }
    };
    data_dir::keep_to_owner();
    telemetry::start_logging(&config.log);
    let command = cli.command.unwrap_or(Command::Serve(Default::default()));
    match execute(command, config, load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<NobodyReads>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sillage: {}", tell(&error));
            if error.is::<WrongUsage>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The variables that are texts. Others are somebody else's affair, unless they have a name of
/// ours.
fn environment() -> Result<Vec<(String, String)>, Problems> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with("SILLAGE_") || name == "DATABASE_URL" => {
                problems.push(format!("{name}: is not valid UTF-8; write it in UTF-8"));
            }
            Err(_) => {}
        }
    }
    if problems.is_empty() {
        Ok(texts)
    } else {
        Err(Problems(problems))
    }
}

/// An error with its causes, each said once: most libraries say their causes themselves. And what
/// to do, where the database is the cause.
fn tell(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if told.contains(&cause) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&cause);
    }
    let remedy = error
        .chain()
        .find_map(|cause| match cause.downcast_ref::<store::StoreError>() {
            Some(store::StoreError::Database(error)) => store::remedy(error),
            _ => store::remedy(cause.downcast_ref::<store::Error>()?),
        });
    if let Some(remedy) = remedy {
        told.push_str("; ");
        told.push_str(remedy);
    }
    told
}

fn execute(
    command: Command,
    config: Config,
    load: impl Fn() -> Result<Config, Problems> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.execute(config, load).await,
            Command::Migrate(asked) => {
                let store = if asked.create {
                    if config.database_url.is_none() {
                        std::fs::create_dir_all(&config.data_dir)
                            .with_context(|| config.data_dir.display().to_string())?;
                    }
                    server::open_store(&config).await?
                } else {
                    server::open_store_that_exists(&config)
                        .await
                        .map_err(explain_store)?
                };
                store.migrate().await?;
                println!("the tables are up to date");
                Ok(())
            }
            Command::Delivery(command) => command.execute(&config).await,
            Command::Link(command) => command.execute(&config).await,
            Command::PageTag(command) => command.execute(&config).await,
            Command::Webhook(command) => command.execute(&config).await,
            Command::Import(command) => command.execute(&config).await,
            Command::Contact(command) => command.execute(&config).await,
            Command::Export(command) => command.execute(&config).await,
            Command::User(command) => command.execute(&config).await,
            Command::Token(command) => command.execute(&config).await,
            Command::Keys(command) => command.execute(&config).await,
            Command::Recount(command) => command.execute(&config).await,
            Command::Move(asked) => asked.execute(&config).await,
            Command::Retire(asked) => asked.execute(&config).await,
            Command::Judge(asked) => asked.execute(&config).await,
            Command::Verdict(asked) => asked.execute(&*server::lists_of(&config)?),
            Command::Spool(command) => command.execute(&config).await,
            Command::Quarantine(command) => command.execute(&config).await,
            Command::CheckConfig(asked) => asked.execute(&config).await,
            Command::Health(asked) => health::ask_server(&asked, config.listen),
        }
    })
}

/// The store with its tables. Makes none: in the wrong directory that would be a second, empty one.
async fn ready_store(config: &Config) -> anyhow::Result<Store> {
    let store = server::open_store_that_exists(config)
        .await
        .map_err(explain_store)?;
    expect_tables(&store).await?;
    if config.database.migrate {
        store.migrate().await?;
    }
    Ok(store)
}

async fn expect_tables(store: &Store) -> anyhow::Result<()> {
    if store.has_tables().await.context("database")? {
        Ok(())
    } else {
        Err(explain_store(StoreError::NoTables))
    }
}

/// That there is no database is wrong usage, most often in the wrong directory; its failures are
/// not.
fn explain_store(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Missing(_) | StoreError::NoTables => WrongUsage(format!(
            "{error}. Give the right one with --data-dir (a server's data directory), or with \
            DATABASE_URL or --database-url (Postgres). \
             To create a new one, run `sillage serve` or `sillage migrate{}`",
            match error {
                StoreError::NoTables => "",
                _ => " --create",
            }
        ))
        .into(),
        error => anyhow::Error::new(error).context("database"),
    }
}

/// What the configuration says, else what the last server on the data directory said. That nobody
/// knows is an error: a link that no server serves looks like any other.
fn link_site(config: &Config) -> anyhow::Result<Site> {
    if config.public_url.is_some() {
        return Ok(serving(config.base_url(), config.paths.redirect.clone()));
    }
    match ServerNote::read(&config.data_dir) {
        Some(note) if !note.public_url.is_empty() => Ok(serving(note.public_url, note.redirect)),
        _ => {
            let dir = &config.data_dir;
            Err(WrongUsage(format!(
                "the address of links is unknown: no server has been started on the data \
                directory {}. Give a server's data directory with --data-dir, or the server's \
                address with --public-url",
                std::path::absolute(dir).as_deref().unwrap_or(dir).display()
            ))
            .into())
        }
    }
}

/// A site of which only its links matter here.
fn serving(base_url: String, redirect: String) -> Site {
    let mut site = Site::new(base_url);
    site.paths.redirect = redirect;
    site
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    print_bytes(line.as_bytes())
}

/// Not print: it panics where the reader of a pipe has gone.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        written => written.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_an_error_says_itself_is_not_said_again() {
        let cause = std::io::Error::other("nobody listens");
        let error = anyhow::Error::new(store::Error::Io(cause)).context("database");
        let told = tell(&error);
        assert_eq!(told.matches("nobody listens").count(), 1, "{told}");
        assert!(
            told.starts_with("database: ") && told.contains("database.url"),
            "{told}"
        );
    }
}
