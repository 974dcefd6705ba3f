//! What the value of a unique field may be. One bad value makes one person of everybody: a page
//! that sends `email=undefined` gives all of its visitors the same contact. So a value is looked at
//! here before it names anybody, on whatever way it came.
//!
//! - A field whose name says that it holds an e-mail address (`email`, `work_mail`, `EmailAddress`,
//!   but not `email_sha256`) takes addresses only.
//! - Every other one takes anything but placeholders: what programs print for a value that is not
//!   there (`undefined`, `null`, `NaN`, `0`, `[object Object]`, the field's own name) and templates
//!   that were never filled in (`{{email}}`, `*|EMAIL|*`, `%EMAIL%`, `[EMAIL]`).
//!
//! Who sends is told in the way of the surface: the public gets its hit stored without the value,
//! which stays in `extra` with a note; an authenticated sender and an import get an error that
//! names the field.
//!
//! Values are compared trimmed and in lower case. What cannot have been meant is taken out of the
//! stored spelling too: letters of full width (`ａｄａ＠example.com`, as a Japanese keyboard types
//! them), characters without any width, the full stop behind a host. Dots before the `@` stay: only
//! some mailbox providers overlook them.
//!
//! The words are those that PostHog refuses as ids (`posthog-js`, `isDistinctIdIllegal`), and what
//! else was seen.

use std::borrow::Cow;
use std::fmt;

use super::Key;
use crate::model::hit::{Foreign, Hit};

/// The checked value of a unique field, in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueValue(String);

impl UniqueValue {
    /// Reads a value of a field.
    ///
    /// # Errors
    /// It names nobody.
    pub fn read(field: &str, value: &str) -> Result<Self, NoName> {
        let value = normalise(value);
        match what_is_wrong(field, &value) {
            None => Ok(Self(value)),
            Some(why) => Err(why),
        }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With its field, as the key of a contact.
    pub fn into_key(self, field: &str) -> Key {
        (field.to_owned(), self.0)
    }
}

/// Why a value of a unique field names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoName {
    /// The field holds addresses, and it is none.
    #[error("is no e-mail address")]
    NoAddress,
    /// It stands for a value that is not there.
    #[error("is a placeholder, not a value")]
    Placeholder,
}

impl NoName {
    /// As a hit notes it behind the field's name.
    pub fn note(self) -> &'static str {
        match self {
            Self::NoAddress => "no address",
            Self::Placeholder => "no value",
        }
    }
}

/// A unique field whose value names nobody, for who can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueError {
    /// The field.
    pub field: String,
    /// What was given, cut.
    value: String,
    why: NoName,
}

impl UniqueError {
    /// What is wrong and what to do, to be put behind the field's name.
    pub fn why(&self) -> String {
        let dots = if self.value.chars().count() > MOST_TOLD {
            "…"
        } else {
            ""
        };
        let value: String = self.value.chars().take(MOST_TOLD).collect();
        format!(
            "{value:?}{dots} {}; leave the field out where there is none",
            self.why
        )
    }
}

impl fmt::Display for UniqueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why())
    }
}

/// Characters of a value that an error shows.
const MOST_TOLD: usize = 60;

