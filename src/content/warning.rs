//! What the author of a mail should know: told beside the links, never a reason to refuse it.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;

use super::Part;

/// Most warnings of a mail: a list that nobody reads to its end helps nobody.
const MOST: usize = 100;

/// Something that the author should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ContentWarning)]
pub struct Warning {
    /// What it is, in one word for programs.
    pub code: &'static str,
    /// What it is and what to do, for people.
    pub detail: String,
    /// The part it is in.
    pub part: Part,
    /// Its line there, from 1; `None` where it concerns the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// Warnings about one part.
#[derive(Debug)]
pub(super) struct Warnings<'s> {
    part: Part,
    source: &'s str,
    all: Vec<Warning>,
    left_out: usize,
}

impl<'s> Warnings<'s> {
    pub(super) fn new(part: Part, source: &'s str) -> Self {
        Self {
            part,
            source,
            all: Vec::new(),
            left_out: 0,
        }
    }

    /// One about a place, unless the same has been said already.
    pub(super) fn at(&mut self, at: usize, code: &'static str, detail: impl Display) {
        self.add(Some(at), code, detail);
    }

    /// One about the whole part.
    pub(super) fn whole(&mut self, code: &'static str, detail: impl Display) {
        self.add(None, code, detail);
    }

    fn add(&mut self, at: Option<usize>, code: &'static str, detail: impl Display) {
        let detail = detail.to_string();
        let is_same = |had: &Warning| had.code == code && had.detail == detail;
        if self.all.iter().any(is_same) {
            return;
        }
        if self.all.len() == MOST {
            self.left_out += 1;
            return;
        }
        self.all.push(Warning {
            code,
            detail,
            part: self.part,
            line: at.map(|at| line_of(self.source, at)),
        });
    }

    /// All of them, in the order of their lines.
    pub(super) fn finish(mut self) -> Vec<Warning> {
        self.all.sort_by_key(|warning| warning.line);
        if self.left_out > 0 {
            self.all.push(Warning {
                code: "more",
                detail: format!("{} more warnings are left out", self.left_out),
                part: self.part,
                line: None,
            });
        }
        self.all
    }
}

/// The line of a byte, from 1.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    memchr::memchr_iter(b'\n', &source.as_bytes()[..at]).count() + 1
}
