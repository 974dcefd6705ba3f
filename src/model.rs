//! What everything else speaks of: plain values and their rules. No input or output.

pub mod clock;
pub mod draft;
pub mod form;
pub mod hit;
pub mod host_pattern;
pub mod keys;
pub mod link;
pub mod money;
pub mod secret;
pub mod text;
