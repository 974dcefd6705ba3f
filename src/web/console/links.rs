//! Links: a search, and one link with what can still be changed of it. Mails that were sent hold
//! links, so none is removed: one that is over leads elsewhere.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::form::{Query, Sent};
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{At, Num};
use crate::model::hit::{DeliveryId, LinkId};
use crate::operator::qr::draw_svg;
use crate::operator::{LinkEdit, change_link};
use crate::store::deliveries::Link;
use crate::store::link_changes::{LinkChange, LinkFilter};
use crate::store::scan::{Part, Wanted};
use crate::web::AdminState;
use crate::web::api::{NAME_PEOPLE, OPERATE, WRITE_LINKS, serve_change};
use crate::web::error::Problem;

/// Rows of a page.
const ROWS: i64 = 50;
/// Changes that are shown.
const CHANGES: i64 = 20;

#[derive(Template)]
#[template(path = "links.html")]
struct LinksPage {
    frame: Frame,
    search: String,
    delivery: Option<i64>,
    rows: Vec<Link>,
    is_first: bool,
    next: Option<i64>,
    sees_orphans: bool,
}

/// `GET /console/links?search=&delivery=&after=`
pub(super) async fn list(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let delivery = query.number("delivery");
    let filter = LinkFilter {
        delivery: delivery.map(DeliveryId),
        text: query.get("search").map(str::to_owned),
        ..LinkFilter::default()
    };
    let wanted = Wanted {
        before: query.number("after"),
        limit: ROWS,
    };
    let Part { rows, next } = app.store.list_links(&filter, wanted).await?;
    let page = LinksPage {
        frame: Frame::new(&who, "Links", "Links"),
        search: filter.text.unwrap_or_default(),
        delivery,
        rows,
        is_first: wanted.before.is_none(),
        next,
        sees_orphans: who.may(OPERATE),
    };
    Ok(show(StatusCode::OK, &page))
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    frame: Frame,
    link: Link,
    title: String,
    ended_at: Option<At>,
    /// What readers follow: a text, which leads nowhere from here.
    short_url: Option<String>,
    changes: Vec<Change>,
    may_change: bool,
    names_people: bool,
    is_saved: bool,
    /// What was wrong, and the form as it was sent.
    told: Option<String>,
    url: String,
    label: String,
    end_url: String,
}

struct Change {
    at: At,
    by: String,
    fields: Vec<(String, String, String)>,
}

impl From<LinkChange> for Change {
    fn from(change: LinkChange) -> Self {
        let text = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "nothing".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let was = change.was.as_object().into_iter().flatten();
        Self {
            at: At(change.changed_at),
            by: change.changed_by,
            fields: was
                .map(|(name, was)| {
                    let became = text(change.became.get(name));
                    (name.clone(), text(Some(was)), became)
                })
                .collect(),
        }
    }
}

/// The link of a path.
async fn find(app: &AdminState, who: &Who, path: &str) -> Result<Link, Failure> {
    let nothing = || Failure::nothing("link").seen_by(who);
    let id = path.parse().map(LinkId).map_err(|_| nothing())?;
    app.store.link(id).await?.ok_or_else(nothing)
}

fn short_url(app: &AdminState, headers: &HeaderMap, link: &Link) -> Option<String> {
    let slug = link.slug.as_ref()?;
    Some(format!("{}/{slug}", app.site_of(headers).redirect_url()))
}

