//! What answers tracking requests: links, pixels, the script and what it sends, forms, and the
//! addresses of Adobe's and Mapp's. Handlers get a [`TrackingState`] and nothing else, so none of
//! them can wait for the database.
//!
//! ```text
//!  path ──► Route ──► Head ──► Inbound ──► dialect ──► Decoded ──► settle ──► reply
//!           kind,     who,     plain       (look-up,               hits are
//!           rest      when     data        body)                   durable
//! ```
//!
//! None of it goes through axum's router. A path has been understood by then, with the prefixes and
//! doubled slashes of old installations, escapes and text behind it; the router could only read it
//! a second time, and of Mapp's paths the first part is any, of Adobe's the query decides. What its
//! layers would do is in one place each: methods in [`RouteKind`], bodies in `web/body.rs`, origins
//! in `cors`. For links, pixels and the script, nearly all there is, its boxes and extensions cost
//! as much as all the rest of an answer.

mod batch;
mod client_ip;
mod cookies;
mod cors;
mod head;
mod outcome;
mod reply;
mod script;
mod site;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method};
use metrics::Counter;

pub(in crate::web) use client_ip::is_in;
pub use site::{ServedSite, Sites};

pub(in crate::web) use head::Head;
pub(in crate::web) use outcome::{DEBUG_HEADER, Outcome};
pub(in crate::web) use reply::redirect;

use self::cookies::CookieMaker;
use self::cors::{Cors, Permission};
use self::script::Script;
use super::body::{Limits, Unread, read_whole};
use super::error::refuse_method;
use super::{body, error, page};
use crate::config;
use crate::model::clock::Clock;
use crate::model::form::{Form, FormId};
use crate::model::link::LinkName;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::tracking::decoded::{Decoded, Readers, Reply};
use crate::tracking::inbound::Inbound;
use crate::tracking::mautic::form;
use crate::tracking::route::{Route, RouteKind};
use crate::tracking::{Rules, adobe, mapp, mautic, native, unsubscribe};

/// The body of what the script sends, which cuts far below.
const EVENT_BODY: Limits = Limits {
    bytes: 512 << 10,
    time: Duration::from_secs(15),
    room: None,
};
/// How long a form may take to arrive: files come over slow lines.
const MOST_FORM_TIME: Duration = Duration::from_secs(60);

/// Lets pages of other sites embed the response.
static EMBEDDABLE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The state behind tracking requests. The database is not in it: links and forms come from their
/// local copies, hits go into the sink.
pub struct TrackingState {
    /// How requests are read.
    pub rules: Rules,
    /// Where hits go.
    pub sink: Arc<dyn Sink>,
    /// Destinations.
    pub links: LinkCopy,
    /// Definitions of forms.
    pub forms: FormCopy,
    /// Times and ids.
    pub clock: Clock,
    /// What holds at which host.
    pub sites: Sites,
    /// Whom to believe.
    pub trust: config::Trust,
    /// What makes verdicts visible.
    pub debug: config::Debug,
    /// When a hit is answered.
    pub spool: config::Spool,
    /// Counted answers.
    pub counters: Counters,
}

/// Counted answers.
pub struct Counters {
    redirects: Counter,
    collected: Counter,
    unknown_links: Counter,
    refused_origins: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            redirects: metrics::counter!("sillage_redirects_total"),
            collected: metrics::counter!("sillage_collected_total"),
            unknown_links: metrics::counter!("sillage_unknown_links_total"),
            refused_origins: metrics::counter!("sillage_refused_origins_total"),
        }
    }
}

