//! Which tracking request an address means: nearly always the one that it says. The path is read
//! here and nowhere else; what it leaves to a dialect is [`Route::rest`]. Addresses that went
//! through other hands are understood in `odd`.

mod odd;

use std::borrow::Cow;

use http::{Method, Uri};

use super::mautic::form::View;
use super::{adobe, mapp};
use crate::model::hit::plain_query;
use crate::model::link::query_behind;
pub use crate::model::site::{EVENT, PIXEL, Paths, REDIRECT, SCRIPT};

/// Prefixes of Mautic's URLs: its front controllers, and the default directory of its packages.
pub const PREFIXES: [&str; 3] = ["/index.php", "/index_dev.php", "/mautic"];

/// Where the script asks for its visitor.
pub const VISITOR: &str = "/mtc";
/// Open pixels of our own mails, with everything below.
pub const OPEN: &str = "/o";
/// Open pixels of Mautic's mails, with everything below.
pub const MAUTIC_OPEN: &str = "/email";
/// Where recipients of our messages unsubscribe, with everything below.
pub const UNSUBSCRIBE: &str = "/u";
/// Forms are submitted below it.
pub const FORM: &str = "/form";
const SUBMIT: &str = "/form/submit";
/// The script that a page's forms need.
pub const FORM_SCRIPT: &str = "/media/js/mautic-form.js";
/// Links of Mautic's oldest mails.
pub const MAUTIC_REDIRECT: &str = "/redirect";
/// The two halves of the script since Mautic 7.2, which a page loads one after the other. Both are
/// ours: the second finds the first running and does nothing.
pub const ESSENTIAL_SCRIPT: &str = "/mautic-essential.js";
/// The other half.
pub const TRACKING_SCRIPT: &str = "/mautic-tracking.js";

/// What a tracking request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// A tracked link; the rest is its name.
    Link,
    /// An open pixel; the rest is its file's name.
    Open {
        /// Of one of Mautic's mails.
        is_mautic: bool,
    },
    /// The pixel.
    Pixel,
    /// The script itself.
    Script,
    /// What the script sends.
    Event,
    /// The script asks for its visitor.
    Visitor,
    /// A form is submitted; the rest is `/ajax` if a script does it.
    Form,
    /// A form is requested; the rest is its number, if the path has it.
    FormView(View),
    /// What forms work with.
    FormScript,
    /// A link, an open pixel or a page tag of Adobe's.
    Adobe,
    /// Unsubscribing: the page and its button; the rest is a token, or the hash of one of Mautic's
    /// messages.
    Unsubscribe {
        /// Of one of Mautic's mails.
        is_mautic: bool,
    },
    /// One of Mapp's calls; the rest is its track ids.
    Mapp(mapp::Call),
}

impl RouteKind {
    /// A name for the log: reveals nothing of the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Open { .. } => "open",
            Self::Pixel => "pixel",
            Self::Script => "script",
            Self::Event => "event",
            Self::Visitor => "visitor",
            Self::Form => "form",
            Self::FormView(_) => "form_view",
            Self::FormScript => "form_script",
            Self::Adobe => "adobe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Mapp(_) => "mapp",
        }
    }

    /// The methods that it takes, in the form of `Allow`.
    pub fn methods(self) -> &'static str {
        match self {
            Self::Link | Self::Open { .. } | Self::Script | Self::FormScript | Self::Adobe => {
                "GET,HEAD"
            }
            Self::FormView(_) => "GET,HEAD,OPTIONS",
            Self::Unsubscribe { .. } => "GET,HEAD,POST",
            // Mautic takes either at these: beacons post, and a script that may not falls back.
            Self::Pixel => "GET,HEAD,POST",
            Self::Event => "GET,POST,OPTIONS",
            Self::Form => "POST,OPTIONS",
            Self::Visitor => "GET,HEAD,POST,OPTIONS",
            Self::Mapp(mapp::Call::Hit | mapp::Call::Optout) => "GET,HEAD,POST",
            Self::Mapp(mapp::Call::Batch) => "POST",
            Self::Mapp(mapp::Call::Redirect) => "GET,HEAD",
        }
    }

    /// Whether it takes a method.
    pub fn takes(self, method: &Method) -> bool {
        let mut methods = self.methods().split(',');
        methods.any(|known| known == method.as_str())
    }
}

