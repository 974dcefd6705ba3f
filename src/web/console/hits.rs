//! Hits, the latest first, as rows of a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::form::{Fields, Query};
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{Amount, At, icon, name_of};
use crate::model::hit::{ContactId, Kind, Sum, Verdict};
use crate::store::Store;
use crate::store::hits::{HitFilter, Judged, StoredHit};
use crate::web::AdminState;
use crate::web::api::{READ_CONTACTS, utm_icon};

/// Rows of a page.
const ROWS: i64 = 50;

/// A hit in a list.
pub(super) struct Line {
    pub(super) seq: i64,
    pub(super) at: At,
    pub(super) kind: String,
    /// What it was about: a page's title or address, an event.
    pub(super) what: String,
    /// More of it.
    pub(super) more: Option<String>,
    pub(super) revenue: Option<Amount>,
    pub(super) delivery: Option<i64>,
    /// Who it was, and where to read more of them.
    pub(super) who: Option<(String, String)>,
    pub(super) verdict: String,
    pub(super) is_machine: bool,
    /// The campaign that led there, with its icon.
    pub(super) campaign: Option<(&'static str, String)>,
}

impl Line {
    fn new(hit: StoredHit, names: &BTreeMap<ContactId, String>) -> Self {
        let first = |texts: [&Option<String>; 3]| {
            let mut texts = texts.into_iter().flatten().map(|text| text.trim());
            texts.find(|text| !text.is_empty()).map(str::to_owned)
        };
        let what = first([&hit.event, &hit.page_title, &hit.page_url]);
        let link = hit.link_id.map(|id| format!("link {id}"));
        let more = hit.page_url.filter(|url| what.as_ref() != Some(url));
        let contact = hit.contact_id.map(ContactId);
        let utm = [&hit.utm_campaign, &hit.utm_source, &hit.utm_medium];
        let icon_name = utm_icon(hit.utm_medium.as_deref(), hit.utm_source.as_deref());
        Self {
            seq: hit.seq,
            at: At(hit.received_at),
            what: what.or(link).unwrap_or_default(),
            more,
            revenue: hit
                .revenue
                .map(|amount| Amount(Sum::from(amount), hit.currency.clone())),
            delivery: hit.delivery_id,
            who: contact.map(|id| {
                let name = names.get(&id).cloned();
                let id = id.0.to_string();
                (name.unwrap_or_else(|| "somebody".to_owned()), id)
            }),
            is_machine: !Verdict::parse(&hit.verdict).is_some_and(Verdict::counts),
            verdict: hit.verdict,
            campaign: first(utm).map(|title| (icon(icon_name), title)),
            kind: hit.kind,
        }
    }
}

/// Hits as lines, with the names of their people where the reader may know them.
pub(super) async fn lines(
    app: &AdminState,
    who: &Who,
    hits: Vec<StoredHit>,
) -> Result<Vec<Line>, Failure> {
    let names = match who.may(READ_CONTACTS) {
        true => names(&app.store, &app.contacts.unique, &hits).await?,
        false => BTreeMap::new(),
    };
    Ok(hits.into_iter().map(|hit| Line::new(hit, &names)).collect())
}

async fn names(
    store: &Store,
    unique: &[String],
    hits: &[StoredHit],
) -> Result<BTreeMap<ContactId, String>, Failure> {
    let ids: BTreeSet<_> = hits
        .iter()
        .filter_map(|hit| hit.contact_id.map(ContactId))
        .collect();
    let known = store.known_contacts(ids).await?;
    let named = known.into_iter().filter_map(|(id, contact)| {
        let name = name_of(&contact.fields, unique)?;
        Some((id, name))
    });
    Ok(named.collect())
}

/// The hits that a query asks for.
pub(super) fn filter_of(query: &Fields) -> HitFilter {
    HitFilter {
        kind: query.get("kind").and_then(Kind::parse),
        judged: match query.get("judged") {
            Some("people") => Some(Judged::Counted),
            Some("machines") => Some(Judged::Machine),
            _ => None,
        },
        ..HitFilter::default()
    }
}

#[derive(Template)]
#[template(path = "hits.html")]
struct HitsPage {
    frame: Frame,
    kind: String,
    judged: String,
    kinds: Vec<&'static str>,
    lines: Vec<Line>,
    /// The number of the first hit that is shown.
    newest: i64,
    is_first: bool,
    next: Option<i64>,
}

/// `GET /console/hits?kind=&judged=&before=`
pub(super) async fn list(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let filter = filter_of(&query);
    let before = query.number("before");
    let page = app
        .store
        .hits_before(&filter, before.unwrap_or(i64::MAX), ROWS);
    let page = page.await?;
    let next = (!page.is_last()).then_some(page.reached);
    let page = HitsPage {
        frame: Frame::new(&who, "Hits", "Hits"),
        kind: filter.kind.map_or("", Kind::as_str).to_owned(),
        judged: query.get("judged").unwrap_or_default().to_owned(),
        newest: page.hits.first().map_or(0, |hit| hit.seq),
        kinds: Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        lines: lines(&app, &who, page.hits).await?,
        is_first: before.is_none(),
        next,
    };
    Ok(show(StatusCode::OK, &page))
}
