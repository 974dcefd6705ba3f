//! The header `Idempotency-Key` (the IETF's draft "The Idempotency-Key HTTP Header Field"): a name
//! that a sender gives a request, so that it can be sent again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::web::error::Problem;

/// Its name.
pub(super) const HEADER: &str = "Idempotency-Key";
/// Longest key, in characters.
pub(super) const MOST_KEY: usize = 255;

/// The key of a request, where it has one: a string in quotation marks as the draft has it, or the
/// bare text that most send.
///
/// # Errors
/// 422: the key is empty, too long, or holds anything but printable ASCII.
pub(super) fn request_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let wrong = |why: &str| Err(Problem::field(HEADER, why));
    if given.next().is_some() {
        return wrong("is given twice: give it once");
    }
    let Ok(text) = value.to_str() else {
        return wrong("contains characters other than printable ASCII; send a UUID, for example");
    };
    let text = text.trim();
    let key = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    if key.is_empty() || key.len() > MOST_KEY {
        return wrong("must be 1 to 255 characters long; send a UUID, for example");
    }
    Ok(Some(key.to_owned()))
}

/// The key of one hit of a request that has a key: its place and its text are in it, so a hit that
/// is another is never dropped for it.
pub(super) fn hit_key(request: &str, index: usize, text: &str) -> String {
    let digest = Sha256::new()
        .chain_update(request)
        .chain_update([0])
        .chain_update(index.to_be_bytes())
        .chain_update(text)
        .finalize();
    format!("request:{}", URL_SAFE_NO_PAD.encode(&digest[..24]))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(value: &[u8]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        request_key(&headers)
    }

    #[test]
    fn a_key_is_a_text_with_or_without_quotation_marks() {
        assert_eq!(request_key(&HeaderMap::new()), Ok(None));
        assert_eq!(key(b" \"a b\" "), Ok(Some("a b".to_owned())));
        assert_eq!(key(b"a-b"), Ok(Some("a-b".to_owned())));
        for wrong in [&b""[..], b"\"\"", b"\xfc", &[b'x'; 256]] {
            assert!(key(wrong).is_err(), "{wrong:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HEADER, HeaderValue::from_static("a"));
        twice.append(HEADER, HeaderValue::from_static("a"));
        assert!(request_key(&twice).is_err());
    }

    #[test]
    fn another_request_place_or_text_is_another_hit() {
        let keys = [
            hit_key("a", 0, "{}"),
            hit_key("b", 0, "{}"),
            hit_key("a", 1, "{}"),
            hit_key("a", 0, "{} "),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(hit_key("a", 0, "{}"), keys[0]);
    }
}
