//! Which opt-out is written down with a contact.
//!
//! It changes what a sender may do, so it has to be the person's own: what only names a message by a
//! number that can be counted up is kept as a hit and changes nobody.

use crate::model::hit::{Authority, Hit, Kind, Provenance};

/// The event of an opt-out that a person has sent, and not only clicked on the way to a page.
pub(crate) const UNSUBSCRIBED: &str = "unsubscribed";

/// Whether a hit is a person's opt-out, and proved to be: an authenticated sender says it, or its
/// message is named by our own token or by a name that nobody can guess.
pub(crate) fn is_proved_opt_out(hit: &Hit) -> bool {
    // Names are hashes of Mautic's or UUIDs of Adobe's, not numbers.
    let has_unguessable_name = hit.message_key().is_some();
    hit.kind == Kind::Optout
        && hit.event.as_deref() == Some(UNSUBSCRIBED)
        && (hit.authority == Authority::Authenticated
            || hit.provenance == Provenance::Link
            || has_unguessable_name)
}