impl TrackingState {
    /// What a request comes to. Nothing is kept yet: [`TrackingState::settle`] does it.
    ///
    /// Links, pixels and the script are nearly all there is, so their way has no box in it.
    pub(in crate::web) async fn decode(
        &self,
        site: &ServedSite,
        head: &Head<'_>,
        body: Body,
    ) -> Outcome {
        let (kind, method) = (head.route.kind, &head.parts.method);
        let refused = || Outcome::Said {
            response: refuse_method(method, Some(HeaderValue::from_static(kind.methods()))),
            refused: Some("method not for this path"),
        };
        let (inbound, rules) = (head.inbound(), &self.rules);
        if !kind.takes(method) {
            // RFC 8058: a mailbox posts to the address of `List-Unsubscribe`, which may be a link.
            return match (kind, method == Method::POST) {
                (RouteKind::Link | RouteKind::Adobe, true) => {
                    let opt_out = Box::pin(self.opt_out_of_link(&inbound, kind)).await;
                    opt_out.map_or_else(refused, Outcome::Decoded)
                }
                _ => refused(),
            };
        }
        match kind {
            RouteKind::Unsubscribe { is_mautic } => {
                let opt_out = match is_mautic {
                    true => mautic::opt_out(&inbound, rules, inbound.rest),
                    false => unsubscribe::of_token(&inbound, rules),
                };
                unsubscribe::answer(&inbound, opt_out).into()
            }
            RouteKind::Link => self.follow_link(&inbound).await.into(),
            RouteKind::Open { is_mautic } => native::answer_open(&inbound, rules, is_mautic).into(),
            RouteKind::Pixel if method == Method::POST => {
                Box::pin(self.answer_beacon(&inbound, body)).await.into()
            }
            RouteKind::Pixel => native::answer_pixel(&inbound, rules).into(),
            RouteKind::Script => Outcome::Said {
                response: site.script.answer(inbound.headers),
                refused: None,
            },
            RouteKind::Adobe => Box::pin(self.answer_adobe(&inbound)).await.into(),
            RouteKind::Event => Box::pin(self.answer_event(site, &inbound, body)).await,
            RouteKind::Visitor => self.answer_visitor(site, &inbound).into(),
            RouteKind::Form => Box::pin(self.answer_form(&inbound, body)).await,
            RouteKind::FormView(view) => {
                let form = Box::pin(self.viewed_form(&head.route)).await;
                form::show(
                    &inbound,
                    view,
                    form.as_ref().map(|(id, form)| (*id, &**form)),
                )
                .into()
            }
            RouteKind::FormScript => Outcome::Said {
                response: site.form_script.answer(inbound.headers),
                refused: None,
            },
            RouteKind::Mapp(call) if method == Method::POST && call != mapp::Call::Optout => {
                Box::pin(self.take_batch(head, body)).await
            }
            RouteKind::Mapp(call) => mapp::answer(&inbound, rules, call).into(),
        }
    }

    /// Whether what a route means is ours: a page may ask for a form that only the old system has.
    pub(in crate::web) async fn has(&self, route: &Route<'_>) -> bool {
        match route.kind {
            RouteKind::FormView(_) => Box::pin(self.viewed_form(route)).await.is_some(),
            RouteKind::Form => match form::form_in_query(&route.query) {
                Some(id) => Box::pin(self.forms.get(id)).await.is_some(),
                // Its body says it.
                None => true,
            },
            _ => true,
        }
    }

    /// The form that a page asks for.
    async fn viewed_form(&self, route: &Route<'_>) -> Option<(FormId, Arc<Form>)> {
        let id = form::viewed(&route.rest, &route.query)?;
        Some((id, self.forms.get(id).await?))
    }

    /// `GET /r/<token or slug>`.
    async fn follow_link(&self, inbound: &Inbound<'_>) -> Decoded {
        let Some((name, following)) = native::read_link(inbound, &self.rules) else {
            return native::no_link(inbound, None);
        };
        match self.links.get(name).await {
            Some(link) => native::answer_click(inbound, &self.rules, &following, &link),
            None => native::no_link(inbound, Some(&following)),
        }
    }

    /// A POST to a link: an opt-out if the link is one.
    async fn opt_out_of_link(&self, inbound: &Inbound<'_>, kind: RouteKind) -> Option<Decoded> {
        let click = match kind {
            RouteKind::Adobe => self.answer_adobe(inbound).await,
            _ => self.follow_link(inbound).await,
        };
        unsubscribe::of_click(inbound, click)
    }

