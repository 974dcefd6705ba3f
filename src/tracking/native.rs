//! Our own vocabulary: signed links and open pixels, the parameters of the pixel and the script,
//! and the JSON of `POST /api/v1/hits`. Parameter names are Mautic's (`mtracking.gif`, `mtc/event`)
//! plus a few of our own.

mod body;
mod json;
mod link;
mod pixel;

#[cfg(test)]
pub(crate) use json::field_names;
pub use json::{FieldError, decode_json_hit};
pub use link::{answer_click, answer_open, no_link, read_link};
pub use pixel::{answer_event, answer_pixel, answer_visitor, collect, refuse_origin};

use super::inbound::Inbound;
use super::message::{message_hit, take_referrer};
use super::{MOST_PARAMETERS, Rules};
use crate::model::hit::{Hit, Kind};
use crate::model::link::{LinkRecord, LinkToken};

/// A click on a link. `token` is `None` for a slug.
pub fn click(
    inbound: &Inbound<'_>,
    rules: &Rules,
    link: &LinkRecord,
    token: Option<&LinkToken>,
) -> Hit {
    let mut hit = message_hit(inbound, rules, link.kind(), token);
    hit.link_id = Some(link.id);
    hit.delivery_id = hit.delivery_id.or(link.delivery_id);
    hit.page_url = hit.take_url("page_url", &link.url);
    take_referrer(&mut hit, inbound);
    hit.utm = link.utm.clone();
    for (index, (name, value)) in inbound.query_pairs().enumerate() {
        if index == MOST_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        hit.take_utm(&name, &value);
    }
    hit
}

/// A fetch of an open pixel.
pub fn open(inbound: &Inbound<'_>, rules: &Rules, token: &LinkToken) -> Hit {
    message_hit(inbound, rules, Kind::Open, Some(token))
}

#[cfg(test)]
pub(super) mod tests;
