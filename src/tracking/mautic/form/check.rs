//! Whether a field holds what its form asks for: loosely, as in Mautic. A lead is worth more than a
//! tidy telephone number.

use serde::Serialize;
use url::Url;

use super::Post;
use crate::identity;
use crate::model::form::{FieldKind, FormField, RequiredIf};

/// What is wrong with a field. Contains nothing that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's alias.
    pub alias: String,
    /// A sentence for the visitor.
    pub message: String,
}

/// The first thing that is wrong with a field.
pub(super) fn check_field(
    field: &FormField,
    values: &[String],
    is_required: bool,
) -> Option<FieldError> {
    let given: Vec<&str> = values
        .iter()
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
        .collect();
    let why = if given.is_empty() {
        is_required.then_some("is required")
    } else if given.len() > 1 && is_single(field.kind) {
        Some("takes one answer")
    } else {
        given.iter().find_map(|value| what_is_wrong(field, value))
    };
    why.map(|why| FieldError {
        alias: field.alias.clone(),
        message: format!("{} {why}.", field.label),
    })
}

/// Whether a field is required in this submission.
pub(super) fn is_required(field: &FormField, post: &Post) -> bool {
    let when = field.required_if.as_ref();
    field.required || when.is_some_and(|when| holds(when, post))
}

/// Whether a submission fulfils a condition.
fn holds(when: &RequiredIf, post: &Post) -> bool {
    let given = post.values(&when.field).iter().map(|value| value.trim());
    let mut given = given.filter(|value| !value.is_empty());
    given.any(|value| when.values.is_empty() || when.values.iter().any(|wanted| wanted == value))
}

fn is_single(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Email
            | FieldKind::Url
            | FieldKind::Number
            | FieldKind::Date
            | FieldKind::DateTime
            | FieldKind::Radio
    )
}

fn what_is_wrong(field: &FormField, value: &str) -> Option<&'static str> {
    let (is_right, why) = match field.kind {
        FieldKind::Email => (is_email(value), "is not a valid e-mail address"),
        FieldKind::Url => (is_url(value), "is not a valid web address"),
        FieldKind::Number => (is_number(value), "is not a number"),
        FieldKind::Date | FieldKind::DateTime => (is_date(value), "is not a date"),
        FieldKind::Select | FieldKind::Radio | FieldKind::Checkbox => (
            field.options.is_empty() || field.options.iter().any(|option| option.value() == value),
            "is not one of the choices",
        ),
        FieldKind::Text
        | FieldKind::Tel
        | FieldKind::Textarea
        | FieldKind::Hidden
        | FieldKind::File
        | FieldKind::Honeypot => (true, ""),
    };
    (!is_right).then_some(why)
}

fn is_email(value: &str) -> bool {
    // Who fills in a form has an address on the internet.
    let host = value.rsplit_once('@').map(|(_, host)| host);
    identity::is_address(value) && host.is_some_and(|host| host.contains('.'))
}

/// People omit the scheme.
fn is_url(value: &str) -> bool {
    let parsed = match Url::parse(value) {
        Err(url::ParseError::RelativeUrlWithoutBase) => Url::parse(&format!("https://{value}")),
        // `example.com:8080` has a scheme by its looks only.
        Ok(url)
            if url.cannot_be_a_base()
                && value.split(':').next().is_some_and(|s| s.contains('.')) =>
        {
            Url::parse(&format!("https://{value}"))
        }
        parsed => parsed,
    };
    parsed.is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| host.contains('.'))
    })
}

fn is_number(value: &str) -> bool {
    let digits: String = value
        .chars()
        .filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\''))
        .map(|c| if c == ',' { '.' } else { c })
        .collect();
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
    // `inf` and `nan` are numbers to Rust only.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What browsers send is held against the calendar; what people write has to have digits and none
/// but the usual signs.
fn is_date(value: &str) -> bool {
    let day = value.get(..10).unwrap_or(value);
    let is_iso = day.len() == 10
        && day.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    if is_iso {
        let form = time::macros::format_description!("[year]-[month]-[day]");
        return time::Date::parse(day, form).is_ok();
    }
    value.len() <= 64
        && value.bytes().any(|b| b.is_ascii_digit())
        && value
            .chars()
            .all(|c| c.is_alphanumeric() || " .,:/+-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(kind: FieldKind, options: &[&str], values: &[&str]) -> Option<String> {
        let field = FormField {
            alias: "f".into(),
            label: "It".into(),
            kind,
            required: true,
            required_if: None,
            options: options.iter().map(|option| (*option).into()).collect(),
            placeholder: None,
            default: None,
            contact_field: None,
        };
        let values: Vec<String> = values.iter().map(|value| (*value).into()).collect();
        check_field(&field, &values, field.required).map(|error| error.message)
    }

    #[test]
    fn fields_are_held_loosely_against_their_type() {
        use FieldKind::*;
        for (kind, right, wrong) in [
            (
                Email,
                &["a@b.example", " A.b+c@x.y.example ", "ä@bücher.example"][..],
                &[
                    "a",
                    "a@b",
                    "@b.example",
                    "a b@c.example",
                    "a@b..example",
                    "<a@b.example>",
                ][..],
            ),
            (
                Url,
                &["https://a.example/x", "a.example", "a.example:8080/x"],
                &[
                    "javascript:alert(1)",
                    "ftp://a.example",
                    "x",
                    "https://",
                    "mailto:a@b.example",
                ],
            ),
            (
                Number,
                &["1", "-1.5", "1,5", "1 000", ".5", "1e3"],
                &["x", "inf", "nan", "-", "1.2.3", "1,000,000"],
            ),
            (
                Date,
                &[
                    "2026-11-21",
                    "21.11.2026",
                    "11/21/2026",
                    "21 Nov 2026",
                    "2026-11-21 18:00",
                ],
                &["2026-13-01", "2026-02-30", "tomorrow", "<1>"],
            ),
            (Tel, &["+49 (0)30 1", "call me"], &[]),
        ] {
            for value in right {
                assert_eq!(errors(kind, &[], &[value]), None, "{kind:?} {value}");
            }
            for value in wrong {
                assert!(errors(kind, &[], &[value]).is_some(), "{kind:?} {value}");
            }
        }
    }

    #[test]
    fn choices_are_those_of_the_form() {
        use FieldKind::*;
        assert_eq!(errors(Select, &["a", "b"], &["a"]), None);
        assert_eq!(errors(Checkbox, &["a", "b"], &["a", "b"]), None);
        assert_eq!(
            errors(Radio, &["a", "b"], &["a", "b"]).as_deref(),
            Some("It takes one answer.")
        );
        assert_eq!(
            errors(Select, &["a", "b"], &["c"]).as_deref(),
            Some("It is not one of the choices.")
        );
        assert_eq!(errors(Select, &[], &["c"]), None);
        assert_eq!(
            errors(Text, &[], &["", " "]).as_deref(),
            Some("It is required.")
        );
    }
}