/// A tracking request as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'u> {
    /// What it is.
    pub kind: RouteKind,
    /// The part of the path that belongs to the dialect: a link's name, a message's file, Mapp's
    /// track ids.
    pub rest: Cow<'u, str>,
    /// Raw, with plain ampersands where HTML has escaped them.
    pub query: Cow<'u, str>,
    /// Text after the URL was cut away.
    pub is_repaired: bool,
}

impl Route<'_> {
    /// An owned copy, for a request that another thread reads.
    pub fn into_owned(self) -> Route<'static> {
        Route {
            rest: self.rest.into_owned().into(),
            query: self.query.into_owned().into(),
            ..self
        }
    }
}

impl Paths {
    /// The tracking request of a URL; `None` if it is something else.
    pub fn route<'u>(&self, uri: &'u Uri) -> Option<Route<'u>> {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let (path, query) = match memchr::memchr(b'&', path.as_bytes()) {
            None => (path, plain_query(query)),
            Some(at) => match plain_query(query) {
                Cow::Borrowed(query) => (&path[..at], query_behind(&path[at..], query)),
                Cow::Owned(query) => {
                    let query = query_behind(&path[at..], &query).into_owned();
                    (&path[..at], Cow::Owned(query))
                }
            },
        };
        let Some((kind, rest)) = self.read(path, &query) else {
            return self.route_of_odd(path, query);
        };
        Some(Route {
            kind,
            rest: Cow::Borrowed(rest),
            query,
            is_repaired: false,
        })
    }

    /// What a path means as it stands, and the rest for the dialect.
    fn read<'p>(&self, path: &'p str, query: &str) -> Option<(RouteKind, &'p str)> {
        let below = |prefix: &str| {
            path.strip_prefix(prefix)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(rest) = below(&self.redirect).or_else(|| below(REDIRECT)) {
            return Some(match adobe::recognises(rest, query) {
                true => (RouteKind::Adobe, rest),
                false => (RouteKind::Link, rest.trim_matches('/')),
            });
        }
        if let Some(id) = below(MAUTIC_REDIRECT).filter(|id| id.len() > 1) {
            return Some((RouteKind::Link, id.trim_matches('/')));
        }
        if let Some(rest) = below(UNSUBSCRIBE).filter(|rest| rest.len() > 1) {
            let is_mautic = false;
            return Some((RouteKind::Unsubscribe { is_mautic }, rest.trim_matches('/')));
        }
        if let Some(rest) = below(MAUTIC_OPEN)
            && let Some((page, rest)) = rest.trim_matches('/').split_once('/')
            && !page.contains('.')
        {
            let is_mautic = true;
            let hash = rest.split('/').next().unwrap_or_default();
            // Its other pages (`view`, `preview`, `resubscribe`) are its own.
            return matches!(page, "unsubscribe" | "unsubscribe_all" | "dnc")
                .then_some((RouteKind::Unsubscribe { is_mautic }, hash));
        }
        for (prefix, is_mautic) in [(OPEN, false), (MAUTIC_OPEN, true)] {
            if let Some(rest) = below(prefix).filter(|rest| !rest.is_empty()) {
                let file = rest.trim_end_matches('/').rsplit('/').next();
                return Some((RouteKind::Open { is_mautic }, file.unwrap_or_default()));
            }
        }
        if let Some(rest) = below(SUBMIT).filter(|rest| matches!(*rest, "" | "/ajax")) {
            return Some((RouteKind::Form, rest));
        }
        if let Some((view, id)) = below(FORM).and_then(View::read) {
            return Some((RouteKind::FormView(view), id));
        }
        let kind = match path {
            _ if path == self.pixel || path == PIXEL => RouteKind::Pixel,
            _ if path == self.event || path == EVENT => RouteKind::Event,
            _ if path == self.script || path == SCRIPT => RouteKind::Script,
            ESSENTIAL_SCRIPT | TRACKING_SCRIPT => RouteKind::Script,
            VISITOR => RouteKind::Visitor,
            FORM_SCRIPT => RouteKind::FormScript,
            _ => {
                let (sites, call) = mapp::read_path(path, &self.mapp)?;
                return Some((RouteKind::Mapp(call), sites));
            }
        };
        Some((kind, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::mapp::Call;

    fn read(paths: &Paths, target: &str) -> Option<(RouteKind, String, String, bool)> {
        let uri: Uri = target.parse().unwrap();
        let route = paths.route(&uri)?;
        let Route {
            kind,
            rest,
            query,
            is_repaired,
        } = route;
        Some((kind, rest.into_owned(), query.into_owned(), is_repaired))
    }

    #[test]
    fn a_path_is_read_once_and_leaves_the_rest_to_its_dialect() {
        let own = Paths {
            redirect: "/news/go".to_owned(),
            event: "/shop/mtc/event".to_owned(),
            mapp: "/m".to_owned(),
            ..Paths::default()
        };
        let open = |is_mautic| RouteKind::Open { is_mautic };
        let unsubscribe = |is_mautic| RouteKind::Unsubscribe { is_mautic };
        for (target, kind, rest) in [
            ("/r/abc", RouteKind::Link, "abc"),
            ("/news/go/abc/", RouteKind::Link, "abc"),
            ("/r", RouteKind::Link, ""),
            ("/mautic//r/abc", RouteKind::Link, "abc"),
            ("/%72/abc", RouteKind::Link, "abc"),
            ("/r/?id=h1,2,3", RouteKind::Adobe, "/"),
            ("/r/test", RouteKind::Adobe, "/test"),
            ("/o/abc.gif", open(false), "abc.gif"),
            ("/o/", open(false), ""),
            ("/u/abc", unsubscribe(false), "abc"),
            ("/R/ABC", RouteKind::Link, "ABC"),
            ("/NEWS/GO/ABC", RouteKind::Link, "ABC"),
            ("/O/ABC.GIF", open(false), "ABC.GIF"),
            ("/U/ABC", unsubscribe(false), "ABC"),
            ("/email/unsubscribe/abc/a%40x/f00", unsubscribe(true), "abc"),
            ("/index.php/email/dnc/abc", unsubscribe(true), "abc"),
            ("/index.php/email/abc.gif", open(true), "abc.gif"),
            ("/mtracking.gif", RouteKind::Pixel, ""),
            ("/shop/mtc/event", RouteKind::Event, ""),
            ("/shop/mtc", RouteKind::Visitor, ""),
            ("/mtc/event", RouteKind::Event, ""),
            ("/mtc.js", RouteKind::Script, ""),
            ("/mautic-essential.js", RouteKind::Script, ""),
            (
                "/mautic/index.php/mautic-tracking.js",
                RouteKind::Script,
                "",
            ),
            ("/redirect/abc", RouteKind::Link, "abc"),
            ("/form/submit", RouteKind::Form, ""),
            ("/form/submit/ajax", RouteKind::Form, "/ajax"),
            ("/form/3", RouteKind::FormView(View::Page), "3"),
            ("/form/3/", RouteKind::FormView(View::Page), "3"),
            ("/form", RouteKind::FormView(View::Page), ""),
            ("/form/embed/3", RouteKind::FormView(View::Part), "3"),
            (
                "/mautic/index.php/form/generate.js",
                RouteKind::FormView(View::Script),
                "",
            ),
            (
                "/index.php/media/js/mautic-form.js",
                RouteKind::FormScript,
                "",
            ),
            ("/m", RouteKind::Mapp(Call::Hit), ""),
            ("/1,2/wt.pl", RouteKind::Mapp(Call::Hit), "1,2"),
            ("/1/batch", RouteKind::Mapp(Call::Batch), "1"),
        ] {
            let (read_kind, read_rest, _, _) = read(&own, target).unwrap();
            assert_eq!((read_kind, read_rest.as_str()), (kind, rest), "{target}");
        }
        for target in [
            "/",
            "/o",
            "/email",
            "/rx",
            "/form/submit/x",
            "/form/message",
            "/form/3x",
            "/form/-3",
            "/form/3/4",
            "/form/embed",
            "/form/embed/x",
            "/media/js/mautic-form-src.js",
            "/x/y/batch",
            "/email/view/abc/",
            "/email/resubscribe/abc",
            "/u",
            "/u/",
            "/mtc/x",
        ] {
            assert_eq!(read(&own, target), None, "{target}");
        }
    }

    #[test]
    fn text_behind_the_pixel_and_parameters_without_a_question_mark_are_understood() {
        let paths = Paths::default();
        let query = |target| read(&paths, target).map(|(_, _, query, cut)| (query, cut));
        let found = |query: &str, cut| Some((query.to_owned(), cut));
        assert_eq!(query("/r/x&utm_source=a"), found("utm_source=a", false));
        assert_eq!(query("/r/x&a=1?b=2"), found("a=1&b=2", false));
        assert_eq!(query("/mtracking.gif)"), found("", true));
        assert_eq!(query("/mtracking.gif%3Fa=1"), found("a=1", true));
        assert_eq!(query("/mtracking.gifs"), None);
    }
}
