//! Dialects: each turns a request of its vendor's protocol into hits and names the answer. Pure functions: no I/O, no
//! clock, no ids (the server fills in [`crate::hit::HitId`] and a new visitor afterwards), so a recorded request is a whole test.

pub mod judge;
pub mod native;

use crate::hit::Hit;
use crate::link::Keys;

/// What a dialect made of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// In the order of the request; ids are nil.
    pub hits: Vec<Hit>,
    /// What the client is to get.
    pub reply: Reply,
}

/// What the client is to get once the hits are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The 1x1 GIF.
    Gif,
    /// The visitor's ids as JSON, for the script.
    Visitor,
}

/// What of the configuration decides how a request is read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Verify cookies and tokens.
    pub keys: Keys,
    /// Fields that name a contact, strongest first.
    pub unique: Vec<String>,
    /// Fields that anyone may set.
    pub public: Vec<String>,
}
