//! The API: `/api/v1`, with the admin token or one made for it. One handler file a resource;
//! [`json`] and `listing` hold what they share, [`access`] who may call what.

pub mod access;
mod contacts;
mod content;
pub(super) mod debug;
mod deliveries;
mod forms;
mod hits;
mod idempotency;
mod imports;
pub mod json;
mod links;
mod listing;
mod messages;
mod mistake;
mod once;
pub(super) mod openapi;
mod page_tags;
mod people;
mod privacy;
mod reports;
mod routes;
pub(super) mod session;
pub(super) mod site_reports;
mod tokens;
mod tree;
mod unknown_paths;
mod users;
mod verdicts;
mod webhooks;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use utoipa_axum::routes;

use self::access::Gate;
use self::routes::{Route, Routes};
use super::error::Problem;
use super::{AdminState, Tables};
use crate::model::access::{Need, Scope};
use crate::model::clock::Micros;
use crate::model::hint::one_of;

pub use self::access::Actor;
pub(super) use self::contacts::utm::icon as utm_icon;

/// How long a call waits for the first attempt to make the tables: a first start takes a second, an
/// upgrade may take longer.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How long a change may wait for a refresh of the local link copy that is under way.
const MOST_FETCHING: Duration = Duration::from_secs(2);

// What routes need. A route that asks for a new combination adds its word here.
pub(super) const READ_LINKS: Need =
    Need::Any(&[Scope::LinksWrite, Scope::MessagesWrite, Scope::ReportsRead]);
pub(super) const WRITE_LINKS: Need = Need::Any(&[Scope::LinksWrite]);
const WRITE_MESSAGES: Need = Need::Any(&[Scope::MessagesWrite]);
pub(super) const READ_HITS: Need = Need::Any(&[Scope::HitsRead]);
const WRITE_HITS: Need = Need::Any(&[Scope::HitsWrite]);
pub(super) const READ_CONTACTS: Need = Need::Any(&[Scope::ContactsRead]);
/// The answer tells all of the contact.
const WRITE_CONTACTS: Need = Need::All(&[Scope::MessagesWrite, Scope::ContactsRead]);
/// All that is stored of a person.
const READ_PERSON: Need = Need::All(&[Scope::HitsRead, Scope::ContactsRead]);
const ERASE_CONTACTS: Need = Need::Any(&[Scope::ContactsErase]);
pub(super) const READ_REPORTS: Need = Need::Any(&[Scope::ReportsRead]);
pub(super) const NAME_PEOPLE: Need = Need::All(&[Scope::ContactsRead, Scope::ReportsRead]);
pub(super) const OPERATE: Need = Need::Any(&[Scope::Operate]);
/// Whoever says where hits are sent could read them there.
const SEND_HITS: Need = Need::All(&[Scope::HitsRead, Scope::Operate]);
/// Whoever may do only some of it does not say who else may.
const GRANT: Need = Need::Admin;
/// Whoever is signed in, or has any token.
const KNOWN: Need = Need::Known;
/// Everybody: signing in.
const NOTHING: Need = Need::Nothing;

