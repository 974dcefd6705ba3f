//! Who is behind a number of a delivery.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as NoWord, StrDeserializer};

use super::delivery::title_of;
use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{At, Num, name_of};
use crate::model::hit::{DeliveryId, LinkId};
use crate::operator::people::{Place, Someone, Wanted, What, read_people};
use crate::web::AdminState;

/// Rows of a page.
const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    id: i64,
    label: String,
    what: String,
    heading: &'static str,
    link: Option<i64>,
    /// Rows are messages, with what came of each; else browsers or hits.
    has_counts: bool,
    rows: Vec<Row>,
    is_first: bool,
    next: Option<String>,
}

struct Row {
    contact: Option<String>,
    name: String,
    at: Option<At>,
    link: Option<i64>,
    kind: Option<&'static str>,
    verdict: Option<String>,
    reason: Option<String>,
    counts: [Num; 4],
}

impl Row {
    fn new(one: Someone, unique: &[String]) -> Self {
        let name = name_of(&one.fields, unique);
        let count = |count: Option<i64>| Num(count.unwrap_or(0));
        let message = one.broadlog_id.map(|id| format!("message {id}"));
        let browser = one.visitor_id.map(|id| format!("browser {}", id.0));
        Self {
            contact: one.contact_id.map(|id| id.0.to_string()),
            name: name.or(message).or(browser).unwrap_or_default(),
            at: one.at.map(At),
            link: one.link_id.map(|id| id.0),
            kind: one.kind.map(|kind| kind.as_str()),
            verdict: one.verdict,
            reason: one.reason,
            counts: [one.opens, one.clicks, one.pages, one.transactions].map(count),
        }
    }
}

fn what(word: &str) -> Option<What> {
    let word: StrDeserializer<'_, NoWord> = word.into_deserializer();
    What::deserialize(word).ok()
}

/// `GET /console/deliveries/{id}/people?what=&link=&after=`
pub(super) async fn list(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let nothing = |what| Failure::nothing(what).seen_by(&who);
    let id = id
        .parse()
        .map(DeliveryId)
        .map_err(|_| nothing("delivery"))?;
    let delivery = app.store.delivery(id).await?;
    let delivery = delivery.ok_or_else(|| nothing("delivery"))?;
    let word = query.get("what").unwrap_or("opened");
    let what = what(word).ok_or_else(|| nothing("list"))?;
    let link = query.number("link").filter(|_| what.may_have_link());
    let after = query.get("after").and_then(Place::parse);
    let wanted = Wanted {
        delivery: id,
        what,
        link: link.map(LinkId),
        after,
        limit: ROWS,
    };
    let people = read_people(&app.store, &wanted).await?;
    let heading = match what {
        What::Opened => "Who opened",
        What::Clicked => "Who clicked",
        What::Clickers => "Browsers that clicked",
        What::Bought => "Who bought",
        What::Nothing => "Who left no trace",
        What::OptedOut => "Who opted out",
        What::Machine => "What machines did",
    };
    let rows = people.people.into_iter();
    let page = PeoplePage {
        frame: Frame::new(&who, "Deliveries", heading),
        id: id.0,
        label: title_of(&delivery),
        what: word.to_owned(),
        heading,
        link,
        has_counts: match what {
            What::Opened | What::Bought | What::Nothing => true,
            What::Clicked => link.is_none(),
            What::Clickers | What::OptedOut | What::Machine => false,
        },
        rows: rows
            .map(|one| Row::new(one, &app.contacts.unique))
            .collect(),
        is_first: after.is_none(),
        next: people.next.map(Place::text),
    };
    Ok(show(StatusCode::OK, &page))
}
