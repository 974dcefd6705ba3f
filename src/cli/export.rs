//! `export`: what is stored, line by line on standard output. It reads the database and nothing
//! else, so it works beside a running server and while none runs; it makes and changes nothing.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum, value_parser};

use super::{WrongUsage, expect_tables, explain_store, link_site, print_bytes};
use crate::config::Config;
use crate::identity::normalise;
use crate::model::hit::{DeliveryId, Kind, read_uid};
use crate::operator::export::{self, HitStream, Pages, WantedHits, whose_hits};
use crate::server;
use crate::store::hits::{HitFilter, Whose};
use crate::store::persons::Person;
use crate::store::{self, Store};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// Hits in storage order; the last NDJSON line is the cursor for the next export
    Hits(Hits),
    /// Contacts: fields, tags, former ids, visitors
    Contacts(Written),
    /// Deliveries
    Deliveries(Written),
    /// Links; `import links` reads the CSV
    Links(LinksArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

impl From<Format> for export::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Written {
    /// One JSON object per line, or CSV with a header row
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Hits {
    #[command(flatten)]
    written: Written,
    /// Continue after the cursor that ended the last export or API response [default: from the
    /// start]
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<i64>,
    /// Continue after the cursor in this file, unless --after is given; the new cursor is saved to
    /// it at the end
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// Only hits of this delivery
    #[arg(long, value_name = "ID", value_parser = value_parser!(i64).range(1..))]
    delivery: Option<i64>,
    /// Only hits of this person: id, former id, id of a visitor, or the value of a unique field
    /// such as the e-mail address
    #[arg(long, value_name = "ID|VALUE")]
    contact: Option<String>,
    /// Only hits of this kind
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// Maximum number of hits [default: all that are stored when the export starts]
    #[arg(long, value_name = "N", value_parser = value_parser!(i64).range(1..))]
    limit: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct LinksArgs {
    #[command(flatten)]
    written: Written,
    /// Only links of this delivery
    #[arg(long, value_name = "ID", value_parser = value_parser!(i64).range(1..))]
    delivery: Option<i64>,
}

impl ExportCommand {
    /// Writes the lines. What was written before an error is right, and lacks its end.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = server::open_store_to_read(config).map_err(explain_store)?;
        expect_tables(&store).await?;
        let of_store = store.clone();
        let done = match self {
            Self::Hits(mut asked) => {
                let cursor_file = asked.cursor_file.take();
                if let (Some(file), None) = (&cursor_file, asked.after) {
                    asked.after = read_cursor(file)?;
                }
                let wanted = asked.wanted(&store, config).await?;
                let mut hits = HitStream::open(of_store, wanted)
                    .await
                    .context("database")?;
                let written =
                    write_all("hits", async || Ok((hits.next_chunk().await?, hits.told()))).await;
                match (written, &cursor_file, hits.cursor()) {
                    (Ok(()), Some(file), Some(cursor)) => write_cursor(file, cursor),
                    (written, ..) => written,
                }
            }
            Self::Contacts(asked) => {
                let format = asked.format.into();
                let contacts = export::Contacts::open(of_store, format).await;
                write_table("contacts", contacts.context("database")?, format).await
            }
            Self::Deliveries(asked) => {
                let deliveries = export::Deliveries { store: of_store };
                write_table("deliveries", deliveries, asked.format.into()).await
            }
            Self::Links(asked) => {
                let links = export::Links {
                    store: of_store,
                    delivery: asked.delivery.map(DeliveryId),
                    site: link_site(config)?,
                };
                write_table("links", links, asked.written.format.into()).await
            }
        };
        store.close().await;
        done
    }
}

impl Hits {
    async fn wanted(self, store: &Store, config: &Config) -> anyhow::Result<WantedHits> {
        let whose = match &self.contact {
            None => None,
            Some(contact) => match read_uid(contact) {
                Some(id) => Some(whose_hits(store, id).await.context("database")?),
                None => Some(find_by_value(store, &config.contacts.unique, contact).await?),
            },
        };
        Ok(WantedHits {
            filter: HitFilter {
                delivery: self.delivery.map(DeliveryId),
                whose,
                kind: self.kind,
                ..HitFilter::default()
            },
            format: self.written.format.into(),
            after: self.after.unwrap_or(0),
            limit: self.limit,
        })
    }
}

/// The hits of the contact that has a value of a unique field; the strongest field first.
async fn find_by_value(store: &Store, unique: &[String], value: &str) -> anyhow::Result<Whose> {
    let value = normalise(value);
    for field in unique {
        let found = store.contact_by_key(field, &value).await;
        if let Some(id) = found.context("database")? {
            let whose = store.hits_of(Person::Contact(id)).await;
            return whose.context("database");
        }
    }
    bail!(
        "there is no contact {value:?}; searched by {}",
        unique.join(" or ")
    )
}

async fn write_table(
    what: &str,
    table: impl export::Table,
    format: export::Format,
) -> anyhow::Result<()> {
    let mut pages = Pages::of(table, format);
    write_all(what, async || Ok((pages.next_chunk().await?, pages.told()))).await
}

/// Writes until there is nothing more; tells a person who looks on how far it is, unless the lines
/// themselves go to the terminal.
async fn write_all(
    what: &str,
    mut next: impl AsyncFnMut() -> store::Result<(Option<Vec<u8>>, u64)>,
) -> anyhow::Result<()> {
    let is_watched = stderr().is_terminal() && !stdout().is_terminal();
    let (started, mut told) = (Instant::now(), Instant::now());
    let clear = || {
        if is_watched {
            eprint!("\r\x1b[K");
        }
    };
    loop {
        let (chunk, count) = match next().await {
            Ok((Some(chunk), count)) => (chunk, count),
            Ok((None, _)) => {
                clear();
                return Ok(());
            }
            Err(error) => {
                clear();
                return Err(error).context("database; the output is incomplete");
            }
        };
        print_bytes(&chunk)?;
        if is_watched && told.elapsed() >= TOLD_EVERY {
            let seconds = started.elapsed().as_secs_f64();
            eprint!("\r\x1b[K{count} {what}, {seconds:.0} s");
            told = Instant::now();
        }
    }
}

/// The cursor in a file; none where there is no file yet.
fn read_cursor(file: &Path) -> anyhow::Result<Option<i64>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("--cursor-file {}", file.display()));
        }
    };
    match cursor(text.trim()) {
        Ok(cursor) => Ok(Some(cursor)),
        Err(_) => Err(WrongUsage(format!(
            "--cursor-file {} contains no cursor; delete it to start from the beginning, or give \
            --after",
            file.display()
        ))
        .into()),
    }
}

/// Puts the cursor into a file, whole or not at all.
fn write_cursor(file: &Path, cursor: i64) -> anyhow::Result<()> {
    let write = || {
        if std::fs::metadata(file).is_ok_and(|there| !there.is_file()) {
            return Err(std::io::Error::other("it is not a file"));
        }
        let dir = match file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut written = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(written, "{cursor}")?;
        written.as_file().sync_all()?;
        written.persist(file)?;
        Ok(())
    };
    write().with_context(|| {
        format!(
            "the hits are written, but their cursor, {cursor}, could not be saved to {}",
            file.display()
        )
    })
}

fn cursor(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|place| *place >= 0)
        .ok_or_else(|| "not the cursor of an earlier export".to_owned())
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("not a kind of hit; allowed: {}", words.join(", "))
    })
}
