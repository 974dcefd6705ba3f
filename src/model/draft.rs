//! What a sender or an operator gives: deliveries, links, page tags and tokens to be made. The JSON
//! of a request is read straight into a draft, and the command line fills in the same one; `check`
//! brings it into the form in which it is stored.

mod edit;
mod token;
mod user;

use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::hint::quote;
use crate::model::hit::{DeliveryId, Limit, LinkId, PageTagKind, Utm, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::link::{DestinationError, check_personal_template, check_template};
use crate::model::wire;

pub use edit::{DeliveryEdit, LinkEdit};
pub use token::NewToken;
pub use user::{NewUser, UserEdit, user_name};

/// A field that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct DraftError {
    /// Its name, `utm.source` for a nested one.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// A campaign to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDelivery {
    /// Name in reports, at most 255 characters.
    pub label: String,
    /// None: the next number.
    #[serde(default, with = "wire::option_id")]
    pub id: Option<DeliveryId>,
    /// `email` if none is given; at most 64 characters.
    pub channel: Option<String>,
    /// When it is or was sent.
    #[serde(default, with = "wire::option_time")]
    pub sent_at: Option<Micros>,
    /// From this time on its links lead to `expiration_url`.
    #[serde(default, with = "wire::option_time")]
    pub expires_at: Option<Micros>,
    /// `http` or `https`.
    pub expiration_url: Option<String>,
    /// Added to destinations.
    #[serde(default, with = "wire::utm")]
    #[schema(value_type = Option<Utm>)]
    pub utm: Utm,
}

impl NewDelivery {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is empty, too long or holds control characters, or the URL is none.
    pub fn check(self) -> Result<Self, DraftError> {
        Ok(Self {
            id: self.id,
            label: required("label", &self.label, Limit::NAME)?,
            channel: optional("channel", self.channel, Limit::WORD)?,
            sent_at: self.sent_at,
            expires_at: self.expires_at,
            expiration_url: match self.expiration_url {
                Some(url) => Some(destination("expiration_url", &url)?),
                None => None,
            },
            utm: edit::check_utm(self.utm)?,
        })
    }
}

/// A link that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// Destination, `http` or `https`.
    pub url: String,
    /// Name in `/r/<slug>`.
    pub slug: Option<String>,
    /// Its campaign; `None` if it stands alone.
    #[serde(default, with = "wire::option_id")]
    pub delivery_id: Option<DeliveryId>,
    /// Name in reports.
    pub label: Option<String>,
    /// `optout`, `mirror`, or a word for reports.
    pub category: Option<String>,
    /// None: the next number.
    #[serde(default, with = "wire::option_id")]
    pub id: Option<LinkId>,
}

impl NewLink {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// The URL cannot be a destination, the slug holds other characters than letters, digits, `-`
    /// and `_`, or a text is too long.
    pub fn check(self) -> Result<Self, DraftError> {
        self.check_with(&[])
    }

    /// [`Self::check`] with the hosts that a personal host may turn out to be.
    ///
    /// # Errors
    /// The same.
    pub fn check_with(self, personal_hosts: &[HostPattern]) -> Result<Self, DraftError> {
        if let Some(slug) = &self.slug {
            check_slug(slug)?;
        }
        Ok(Self {
            url: check_personal_template(&self.url, personal_hosts)
                .map_err(|error| wrong_url("url", &self.url, &error))?,
            label: optional("label", self.label, Limit::NAME)?,
            category: optional("category", self.category, Limit::WORD)?,
            ..self
        })
    }
}

/// A page tag to be created, or to replace the one with its identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPageTag {
    /// What pages send, at most 255 characters, without `|`.
    pub identifier: String,
    /// Name in reports; `None` means the identifier.
    pub label: Option<String>,
    /// What a hit of it is.
    pub kind: PageTagKind,
    /// Where it is listed.
    pub folder: Option<String>,
    /// The page that carries it.
    pub source_url: Option<String>,
    /// From this time on its hits are suspect.
    #[serde(default, with = "wire::option_time")]
    pub valid_until: Option<Micros>,
}

