//! Which opt-outs are recorded on a contact.
//!
//! An opt-out changes what a sender may do, so it must come from the person. A request that
//! identifies a message only by a number that can be guessed is kept as a hit and changes no
//! contact.

use crate::model::hit::{Authority, Hit, Kind, Provenance};

/// The event of an opt-out that a person sent, rather than a click on the way to a page.
pub(crate) const UNSUBSCRIBED: &str = "unsubscribed";

/// Whether a hit is a person's opt-out with proof: an authenticated sender says so, or its message
/// is identified by our own token or by an unguessable name.
pub(crate) fn is_proved_opt_out(hit: &Hit) -> bool {
    // Names are hashes of Mautic's or UUIDs of Adobe's, not numbers.
    let has_unguessable_name = hit.message_key().is_some();
    hit.kind == Kind::Optout
        && hit.event.as_deref() == Some(UNSUBSCRIBED)
        && (hit.authority == Authority::Authenticated
            || hit.provenance == Provenance::Link
            || has_unguessable_name)
}