    /// `GET /r/?id=…`, `GET /r/<any>?tagid=…`, `GET /r/test`. An id that may be one of two numbers
    /// is looked up as both.
    async fn answer_adobe(&self, inbound: &Inbound<'_>) -> Decoded {
        let request = adobe::read(inbound);
        let adobe::Request::Message(claim) = &request else {
            return adobe::answer(inbound, &self.rules, &request);
        };
        let mut ids = claim.link_ids().peekable();
        if ids.peek().is_none() {
            return adobe::answer(inbound, &self.rules, &request);
        }
        let mut link = None;
        for id in ids {
            link = self.links.get(LinkName::Id(id)).await;
            if link.is_some() {
                break;
            }
        }
        adobe::answer_click(inbound, &self.rules, claim, link.as_deref())
    }

    /// `POST /mtracking.gif`, as beacons send it: the parameters may stand in the body too. A body
    /// that does not arrive, or is too long, is a page view all the same, with a note.
    async fn answer_beacon(&self, inbound: &Inbound<'_>, body: Body) -> Decoded {
        match read_whole(body, EVENT_BODY).await {
            Ok(body) => native::answer_pixel(&inbound.with(&body.bytes), &self.rules),
            Err(_) => {
                let mut decoded = native::answer_pixel(inbound, &self.rules);
                for hit in &mut decoded.hits {
                    hit.note("body not read");
                }
                decoded
            }
        }
    }

    /// `POST /mtc/event`, `GET` of it, and `OPTIONS` of it.
    async fn answer_event(&self, site: &ServedSite, inbound: &Inbound<'_>, body: Body) -> Outcome {
        if inbound.method == Method::OPTIONS {
            return preflight().into();
        }
        let body = match read_whole(body, EVENT_BODY).await {
            Ok(body) => body.bytes,
            Err(unread) => {
                let reply = Reply::Status(unread.status());
                return Decoded::of(reply, Vec::new()).into();
            }
        };
        if site.cors.permission(inbound.headers) == Permission::Refused {
            return native::refuse_origin().into();
        }
        native::answer_event(&inbound.with(&body), &self.rules).into()
    }

    /// `GET /mtc`, and `OPTIONS` of it. Never waits for the database.
    fn answer_visitor(&self, site: &ServedSite, inbound: &Inbound<'_>) -> Decoded {
        if inbound.method == Method::OPTIONS {
            return preflight();
        }
        let may_read = site.cors.permission(inbound.headers) != Permission::Refused;
        native::answer_visitor(inbound, &self.rules, may_read)
    }

    /// `POST /form/submit` and `/form/submit/ajax`, and `OPTIONS` of them. The definition comes
    /// from the local copy, so a submission is answered while the database is down.
    async fn answer_form(&self, inbound: &Inbound<'_>, body: Body) -> Outcome {
        let find = async |id| match id {
            Some(id) => self.forms.get(id).await,
            None => None,
        };
        if inbound.method == Method::OPTIONS {
            let form = find(form::form_in_query(inbound.query)).await;
            return form::permit(inbound, form.as_deref()).into();
        }
        let limits = Limits {
            bytes: form::most_bytes(inbound.headers),
            time: MOST_FORM_TIME,
            room: None,
        };
        let body = match read_whole(body, limits).await {
            Ok(body) => body.bytes,
            Err(Unread::TooLarge) => return form::refuse_too_large(inbound).into(),
            Err(unread) => return form::refuse_unread(inbound, unread.status()).into(),
        };
        let asked = match form::read(inbound, &body) {
            Ok(asked) => asked,
            Err(refused) => return refused.into(),
        };
        let form = find(asked.form).await;
        let answer = form::answer(inbound, &self.rules, &asked, form.as_deref());
        match form {
            Some(_) => answer.into(),
            None => Outcome::OfNobody {
                refusal: answer,
                body,
            },
        }
    }
}

/// What scripts of the configured origins may do.
fn preflight() -> Decoded {
    Decoded::of(Reply::Preflight(Readers::Sites), Vec::new())
}