async fn page(
    app: &AdminState,
    who: &Who,
    headers: &HeaderMap,
    link: Link,
    is_saved: bool,
    told: Option<(&LinkEdit, &Problem)>,
) -> Result<Response, Failure> {
    let changes = app.store.link_history(link.id, None, CHANGES).await?;
    let edit = told.map(|(edit, _)| edit);
    let sent = |field: Option<Option<Option<String>>>, stored: &Option<String>| match field {
        Some(Some(text)) => text.unwrap_or_default(),
        _ => stored.clone().unwrap_or_default(),
    };
    let title = link.label.clone().or_else(|| link.slug.clone());
    let title = title.unwrap_or_else(|| format!("Link {}", link.id));
    let status = told.map_or(StatusCode::OK, |(_, problem)| problem.told().0);
    let page = LinkPage {
        frame: Frame::new(who, "Links", title.clone()),
        title,
        ended_at: link.ended_at.map(At),
        short_url: short_url(app, headers, &link),
        changes: changes.into_iter().map(Change::from).collect(),
        may_change: who.may(WRITE_LINKS),
        names_people: who.may(NAME_PEOPLE),
        is_saved,
        url: edit
            .and_then(|edit| edit.url.clone())
            .unwrap_or_else(|| link.url.clone()),
        label: sent(edit.map(|edit| edit.label.clone()), &link.label),
        end_url: sent(edit.map(|edit| edit.end_url.clone()), &link.end_url),
        told: told.map(|(_, problem)| problem.told().1.to_owned()),
        link,
    };
    Ok(show(status, &page))
}

/// `GET /console/links/{id}?saved=1`
pub(super) async fn get_link(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(path): Path<String>,
    headers: HeaderMap,
    Query(query): Query,
) -> Result<Response, Failure> {
    let link = find(&app, &who, &path).await?;
    page(
        &app,
        &who,
        &headers,
        link,
        query.get("saved").is_some(),
        None,
    )
    .await
}

/// `POST /console/links/{id}/change`
pub(super) async fn change(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(path): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent,
) -> Result<Response, Failure> {
    let link = find(&app, &who, &path).await?;
    let text = |name: &str| form.get(name).map(str::to_owned);
    let edit = LinkEdit {
        url: Some(text("url").unwrap_or_default()),
        label: Some(text("label")),
        end_url: Some(text("end_url")),
        ended: Some(form.get("ended").is_some()),
        ..LinkEdit::default()
    };
    let hosts = &app.redirects.personal_hosts;
    let saved = change_link(
        &app.store,
        &app.clock,
        hosts,
        link.id,
        edit.clone(),
        &who.name,
    )
    .await;
    match saved.map_err(Problem::from) {
        Ok(changed) => {
            serve_change(&app, changed.at).await;
            let to = format!("/console/links/{}?saved=1", link.id);
            Ok(Redirect::to(&to).into_response())
        }
        Err(problem) => page(&app, &who, &headers, link, false, Some((&edit, &problem))).await,
    }
}

/// `GET /console/links/{id}/code.svg`: the QR code of a short link.
pub(super) async fn draw(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let link = find(&app, &who, &path).await?;
    let url = short_url(&app, &headers, &link);
    let url = url.ok_or_else(|| Failure::nothing("code").seen_by(&who))?;
    let drawing = draw_svg(&url).map_err(|error| {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).seen_by(&who)
    })?;
    Ok(([(CONTENT_TYPE, "image/svg+xml")], drawing).into_response())
}

#[derive(Template)]
#[template(path = "orphans.html")]
struct OrphansPage {
    frame: Frame,
    rows: Vec<Orphan>,
}

struct Orphan {
    kind: String,
    id: String,
    asked: Num,
    first_at: At,
    last_at: At,
    referrer: Option<String>,
}

/// `GET /console/links/orphans`: links that readers followed and that nothing has.
pub(super) async fn list_orphans(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
) -> Result<Response, Failure> {
    let rows = app.store.orphans(None, None, ROWS * 2).await?;
    let page = OrphansPage {
        frame: Frame::new(&who, "Links", "Orphans"),
        rows: rows
            .into_iter()
            .map(|row| Orphan {
                kind: row.kind,
                id: row.id,
                asked: Num(row.of.asked),
                first_at: At(row.of.first_at),
                last_at: At(row.of.last_at),
                referrer: row.of.referrer,
            })
            .collect(),
    };
    Ok(show(StatusCode::OK, &page))
}
