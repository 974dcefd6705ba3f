//! Identity: whose a hit is, who gets a message, which contact a row of an import means, and what
//! each of them changes about people.
//!
//! A pure function over what is `known`. Whatever names a person becomes `Evidence`; the
//! `Resolver` takes it in order of arrival, returns a `Finding` for each and collects the
//! `Changes`. It edits nothing that it is given: the projection writes a finding into its hit,
//! messages and imports take the contact.
//!
//! Whose it is, in this order: a contact named by an authenticated sender; the signed message in
//! the link; the recipient that a page tag names; a unique field, where the configuration lets the
//! public name it; the session of an earlier click, or the unsigned message of a vendor's link;
//! what is known of the visitor. What may then be changed is another question: [`rights`] answers
//! it in one table, by the best [`Standing`](rights::Standing) that names this very person.
//!
//! Promises: an anonymous visitor makes no contact; nobody writes into another's record, and what
//! is not proved never changes what is (a browser known as A that names B's value becomes B from
//! that hit on, and stays a claim); only an authenticated call merges two contacts. What may not be
//! written is left over, with a note.

mod draft;
mod evidence;
mod known;
mod lookup;
mod opt_out;
mod resolver;
pub mod rights;
mod unique;

pub(crate) use draft::Draft;
pub(crate) use evidence::{Evidence, Finding};
pub(crate) use known::{Binding, Changes, Contact, Known, UniqueKey};
pub(crate) use lookup::{Lookup, contacts_to_load};
pub(crate) use opt_out::{UNSUBSCRIBED, is_proved_opt_out};
pub(crate) use resolver::Resolver;
pub(crate) use unique::{
    UniqueError, check_fields, is_address, is_address_field, is_placeholder, is_unfilled,
    normalise, refusal,
};

#[cfg(test)]
mod tests;
