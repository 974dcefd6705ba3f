//! Deliveries and links as a sender gives them, checked before they reach the database.

use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::hint::quote;
use crate::model::hit::{DeliveryId, Limit, LinkId, Utm, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::link::{DestinationError, check_personal_template, check_template};

/// A field that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct DraftError {
    /// Its name, `utm.source` for what lies deeper.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// A campaign that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDelivery {
    /// None: the next number.
    pub id: Option<DeliveryId>,
    /// Name in reports, at most 255 characters.
    pub label: String,
    /// `email` where none is given; at most 64 characters.
    pub channel: Option<String>,
    /// When it is or was sent.
    pub sent_at: Option<Micros>,
    /// From then on its links lead to `expiration_url`.
    pub expires_at: Option<Micros>,
    /// `http` or `https`.
    pub expiration_url: Option<String>,
    /// Added to destinations.
    pub utm: Utm,
}

impl NewDelivery {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is empty, too long or holds control characters, or the URL is none.
    pub fn check(self) -> Result<Self, DraftError> {
        let utm = |field, text| optional(field, text, Limit::NAME);
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
            utm: Utm {
                source: utm("utm.source", self.utm.source)?,
                medium: utm("utm.medium", self.utm.medium)?,
                campaign: utm("utm.campaign", self.utm.campaign)?,
                term: utm("utm.term", self.utm.term)?,
                content: utm("utm.content", self.utm.content)?,
            },
        })
    }
}

/// A link that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewLink {
    /// None: the next number.
    pub id: Option<LinkId>,
    /// Campaign it belongs to; none: it stands alone.
    pub delivery_id: Option<DeliveryId>,
    /// Name in `/r/<slug>`.
    pub slug: Option<String>,
    /// Destination, `http` or `https`.
    pub url: String,
    /// Name in reports.
    pub label: Option<String>,
    /// `optout`, `mirror`, or a word for reports.
    pub category: Option<String>,
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

    /// [`Self::check`] where hosts are listed that may come of a host with personal parts.
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

pub(crate) fn required(
    field: &'static str,
    text: &str,
    limit: Limit,
) -> Result<String, DraftError> {
    let wrong = |why: String| DraftError { field, why };
    match clean(text, limit) {
        (_, Some("cut")) => Err(wrong(format!("is longer than {} characters", limit.0))),
        (_, Some(_)) => Err(wrong("holds control characters".to_owned())),
        (text, None) if text.is_empty() => Err(wrong("is empty".to_owned())),
        (text, None) => Ok(text.into_owned()),
    }
}

pub(crate) fn optional(
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
        why: format!("is wrong: {} {error}", quote(url)),
    }
}

fn check_slug(slug: &str) -> Result<(), DraftError> {
    let wrong = |why: &str| {
        Err(DraftError {
            field: "slug",
            why: format!("is wrong: {} {why}", quote(slug)),
        })
    };
    if slug.is_empty() || slug.len() > 64 {
        return wrong("is not from 1 to 64 characters long");
    }
    if !slug
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return wrong("holds other characters than letters, digits, - and _");
    }
    // `/r/test` is how Adobe Campaign asks whether a tracking server lives.
    if slug == "test" {
        return wrong("is kept for the test of the server");
    }
    Ok(())
}

/// Without 0 and o, 1, i and l: what someone reads from paper and types.
const UNAMBIGUOUS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// 31^7, 27 billion: among a million links a new one meets a taken name once in 27,000 times, and
/// is then made again.
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
