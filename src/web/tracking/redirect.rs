//! `/r/<token or slug>` and `/o/<token>.gif`: a reader who clicks gets to the page, whatever fails.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};

use super::collect::gif;
use super::page::page;
use super::{Outcome, TrackingState, Visit, hide};
use crate::config::Ack;
use crate::model::hit::{Hit, HitId, Verdict, VisitorId};
use crate::model::link::{self, LinkRecord, LinkToken, PersonalValues, build_destination};
use crate::queue::sink::Kept;
use crate::replica::links::LinkName;
use crate::tracking::inbound::Inbound;
use crate::tracking::native::{self, LANDING_PARAMETER};
use crate::tracking::{AdobeMode, mautic, verdict};

/// What a hit notes whose address had something in or behind it that is not of it.
pub(in crate::web) const REPAIRED: &str = "link repaired";
/// What the address of an open pixel ends with.
const GIF_SUFFIX: &str = ".gif";
/// Longest slug.
const MOST_SLUG: usize = 100;

/// `GET /r/<token or slug>`.
pub(in crate::web) async fn follow_link(app: &TrackingState, visit: Visit<'_>) -> Outcome {
    let name = [app.paths.redirect.as_str(), "/r"]
        .iter()
        .find_map(|prefix| visit.path.strip_prefix(prefix))
        .unwrap_or(visit.path)
        .trim_matches('/');
    if link::is_whole_name(name) {
        return follow(app, visit, name).await;
    }
    // No link has another character in its name, so there is nothing to look up as it stands.
    let Some(repaired) = link::repair_name(name) else {
        app.counters.unknown_links.increment(1);
        return unknown_link(app).into();
    };
    let is_proved = |name: &str| {
        mautic::is_redirect_id(name) || LinkToken::decode(name, &app.rules.keys).is_some()
    };
    let name = match !is_proved(&repaired.name) && is_proved(&repaired.joined) {
        true => &repaired.joined,
        false => &repaired.name,
    };
    let query = match repaired.behind.starts_with(['?', '&']) {
        true => link::query_behind(&repaired.behind, visit.query),
        false => Cow::Borrowed(visit.query),
    };
    let visit = Visit {
        query: &query,
        is_repaired: true,
        ..visit
    };
    follow(app, visit, name).await
}

/// Follows the link of a name.
async fn follow(app: &TrackingState, visit: Visit<'_>, name: &str) -> Outcome {
    let token = LinkToken::decode(name, &app.rules.keys);
    let is_mautic = mautic::is_redirect_id(name);
    let name = if is_mautic {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    let link = match &token {
        Some(LinkToken {
            link_id: Some(id), ..
        }) => app.links.get(LinkName::Id(*id)).await,
        None if !name.is_empty() && name.len() <= MOST_SLUG => {
            app.links.get(LinkName::Slug(name.into())).await
        }
        _ => None,
    };
    let Some(link) = link else {
        app.counters.unknown_links.increment(1);
        return unknown_link(app).into();
    };
    let inbound = app.inbound(visit, &[]);
    let mut hit = native::click(&inbound, &app.rules, &link, token.as_ref());
    if visit.is_repaired {
        hit.note(REPAIRED);
    }
    let query = if is_mautic {
        mautic::take_click(&mut hit, inbound.query)
    } else {
        Cow::Borrowed(inbound.query)
    };
    let asked = Asked::of(&link, query);
    lead(app, &inbound, &link, &asked, hit, || unknown_link(app))
}

/// What a click brings along for its page.
pub(in crate::web) struct Asked<'q> {
    /// For the personal parts of the destination.
    pub values: PersonalValues,
    /// Raw query that goes on to the page.
    pub query: Cow<'q, str>,
}

impl<'q> Asked<'q> {
    /// The whole query, but what the link's personal parts take out of it.
    fn of(link: &LinkRecord, query: Cow<'q, str>) -> Self {
        let mut values = PersonalValues::default();
        let query = if link::is_personal(&link.url) {
            values.take_from(&query).into()
        } else {
            query
        };
        Self { values, query }
    }
}

/// Leads a click to its page and sets the cookies of a click. `lost` answers where there is no
/// page: the link has expired, or its parameters choose a host that is not listed.
pub(in crate::web) fn lead(
    app: &TrackingState,
    inbound: &Inbound<'_>,
    link: &LinkRecord,
    asked: &Asked<'_>,
    mut hit: Hit,
    lost: impl FnOnce() -> Response,
) -> Outcome {
    let is_visit = is_visit(inbound);
    let fill = |template| link::fill(template, &asked.values, &app.redirects.personal_hosts);
    let mut response = if link.is_expired(hit.received_at) {
        hit.note("link expired");
        match link.expiration_url.as_deref().and_then(fill) {
            Some(url) => redirect(&url),
            None => lost(),
        }
    } else if let Some(url) = fill(&link.url) {
        if is_visit && app.hands_over(&url) {
            // The page needs the visitor, so it has to have one first.
            set_visitor(app, &mut hit);
            let own = format!(
                "{LANDING_PARAMETER}={}",
                native::landing_value(&app.rules, &hit)
            );
            let query = if asked.query.is_empty() {
                own
            } else {
                format!("{}&{own}", asked.query)
            };
            redirect(&build_destination(&url, &query, &link.utm))
        } else {
            redirect(&build_destination(&url, &asked.query, &link.utm))
        }
    } else {
        hit.judge(Verdict::Suspect, "personal host not listed");
        lost()
    };
    if is_visit {
        remember_click(app, inbound, &mut hit, &mut response);
    }
    app.counters.redirects.increment(1);
    Outcome::of(response, vec![hit])
}

