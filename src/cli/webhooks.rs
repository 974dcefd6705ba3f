//! `webhook create` and `webhook list`: the same as the API's, straight into the database.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::model::hit::{DeliveryId, Kind, LinkId, Verdict};
use crate::operator::webhooks::{NewWebhook, WebhookError, WebhookView, create_webhook};
use crate::store::hits::{HitFilter, Judged};

#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// Create a webhook and print it as JSON, with its secret, which is told only here
    Create(WebhookArgs),
    /// Print all webhooks, one JSON object per line
    List,
}

#[derive(Debug, Args)]
pub(super) struct WebhookArgs {
    /// Where hits are sent, such as `https://crm.example.com/hits`
    url: String,
    /// Name for people
    #[arg(long)]
    label: Option<String>,
    /// Only hits of one kind
    #[arg(long, value_parser = kind())]
    kind: Option<Kind>,
    /// Only hits of one delivery
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    delivery_id: Option<i64>,
    /// Only hits through one link
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    link_id: Option<i64>,
    /// Only hits with one verdict
    #[arg(long, value_parser = verdict())]
    verdict: Option<Verdict>,
    /// Only hits of one site
    #[arg(long)]
    site: Option<String>,
    /// Hits after this cursor of an export; 0 is the start [default: hits stored from now on]
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
}

fn kind() -> impl clap::builder::TypedValueParser<Value = Kind> {
    let words = Kind::ALL.iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(words).try_map(|word| Kind::parse(&word).ok_or("not a kind of hit"))
}

fn verdict() -> impl clap::builder::TypedValueParser<Value = Verdict> {
    let words = Verdict::ALL.iter().map(|verdict| verdict.as_str());
    PossibleValuesParser::new(words).try_map(|word| Verdict::parse(&word).ok_or("not a verdict"))
}

/// A webhook with its secret.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    webhook: WebhookView,
    secret: String,
}

impl WebhookCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        match self {
            Self::Create(args) => {
                let draft = NewWebhook {
                    url: args.url,
                    label: args.label,
                    filter: HitFilter {
                        kind: args.kind,
                        delivery: args.delivery_id.map(DeliveryId),
                        link: args.link_id.map(LinkId),
                        judged: args.verdict.map(Judged::As),
                        site: args.site,
                        ..HitFilter::default()
                    },
                    after: args.after,
                };
                let allowed = &config.webhooks.allow_networks;
                let made = create_webhook(&store, &Clock::system(), allowed, draft).await;
                let (webhook, secret) = made.map_err(|error| match error {
                    WebhookError::Draft(_) => WrongUsage(error.to_string()).into(),
                    error => anyhow::Error::new(error),
                })?;
                print_json(&Made {
                    webhook: webhook.into(),
                    secret: secret.text(),
                })?;
            }
            Self::List => {
                for webhook in store.webhooks().await? {
                    print_json(&WebhookView::from(webhook))?;
                }
            }
        }
        store.close().await;
        Ok(())
    }
}
