//! `user add`, `user list`, `user password` and `user remove`: the same as the API's, straight into
//! the database. Passwords come from standard input, never from arguments, which every process on
//! the machine can read.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::tokens::{ACTOR, explain};
use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::access::{Password, Role, UserId};
use crate::model::clock::Clock;
use crate::operator::users::{add_user, change_user, remove_user};
use crate::operator::{NewUser, UserEdit, user_name};
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user who signs in with a password, which is read from standard input
    Add(UserArgs),
    /// Print all users, one JSON object per line
    List,
    /// Change a user's password, which is read from standard input; ends all their sessions
    Password {
        /// What they sign in with
        name: String,
    },
    /// Remove a user; ends all their sessions
    Remove {
        /// What they sign in with
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct UserArgs {
    /// What they sign in with; case does not matter
    name: String,
    /// What they may do
    #[arg(long, value_parser = role())]
    role: Role,
    /// Ask for no password: only a proxy signs them in (console.user_header)
    #[arg(long)]
    no_password: bool,
}

fn role() -> impl clap::builder::TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str))
        .try_map(|name| Role::parse(&name).ok_or("not a role"))
}

impl UserCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        let clock = Clock::system();
        match self {
            Self::Add(args) => {
                let password = match args.no_password {
                    true => None,
                    false => Some(read_password()?),
                };
                let draft = NewUser {
                    name: args.name,
                    role: args.role,
                    password,
                };
                let added = add_user(&store, &clock, draft, ACTOR).await;
                print_json(&added.map_err(explain)?)?;
            }
            Self::List => {
                for user in store.users().await? {
                    print_json(&user)?;
                }
            }
            Self::Password { name } => {
                let id = find(&store, &name).await?;
                let edit = UserEdit {
                    password: Some(Some(read_password()?)),
                    ..UserEdit::default()
                };
                let changed = change_user(&store, &clock, id, edit).await;
                print_json(&changed.map_err(explain)?)?;
            }
            Self::Remove { name } => {
                let id = find(&store, &name).await?;
                remove_user(&store, id).await.map_err(explain)?;
            }
        }
        store.close().await;
        Ok(())
    }
}

async fn find(store: &Store, name: &str) -> anyhow::Result<UserId> {
    let name = user_name(name).map_err(|error| WrongUsage(error.to_string()))?;
    let user = store.user_named(&name).await?;
    let user = user.ok_or_else(|| {
        WrongUsage(format!(
            "there is no user {name}; sillage user list shows all users"
        ))
    })?;
    Ok(user.id)
}

/// One line of standard input; typed on a terminal, it is not shown.
fn read_password() -> anyhow::Result<Password> {
    let input = std::io::stdin();
    let mut line = String::new();
    if !input.is_terminal() {
        input
            .lock()
            .read_line(&mut line)
            .context("standard input")?;
        return Ok(Password::new(
            line.trim_end_matches(['\r', '\n']).to_owned(),
        ));
    }
    eprint!("Password: ");
    std::io::stderr().flush().context("standard error")?;
    let shown = tcgetattr(&input).context("terminal")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &hidden).context("terminal")?;
    let read = input.lock().read_line(&mut line);
    let restored = tcsetattr(&input, OptionalActions::Flush, &shown);
    eprintln!();
    read.context("standard input")?;
    restored.context("terminal")?;
    Ok(Password::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
