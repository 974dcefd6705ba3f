//! What all pages have in common: their frame, their headers, and the page that says why there is
//! no other.

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use tower_http::csrf::ProtectionError;

use super::gate::Who;
use crate::model::access::Need;
use crate::web::api::{OPERATE, READ_CONTACTS, READ_HITS, READ_LINKS, READ_REPORTS};
use crate::web::error::Problem;

/// Loads our own files and nothing else, runs nothing that stands in a page, and no site may frame
/// one.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
static OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A part of the console, as the head of each page names it.
struct Section {
    name: &'static str,
    path: &'static str,
    need: Need,
}

const SECTIONS: [Section; 7] = [
    Section {
        name: "Deliveries",
        path: "/console/",
        need: READ_LINKS,
    },
    Section {
        name: "Website",
        path: "/console/website",
        need: READ_REPORTS,
    },
    Section {
        name: "Hits",
        path: "/console/hits",
        need: READ_HITS,
    },
    Section {
        name: "Contacts",
        path: "/console/contacts",
        need: READ_CONTACTS,
    },
    Section {
        name: "Links",
        path: "/console/links",
        need: READ_LINKS,
    },
    Section {
        name: "Inspector",
        path: "/console/inspector",
        need: OPERATE,
    },
    Section {
        name: "Operation",
        path: "/console/operation",
        need: OPERATE,
    },
];

/// What stands around a page's contents.
pub(super) struct Frame {
    pub(super) title: String,
    /// Who looks; nobody before they have signed in.
    pub(super) who: Option<String>,
    /// Where they may go.
    pub(super) sections: Vec<Place>,
}

/// A section that the reader may go to.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) is_here: bool,
}

impl Frame {
    /// Of a page in a section.
    pub(super) fn new(who: &Who, section: &str, title: impl Into<String>) -> Self {
        let sections = SECTIONS.iter().filter(|section| who.may(section.need));
        Self {
            title: title.into(),
            who: Some(who.name.clone()),
            sections: sections
                .map(|known| Place {
                    name: known.name,
                    path: known.path,
                    is_here: known.name == section,
                })
                .collect(),
        }
    }

    /// Of a page for somebody who has not signed in.
    pub(super) fn closed(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            who: None,
            sections: Vec::new(),
        }
    }
}

/// A page's HTML.
pub(super) fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the console cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Problem,
    who: Option<Who>,
}

impl Failure {
    /// With a status and a sentence.
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Problem::new(status, why).into()
    }

    /// There is no such thing.
    pub(super) fn nothing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// The same with the way to other pages.
    pub(super) fn seen_by(self, who: &Who) -> Self {
        Self {
            who: Some(who.clone()),
            ..self
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, who: None }
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        Problem::database(&error).into()
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'p> {
    frame: Frame,
    why: &'p str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, why) = self.problem.told();
        let title = match status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "Not for you",
            StatusCode::SERVICE_UNAVAILABLE => "Not now",
            _ => "That did not work",
        };
        let frame = match &self.who {
            Some(who) => Frame::new(who, "", title),
            None => Frame::closed(title),
        };
        let mut response = show(status, &FailurePage { frame, why });
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// The answer to a form that another site's page sent.
pub(super) fn refuse_stranger(_: ProtectionError) -> Response {
    let why = "the request comes from a page of another site";
    Failure::new(StatusCode::FORBIDDEN, why).into_response()
}

/// Adds the headers of all pages.
pub(super) async fn seal(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed: [(&HeaderName, &'static str); 6] = [
        (&CONTENT_SECURITY_POLICY, POLICY),
        (&REFERRER_POLICY, "no-referrer"),
        (&X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (&X_ROBOTS_TAG, "noindex"),
        (&OPENER_POLICY, "same-origin"),
        (&RESOURCE_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is shown is the reader's alone.
    let unless_said = headers.entry(CACHE_CONTROL);
    unless_said.or_insert(HeaderValue::from_static("no-store"));
    response
}