/// Routes that the database answers.
fn with_database() -> Routes {
    Routes::new()
        // Sending.
        .add(READ_LINKS, routes!(deliveries::list_deliveries))
        .add(READ_LINKS, routes!(deliveries::get_delivery))
        .add(WRITE_LINKS, routes!(deliveries::change_delivery))
        .add(WRITE_LINKS, routes!(deliveries::refuse_delete))
        .add(WRITE_LINKS, routes!(deliveries::end_delivery))
        .add(WRITE_MESSAGES, routes!(messages::create_messages))
        .add(READ_LINKS, routes!(content::show_content))
        .add(WRITE_LINKS, routes!(content::save_content))
        .add(READ_LINKS, routes!(links::list::list_links))
        .add(READ_LINKS, routes!(links::list::get_link))
        .add(WRITE_LINKS, routes!(links::change::change_link))
        .add(WRITE_LINKS, routes!(links::change::refuse_delete))
        .add(WRITE_LINKS, routes!(links::change::end_link))
        .add(READ_LINKS, routes!(links::list::show_history))
        .add(READ_LINKS, routes!(links::qr::draw_link))
        .add(READ_LINKS, routes!(links::qr::picture_link))
        .add(READ_LINKS, routes!(links::check::check_link))
        .add(OPERATE, routes!(page_tags::list_page_tags))
        .add(OPERATE, routes!(page_tags::get_page_tag))
        .add(OPERATE, routes!(page_tags::replace_page_tag))
        .add(OPERATE, routes!(page_tags::change_page_tag))
        .add(OPERATE, routes!(page_tags::refuse_delete))
        .add(OPERATE, routes!(page_tags::end_page_tag))
        .add(OPERATE, routes!(forms::list_forms))
        .add(OPERATE, routes!(forms::get_form))
        .add(OPERATE, routes!(forms::change_form))
        .add(OPERATE, routes!(forms::refuse_delete))
        .add(OPERATE, routes!(forms::end_form))
        // Measuring.
        .add(READ_HITS, routes!(hits::export::list_hits))
        .add(READ_HITS, routes!(verdicts::show_verdict))
        .add(OPERATE, routes!(verdicts::decide_verdict))
        .add(READ_CONTACTS, routes!(contacts::find_contacts))
        .add(READ_CONTACTS, routes!(contacts::list_tags))
        .add(READ_CONTACTS, routes!(contacts::show_contact))
        .add(WRITE_CONTACTS, routes!(contacts::change_contact))
        .add(READ_CONTACTS, routes!(contacts::show_timeline))
        .add(WRITE_CONTACTS, routes!(contacts::end_opt_out))
        .add(READ_PERSON, routes!(privacy::show_data))
        .add(ERASE_CONTACTS, routes!(privacy::erase_contact))
        .add(ERASE_CONTACTS, routes!(privacy::list_erasures))
        .add(ERASE_CONTACTS, routes!(privacy::show_erasure))
        .add(READ_REPORTS, routes!(reports::show_report))
        .add(NAME_PEOPLE, routes!(people::list_people))
        .add(NAME_PEOPLE, routes!(people::list_people_of_link))
        .add(READ_REPORTS, routes!(site_reports::show_hits))
        .add(READ_REPORTS, routes!(site_reports::show_visitors))
        .add(READ_REPORTS, routes!(site_reports::show_pages))
        .add(READ_REPORTS, routes!(site_reports::show_referrers))
        .add(READ_REPORTS, routes!(site_reports::show_campaigns))
        .add(READ_REPORTS, routes!(site_reports::show_revenue))
        // Operating.
        .add(OPERATE, routes!(unknown_paths::list_orphans))
        .add(OPERATE, routes!(imports::list_imports))
        .add(OPERATE, routes!(unknown_paths::list_unknown_paths))
        .add(OPERATE, routes!(webhooks::list_webhooks))
        .add(SEND_HITS, routes!(webhooks::create_webhook))
        .add(OPERATE, routes!(webhooks::get_webhook))
        .add(SEND_HITS, routes!(webhooks::change_webhook))
        .add(OPERATE, routes!(webhooks::delete_webhook))
        .add(OPERATE, routes!(webhooks::end_webhook))
        .add(SEND_HITS, routes!(webhooks::rotate_secret))
        .add(SEND_HITS, routes!(webhooks::send_again))
        .add(OPERATE, routes!(webhooks::list_failures))
        .add(OPERATE, routes!(webhooks::list_attempts))
        .add(GRANT, routes!(tokens::list_tokens))
        .add(GRANT, routes!(tokens::create_token))
        .add(GRANT, routes!(tokens::get_token))
        .add(GRANT, routes!(tokens::revoke_token))
        .add(GRANT, routes!(users::list_users))
        .add(GRANT, routes!(users::add_user))
        .add(GRANT, routes!(users::get_user))
        .add(GRANT, routes!(users::change_user))
        .add(GRANT, routes!(users::remove_user))
        .add(KNOWN, routes!(session::show_session))
        .add(NOTHING, routes!(session::sign_in))
        .add(KNOWN, routes!(session::sign_out))
        .add(KNOWN, routes!(session::change_password))
        .add(KNOWN, routes!(session::list_sessions))
        .add(KNOWN, routes!(session::end_session))
}

/// What a sender's server calls: it is how hits come in, so it is on the public listener in any
/// case. Kept in the spool, whatever the database does.
fn for_senders() -> Routes {
    Routes::new().add(WRITE_HITS, routes!(hits::post_hits))
}

/// Routes that make things, once for each `Idempotency-Key`.
fn makers() -> Routes {
    Routes::new()
        .add(WRITE_LINKS, routes!(deliveries::create_delivery))
        .add(WRITE_LINKS, routes!(links::create_links))
        .add(WRITE_LINKS, routes!(links::create_short_link))
        .add(OPERATE, routes!(page_tags::create_page_tags))
        .add(OPERATE, routes!(forms::create_form))
        .add(WRITE_CONTACTS, routes!(contacts::create_contact))
}

/// Routes that need no database.
fn without_database() -> Routes {
    Routes::new()
        // Looking at what becomes of a mail or of a request.
        .add(READ_LINKS, routes!(content::check_content))
        .add(OPERATE, routes!(debug::explain_request))
        .add(KNOWN, routes!(openapi::get_document))
}

/// All routes of the API. Every answer that is no success is `application/problem+json`, also to
/// paths and methods that do not exist.
pub fn router(app: Arc<AdminState>) -> Router<Arc<AdminState>> {
    let await_tables = from_fn_with_state(Arc::clone(&app), await_tables);
    let do_once = from_fn_with_state(Arc::clone(&app), once::do_once);
    let makers = makers().within(|router| router.route_layer(do_once));
    let routes = with_database().and(makers);
    let routes = routes.within(|router| router.route_layer(await_tables));
    guard(app, routes.and(for_senders()).and(without_database()))
}

