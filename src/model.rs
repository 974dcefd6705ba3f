//! Plain values and their rules, which all other modules use. No input or output.

pub mod access;
pub mod clock;
pub mod draft;
pub mod escape;
pub mod form;
pub mod hint;
pub mod hit;
pub mod host_pattern;
pub mod keys;
pub mod link;
pub mod money;
pub mod orphan;
pub mod period;
pub mod public_address;
pub mod retry;
pub mod secret;
pub mod site;
pub mod text;
pub mod webhook;
pub(crate) mod wire;
