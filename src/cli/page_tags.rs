//! `page-tag create` and `page-tag list`: the same as the API's, straight into the database.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::campaigns::{explain, time};
use super::{print_json, ready_store};
use crate::config::Config;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::PageTagKind;
use crate::operator::{NewPageTag, create_page_tags};

/// Tags a query while listing.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum PageTagCommand {
    /// Create a page tag and print it as JSON
    Create(PageTagArgs),
    /// Print all page tags, one JSON object per line
    List,
}

#[derive(Debug, Args)]
pub(super) struct PageTagArgs {
    /// What pages send as tagid
    identifier: String,
    /// Whether its hits are page views or transactions
    #[arg(long, default_value = "web", value_parser = kind())]
    kind: PageTagKind,
    /// Name in reports [default: the identifier]
    #[arg(long)]
    label: Option<String>,
    /// Folder that it is listed in
    #[arg(long)]
    folder: Option<String>,
    /// The page that carries it
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// Time after which its hits are suspect, such as 2026-12-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    valid_until: Option<Micros>,
}

fn kind() -> impl clap::builder::TypedValueParser<Value = PageTagKind> {
    let words = PageTagKind::ALL.iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(words)
        .try_map(|word| PageTagKind::parse(&word).ok_or("not a kind of page tag"))
}

impl PageTagCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        match self {
            Self::Create(args) => {
                let draft = NewPageTag {
                    identifier: args.identifier,
                    label: args.label,
                    kind: args.kind,
                    folder: args.folder,
                    source_url: args.source_url,
                    valid_until: args.valid_until,
                };
                let made = create_page_tags(&store, &Clock::system(), vec![draft])
                    .await
                    .map_err(explain)?;
                for tag in &made {
                    print_json(tag)?;
                }
            }
            Self::List => {
                let mut after: Option<String> = None;
                loop {
                    let tags = store.page_tags(after.as_deref(), PAGE).await?;
                    let Some(last) = tags.last() else { break };
                    after = Some(last.identifier.clone());
                    for tag in &tags {
                        print_json(tag)?;
                    }
                }
            }
        }
        store.close().await;
        Ok(())
    }
}
