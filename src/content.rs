//! The content of a mail: its HTML and its text, read once, so that writing a message is
//! concatenation.
//!
//! What is found (links, fields, the place of the open pixel) becomes a list of [`Edit`]s: a range
//! of the source and what a message has there. Everything between two edits is sent byte for byte
//! as it came; nothing is parsed into a tree and written out again.
//!
//! | what | becomes |
//! |---|---|
//! | `href` of `a`, `area` and VML shapes, also in conditional comments: a page | a tracked link |
//! | a URL in the text part | a tracked link |
//! | a link with `data-sillage="off"` or another vendor's word for it | stays, without ours |
//! | `mailto:`, `tel:`, `#section`, an app's link | stays |
//! | `{{field}}` in text, in an attribute, in a URL | the contact's value, escaped for the place |
//! | `{{field}}` in a tracked link | a parameter of the message's link, see `model/link` |
//! | `{{unsubscribe_url}}` | the message's own way out, never tracked |
//! | `*|…|*`, `%%…%%`, `{{#…}}` | stays: another program fills it in |
//!
//! **How it fails.** Where a reader's value would choose the host of a tracked link, the content is
//! refused: that would be an open redirect. What cannot be tracked otherwise stays as it is, with a
//! warning: a mail never loses a link to its tracking.

mod edit;
mod html;
mod judge;
mod pair;
mod placeholder;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod warning;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::draft::DraftError;
use crate::model::host_pattern::HostPattern;

pub use edit::{Edit, Place, Put, Value};
pub use template::{Addresses, Letter, Template};
pub use warning::Warning;

/// Longest HTML or text, in bytes. Gmail cuts what is longer than a hundredth of that.
pub const MOST_BYTES: usize = 10 << 20;
/// Most tracked links of a mail.
pub const MOST_LINKS: usize = 1_000;

/// The two parts of a mail as their author wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The HTML part.
    pub html: Option<String>,
    /// The plain part.
    pub text: Option<String>,
}

/// What a mail's links are held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'r> {
    /// Hosts that a personal host may turn out to be.
    pub personal_hosts: &'r [HostPattern],
    /// What our own tracked links begin with: they are not tracked twice.
    pub own_urls: &'r [String],
}

/// A part of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ContentPart)]
pub enum Part {
    /// The HTML part.
    Html,
    /// The plain part.
    Text,
}

impl Part {
    /// The field of a request that has it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

/// What a click on a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ContentLinkKind)]
pub enum LinkKind {
    /// A visit to its page.
    #[default]
    Click,
    /// A way to unsubscribe.
    Optout,
    /// The mail as a web page.
    Mirror,
}

impl LinkKind {
    /// The link's category: none for a click.
    pub fn category(self) -> Option<&'static str> {
        match self {
            Self::Click => None,
            Self::Optout => Some("optout"),
            Self::Mirror => Some("mirror"),
        }
    }
}

/// A tracked link of a mail. The same URL at another place is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLink {
    /// Destination template, as links are stored.
    pub url: String,
    /// What the reader sees of it.
    pub label: Option<String>,
    /// What a click on it is.
    pub kind: LinkKind,
    /// Where it is.
    pub part: Part,
}

/// A mail that has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Its tracked links in the order in which a reader meets them, those of the HTML first.
    pub links: Vec<FoundLink>,
    /// What its author should know.
    pub warnings: Vec<Warning>,
    /// What messages have in place of the HTML's own bytes, in order.
    pub html: Vec<Edit>,
    /// The same for the text.
    pub text: Vec<Edit>,
}

impl Compiled {
    /// The fields that are filled in, each once.
    pub fn fields(&self) -> Vec<String> {
        edit::fields(self.html.iter().chain(&self.text))
    }
}

/// The fields that edits fill in, each once.
pub fn fields(edits: &[Edit]) -> Vec<String> {
    edit::fields(edits.iter())
}

/// Reads a mail.
///
/// # Errors
/// It is empty, too long, holds a zero byte, nests too deep or has too many links; or a value of a
/// reader would choose the host of a link.
pub fn compile(source: &Source, rules: &Rules<'_>) -> Result<Compiled, DraftError> {
    if source.html.is_none() && source.text.is_none() {
        return Err(wrong(
            Part::Html,
            "is missing, and so is text: give at least one of them",
        ));
    }
    for (part, text) in [(Part::Html, &source.html), (Part::Text, &source.text)] {
        let Some(text) = text else { continue };
        if text.len() > MOST_BYTES {
            let why = format!(
                "is {} bytes long; at most {MOST_BYTES} are allowed",
                text.len()
            );
            return Err(wrong(part, why));
        }
        if let Some(at) = text.find('\0') {
            let line = warning::line_of(text, at);
            return Err(wrong(part, format!("contains a zero byte in line {line}")));
        }
    }
    let mut compiled = Compiled::default();
    let mut links = html::Links::default();
    if let Some(html) = &source.html {
        links = html::read(html, rules, &mut compiled)?;
    }
    if let Some(text) = &source.text {
        text::read(text, rules, &links, &mut compiled)?;
    }
    if compiled.links.len() > MOST_LINKS {
        let part = compiled.links[MOST_LINKS].part;
        let why = format!(
            "brings the links to {}; at most {MOST_LINKS} are allowed",
            compiled.links.len()
        );
        return Err(wrong(part, why));
    }
    Ok(compiled)
}

fn wrong(part: Part, why: impl Into<String>) -> DraftError {
    DraftError {
        field: part.field(),
        why: why.into(),
    }
}
