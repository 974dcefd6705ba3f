//! What the value of a unique field may be. One bad value makes one person of everybody: a page
//! that sends `email=undefined` gives all of its visitors the same contact. So every value is
//! checked here before it identifies anybody, wherever it came from.
//!
//! - A field whose name says that it holds an e-mail address (`email`, `work_mail`, `EmailAddress`,
//!   but not `email_sha256`) accepts only addresses.
//! - Every other one accepts anything but placeholders: what programs print for a value that is not
//!   there (`undefined`, `null`, `NaN`, `0`, `[object Object]`, the field's own name) and templates
//!   that were never filled in (`{{email}}`, `*|EMAIL|*`, `%EMAIL%`, `[EMAIL]`).
//!
//! How a bad value is reported depends on the sender: a public hit is stored without the value,
//! which stays in `extra` with a note; an authenticated sender and an import get an error that
//! names the field.
//!
//! Values are compared trimmed and in lower case. What cannot have been meant is taken out of the
//! stored spelling too: letters of full width (`ａｄａ＠example.com`, as a Japanese keyboard types
//! them), characters without any width, the full stop behind a host. Dots before the `@` stay: only
//! some mailbox providers overlook them.

mod address;
mod placeholder;

use std::borrow::Cow;
use std::fmt;

use super::known::UniqueKey;

pub(crate) use address::{is_address, is_address_field};
pub(crate) use placeholder::{is_placeholder, is_unfilled};

/// Reads a value of a unique field into the form in which values are compared.
///
/// # Errors
/// The value names nobody.
pub(super) fn read_key(field: &str, value: &str) -> Result<UniqueKey, NoName> {
    let value = normalise(value);
    match what_is_wrong(field, &value) {
        None => Ok((field.to_owned(), value)),
        Some(why) => Err(why),
    }
}

/// Why a value of a unique field identifies nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoName {
    /// The field holds email addresses, and the value is not one.
    #[error("is not an email address")]
    NoAddress,
    /// It is a placeholder for a missing value.
    #[error("is a placeholder, not a value")]
    Placeholder,
}

impl NoName {
    /// As a hit notes it after the field's name.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::NoAddress => "no address",
            Self::Placeholder => "no value",
        }
    }
}

/// A unique field whose value identifies nobody, for someone who can fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueError {
    /// The field.
    pub field: String,
    /// What was given, cut.
    value: String,
    why: NoName,
}

impl UniqueError {
    /// What is wrong and what to do, to follow the field's name.
    pub(crate) fn why(&self) -> String {
        let dots = if self.value.chars().count() > MOST_TOLD {
            "…"
        } else {
            ""
        };
        let value: String = self.value.chars().take(MOST_TOLD).collect();
        format!(
            "{value:?}{dots} {}; leave the field out if there is no value",
            self.why
        )
    }
}

impl std::error::Error for UniqueError {}

impl fmt::Display for UniqueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why())
    }
}

/// Characters of a value that an error shows.
const MOST_TOLD: usize = 60;

/// Checks the unique fields among a contact's fields.
///
/// # Errors
/// The first whose value names nobody.
pub(crate) fn check_fields(
    unique: &[String],
    fields: &[(String, String)],
) -> Result<(), UniqueError> {
    for (field, value) in fields {
        if unique.contains(field)
            && let Some(why) = what_is_wrong(field, &normalised(value))
        {
            return Err(UniqueError {
                field: field.clone(),
                value: value.chars().take(MOST_TOLD + 1).collect(),
                why,
            });
        }
    }
    Ok(())
}

/// The form in which a unique value is compared: cleaned up (see the module) and in lower case.
pub(crate) fn normalise(value: &str) -> String {
    normalised(value).into_owned()
}

fn normalised(value: &str) -> Cow<'_, str> {
    match tidied(value) {
        Cow::Borrowed(tidy) if !tidy.bytes().any(|b| b.is_ascii_uppercase() || b >= 0x80) => {
            Cow::Borrowed(tidy)
        }
        tidy => Cow::Owned(tidy.to_lowercase()),
    }
}

/// Trimmed, without characters that cannot have been meant.
pub(super) fn tidied(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    let wide = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0),
        _ => None,
    };
    let is_thin = |c: char| matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    let mut tidy = Cow::Borrowed(value);
    if !value.is_ascii() && value.contains(|c| is_thin(c) || wide(c).is_some()) {
        let narrow: String = value
            .chars()
            .filter(|c| !is_thin(*c))
            .map(|c| wide(c).unwrap_or(c))
            .collect();
        tidy = Cow::Owned(narrow.trim().to_owned());
    }
    if tidy.ends_with('.') && tidy.contains('@') {
        let host = tidy.trim_end_matches('.').len();
        tidy = Cow::Owned(tidy[..host].to_owned());
    }
    tidy
}

/// Why a public parameter cannot be the value of a unique field; `None` if it may identify someone.
pub(crate) fn refusal(field: &str, value: &str) -> Option<NoName> {
    what_is_wrong(field, &normalised(value))
}

/// What is wrong with a normalised value.
fn what_is_wrong(field: &str, value: &str) -> Option<NoName> {
    if is_address_field(field) {
        return (!is_address(value)).then_some(NoName::NoAddress);
    }
    let is_own_name = || {
        let word = value.trim_matches(|c: char| !c.is_alphanumeric());
        word.eq_ignore_ascii_case(field)
    };
    (is_placeholder(value) || is_own_name()).then_some(NoName::Placeholder)
}

#[cfg(test)]
mod tests;
