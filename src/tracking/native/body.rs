//! The body of `POST /mtc/event`: a form as the script sends it, JSON as others write it (also as
//! `text/plain`, which is what a beacon of a string is called), multipart as a beacon of a
//! `FormData` is.
//!
//! What it is shows in its first bytes; the content type only tells multipart, since senders of
//! JSON give any. What is none of these is kept and noted: an empty page view would hide that
//! something was lost.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::hit::{Hit, Limit, clean, clean_bytes};
use crate::tracking::MOST_PARAMETERS;
use crate::tracking::inbound::Inbound;
use crate::tracking::multipart::{each_part, is_multipart};

/// Parameters of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given<'b> {
    /// The urlencoded ones, raw.
    pub form: &'b [u8],
    /// The others.
    pub list: Vec<(String, String)>,
}

/// Reads a body; what cannot be read is kept in `extra` as `body`.
pub(super) fn read<'b>(hit: &mut Hit, inbound: &Inbound<'b>) -> Given<'b> {
    let body = inbound.body.trim_ascii_start();
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.is_empty() {
        return Given::default();
    }
    let content_type = inbound.header("content-type").unwrap_or_default();
    let list = if is_multipart(&content_type) {
        read_parts(&content_type, inbound.body)
    } else if matches!(body[0], b'{' | b'[') {
        read_json(body)
    } else if is_form(body) {
        return Given {
            form: body,
            list: Vec::new(),
        };
    } else {
        None
    };
    let list = list.unwrap_or_else(|| {
        hit.note("body not readable");
        hit.keep("body", &clean_bytes(body));
        Vec::new()
    });
    Given { form: &[], list }
}

/// Whether a body begins with a name and an equals sign, as forms do and hardly anything else.
fn is_form(body: &[u8]) -> bool {
    let Some(end) = memchr::memchr2(b'=', b'&', body) else {
        return false;
    };
    let is_odd = |b: &u8| !b.is_ascii_graphic() || b"<>{}\"\\".contains(b);
    memchr::memchr(b'=', body).is_some() && !body[..end].iter().any(is_odd)
}

fn read_parts(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut list = Vec::new();
    let read = each_part(content_type, &Bytes::copy_from_slice(body), |name, text| {
        list.push((name.to_owned(), text));
        list.len() <= MOST_PARAMETERS
    });
    // What came before it broke off is as good as the rest.
    (read.is_ok() || !list.is_empty()).then_some(list)
}

/// An object, or a list of one.
fn read_json(body: &[u8]) -> Option<Vec<(String, String)>> {
    let Entries(entries) = match body[0] {
        b'[' => {
            let [one] = serde_json::from_slice::<[Entries<'_>; 1]>(body).ok()?;
            one
        }
        _ => serde_json::from_slice(body).ok()?,
    };
    let mut list = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let raw = value.get();
        match raw.as_bytes().first() {
            Some(b'"' | b'{' | b'[') => {
                flatten(&name, serde_json::from_str(raw).ok()?, &mut list);
            }
            Some(b'n') => {}
            // A number as it was written: as a float an amount could lose its last places.
            _ => list.push((name, raw.to_owned())),
        }
    }
    Some(list)
}

/// Nested values get PHP's names: `a[b]`, `a[0]`; tags are one text.
fn flatten(name: &str, value: Value, list: &mut Vec<(String, String)>) {
    if list.len() > MOST_PARAMETERS {
        return;
    }
    let inner = |key: &dyn fmt::Display| {
        // Cut, so that many values under a long name do not make it many times.
        let (name, _) = clean(name, Limit(100));
        format!("{name}[{key}]")
    };
    match value {
        Value::Null => {}
        Value::String(text) => list.push((name.to_owned(), text)),
        Value::Array(values) if name == "tags" => {
            let tags: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            list.push((name.to_owned(), tags.join(",")));
        }
        Value::Array(values) => {
            for (index, value) in values.into_iter().enumerate() {
                flatten(&inner(&index), value, list);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let (key, _) = clean(&key, Limit(100));
                flatten(&inner(&key), value, list);
            }
        }
        scalar => list.push((name.to_owned(), scalar.to_string())),
    }
}

/// The entries of an object in order, unparsed.
struct Entries<'b>(Vec<(String, &'b RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                // One more than is read, so that the hit notes it.
                while entries.len() <= MOST_PARAMETERS {
                    match map.next_entry::<Cow<'_, str>, &RawValue>()? {
                        Some((name, value)) => entries.push((name.into_owned(), value)),
                        None => return Ok(Entries(entries)),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(body: &str) -> Option<Vec<(String, String)>> {
        read_json(body.as_bytes())
    }

    #[test]
    fn json_gives_parameters_as_a_form_would() {
        let list = pairs(
            r#"{"page_url":"a\u00e4","revenue":12345678901234.5678,"new":true,"none":null,"tags":["a","-b"],"cart":{"items":[{"sku":7},"x"]},"a":"1","a":"2"}"#,
        );
        let expected = [
            ("page_url", "aä"),
            ("revenue", "12345678901234.5678"),
            ("new", "true"),
            ("tags", "a,-b"),
            ("cart[items][0][sku]", "7"),
            ("cart[items][1]", "x"),
            ("a", "1"),
            ("a", "2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(list.as_deref(), Some(&expected[..]));
        assert_eq!(pairs(r#"[{"a":1}]"#).unwrap().len(), 1);
        for body in [
            "[]",
            "[1]",
            r#"[{"a":1},{"a":2}]"#,
            r#"{"a":1"#,
            "{a:1}",
            r#"{"a":1} x"#,
        ] {
            assert_eq!(pairs(body), None, "{body}");
        }
        let many: Vec<String> = (0..2_000).map(|n| format!("\"n{n}\":{n}")).collect();
        let list = pairs(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!(list.len(), MOST_PARAMETERS + 1);
    }

    #[test]
    fn a_form_begins_with_a_name() {
        for body in [
            "a=1",
            "page_url=x&b=",
            "a&b=1",
            "mauticform%5Ba%5D=1",
            "a[b]=1",
        ] {
            assert!(is_form(body.as_bytes()), "{body}");
        }
        for body in [
            "hello",
            "<a b=\"c\">",
            "\u{1f}\u{8b}=",
            "\"a=1\"",
            "a b=1",
            "1,2,3",
        ] {
            assert!(!is_form(body.as_bytes()), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in "[\\[{][\\PC\"{}:,\\[\\]0-9]{0,80}") {
            let _ = read_json(body.as_bytes());
        }
    }
}