impl NewPageTag {
    /// A tag of which nothing else is known.
    pub fn of(identifier: String, kind: PageTagKind) -> Self {
        Self {
            identifier,
            label: None,
            kind,
            folder: None,
            source_url: None,
            valid_until: None,
        }
    }

    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is too long or holds control characters, or the identifier cannot be sent.
    pub fn check(self) -> Result<Self, DraftError> {
        let identifier = required("identifier", &self.identifier, Limit::NAME)?;
        // What stands behind a bar is the type in requests.
        if identifier.contains('|') {
            return Err(DraftError {
                field: "identifier",
                why: "contains a |".to_owned(),
            });
        }
        Ok(Self {
            identifier,
            label: optional("label", self.label, Limit::NAME)?,
            kind: self.kind,
            folder: optional("folder", self.folder, Limit::NAME)?,
            source_url: optional("source_url", self.source_url, Limit::URL)?,
            valid_until: self.valid_until,
        })
    }

    /// Name in reports.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.identifier)
    }

    /// With another tag's values where this one has none.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            identifier: self.identifier,
            label: self.label.or_else(|| other.label.clone()),
            kind: self.kind,
            folder: self.folder.or_else(|| other.folder.clone()),
            source_url: self.source_url.or_else(|| other.source_url.clone()),
            valid_until: self.valid_until.or(other.valid_until),
        }
    }
}

fn required(field: &'static str, text: &str, limit: Limit) -> Result<String, DraftError> {
    let wrong = |why: String| DraftError { field, why };
    match clean(text, limit) {
        (_, Some("cut")) => Err(wrong(format!("is longer than {} characters", limit.0))),
        (_, Some(_)) => Err(wrong("contains control characters".to_owned())),
        (text, None) if text.is_empty() => Err(wrong("is empty".to_owned())),
        (text, None) => Ok(text.into_owned()),
    }
}

fn optional(
    field: &'static str,
    text: Option<String>,
    limit: Limit,
) -> Result<Option<String>, DraftError> {
    match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => required(field, &text, limit).map(Some),
        None => Ok(None),
    }
}

fn destination(field: &'static str, url: &str) -> Result<String, DraftError> {
    check_template(url).map_err(|error| wrong_url(field, url, &error))
}

fn wrong_url(field: &'static str, url: &str, error: &DestinationError) -> DraftError {
    DraftError {
        field,
        why: format!("is not valid: {} {error}", quote(url)),
    }
}

fn check_slug(slug: &str) -> Result<(), DraftError> {
    let wrong = |why: &str| {
        Err(DraftError {
            field: "slug",
            why: format!("is not valid: {} {why}", quote(slug)),
        })
    };
    if slug.is_empty() || slug.len() > 64 {
        return wrong("must be 1 to 64 characters long");
    }
    if !slug
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return wrong("contains characters other than letters, digits, - and _");
    }
    // `/r/test` is how Adobe Campaign asks whether a tracking server lives.
    if slug == "test" {
        return wrong("is reserved for testing the server");
    }
    Ok(())
}

/// Without 0 and o, 1, i and l, which people misread and mistype.
const UNAMBIGUOUS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// 31^7 is 27 billion: with a million links a new one collides once in 27,000 times, and is then
/// generated again.
const SLUG_CHARS: usize = 7;

