//! What answers tracking requests.

pub(in crate::web) mod adobe;
pub(in crate::web) mod client_ip;
pub(in crate::web) mod collect;
mod cookies;
mod cors;
pub(in crate::web) mod form;
pub(in crate::web) mod mapp;
mod outcome;
pub(in crate::web) mod redirect;
mod route;
pub(in crate::web) mod script;

pub use cookies::CookieMaker;
pub use cors::Cors;
pub use script::Script;

pub(in crate::web) use outcome::Outcome;
pub(in crate::web) use route::Route;

use super::{App, EMBEDDABLE, Tracking, Visit, error, hide, page};