/// What is there of the API where the rest is not.
pub fn senders_router(app: Arc<AdminState>) -> Router<Arc<AdminState>> {
    guard(app, for_senders())
}

/// What stands before every route, and answers where there is none.
fn guard(app: Arc<AdminState>, routes: Routes) -> Router<Arc<AdminState>> {
    let (router, needs) = routes.split();
    let gate = Gate::new(Arc::clone(&app), needs);
    router
        .fallback(refuse_path)
        // After the routes: it covers those that are there by then. `refuse_method` says which
        // methods there are.
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .layer(DefaultBodyLimit::max(app.limits.max_body_bytes))
        .layer(from_fn_with_state(gate, access::identify))
}

/// All routes, with what each needs and how it is described.
fn all() -> Routes {
    let routes = with_database().and(makers()).and(for_senders());
    routes.and(without_database())
}

/// All routes, and what each needs.
fn list() -> Vec<Route> {
    all().into_list()
}

/// What the paths begin with, as a sentence lists it.
pub fn beginnings() -> &'static str {
    static WORDS: LazyLock<String> = LazyLock::new(|| {
        let mut words: Vec<&str> = Vec::new();
        let all = list();
        for route in &all {
            let first = route.path.split('/').nth(1).unwrap_or_default();
            if !words.contains(&first) {
                words.push(first);
            }
        }
        one_of(&words)
    });
    &WORDS
}

/// Serves a change of links or deliveries at once, where the database still answers; else, and on
/// other servers, it comes with the next refresh.
pub(super) async fn serve_change(app: &AdminState, at: Option<Micros>) {
    let Some(at) = at else { return };
    let fetched = tokio::time::timeout(MOST_FETCHING, app.links.fetch_changed(at)).await;
    if !matches!(fetched, Ok(Ok(()))) {
        tracing::warn!("the local link copy gets this change with its next refresh");
    }
}

/// There is nothing at this path.
pub async fn refuse_path(uri: Uri) -> Problem {
    Problem::no_path(&uri)
}

/// Lets requests through once the tables are there. At a start they wait for the first attempt to
/// make them; where that failed, or takes longer than a caller should wait, they are told so.
async fn await_tables(
    State(app): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    match expect_tables(&app).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether the tables are there by now.
///
/// # Errors
/// 503: they are not there yet.
pub(super) async fn expect_tables(app: &AdminState) -> Result<(), Problem> {
    let now = *app.tables.borrow();
    let tables = match now {
        Tables::Awaited => {
            let mut tables = app.tables.clone();
            let tried = tables.wait_for(|tables| *tables != Tables::Awaited);
            match tokio::time::timeout(START_PATIENCE, tried).await {
                Ok(Ok(tables)) => *tables,
                _ => Tables::Awaited,
            }
        }
        known => known,
    };
    let why = match tables {
        Tables::There => return Ok(()),
        Tables::Awaited => "the database tables are being created or upgraded",
        Tables::Missing => {
            "the database has not been reached yet, or its tables cannot be created (see the log)"
        }
    };
    Err(Problem::starting(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::{Rights, Role, Scopes};

    /// Who may call what, for people to read. The running server is held to it in
    /// `tests/it/access.rs`.
    const TABLE: &str = "src/web/api/access.txt";

    fn table() -> String {
        let mut table = format!("{:40}", "");
        for scope in Scope::ALL {
            table += &format!(" {}", scope.as_str());
        }
        for role in Role::ALL {
            table += &format!(" {}", role.as_str());
        }
        let mut routes = list();
        routes.sort_by_key(|route| (route.path.clone(), route.method.to_string()));
        for route in routes {
            let mut line = format!("\n{:6} {:33}", route.method.as_str(), route.path);
            for scope in Scope::ALL {
                // With all scopes but this one a route that needs it is refused.
                let alone = Rights::of(Scopes::of(&[scope]));
                let others = Scope::ALL.into_iter().filter(|other| *other != scope);
                let without = Rights::of(Scopes::of(&others.collect::<Vec<_>>()));
                let word = if route.need == Need::Nothing {
                    "open"
                } else if route.need.is_met_by(alone) {
                    "yes"
                } else if route.need != Need::Admin && !route.need.is_met_by(without) {
                    "also"
                } else {
                    "-"
                };
                line += &format!(" {word:width$}", width = scope.as_str().len());
            }
            for role in Role::ALL {
                let word = match route.need.is_met_by(role.rights()) {
                    _ if route.need == Need::Nothing => "open",
                    true => "yes",
                    false => "-",
                };
                line += &format!(" {word:width$}", width = role.as_str().len());
            }
            table += line.trim_end();
        }
        table + "\n"
    }

    #[test]
    fn who_may_call_what_is_as_it_was_written_down() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
        let table = table();
        if std::env::var_os("SILLAGE_WRITE_SNAPSHOTS").is_some() {
            std::fs::write(&file, &table).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            table, written,
            "{TABLE} differs: write it with SILLAGE_WRITE_SNAPSHOTS=1 and read the difference"
        );
    }
}
