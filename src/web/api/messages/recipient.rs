//! Reads one line: `{"contact": {"email": …, …}, "broadlog_id"?: …, "format"?: …,
//! "idempotency_key"?: …}`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lines::{MOST_LINE, TooLong};
use crate::model::hint::quote;
use crate::model::hit::{ContactId, Limit, clean};
use crate::model::wire::{Id, Uid};
use crate::operator::messages::{MessageError, Recipient};
use crate::web::api::json::{Explained, explain, why_no_json};
use crate::web::api::mistake::Place;

/// Most fields of a contact in one line.
const MOST_FIELDS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    contact: Contact,
    broadlog_id: Option<Id>,
    #[serde(borrow)]
    format: Option<Cow<'l, str>>,
    #[serde(borrow)]
    idempotency_key: Option<Cow<'l, str>>,
}

/// `id` names the contact itself, all others are fields.
struct Contact {
    id: Option<Uid>,
    fields: Vec<(String, String)>,
}

/// The recipient of a line; `None` for an empty one.
pub(super) fn read(line: Result<&[u8], TooLong>) -> Option<Result<Recipient, MessageError>> {
    let line = match line {
        Ok(line) => line.trim_ascii(),
        Err(TooLong) => {
            let text = format!("the line is longer than {MOST_LINE} bytes");
            return Some(Err(MessageError::Line(text)));
        }
    };
    if line.is_empty() {
        return None;
    }
    Some(match serde_json::from_slice::<Line<'_>>(line) {
        Ok(line) => check_key(line.idempotency_key).map(|key| {
            Recipient::new(
                line.contact.id.map(|id| ContactId(id.0)),
                line.contact.fields,
                line.broadlog_id.map(Into::into),
                line.format.as_deref(),
            )
            .with_key(key)
        }),
        Err(error) => Err(MessageError::Line(tell(line, &error))),
    })
}

/// A key names one message: cut or cleaned it could be another's.
fn check_key(key: Option<Cow<'_, str>>) -> Result<Option<String>, MessageError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let is_clean = clean(&key, Limit::NAME).1.is_none();
    if key.trim().is_empty() || !is_clean {
        let text = format!(
            "idempotency_key is {} but must be 1 to {} characters, without control characters",
            quote(&key),
            Limit::NAME.0
        );
        return Err(MessageError::Line(text));
    }
    Ok(Some(key.trim().to_owned()))
}

/// What is wrong with a line.
fn tell(line: &[u8], error: &serde_json::Error) -> String {
    let no_json = |error| format!("the line is not valid JSON: {}", why_no_json(line, error));
    if !error.is_data() {
        return no_json(error);
    }
    match explain(line, |tree| Line::deserialize(tree).err()) {
        Explained::NoJson(error) => no_json(&error),
        Explained::Mistake(mistake) if mistake.is_whole() => {
            format!("the line {}", mistake.why(Place::Body))
        }
        Explained::Mistake(mistake) => mistake.to_string(),
        Explained::Not => format!("the line is wrong at column {}", error.column()),
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Contact;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields such as {\"email\": \"ada@example.com\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contact, A::Error> {
                let (mut id, mut fields) = (None, Vec::<(String, String)>::with_capacity(4));
                while let Some(name) = map.next_key::<String>()? {
                    if name == "id" {
                        id = map.next_value()?;
                        continue;
                    }
                    let Scalar(Some(value)) = map.next_value()? else {
                        continue;
                    };
                    if fields.len() == MOST_FIELDS {
                        let most = &"an object of at most 200 fields";
                        return Err(A::Error::invalid_length(MOST_FIELDS + 1, most));
                    }
                    // The last of several of one name, as every JSON reader has it.
                    match fields.iter_mut().find(|had| had.0 == name) {
                        Some(had) => had.1 = value,
                        None => fields.push((name, value)),
                    }
                }
                Ok(Contact { id, fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field's value as text; null is none.
struct Scalar(Option<String>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number or boolean")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar(Some(text)))
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Scalar, E> {
                Ok(Scalar(Some(yes.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(
                    serde_json::Number::from_f64(number).map(|number| number.to_string()),
                ))
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hit::BroadlogId;

    fn error(line: &[u8]) -> String {
        read(Ok(line)).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn every_scalar_is_a_field_and_null_is_none() {
        let line = br#" {"contact":{"email":"a@x","age":7,"score":1.5,"vip":true,"gone":null,"email":"b@x"},"broadlog_id":"9","format":"html"} "#;
        let fields = [
            ("email", "b@x"),
            ("age", "7"),
            ("score", "1.5"),
            ("vip", "true"),
        ];
        let expected = Recipient::new(
            None,
            fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            Some(BroadlogId(9)),
            Some("html"),
        );
        assert_eq!(read(Ok(line)), Some(Ok(expected)));
        assert_eq!(read(Ok(b" \r")), None);
    }

    #[test]
    fn a_wrong_line_names_its_field() {
        for (line, part) in [
            (&b"{}"[..], "contact is required"),
            (b"{\"contact\":7}", "contact is 7 but must be"),
            (
                b"{\"contact\":{\"email\":[1]}}",
                "contact.email is an array but must be",
            ),
            (
                b"{\"contact\":{\"id\":\"x\"}}",
                "contact.id is \"x\" but must be",
            ),
            (
                b"{\"contact\":{},\"broadlog_id\":-3000000000}",
                "broadlog_id is -3000000000 but must be",
            ),
            (
                b"{\"contact\":{},\"kontakt\":1}",
                "kontakt is not a known field",
            ),
            (b"{\"contact\":{}", "not valid JSON"),
            (b"{\"contact\":{}} x", "not valid JSON"),
            (b"\xff\xfe", "not valid JSON"),
            (b"{\"contact\":{\"email\":\"\xff\"}}", "not valid JSON"),
        ] {
            let error = error(line);
            assert!(error.contains(part), "{error}");
        }
        let error = read(Err(TooLong)).unwrap().unwrap_err();
        assert!(error.to_string().contains("longer than"));
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = read(Ok(&line));
        }
    }
}
