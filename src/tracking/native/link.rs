//! `/r/<token or slug>`, `/o/<token>.gif` and `/email/<hash>.gif`, with what mail programs have
//! made of them: a reader who clicks gets to the page.
//!
//! A link has two steps: [`read_link`] says what to look up, [`answer_click`] answers with what was
//! found.

use std::borrow::Cow;

use super::{click, open};
use crate::model::link::{self, LinkName, LinkRecord, LinkToken};
use crate::model::orphan::OrphanKind;
use crate::tracking::click::{Brought, lead};
use crate::tracking::decoded::{Counted, Decoded, Reply};
use crate::tracking::inbound::Inbound;
use crate::tracking::message::REPAIRED;
use crate::tracking::{Rules, mautic};

/// The end of an open pixel's URL.
const GIF_SUFFIX: &str = ".gif";
/// Longest slug.
const MOST_SLUG: usize = 100;

/// A click whose link has yet to be looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Following<'a> {
    token: Option<LinkToken>,
    is_mautic: bool,
    query: Cow<'a, str>,
    is_repaired: bool,
}

/// The link that a request follows; `None` if there cannot be such a link.
pub fn read_link<'a>(inbound: &Inbound<'a>, rules: &Rules) -> Option<(LinkName, Following<'a>)> {
    let name = inbound.rest;
    if link::is_whole_name(name) {
        return follow(name, Cow::Borrowed(inbound.query), false, rules);
    }
    // No link has another character in its name, so there is nothing to look up as it stands.
    let repaired = link::repair_name(name)?;
    let is_proved =
        |name: &str| mautic::is_redirect_id(name) || LinkToken::decode(name, &rules.keys).is_some();
    let name = match !is_proved(&repaired.name) && is_proved(&repaired.joined) {
        true => &repaired.joined,
        false => &repaired.name,
    };
    let query = match repaired.behind.starts_with(['?', '&']) {
        true => Cow::Owned(link::query_behind(&repaired.behind, inbound.query).into_owned()),
        false => Cow::Borrowed(inbound.query),
    };
    follow(name, query, true, rules)
}

fn follow<'a>(
    name: &str,
    query: Cow<'a, str>,
    is_repaired: bool,
    rules: &Rules,
) -> Option<(LinkName, Following<'a>)> {
    let token = LinkToken::decode(name, &rules.keys);
    let is_mautic = mautic::is_redirect_id(name);
    let name = match token {
        Some(LinkToken {
            link_id: Some(id), ..
        }) => LinkName::Id(id),
        None if is_mautic => LinkName::Slug(name.to_ascii_lowercase().into()),
        None if !name.is_empty() && name.len() <= MOST_SLUG => LinkName::Slug(name.into()),
        _ => return None,
    };
    let following = Following {
        token,
        is_mautic,
        query,
        is_repaired,
    };
    Some((name, following))
}

/// Answers a click on a link that was found.
pub fn answer_click(
    inbound: &Inbound<'_>,
    rules: &Rules,
    following: &Following<'_>,
    link: &LinkRecord,
) -> Decoded {
    let repaired;
    let inbound = if following.is_repaired {
        repaired = inbound.repaired(&following.query);
        &repaired
    } else {
        inbound
    };
    let mut hit = click(inbound, rules, link, following.token.as_ref());
    if inbound.is_repaired {
        hit.note(REPAIRED);
    }
    let query = if following.is_mautic {
        mautic::take_click(&mut hit, inbound.query)
    } else {
        Cow::Borrowed(inbound.query)
    };
    let brought = Brought::of(link, query);
    lead(inbound, rules, link, &brought, hit, |_| Reply::NoPage(None))
}

/// Answers a click on an unknown link; `following` is what it said, if there can be such a link.
pub fn no_link(inbound: &Inbound<'_>, following: Option<&Following<'_>>) -> Decoded {
    let signed = following
        .and_then(|following| following.token.as_ref())
        .and_then(|token| token.link_id);
    let decoded = Decoded::of(Reply::NoPage(None), Vec::new()).counted(Counted::UnknownLink);
    match (signed, LinkToken::claimed(inbound.rest)) {
        (Some(id), _) => decoded.orphan(OrphanKind::Link, &id.to_string()),
        (None, Some(token)) => decoded.orphan(OrphanKind::Token, &named_link(&token)),
        (None, None) => decoded.orphan(OrphanKind::Link, inbound.rest),
    }
}

/// The link that a token names; 0 for a pixel's.
fn named_link(token: &LinkToken) -> String {
    token.link_id.map_or(0, |id| id.0).to_string()
}

/// Answers the fetch of an open pixel, always with the GIF: an open where the token is ours or
/// could be the hash of a message that Mautic sent: whether it is one, the projection finds out.
pub fn answer_open(inbound: &Inbound<'_>, rules: &Rules, is_mautic: bool) -> Decoded {
    let file = inbound.rest;
    let end = file.len().saturating_sub(GIF_SUFFIX.len());
    let has_suffix = file
        .get(end..)
        .is_some_and(|end| end.eq_ignore_ascii_case(GIF_SUFFIX));
    let stem = has_suffix.then(|| &file[..end]);
    // Without the suffix `/o/` is ours too; Mautic's pages for readers (`/email/view/…`,
    // `/email/unsubscribe/…`) stay with Mautic.
    let whole = stem.or(Some(file).filter(|_| !is_mautic));
    if let Some(name) = whole.filter(|name| link::is_whole_name(name)) {
        return open_named(inbound, rules, is_mautic, name);
    }
    let repaired = link::repair_name(stem.unwrap_or(file));
    let name = match &repaired {
        Some(repaired) if repaired.behind.starts_with(GIF_SUFFIX) => &repaired.name,
        // Where the suffix stands behind it, the name ends there, whatever a mail program has put
        // into it.
        Some(repaired) if stem.is_some() => &repaired.joined,
        Some(repaired) if !is_mautic => &repaired.name,
        None if stem.is_some() || !is_mautic => "",
        _ => return no_open(file),
    };
    open_named(&inbound.repaired(inbound.query), rules, is_mautic, name)
}

/// Answers what is no pixel.
fn no_open(file: &str) -> Decoded {
    Decoded::of(Reply::NoPage(None), Vec::new())
        .counted(Counted::UnknownLink)
        .orphan(OrphanKind::Open, file)
}

/// An open of the message with this token or tracking hash.
fn open_named(inbound: &Inbound<'_>, rules: &Rules, is_mautic: bool, name: &str) -> Decoded {
    let hit = match LinkToken::decode(name, &rules.keys) {
        Some(token) if token.link_id.is_none() => Some(open(inbound, rules, &token)),
        _ if is_mautic => match mautic::open(inbound, rules, name) {
            Some(hit) => Some(hit),
            None => return Decoded::refused(Reply::Gif, "no tracking hash"),
        },
        _ => None,
    };
    let Some(mut hit) = hit else {
        let decoded = Decoded::of(Reply::Gif, Vec::new()).counted(Counted::UnknownLink);
        return match LinkToken::claimed(name) {
            Some(token) => decoded.orphan(OrphanKind::Token, &named_link(&token)),
            None => decoded.orphan(OrphanKind::Open, name),
        };
    };
    if inbound.is_repaired {
        hit.note(REPAIRED);
    }
    Decoded::of(Reply::Gif, vec![hit])
}
