//! What a dialect makes of a request, in one shape for all of them: the hits, the answer, the
//! cookies, and what was refused. All of it is plain data; `web/tracking/reply.rs` alone turns it
//! into HTTP.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::Value;

use super::session::SessionCookies;
use crate::model::hit::Hit;
use crate::model::orphan::{Orphan, OrphanKind};

/// What a dialect makes of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// In the order of the request; their ids are nil.
    pub hits: Vec<Hit>,
    /// The response once the hits are safe.
    pub reply: Reply,
    /// The response if the hits could not be kept and the client can do something about it.
    pub if_lost: Option<Box<Reply>>,
    /// What the browser should remember, whichever response it gets.
    pub cookies: Cookies,
    /// Why the request, or part of it, is not a hit; counted in `sillage_hits_refused_total`.
    pub refused: Option<&'static str>,
    /// The total that it counts in.
    pub counted: Counted,
    /// What was asked for and is not there.
    pub orphan: Option<Box<Orphan>>,
}

impl Decoded {
    /// An answer with its hits.
    pub fn of(reply: Reply, hits: Vec<Hit>) -> Self {
        Self {
            hits,
            reply,
            if_lost: None,
            cookies: Cookies::default(),
            refused: None,
            counted: Counted::Nothing,
            orphan: None,
        }
    }

    /// A response that leaves no hit, and why.
    pub fn refused(reply: Reply, why: &'static str) -> Self {
        Self {
            refused: Some(why),
            ..Self::of(reply, Vec::new())
        }
    }

    /// The same, in a total.
    pub fn counted(self, counted: Counted) -> Self {
        Self { counted, ..self }
    }

    /// The same, where an id was asked for that nothing has.
    pub fn orphan(self, kind: OrphanKind, id: &str) -> Self {
        Self {
            orphan: Some(Box::new(Orphan::new(kind, id))),
            ..self
        }
    }
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The 1x1 GIF, always 200.
    Gif,
    /// 302 to this address.
    Redirect(String),
    /// The link leads nowhere: the operator's fallback, else 404 with this page, else with ours.
    NoPage(Option<String>),
    /// JSON for a script.
    Json(StatusCode, Value, Readers),
    /// 204, telling a browser what a script may do.
    Preflight(Readers),
    /// A page of HTML.
    Page {
        /// 503 asks to send again.
        status: StatusCode,
        /// The whole page.
        html: String,
        /// What its `Content-Security-Policy` allows to run.
        runs: Runs,
    },
    /// HTML that a script inserts into its page, 200; runs nothing if it is opened by itself.
    Part(String, Readers),
    /// A script that pages of any site load, 200. Revalidated each time.
    Script(String),
    /// XML, 200.
    Xml(String),
    /// A status and nothing else.
    Status(StatusCode),
    /// 503 to a server that should send its hits again.
    NotStored,
}

/// The scripts of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// None.
    Nothing,
    /// Files of this server.
    OwnFiles,
    /// What stands in it.
    Inline,
}

/// Whose scripts may read a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Pages of the configured origins.
    Sites,
    /// Those, and the asking page if the form allows it there.
    Form {
        /// Whether it does.
        is_own: bool,
    },
}

/// What the browser should remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookies {
    /// The click that began a session.
    pub session: Option<SessionCookies>,
    /// The visitor, for a year.
    pub visitor: Option<String>,
    /// The delivery that was clicked last, for a year.
    pub last_delivery: Option<String>,
    /// A vendor's own.
    pub own: Vec<OwnCookie>,
}

/// A cookie of a vendor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCookie {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value, which the dialect has made safe for a header.
    pub value: String,
    /// How long it is kept: this many days, 0 removes it; `None` means until the browser closes.
    pub days: Option<i64>,
    /// Whether scripts may read it.
    pub is_for_scripts: bool,
}

/// The totals that responses count in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// None of them.
    #[default]
    Nothing,
    /// A click that was answered: `sillage_redirects_total`.
    Redirect,
    /// What pages and apps sent, each hit: `sillage_collected_total`.
    Collected,
    /// An unknown link: `sillage_unknown_links_total`.
    UnknownLink,
    /// A script of a site that may not read the response: `sillage_refused_origins_total`.
    RefusedOrigin,
}
