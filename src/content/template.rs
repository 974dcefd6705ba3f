//! A part of a mail made ready for many messages: fixed text, already escaped for JSON, and the few
//! places that differ. Writing a message is concatenation.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::{Edit, Part, Place, Put, Value};
use crate::model::escape::{VALUE, html};
use crate::model::link::push_path;

/// Behind `mailto:` and `tel:` these mean what they are.
const OPAQUE: &AsciiSet = &VALUE.remove(b'@').remove(b'+').remove(b',');

/// What a message's own addresses begin with.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'a> {
    /// `https://t.example/r/`, before a link's token.
    pub link: &'a str,
    /// `https://t.example/o/`, before the message's token and `.gif`.
    pub pixel: &'a str,
    /// `https://t.example/u/`, before the message's token.
    pub unsubscribe: &'a str,
}

/// What is a message's own.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'l> {
    /// The token of each of the mail's links.
    pub links: &'l [&'l str],
    /// The message's own token.
    pub message: &'l str,
    /// The values of the fields, in the order in which the template was told them.
    pub values: &'l [String],
}

/// A part of a mail, ready to be written into a JSON string.
#[derive(Clone, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Piece {
    Fixed(String),
    Link(usize),
    Message,
    Value { field: usize, place: Place },
}

impl Template {
    /// A part with its edits; `fields` are those whose values its letters will have.
    pub fn new(
        part: Part,
        source: &str,
        edits: &[Edit],
        fields: &[String],
        addresses: Addresses<'_>,
    ) -> Self {
        let mut making = Making {
            pieces: Vec::with_capacity(edits.len() * 2 + 1),
            fixed: String::new(),
            fields,
        };
        // An address in HTML may have an ampersand.
        let address = |address: &'_ str| match part {
            Part::Html => html(address),
            Part::Text => address.to_owned(),
        };
        let (link, unsubscribe) = (address(addresses.link), address(addresses.unsubscribe));
        let mut at = 0;
        for edit in edits {
            making
                .fixed
                .push_str(source.get(at..edit.start).unwrap_or_default());
            at = edit.end;
            match &edit.put {
                Put::Fixed(text) => making.fixed.push_str(text),
                Put::Link {
                    link: number,
                    values,
                } => {
                    making.fixed.push_str(&link);
                    making.put(Piece::Link(*number));
                    making.put_values(part, values);
                }
                Put::Field { name, place } => making.put_field(name, *place),
                Put::Pixel => {
                    making.fixed.push_str("<img src=\"");
                    making.fixed.push_str(&address(addresses.pixel));
                    making.put(Piece::Message);
                    making
                        .fixed
                        .push_str(".gif\" width=\"1\" height=\"1\" alt=\"\">");
                }
                Put::Unsubscribe => {
                    making.fixed.push_str(&unsubscribe);
                    making.put(Piece::Message);
                }
            }
        }
        making.fixed.push_str(source.get(at..).unwrap_or_default());
        making.end_fixed();
        let lengths = making.pieces.iter().map(|piece| match piece {
            Piece::Fixed(text) => text.len(),
            Piece::Link(_) | Piece::Message | Piece::Value { .. } => 40,
        });
        Self {
            bytes: lengths.sum(),
            pieces: making.pieces,
        }
    }

    /// About how long a message is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends what is between the quotation marks of a JSON string.
    pub fn write(&self, letter: &Letter<'_>, json: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(text) => json.push_str(text),
                Piece::Link(link) => json.push_str(letter.links.get(*link).unwrap_or(&"")),
                Piece::Message => json.push_str(letter.message),
                Piece::Value { field, place } => {
                    let value = letter.values.get(*field).map_or("", String::as_str);
                    push_value(value, *place, json);
                }
            }
        }
    }
}

struct Making<'f> {
    pieces: Vec<Piece>,
    fixed: String,
    fields: &'f [String],
}

impl Making<'_> {
    fn put(&mut self, piece: Piece) {
        self.end_fixed();
        self.pieces.push(piece);
    }

    fn end_fixed(&mut self) {
        if !self.fixed.is_empty() {
            let mut json = String::with_capacity(self.fixed.len() + 100);
            push_json(&self.fixed, &mut json);
            self.fixed.clear();
            self.pieces.push(Piece::Fixed(json));
        }
    }

    /// A field that the letters do not know is empty in them, as one that the contact does not
    /// have.
    fn put_field(&mut self, name: &str, place: Place) {
        if let Some(field) = self.fields.iter().position(|had| had == name) {
            self.put(Piece::Value { field, place });
        }
    }

    fn put_values(&mut self, part: Part, values: &[Value]) {
        for (index, value) in values.iter().enumerate() {
            self.fixed.push_str(match (index, part) {
                (0, _) => "?p",
                (_, Part::Html) => "&amp;p",
                (_, Part::Text) => "&p",
            });
            self.fixed.push_str(&(index + 1).to_string());
            self.fixed.push('=');
            match (value, part) {
                (Value::Field(name), _) => self.put_field(name, Place::Query),
                (Value::Foreign(foreign), Part::Html) => self.fixed.push_str(&html(foreign)),
                (Value::Foreign(foreign), Part::Text) => self.fixed.push_str(foreign),
            }
        }
    }
}

fn push_json(text: &str, json: &mut String) {
    let quoted = serde_json::Value::from(text).to_string();
    json.push_str(&quoted[1..quoted.len() - 1]);
}

/// Appends a value so that it stays in its place. The contact's own it may be, but somebody else
/// may have typed it into a form.
fn push_value(value: &str, place: Place, json: &mut String) {
    match place {
        Place::Html => push_json(&html(value), json),
        Place::Plain => push_json(&value.replace(is_control, ""), json),
        Place::Url => push_json(&html(&whole_url(value)), json),
        Place::Host => {
            let is_of_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            if value.chars().all(is_of_host) {
                json.push_str(value);
            }
        }
        Place::Path => push_path(json, value),
        Place::Query => json.extend(utf8_percent_encode(value, VALUE)),
        Place::Opaque => json.extend(utf8_percent_encode(value, OPAQUE)),
    }
}

fn is_control(c: char) -> bool {
    c.is_control() && !['\t', '\n', '\r'].contains(&c)
}

/// A value that is a URL; empty where it could be a script.
fn whole_url(value: &str) -> Cow<'_, str> {
    let is_harmless = ["http", "https", "mailto", "tel"];
    match url::Url::parse(value.trim()) {
        Ok(url) if is_harmless.contains(&url.scheme()) => Cow::Owned(url.into()),
        _ => Cow::Borrowed(""),
    }
}
