//! One hit: all that is stored of it, why it is judged as it is, and another judgement.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use serde_json::Value;

use super::form::Sent;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::At;
use crate::model::hit::Verdict;
use crate::operator::export::HitLine;
use crate::operator::verdicts::{HitName, Undecided, VerdictView, decide, show_verdict};
use crate::store::hits::{HitFilter, StoredHit};
use crate::web::AdminState;
use crate::web::api::OPERATE;

/// What pages show elsewhere, or as a word of the database only.
const LEFT_OUT: [&str; 4] = ["verdict", "reason", "first_verdict", "first_reason"];

#[derive(Template)]
#[template(path = "hit.html")]
struct HitPage {
    frame: Frame,
    seq: i64,
    at: At,
    kind: String,
    of: VerdictView,
    decided_at: Option<At>,
    fields: Vec<(String, String)>,
    contact: Option<String>,
    delivery: Option<i64>,
    may_judge: bool,
    verdicts: Vec<&'static str>,
    told: Option<String>,
}

/// The columns that have a value, as text.
fn fields(hit: &StoredHit) -> Vec<(String, String)> {
    let told = serde_json::to_value(HitLine(hit)).unwrap_or_default();
    let Value::Object(told) = told else {
        return Vec::new();
    };
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Array(list) if list.is_empty() => None,
        other => Some(other.to_string()),
    };
    told.into_iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name, text(value)?)))
        .collect()
}

async fn page(
    app: &AdminState,
    who: &Who,
    seq: i64,
    told: Option<(StatusCode, String)>,
) -> Result<Response, Failure> {
    let nothing = || Failure::nothing("hit").seen_by(who);
    let of = show_verdict(&app.store, HitName::Seq(seq)).await?;
    let of = of.ok_or_else(nothing)?;
    let filter = HitFilter::default();
    let found = app.store.hits_between(&filter, seq - 1, seq, 1).await?;
    let hit = found.hits.into_iter().next().ok_or_else(nothing)?;
    let (status, told) = told.map_or((StatusCode::OK, None), |(status, told)| {
        (status, Some(told))
    });
    let page = HitPage {
        frame: Frame::new(who, "Hits", format!("Hit {seq}")),
        seq,
        at: At(hit.received_at),
        kind: hit.kind.clone(),
        decided_at: of.decision.as_ref().map(|decision| At(decision.at.0)),
        of,
        fields: fields(&hit),
        contact: hit.contact_id.map(|id| id.to_string()),
        delivery: hit.delivery_id,
        may_judge: who.may(OPERATE),
        verdicts: Verdict::ALL
            .iter()
            .map(|verdict| verdict.as_str())
            .collect(),
        told,
    };
    Ok(show(status, &page))
}

/// The number of a path's hit.
fn seq(path: &str) -> Option<i64> {
    path.parse().ok().filter(|seq| *seq > 0)
}

/// `GET /console/hits/{seq}`
pub(super) async fn get_hit(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(path): Path<String>,
) -> Result<Response, Failure> {
    let seq = seq(&path).ok_or_else(|| Failure::nothing("hit").seen_by(&who))?;
    page(&app, &who, seq, None).await
}

/// `POST /console/hits/{seq}/verdict`
pub(super) async fn judge(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(path): Path<String>,
    Sent(form): Sent,
) -> Result<Response, Failure> {
    let seq = seq(&path).ok_or_else(|| Failure::nothing("hit").seen_by(&who))?;
    let verdict = form.get("verdict").and_then(Verdict::parse);
    let (Some(verdict), Some(reason)) = (verdict, form.get("reason")) else {
        let why = "Choose a verdict and say why: whoever looks later wants to know".to_owned();
        return page(
            &app,
            &who,
            seq,
            Some((StatusCode::UNPROCESSABLE_ENTITY, why)),
        )
        .await;
    };
    let by = (who.name.as_str(), app.clock.now());
    let name = HitName::Seq(seq);
    match decide(&app.store, &app.projection, name, verdict, reason, by).await? {
        Ok(_) => Ok(Redirect::to(&format!("/console/hits/{seq}")).into_response()),
        Err(Undecided::NoHit) => Err(Failure::nothing("hit").seen_by(&who)),
        Err(Undecided::Unknown) => {
            let why = "The figures of this hit's message were counted by an earlier version: run \
                sillage recount --repair first"
                .to_owned();
            page(&app, &who, seq, Some((StatusCode::CONFLICT, why))).await
        }
    }
}
