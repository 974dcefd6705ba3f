//! The body of a submission: `mauticform[<alias>]`, `mauticform[<alias>][]`, urlencoded or
//! multipart, read as PHP reads it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::form::{Form, FormId};
use crate::model::hit::plain_pair;
use crate::tracking::multipart::{Unreadable, each_part, is_multipart};
use crate::tracking::visitor::DEVICE;

/// Most fields that are read: PHP's own limit (`max_input_vars`).
const MOST_FIELDS: usize = 1_000;

/// What was posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// Values by alias, at least one each.
    fields: BTreeMap<String, Vec<String>>,
    /// What is outside of `mauticform`.
    outer: BTreeMap<String, String>,
    count: usize,
    /// There was more than is read.
    pub is_cut: bool,
}

impl Post {
    /// Reads a body by its content type; what is not multipart is urlencoded.
    ///
    /// # Errors
    /// Multipart that is broken or whose texts are too large.
    pub fn read(content_type: Option<&str>, body: &Bytes) -> Result<Self, Unreadable> {
        let kind = content_type.unwrap_or_default();
        let mut post = Self::default();
        if is_multipart(kind) {
            each_part(kind, body, |name, text| post.take(name, text))?;
        } else {
            // PHP can be set to part pairs with `&amp;` (`arg_separator.output`).
            let pairs = body.split(|byte| *byte == b'&').map(plain_pair);
            for (name, value) in pairs.flat_map(form_urlencoded::parse) {
                if !post.take(&name, value.into_owned()) {
                    break;
                }
            }
        }
        Ok(post)
    }

    /// False if there is no room for more.
    fn take(&mut self, name: &str, value: String) -> bool {
        if self.count == MOST_FIELDS {
            self.is_cut = true;
            return false;
        }
        self.count += 1;
        match parse_name(name) {
            Some(Name { alias, is_list }) => {
                let values = self.fields.entry(alias.to_owned()).or_default();
                // Of one name given twice the last counts; a list has them all.
                if !is_list {
                    values.clear();
                }
                values.push(value);
            }
            None if !name.is_empty() => {
                self.outer.insert(name.to_owned(), value);
            }
            None => {}
        }
        true
    }

    /// All values of a field.
    pub fn values(&self, alias: &str) -> &[String] {
        self.fields.get(alias).map_or(&[], Vec::as_slice)
    }

    fn word(&self, name: &str) -> Option<&str> {
        let value = self.values(name).last()?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// A parameter beside the form's own.
    pub fn outer(&self, name: &str) -> Option<&str> {
        self.outer
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The form, if the body names one.
    pub fn form_id(&self) -> Option<FormId> {
        let id = self.word("formId").or_else(|| self.word("formid"))?;
        id.parse().ok().map(FormId)
    }

    /// Where the page wants its visitor to return.
    pub fn return_url(&self) -> Option<&str> {
        self.word("return")
    }

    /// The form's name on the page; `None` if Mautic would not have made it.
    pub fn form_name(&self) -> Option<&str> {
        self.word("formName").filter(|name| {
            name.len() <= 255
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
    }

    /// Whether the page listens for a message from a frame.
    pub fn is_messenger(&self) -> bool {
        self.word("messenger").is_some_and(|word| word != "0")
    }

    /// Fields that the form does not know, under the full name that they were sent with.
    pub fn unknown(&self, form: &Form) -> Vec<(String, String)> {
        let knows = |alias: &str| form.fields.iter().any(|field| field.alias == alias);
        let is_ours = |alias: &str| {
            [
                "formId",
                "formid",
                "formName",
                "return",
                "messenger",
                "submit",
            ]
            .contains(&alias)
        };
        let inner = self
            .fields
            .iter()
            .filter(|(alias, _)| !knows(alias) && !is_ours(alias))
            .map(|(alias, values)| (format!("mauticform[{alias}]"), values.join(", ")));
        let outer = self
            .outer
            .iter()
            .filter(|(name, _)| !knows(name) && !["form_id", DEVICE].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()));
        inner.chain(outer).collect()
    }
}

/// The contents of the brackets of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'n> {
    pub alias: &'n str,
    pub is_list: bool,
}

/// `mauticform[a]`, and as a list `mauticform[a][]`, `mauticform[a][0]`, however deep. What follows
/// a closed bracket and is no other one is not looked at, as in PHP; a bracket that is never closed
/// makes no field.
pub(super) fn parse_name(name: &str) -> Option<Name<'_>> {
    let inner = name.trim_start().strip_prefix("mauticform[")?;
    let (alias, rest) = inner.split_once(']')?;
    if alias.is_empty() {
        return None;
    }
    let is_list = rest
        .strip_prefix('[')
        .is_some_and(|index| index.contains(']'));
    Some(Name { alias, is_list })
}