/// Looks at the unique ones of a contact's fields.
///
/// # Errors
/// The first whose value names nobody.
pub fn check_fields(unique: &[String], fields: &[(String, String)]) -> Result<(), UniqueError> {
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

/// Whether a hit has a unique value that names nobody, or one in a spelling that is to be tidied.
fn is_untidy(unique: &[String], (field, value): &(String, String)) -> bool {
    unique.contains(field)
        && (matches!(tidied(value), Cow::Owned(_))
            || what_is_wrong(field, &normalised(value)).is_some())
}

/// Takes the unique values of a hit that name nobody out of its fields: they stay in `extra`, with
/// a note. The others get a tidy spelling. Nothing is copied where nothing is wrong.
pub(super) fn set_aside(unique: &[String], hit: &mut Cow<'_, Hit>) {
    if hit.fields.iter().any(|field| is_untidy(unique, field)) {
        let hit = hit.to_mut();
        for (field, mut value) in std::mem::take(&mut hit.fields) {
            if unique.contains(&field) {
                if let Some(why) = what_is_wrong(&field, &normalised(&value)) {
                    hit.note(&format!("{field} {}", why.note()));
                    hit.keep(&field, &value);
                    continue;
                }
                if let Cow::Owned(tidy) = tidied(&value) {
                    value = tidy;
                }
            }
            hit.fields.push((field, value));
        }
    }
    let recipient = |foreign: &Foreign| {
        let (field, value) = foreign.recipient.as_ref()?;
        let why = what_is_wrong(field, &normalised(value))?;
        unique.contains(field).then_some(why)
    };
    if let Some(why) = hit.foreign.as_deref().and_then(recipient) {
        let hit = hit.to_mut();
        if let Some((field, value)) = hit.foreign_mut().recipient.take() {
            hit.note(&format!("recipient's {field} {}", why.note()));
            hit.keep(&field, &value);
        }
    }
}

/// The form in which a unique value is compared: tidy (see the module) and in lower case.
pub fn normalise(value: &str) -> String {
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

/// Trimmed, without what cannot have been meant.
fn tidied(value: &str) -> Cow<'_, str> {
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

/// Whether a field holds e-mail addresses, by its name. Asked of every parameter with a plus, so
/// nothing is copied.
pub fn is_address_field(field: &str) -> bool {
    let backwards = || {
        let plain = |c: &char| c.is_alphabetic() || c.is_ascii_digit();
        field
            .chars()
            .rev()
            .filter(plain)
            .flat_map(char::to_lowercase)
    };
    let ends_with = |end: &str| {
        let name = backwards().skip_while(char::is_ascii_digit);
        end.chars().rev().eq(name.take(end.len()))
    };
    let is_named = ["mail", "mailaddress", "mailadresse", "mailaddr"]
        .into_iter()
        .any(ends_with);
    is_named && {
        let name: String = backwards().collect();
        // hash, md5, sha1, sha2, sha5
        !["hsah", "5dm", "1ahs", "2ahs", "5ahs"]
            .iter()
            .any(|part| name.contains(part))
    }
}

/// Why a public parameter cannot be the value of a unique field; none for what may name somebody.
pub fn refusal(field: &str, value: &str) -> Option<NoName> {
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

/// Whether a text is one e-mail address that mail could be sent to. The host may be one word, as on
/// an intranet.
pub fn is_address(value: &str) -> bool {
    let value = value.trim();
    let Some((name, host)) = value.rsplit_once('@') else {
        return false;
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "<>,;:@\"()[]{}\\|".contains(c);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    value.len() <= 254
        && !name.is_empty()
        && !name.contains(is_odd)
        && !is_template(name)
        && !name.eq_ignore_ascii_case("undefined")
        && host.split('.').all(is_label)
        // There is no such top-level domain: a page has put its words together.
        && host.rsplit('.').next().is_some_and(|top| {
            !["undefined", "null", "nan"].iter().any(|word| top.eq_ignore_ascii_case(word))
        })
}

/// What programs write where there is no value, in lower case.
const WORDS: [&str; 30] = [
    "undefined",
    "null",
    "nil",
    "none",
    "nan",
    "void",
    "n/a",
    "na",
    "true",
    "false",
    "anonymous",
    "anonym",
    "anon",
    "guest",
    "unknown",
    "empty",
    "default",
    "not set",
    "not_set",
    "notset",
    "not_authenticated",
    "not authenticated",
    "object object",
    "object undefined",
    "object null",
    "id",
    "user_id",
    "userid",
    "distinct_id",
    "distinctid",
];

/// Whether a text stands for a value that is not there: nothing, zeros, one of the words, a
/// template.
pub fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let is_zero = |b: u8| matches!(b, b'0' | b'-');
    text.bytes().all(is_zero) || text == "-1" || is_unfilled(text)
}

/// The same of a text that may well be `0`, such as the number of an order.
pub fn is_unfilled(text: &str) -> bool {
    let text = text.trim();
    // Nearly every amount and number of an order: no word has a digit, and every template has
    // another sign.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b',');
    if text.bytes().all(is_plain) && text.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    let word = text.trim_matches(|c: char| !c.is_alphanumeric());
    word.is_empty()
        || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
        || is_template(text)
}

/// Whether a text is, or holds, a place that somebody should have filled in.
fn is_template(text: &str) -> bool {
    const AROUND: [(char, char); 11] = [
        ('{', '}'),
        ('[', ']'),
        ('<', '>'),
        ('(', ')'),
        ('%', '%'),
        ('#', '#'),
        ('$', '$'),
        ('@', '@'),
        ('|', '|'),
        ('*', '*'),
        ('~', '~'),
    ];
    // `{6f9619ff-8b86-d011-b42d-00c04fc964ff}` is how Windows writes an id.
    if uuid::Uuid::try_parse(text).is_ok() {
        return false;
    }
    let is_wrapped = AROUND.iter().any(|(open, close)| {
        text.chars().count() > 1 && text.starts_with(*open) && text.ends_with(*close)
    });
    let is_wrapped = is_wrapped || text.len() > 4 && text.starts_with("__") && text.ends_with("__");
    // `%s`, `%d`, `%@`
    let is_format = text.starts_with('%') && text.len() <= 3;
    is_wrapped
        || is_format
        || ["{{", "}}", "${", "<%", "%>", "*|", "|*", "[[", "]]"]
            .iter()
            .any(|mark| text.contains(mark))
        || text.contains('{') && text.contains('}')
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};

    const PLACEHOLDERS: [&str; 44] = [
        "undefined",
        "UNDEFINED",
        "null",
        "NULL",
        "(null)",
        "nil",
        "None",
        "NaN",
        "false",
        "true",
        "anonymous",
        "guest",
        "(not set)",
        "N/A",
        "[object Object]",
        "[object Undefined]",
        "{contactfield=email}",
        "{leadfield=email|there}",
        "{{email}}",
        "{{ contact.email }}",
        "*|EMAIL|*",
        "%EMAIL%",
        "%%emailaddr%%",
        "%recipient.email%",
        "[EMAIL]",
        "[[email]]",
        "${email}",
        "<%= recipient.email %>",
        "$email$",
        "##email##",
        "@@EMAIL@@",
        "__EMAIL__",
        "-email-",
        ":email",
        "email",
        "%s",
        "0",
        "-1",
        "000",
        "-",
        "\"\"",
        "...",
        "00000000-0000-0000-0000-000000000000",
        "'undefined'",
    ];

    #[test]
    fn placeholders_name_nobody_in_any_field() {
        for value in PLACEHOLDERS {
            assert_eq!(
                UniqueValue::read("email", value),
                Err(NoName::NoAddress),
                "{value}"
            );
            // What only the field's own name tells is a name elsewhere.
            if !value.contains("email") || is_template(value) {
                assert_eq!(
                    UniqueValue::read("customer_id", value),
                    Err(NoName::Placeholder),
                    "{value}"
                );
            }
        }
        for value in ["customer_id", "$customer_id", ":CUSTOMER_ID"] {
            assert_eq!(refusal("customer_id", value), Some(NoName::Placeholder));
        }
    }

    #[test]
    fn what_is_no_address_names_nobody_in_a_field_of_addresses() {
        for value in [
            "",
            "not-an-email",
            "12345",
            "ada@",
            "@example.com",
            "ada news@example.com",
            "ada@example..com",
            "ada@example.com,bob@example.com",
            "ada@example.com;bob@example.com",
            "Ada <ada@example.com>",
            "mailto:ada@example.com",
            "undefined@example.com",
            "ada@undefined",
            "null@null.null",
            "*|USER|*@example.com",
            "{user}@example.com",
            "%NAME%@example.com",
            "ada@{{host}}",
            "ada@exam ple.com",
            "https://example.com/@ada",
        ] {
            assert_eq!(refusal("email", value), Some(NoName::NoAddress), "{value}");
        }
        for field in [
            "email",
            "Email",
            "e-mail",
            "mail",
            "work_email",
            "email2",
            "EmailAddress",
        ] {
            assert!(is_address_field(field), "{field}");
        }
        for field in [
            "customer_id",
            "email_receiver_id",
            "mautic_id",
            "hashed_email",
            "email_sha256",
            "phone",
        ] {
            assert!(!is_address_field(field), "{field}");
        }
    }

    #[test]
    fn what_names_somebody_is_taken_in_one_form() {
        for (field, value, form) in [
            ("email", " Ada@Example.COM ", "ada@example.com"),
            ("email", "ada+news@example.com", "ada+news@example.com"),
            ("email", "o'hara@example.com", "o'hara@example.com"),
            ("email", "a.d.a@example.com", "a.d.a@example.com"),
            ("email", "null@example.com", "null@example.com"),
            ("email", "ada@localhost", "ada@localhost"),
            ("email", "ä@bücher.example", "ä@bücher.example"),
            ("email", "ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com"),
            (
                "email",
                "\u{feff}ada@exam\u{200b}ple.com\u{a0}",
                "ada@example.com",
            ),
            ("email", "ada@example.com.", "ada@example.com"),
            ("customer_id", "A-1001", "a-1001"),
            ("customer_id", "10", "10"),
            ("customer_id", "no.7", "no.7"),
            ("customer_id", "Nulla", "nulla"),
            ("customer_id", "100%", "100%"),
            (
                "customer_id",
                "{6F9619FF-8B86-D011-B42D-00C04FC964FF}",
                "{6f9619ff-8b86-d011-b42d-00c04fc964ff}",
            ),
        ] {
            let read = UniqueValue::read(field, value);
            assert_eq!(read.as_ref().map(UniqueValue::as_str), Ok(form), "{value}");
        }
    }

    #[test]
    fn an_error_names_field_value_and_way_out() {
        let unique = ["email".to_owned()];
        let fields = [("email".to_owned(), "undefined".to_owned())];
        assert_eq!(
            check_fields(&unique, &fields).unwrap_err().to_string(),
            "email \"undefined\" is no e-mail address; leave the field out where there is none"
        );
        assert_eq!(check_fields(&[], &fields), Ok(()));
        let long = [("email".to_owned(), "x".repeat(1_000))];
        assert!(check_fields(&unique, &long).unwrap_err().why().len() < 150);
    }

    #[test]
    fn a_hit_keeps_what_names_nobody_and_is_not_copied_where_nothing_is_wrong() {
        let unique = ["email".to_owned()];
        let mut hit = Hit::new(
            HitId(Uuid::nil()),
            Micros(0),
            Kind::Pageview,
            Dialect::Native,
        );
        hit.fields = vec![
            ("email".to_owned(), "undefined".to_owned()),
            ("firstname".to_owned(), "undefined".to_owned()),
        ];
        let mut seen = Cow::Borrowed(&hit);
        set_aside(&unique, &mut seen);
        assert_eq!(seen.fields, hit.fields[1..]);
        assert_eq!(seen.reason.as_deref(), Some("email no address"));
        assert_eq!(seen.extra.as_ref().unwrap()["email"], "undefined");
        hit.fields[0].1 = "ａｄａ＠Example.com".to_owned();
        let mut seen = Cow::Borrowed(&hit);
        set_aside(&unique, &mut seen);
        assert_eq!(
            (seen.fields[0].1.as_str(), &seen.reason),
            ("ada@Example.com", &None)
        );
        hit.fields[0].1 = "Ada@Example.com".to_owned();
        let mut seen = Cow::Borrowed(&hit);
        set_aside(&unique, &mut seen);
        assert!(matches!(seen, Cow::Borrowed(_)));
    }

    proptest::proptest! {
        #[test]
        fn a_form_is_its_own_form_and_nobody_is_named_by_nothing(field in "email|customer_id", value in "\\PC{0,30}|[a-z.+]{1,9}@[a-z]{1,9}\\.[a-z]{2,3}\\.?") {
            let form = normalise(&value);
            proptest::prop_assert_eq!(&normalise(&form), &form);
            if let Ok(value) = UniqueValue::read(&field, &value) {
                proptest::prop_assert!(value.as_str().contains(char::is_alphanumeric));
                proptest::prop_assert_eq!(refusal(&field, value.as_str()), None);
            }
        }
    }
}
