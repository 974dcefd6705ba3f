//! Unsubscribing: a page with one button, and what a click on it, or a mailbox's own button (RFC
//! 8058), leaves behind.
//!
//! A GET changes nothing, since scanners follow every link. A POST is a person's: no scanner sends
//! one. Its hit is an opt-out with the event [`UNSUBSCRIBED`], and the projection notes it with the
//! contact where it is proved: by a token of ours, or by a name of the message that nobody can guess,
//! such as Mautic's tracking hash. Adobe's numbers are counted up, so an opt-out that only has those
//! is kept and changes nobody.
//!
//! Nothing of a request is shown on the page.

mod words;

use http::header::ACCEPT_LANGUAGE;
use http::{Method, StatusCode};

use self::words::Words;
use super::Rules;
use super::decoded::{Cookies, Decoded, Reply};
use super::inbound::Inbound;
use super::message::message_hit;
use crate::model::hit::{Authority, Hit, Kind, Limit, Provenance, Verdict};
use crate::model::link::LinkToken;

/// The event of an opt-out that a person has sent, and not only clicked on the way to a page.
pub const UNSUBSCRIBED: &str = "unsubscribed";

/// The opt-out of `/u/<token>`; none where the token is not ours.
pub fn of_token(inbound: &Inbound<'_>, rules: &Rules) -> Option<Hit> {
    let token = LinkToken::decode(inbound.rest, &rules.keys)?;
    Some(message_hit(inbound, rules, Kind::Optout, Some(&token)))
}

/// The page, or what its button does. `hit` is the opt-out that the address stands for.
pub fn answer(inbound: &Inbound<'_>, hit: Option<Hit>) -> Decoded {
    let Some(hit) = hit else {
        return Decoded::refused(Reply::NoPage(None), "unsubscribes from no message");
    };
    match *inbound.method == Method::POST {
        true => take(inbound, hit),
        false => Decoded::of(page(inbound, StatusCode::OK, |words| words.ask), Vec::new()),
    }
}

/// A POST to a link of category `optout`, whose click would lead to the sender's own page; none
/// where the link is another.
pub fn of_click(inbound: &Inbound<'_>, click: Decoded) -> Option<Decoded> {
    let hit = click.hits.into_iter().next()?;
    (hit.kind == Kind::Optout).then(|| take(inbound, hit))
}

/// Takes an opt-out.
fn take(inbound: &Inbound<'_>, mut hit: Hit) -> Decoded {
    hit.kind = Kind::Optout;
    hit.event = hit.take("event", UNSUBSCRIBED, Limit::NAME);
    // The mailbox's server posts in the reader's name, with whatever agent or none.
    hit.verdict = Verdict::Human;
    let lost = page(inbound, StatusCode::SERVICE_UNAVAILABLE, |words| {
        words.failed
    });
    Decoded {
        if_lost: Some(Box::new(lost)),
        cookies: Cookies::default(),
        ..Decoded::of(page(inbound, StatusCode::OK, |words| words.done), vec![hit])
    }
}

/// Whether an opt-out is proved to be the person's own.
pub fn is_proved(hit: &Hit) -> bool {
    let is_said = hit.kind == Kind::Optout && hit.event.as_deref() == Some(UNSUBSCRIBED);
    // Names are hashes of Mautic's or UUIDs of Adobe's, not numbers.
    let has_unguessable_name = hit.message_key().is_some();
    is_said
        && (hit.authority == Authority::Authenticated
            || hit.provenance == Provenance::Link
            || has_unguessable_name)
}

fn page(inbound: &Inbound<'_>, status: StatusCode, say: impl Fn(&Words) -> &'static str) -> Reply {
    let accepted = inbound.header(ACCEPT_LANGUAGE);
    let words = words::of(accepted.as_deref().unwrap_or_default());
    let text = say(words);
    let button = match text == words.ask || text == words.failed {
        true => format!(
            "<form method=\"post\"><button name=\"List-Unsubscribe\" value=\"One-Click\">{}</button></form>",
            words.button
        ),
        false => String::new(),
    };
    Reply::Page {
        status,
        html: format!(
            "<!doctype html><html lang=\"{}\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
            content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
            <title>{title}</title><style>body{{font:1.1rem/1.5 system-ui;margin:15vh auto;\
            max-width:30rem;padding:0 1rem}}button{{font:inherit;padding:.6rem 1.2rem;\
            border:1px solid;border-radius:.4rem;cursor:pointer}}</style>\
            <h1>{title}</h1><p>{text}</p>{button}</html>",
            words.language,
            title = words.button,
        ),
        is_sealed: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_in_the_readers_language() {
        for (accepted, language) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de"),
            ("ja,fr;q=0.5,de;q=0.4", "fr"),
            ("en;q=0.1,pt-BR", "pt"),
            ("xx", "en"),
            ("", "en"),
            ("de;q=0,es;q=x", "es"),
            ("*", "en"),
        ] {
            assert_eq!(words::of(accepted).language, language, "{accepted}");
        }
    }
}
