//! Unsubscribing: a page with one button, and what a click on it, or a mailbox's own button (RFC
//! 8058), leaves behind.
//!
//! A GET changes nothing, since scanners follow every link. A POST is a person's: no scanner sends
//! one. Its hit is an opt-out with the event [`UNSUBSCRIBED`], and the projection notes it with the
//! contact where it is proved: by a token of ours, or by a name of the message that nobody can
//! guess, such as Mautic's tracking hash. Adobe's numbers are counted up, so an opt-out that only
//! has those is kept and changes nobody.
//!
//! Nothing of a request is shown on the page.

mod words;

use http::header::ACCEPT_LANGUAGE;
use http::{Method, StatusCode};

use self::words::Words;
use super::Rules;
use super::decoded::{Decoded, Reply, Runs};
use super::html_page::html_page;
use super::inbound::Inbound;
use super::message::message_hit;
use crate::identity::UNSUBSCRIBED;
use crate::model::hit::{Hit, Kind, Limit, Verdict};
use crate::model::link::LinkToken;

/// What the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Before the click.
    Ask,
    /// After it.
    Done,
    /// It could not be kept.
    Failed,
}

/// The opt-out of `/u/<token>`; `None` if the token is not ours.
pub fn of_token(inbound: &Inbound<'_>, rules: &Rules) -> Option<Hit> {
    let token = LinkToken::find(inbound.rest, &rules.keys)?;
    Some(message_hit(inbound, rules, Kind::Optout, Some(&token)))
}

/// The page, or the effect of its button. `hit` is the opt-out that the URL stands for.
pub fn answer(inbound: &Inbound<'_>, hit: Option<Hit>) -> Decoded {
    let Some(hit) = hit else {
        return Decoded::refused(Reply::NoPage(None), "unsubscribes from no message");
    };
    if *inbound.method == Method::POST {
        take(inbound, hit)
    } else {
        Decoded::of(page(inbound, Said::Ask), Vec::new())
    }
}

/// A POST to a link of category `optout`, on which a click would lead to the sender's own page;
/// `None` for any other link.
pub fn of_click(inbound: &Inbound<'_>, click: Decoded) -> Option<Decoded> {
    let hit = click.hits.into_iter().next()?;
    (hit.kind == Kind::Optout).then(|| take(inbound, hit))
}

/// Takes an opt-out.
fn take(inbound: &Inbound<'_>, mut hit: Hit) -> Decoded {
    hit.event = hit.take("event", UNSUBSCRIBED, Limit::NAME);
    // The mailbox's server posts in the reader's name, with whatever agent or none.
    hit.verdict = Verdict::Human;
    Decoded {
        if_lost: Some(Box::new(page(inbound, Said::Failed))),
        ..Decoded::of(page(inbound, Said::Done), vec![hit])
    }
}

fn page(inbound: &Inbound<'_>, said: Said) -> Reply {
    let accepted = inbound.header(ACCEPT_LANGUAGE);
    let words = words::of(accepted.as_deref().unwrap_or_default());
    let Words { button, .. } = words;
    let form = format!(
        "<form method=\"post\"><button name=\"List-Unsubscribe\" value=\"One-Click\">{button}</button>\
        </form>"
    );
    let (status, text, form) = match said {
        Said::Ask => (StatusCode::OK, words.ask, form),
        Said::Done => (StatusCode::OK, words.done, String::new()),
        Said::Failed => (StatusCode::SERVICE_UNAVAILABLE, words.failed, form),
    };
    let body = format!("<h1>{button}</h1><p>{text}</p>{form}");
    Reply::Page {
        status,
        html: html_page(words.language, button, &body),
        runs: Runs::Nothing,
    }
}
