//! What is wrong with a request: where, which value was given, and which are allowed.
//!
//! [`Mistake`] is the error type with which a [`Tree`](super::tree::Tree) is read. Every part of it
//! comes from a call of serde's, typed, and none from the text of a message; the words are put
//! together here, when it is told.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::model::hint::{did_you_mean, nearest, one_of, quote};

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// From the inside out; empty if the whole is wrong.
    path: Vec<Step>,
    cause: Cause,
}

/// A step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Of an object.
    Field(String),
    /// Of an array.
    Item(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// Something else is expected there.
    Value {
        /// What does, in words; `None` as long as nobody has looked.
        is: Option<String>,
        must_be: String,
        meant: Option<&'static str>,
    },
    /// There is no field of this name.
    Unknown {
        known: &'static [&'static str],
        meant: Option<&'static str>,
    },
    Missing,
    Twice,
    /// A type of another crate rejects it, in its own words.
    Foreign(String),
}

/// What a request's values stand in; its parts are named accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Body,
    Query,
}

impl Mistake {
    /// The value must be a different one.
    pub(super) fn must_be(allowed: impl fmt::Display) -> Self {
        Self::whole(Cause::Value {
            is: None,
            must_be: allowed.to_string(),
            meant: None,
        })
    }

    fn whole(cause: Cause) -> Self {
        Self {
            path: Vec::new(),
            cause,
        }
    }

    fn of_field(name: &str, cause: Cause) -> Self {
        Self {
            path: vec![Step::Field(name.to_owned())],
            cause,
        }
    }

    /// With the value that stands where the mistake is, unless it lies deeper or is known already.
    pub(super) fn of(mut self, shown: impl FnOnce() -> String) -> Self {
        if let (true, Cause::Value { is: is @ None, .. }) = (self.is_whole(), &mut self.cause) {
            *is = Some(shown());
        }
        self
    }

    /// Seen from one level further out.
    pub(super) fn below(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// Whether the whole is wrong, rather than a field of it.
    pub(super) fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    /// Path of the field, `utm.source`, `[3].url`; empty for the whole.
    pub(super) fn field(&self) -> String {
        let mut field = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Item(index) => field.push_str(&format!("[{index}]")),
                Step::Field(name) => {
                    if !field.is_empty() {
                        field.push('.');
                    }
                    field.push_str(name);
                }
            }
        }
        field
    }

    /// What is wrong with it, to be read after its name.
    pub(super) fn why(&self, place: Place) -> String {
        let hint = |meant: &Option<&str>| did_you_mean(*meant);
        match &self.cause {
            Cause::Value {
                is: Some(is),
                must_be,
                meant,
            } => format!("is {is} but must be {must_be}{}", hint(meant)),
            Cause::Value { must_be, .. } => format!("must be {must_be}"),
            Cause::Unknown { known, meant } => {
                let noun = match place {
                    Place::Body => "field",
                    Place::Query => "parameter",
                };
                let there = match known {
                    [] => "; none are allowed".to_owned(),
                    known => format!("; known {noun}s: {}", known.join(", ")),
                };
                format!("is not a known {noun}{}{there}", hint(meant))
            }
            Cause::Missing => "is required".to_owned(),
            Cause::Twice => "is given twice: give it once".to_owned(),
            Cause::Foreign(text) => format!("is not valid: {text}"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field(), self.why(Place::Body))
    }
}

impl std::error::Error for Mistake {}

impl Error for Mistake {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::whole(Cause::Foreign(text.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::must_be(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::must_be(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::must_be(expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::whole(Cause::Value {
            is: Some(quote(word)),
            must_be: one_of(known),
            meant: nearest(word, known.iter().copied()),
        })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let meant = nearest(name, known.iter().copied());
        Self::of_field(name, Cause::Unknown { known, meant })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of_field(name, Cause::Missing)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::of_field(name, Cause::Twice)
    }
}