/// Whether somebody is there whose browser may be told to remember: no HEAD, no prefetch.
pub(in crate::web) fn is_visit(inbound: &Inbound<'_>) -> bool {
    inbound.method == Method::GET && !verdict::is_prefetch(inbound)
}

/// The cookies of a click: session, visitor, and where page tags count beyond the session the last
/// delivery.
pub(in crate::web) fn remember_click(
    app: &TrackingState,
    inbound: &Inbound<'_>,
    hit: &mut Hit,
    response: &mut Response,
) {
    let (request, answer) = (inbound.headers, response.headers_mut());
    set_visitor(app, hit);
    app.cookies.write_session(hit, request, answer);
    if let Some(value) = app.cookies.visitor_value(hit) {
        app.cookies.write_visitor(&value, request, answer);
    }
    if matches!(
        app.rules.adobe_mode,
        AdobeMode::Permanent | AdobeMode::Anonymous
    ) {
        app.cookies.write_last_delivery(hit, request, answer);
    }
}

/// `GET /o/<token>.gif`, `/email/<hash>.gif`: always the GIF; an open where the token is ours or
/// could be the hash of a message that Mautic sent: whether it is one, the projection finds out.
pub(in crate::web) fn open_mail(app: &TrackingState, visit: Visit<'_>) -> Outcome {
    let file = visit.path.trim_end_matches('/');
    let file = file.rsplit('/').next().unwrap_or_default();
    let is_mautic = visit.path.starts_with("/email/");
    let stem = file.strip_suffix(GIF_SUFFIX);
    // Without the suffix `/o/` is ours too; Mautic's pages for readers (`/email/view/…`,
    // `/email/unsubscribe/…`) stay with Mautic.
    let whole = stem.or(Some(file).filter(|_| !is_mautic));
    if let Some(name) = whole.filter(|name| link::is_whole_name(name)) {
        return open(app, visit, is_mautic, name);
    }
    let repaired = link::repair_name(stem.unwrap_or(file));
    let name = match &repaired {
        Some(repaired) if repaired.behind.starts_with(GIF_SUFFIX) => &repaired.name,
        // Where the suffix stands behind it, the name ends there, whatever a mail program has put
        // into it.
        Some(repaired) if stem.is_some() => &repaired.joined,
        Some(repaired) if !is_mautic => &repaired.name,
        None if stem.is_some() || !is_mautic => "",
        _ => {
            app.counters.unknown_links.increment(1);
            return unknown_link(app).into();
        }
    };
    let visit = Visit {
        is_repaired: true,
        ..visit
    };
    open(app, visit, is_mautic, name)
}

/// An open of the message with this token or tracking hash.
fn open(app: &TrackingState, visit: Visit<'_>, is_mautic: bool, name: &str) -> Outcome {
    let inbound = app.inbound(visit, &[]);
    let hit = match LinkToken::decode(name, &app.rules.keys) {
        Some(token) if token.link_id.is_none() => Some(native::open(&inbound, &app.rules, &token)),
        _ if is_mautic => match mautic::open(&inbound, &app.rules, name) {
            Some(hit) => Some(hit),
            None => return Outcome::refused(gif(), "no tracking hash"),
        },
        _ => None,
    };
    let Some(mut hit) = hit else {
        app.counters.unknown_links.increment(1);
        return gif().into();
    };
    if visit.is_repaired {
        hit.note(REPAIRED);
    }
    Outcome::of(gif(), vec![hit])
}

pub(in crate::web) fn set_visitor(app: &TrackingState, hit: &mut Hit) {
    if hit.visitor_id.is_none() {
        hit.visitor_id = Some(VisitorId(app.clock.new_id(hit.received_at)));
        hit.visitor_is_new = true;
    }
}

pub(in crate::web) fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        // Destinations are checked when they are made: this would be a row changed by hand.
        return not_found_page();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(LOCATION, location);
    hide(headers);
    response
}

pub(in crate::web) fn unknown_link(app: &TrackingState) -> Response {
    match &app.redirects.fallback_url {
        Some(url) => redirect(url),
        None => not_found_page(),
    }
}

pub(in crate::web) fn not_found_page() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "This link leads nowhere",
        "It may be incomplete. Please copy it again from the message it came in.",
    )
}

impl TrackingState {
    /// Whether the landing page is on a domain that does not get our cookies.
    pub(in crate::web) fn hands_over(&self, destination: &str) -> bool {
        self.redirects.landing_parameter
            && url::Url::parse(destination)
                .ok()
                .and_then(|url| {
                    url.host_str()
                        .map(|host| !self.cookies.is_own_host(host, &self.own_host))
                })
                .unwrap_or(false)
    }

    /// Gives hits their ids and makes them durable, or counts them as lost: the answer goes out in
    /// any case. False where they are lost. Who can send again does not leave them to a disk that
    /// has not taken them in time.
    pub(in crate::web) async fn keep(&self, hits: &mut [Hit], can_send_again: bool) -> bool {
        for hit in hits.iter_mut() {
            hit.id = HitId(self.clock.new_id(hit.received_at));
        }
        let patience = self.spool.patience;
        let kept = if self.spool.ack == Ack::Fast {
            // What becomes of them, the sink counts.
            self.sink.offer_unwatched(hits).map(|()| Kept::Durable)
        } else if can_send_again {
            let receipt = self.sink.offer(hits);
            receipt.durable_or_taken_back(patience).await
        } else {
            self.sink.offer(hits).durable(patience).await
        };
        match kept {
            Ok(Kept::Durable) => {}
            Ok(Kept::Open) => self.sink.count_early(hits.len()),
            Err(refused) => self.sink.count_lost(hits.len(), refused),
        }
        kept.is_ok()
    }
}
