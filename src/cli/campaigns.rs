//! `delivery create` and `link create`: the same as the API's, straight into the database. Running
//! servers learn of it within `links.refresh`.

use clap::{Args, Subcommand, value_parser};

use super::{WrongUsage, link_site, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::operator::wire::LinkView;
use crate::operator::{CampaignError, NewDelivery, NewLink, create_delivery, create_short_link};

#[derive(Debug, Subcommand)]
pub(super) enum DeliveryCommand {
    /// Create a delivery and print it as JSON
    Create(DeliveryArgs),
}

#[derive(Debug, Args)]
pub(super) struct DeliveryArgs {
    /// Name in reports
    #[arg(long)]
    label: String,
    /// Its number, if another system assigned one [default: the next]
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    id: Option<i64>,
    /// email, push, … [default: email]
    #[arg(long)]
    channel: Option<String>,
    /// When it is sent, such as 2026-01-31T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    sent_at: Option<Micros>,
    /// Time after which its links lead to the expiration URL
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<Micros>,
    /// Where its links lead once it has expired [default: the fallback]
    #[arg(long, value_name = "URL")]
    expiration_url: Option<String>,
    /// Added to destinations without one
    #[arg(long, value_name = "TEXT")]
    utm_source: Option<String>,
    /// Added to destinations without one
    #[arg(long, value_name = "TEXT")]
    utm_medium: Option<String>,
    /// Added to destinations without one
    #[arg(long, value_name = "TEXT")]
    utm_campaign: Option<String>,
    /// Added to destinations without one
    #[arg(long, value_name = "TEXT")]
    utm_term: Option<String>,
    /// Added to destinations without one
    #[arg(long, value_name = "TEXT")]
    utm_content: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LinkCommand {
    /// Create a short link and print it as JSON
    Create(LinkArgs),
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// Destination
    url: String,
    /// Name behind /r/ [default: seven random characters]
    #[arg(long)]
    slug: Option<String>,
    /// Number of the delivery that it belongs to
    #[arg(long, value_name = "ID", value_parser = value_parser!(i64).range(1..))]
    delivery: Option<i64>,
    /// Its number [default: the next]
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    id: Option<i64>,
    /// Name in reports
    #[arg(long)]
    label: Option<String>,
    /// optout, mirror, or a word for reports
    #[arg(long)]
    category: Option<String>,
}

impl DeliveryCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let Self::Create(args) = self;
        let draft = NewDelivery {
            id: args.id.map(DeliveryId),
            label: args.label,
            channel: args.channel,
            sent_at: args.sent_at,
            expires_at: args.expires_at,
            expiration_url: args.expiration_url,
            utm: Utm {
                source: args.utm_source,
                medium: args.utm_medium,
                campaign: args.utm_campaign,
                term: args.utm_term,
                content: args.utm_content,
            },
        };
        let store = ready_store(config).await?;
        let delivery = create_delivery(&store, &Clock::system(), draft)
            .await
            .map_err(explain)?;
        store.close().await;
        print_json(&delivery)
    }
}

impl LinkCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let Self::Create(args) = self;
        let draft = NewLink {
            id: args.id.map(LinkId),
            delivery_id: args.delivery.map(DeliveryId),
            slug: args.slug,
            url: args.url,
            label: args.label,
            category: args.category,
        };
        // Before the link is made.
        let site = link_site(config)?;
        let store = ready_store(config).await?;
        let (_, link) = create_short_link(
            &store,
            &Clock::system(),
            &config.links.personal_hosts,
            draft,
        )
        .await
        .map_err(explain)?;
        store.close().await;
        print_json(&LinkView::at(link, &site))
    }
}

pub(super) fn time(text: &str) -> Result<Micros, String> {
    Micros::parse_rfc3339(text).map_err(|_| "not a time such as 2026-01-31T09:00:00Z".to_owned())
}

/// What was given wrong is wrong usage; the database's failures are not.
pub(super) fn explain(error: CampaignError) -> anyhow::Error {
    match error {
        CampaignError::Database(error) => error.into(),
        error => WrongUsage(error.to_string()).into(),
    }
}
