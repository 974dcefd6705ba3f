//! `token create`, `token list` and `token revoke`: the same as the API's, straight into the
//! database. Running servers learn of it within `links.refresh`.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::campaigns::time;
use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::access::{Scope, TokenId};
use crate::model::clock::{Clock, Micros};
use crate::operator::NewToken;
use crate::operator::access::{AccessError, create_token, revoke_token};
use crate::store::scan::Wanted;

/// Tokens a query while listing.
const PAGE: i64 = 1_000;
/// Who changes something here, as lists name it.
pub(super) const ACTOR: &str = "command line";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token for the API and print it as JSON, with its secret, which is shown only once
    Create(TokenArgs),
    /// Print all tokens without their secrets, one JSON object per line
    List,
    /// Revoke a token: it never works again
    Revoke {
        /// Its number, as listed
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Whom or what it is for
    #[arg(long)]
    name: String,
    /// What it may do; give it several times or with commas for several scopes
    #[arg(long = "scope", required = true, value_delimiter = ',', value_parser = scope())]
    scopes: Vec<Scope>,
    /// Time from which on it is refused, such as 2027-12-31T23:59:59Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<Micros>,
}

fn scope() -> impl clap::builder::TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::as_str))
        .try_map(|name| Scope::parse(&name).ok_or("not a scope"))
}

impl TokenCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        let clock = Clock::system();
        match self {
            Self::Create(args) => {
                let draft = NewToken {
                    name: args.name,
                    scopes: args.scopes,
                    expires_at: args.expires_at,
                };
                let made = create_token(&store, &clock, draft, ACTOR).await;
                print_json(&made.map_err(explain)?)?;
            }
            Self::List => {
                let mut before = None;
                loop {
                    let wanted = Wanted {
                        before,
                        limit: PAGE,
                    };
                    let part = store.tokens(None, wanted).await?;
                    for token in &part.rows {
                        print_json(token)?;
                    }
                    before = part.next;
                    if before.is_none() {
                        break;
                    }
                }
            }
            Self::Revoke { id } => {
                let revoked = revoke_token(&store, &clock, TokenId(id), ACTOR).await;
                print_json(&revoked.map_err(explain)?)?;
            }
        }
        store.close().await;
        Ok(())
    }
}

/// What was given wrong is wrong usage; what fails is not.
pub(super) fn explain(error: AccessError) -> anyhow::Error {
    match error {
        AccessError::Database(error) => error.into(),
        AccessError::NoRandom(error) => error.into(),
        AccessError::Password(error) => error.into(),
        error => WrongUsage(error.to_string()).into(),
    }
}
