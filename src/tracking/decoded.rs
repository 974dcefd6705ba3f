//! What a dialect makes of a request, in one shape for all of them: the hits, the answer, the
//! cookies, and what was refused. All of it is plain data; `web/tracking/reply.rs` alone turns it
//! into HTTP.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::Value;

use super::session::SessionCookies;
use crate::model::hit::Hit;

/// What a dialect made of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// In the order of the request; their ids are nil.
    pub hits: Vec<Hit>,
    /// What the client gets once the hits are safe.
    pub reply: Reply,
    /// What the client gets instead where the hits could not be kept, if it can do something about
    /// it.
    pub if_lost: Option<Box<Reply>>,
    /// What the browser is to remember, whichever answer it gets.
    pub cookies: Cookies,
    /// Why the request, or what it says, is no hit; counted in `sillage_hits_refused_total`.
    pub refused: Option<&'static str>,
    /// The total that it counts in.
    pub counted: Counted,
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
        }
    }

    /// An answer that leaves no hit behind, and why.
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
    /// 204 to a browser that asks what a script may do.
    Preflight(Readers),
    /// A page of HTML.
    Page {
        /// 503 asks to send again.
        status: StatusCode,
        /// The whole page.
        html: String,
        /// What its `Content-Security-Policy` lets run.
        runs: Runs,
    },
    /// HTML that a script puts into its page, 200; runs nothing where it is opened by itself.
    Part(String, Readers),
    /// A script that pages of any site load, 200. Asked for each time, and sent where it has
    /// changed.
    Script(String),
    /// XML, 200.
    Xml(String),
    /// A status and nothing else.
    Status(StatusCode),
    /// 503 to a server that is to send its hits again.
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

/// Whose scripts may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Pages of the configured origins.
    Sites,
    /// Those, and the asking page where its form allows it to stand there.
    Form {
        /// Whether it does.
        is_own: bool,
    },
}

/// What the browser is to remember.
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
    /// How long it is kept: so many days, 0 takes it away; none: until the browser closes.
    pub days: Option<i64>,
    /// Whether scripts may read it.
    pub is_for_scripts: bool,
}

/// The totals that answers count in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// None of them.
    #[default]
    Nothing,
    /// A click that was answered: `sillage_redirects_total`.
    Redirect,
    /// What pages and apps sent, each hit: `sillage_collected_total`.
    Collected,
    /// A link that nobody knows: `sillage_unknown_links_total`.
    UnknownLink,
    /// A script of a site that may not read the answer: `sillage_refused_origins_total`.
    RefusedOrigin,
}
