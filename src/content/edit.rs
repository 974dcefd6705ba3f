//! What a message has in place of a range of its source.
//!
//! Edits are stored with the source: a server that is upgraded writes messages as it did before,
//! whatever it has learned about HTML since. So variants are added here, and never renamed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A range of the source, in bytes, and what messages have there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// First byte that is replaced.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
    /// What messages have there.
    pub put: Put,
}

impl Edit {
    pub(super) fn new(range: Range<usize>, put: Put) -> Self {
        Self {
            start: range.start,
            end: range.end,
            put,
        }
    }
}

/// What messages have somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Put {
    /// Always the same; empty for what is taken away.
    Fixed(String),
    /// The message's URL of a tracked link.
    Link {
        /// Its place in the mail's list of links.
        link: usize,
        /// Its personal parts `p1`, `p2`, ….
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<Value>,
    },
    /// A value of the contact.
    Field {
        /// The field's name.
        name: String,
        /// Where it stands.
        place: Place,
    },
    /// The image that counts opens.
    Pixel,
    /// The address at which the reader unsubscribes.
    Unsubscribe,
}

/// A personal part of a tracked link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The contact's field.
    Field(String),
    /// Another program's placeholder, which that program fills in.
    Foreign(String),
}

/// Where a value stands, which decides how it is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In HTML: text, or an attribute in quotes.
    Html,
    /// In the plain part.
    Plain,
    /// The whole start of a URL: only a web page, an address or a telephone number is let in.
    Url,
    /// In the host of a URL.
    Host,
    /// In the path of a URL.
    Path,
    /// In the query or the fragment of a URL.
    Query,
    /// Behind `mailto:`, `tel:` and the like.
    Opaque,
}

/// The fields of some edits, each once, in the order in which they come.
pub(super) fn fields<'e>(edits: impl Iterator<Item = &'e Edit>) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |name: &String| {
        if !names.contains(name) {
            names.push(name.clone());
        }
    };
    for edit in edits {
        match &edit.put {
            Put::Field { name, .. } => add(name),
            Put::Link { values, .. } => values.iter().for_each(|value| match value {
                Value::Field(name) => add(name),
                Value::Foreign(_) => {}
            }),
            Put::Fixed(_) | Put::Pixel | Put::Unsubscribe => {}
        }
    }
    names
}