/// A short slug from the random part of a version 7 id.
pub fn random_slug(id: Uuid) -> String {
    let mut random = id.as_u128() & ((1 << 62) - 1);
    (0..SLUG_CHARS)
        .map(|_| {
            let at = (random % UNAMBIGUOUS.len() as u128) as usize;
            random /= UNAMBIGUOUS.len() as u128;
            char::from(UNAMBIGUOUS[at])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Clock;

    fn link(url: &str, slug: Option<&str>) -> NewLink {
        NewLink {
            url: url.to_owned(),
            slug: slug.map(str::to_owned),
            ..NewLink::default()
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_field() {
        let delivery = |label: &str, url: Option<&str>, source: &str| NewDelivery {
            label: label.to_owned(),
            expiration_url: url.map(str::to_owned),
            utm: Utm {
                source: Some(source.to_owned()),
                ..Utm::default()
            },
            ..NewDelivery::default()
        };
        for (draft, field) in [
            (delivery(" ", None, ""), "label"),
            (delivery("a\0b", None, ""), "label"),
            (delivery(&"x".repeat(256), None, ""), "label"),
            (
                delivery("x", Some("javascript:alert(1)"), ""),
                "expiration_url",
            ),
            (delivery("x", None, &"y".repeat(300)), "utm.source"),
        ] {
            assert_eq!(draft.check().unwrap_err().field, field);
        }
        for (draft, field) in [
            (link("/relative", None), "url"),
            (link("https://u:p@x.example", None), "url"),
            (link("https://x.example", Some("")), "slug"),
            (link("https://x.example", Some("a/b")), "slug"),
            (link("https://x.example", Some("é")), "slug"),
            (link("https://x.example", Some("test")), "slug"),
            (link("https://x.example", Some(&"x".repeat(65))), "slug"),
        ] {
            assert_eq!(draft.check().unwrap_err().field, field);
        }
        let checked = delivery(" News ", None, " ").check().unwrap();
        assert_eq!((checked.label.as_str(), checked.utm.source), ("News", None));
    }

    #[test]
    fn a_page_tag_has_an_identifier_that_can_be_sent() {
        let good = NewPageTag {
            folder: Some(" ".to_owned()),
            ..NewPageTag::of(" home ".to_owned(), PageTagKind::Web)
        };
        for (identifier, label, folder, field) in [
            ("", "x", "x", "identifier"),
            ("home|w", "x", "x", "identifier"),
            ("a\0b", "x", "x", "identifier"),
            (&*"x".repeat(256), "x", "x", "identifier"),
            ("home", &*"x".repeat(256), "x", "label"),
            ("home", "x", "a\u{1}b", "folder"),
        ] {
            let draft = NewPageTag {
                identifier: identifier.to_owned(),
                label: Some(label.to_owned()),
                folder: Some(folder.to_owned()),
                ..good.clone()
            };
            assert_eq!(draft.check().unwrap_err().field, field);
        }
        let checked = good.check().unwrap();
        assert_eq!((checked.label(), &checked.folder), ("home", &None));
    }

    #[test]
    fn a_draft_is_read_from_the_json_of_a_request() {
        let draft: NewDelivery = serde_json::from_str(
            r#"{"label": "News", "id": "7", "sent_at": "2026-01-31T10:00:00+01:00",
                "utm": {"source": "letter"}, "expires_at": null}"#,
        )
        .unwrap();
        let expected = NewDelivery {
            label: "News".to_owned(),
            id: Some(DeliveryId(7)),
            sent_at: Micros::parse_rfc3339("2026-01-31T09:00:00Z").ok(),
            utm: Utm {
                source: Some("letter".to_owned()),
                ..Utm::default()
            },
            ..NewDelivery::default()
        };
        assert_eq!(draft, expected);
        let no_utm = r#"{"label": "News", "utm": null}"#;
        let draft: NewDelivery = serde_json::from_str(no_utm).unwrap();
        assert_eq!(draft.utm, Utm::default());
        for wrong in [
            "{}",
            r#"{"label": "News", "id": 0}"#,
            r#"{"label": "News", "utm": {"utm_source": "letter"}}"#,
            r#"{"label": "News", "lable": "News"}"#,
        ] {
            assert!(
                serde_json::from_str::<NewDelivery>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_random_slug_can_be_typed_and_is_taken() {
        let clock = Clock::fixed(Micros(1_700_000_000_000_000));
        let slugs: std::collections::HashSet<String> = (0..1_000)
            .map(|_| random_slug(clock.new_id(clock.now())))
            .collect();
        assert_eq!(slugs.len(), 1_000);
        for slug in slugs {
            assert!(slug.len() == SLUG_CHARS && !slug.contains(['0', 'o', '1', 'i', 'l']));
            assert!(link("https://x.example", Some(&slug)).check().is_ok());
        }
    }
}
