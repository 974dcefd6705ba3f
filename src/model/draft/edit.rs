//! What an operator changes of a delivery or a link after it was sent. A field that is not given
//! stays; null empties it.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{DraftError, destination, optional, required, wrong_url};
use crate::model::hit::{Limit, Utm};
use crate::model::host_pattern::HostPattern;
use crate::model::link::check_personal_template;
use crate::model::wire::{self, Time, given, given_whole};

/// Fields of a link. Sent emails hold its id, its delivery and its slug, so those stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkEdit {
    /// Destination, `http` or `https`.
    #[serde(default, deserialize_with = "given_whole")]
    pub url: Option<String>,
    /// Name in reports.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub label: Option<Option<String>>,
    /// `optout`, `mirror`, or a word for reports.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub category: Option<Option<String>>,
    /// Whether it no longer leads to its destination.
    #[serde(default, deserialize_with = "given_whole")]
    pub ended: Option<bool>,
    /// Where it leads once it has ended.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub end_url: Option<Option<String>>,
}

impl LinkEdit {
    /// Brings all fields into the form in which they are stored. The hosts are those that may come
    /// of a host with personal parts.
    ///
    /// # Errors
    /// A URL cannot be a destination, or a text is too long or holds control characters.
    pub fn check(self, personal_hosts: &[HostPattern]) -> Result<Self, DraftError> {
        let url = self.url.map(|url| {
            check_personal_template(&url, personal_hosts)
                .map_err(|error| wrong_url("url", &url, &error))
        });
        Ok(Self {
            url: url.transpose()?,
            label: text("label", self.label, Limit::NAME)?,
            category: text("category", self.category, Limit::WORD)?,
            ended: self.ended,
            end_url: page("end_url", self.end_url)?,
        })
    }
}

/// Fields of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryEdit {
    /// Name in reports.
    #[serde(default, deserialize_with = "given_whole")]
    pub label: Option<String>,
    /// `email` and the like; null is `email`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub channel: Option<Option<String>>,
    /// When it is or was sent.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Time>)]
    pub sent_at: Option<Option<Time>>,
    /// From then on its links lead to `expiration_url`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Time>)]
    pub expires_at: Option<Option<Time>>,
    /// `http` or `https`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub expiration_url: Option<Option<String>>,
    /// All of them anew.
    #[serde(default, deserialize_with = "given_utm")]
    pub utm: Option<Utm>,
    /// It expires now at the latest.
    #[serde(skip)]
    pub is_end: bool,
}

fn given_utm<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Utm>, D::Error> {
    wire::utm::deserialize(deserializer).map(Some)
}

impl DeliveryEdit {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is empty, too long or holds control characters, or the URL is none.
    pub fn check(self) -> Result<Self, DraftError> {
        let label = self
            .label
            .map(|label| required("label", &label, Limit::NAME));
        Ok(Self {
            label: label.transpose()?,
            channel: text("channel", self.channel, Limit::WORD)?,
            sent_at: self.sent_at,
            expires_at: self.expires_at,
            expiration_url: page("expiration_url", self.expiration_url)?,
            utm: self.utm.map(check_utm).transpose()?,
            is_end: self.is_end,
        })
    }

    /// What ends a delivery now, unless it is over: its links lead to this page, or to that which
    /// it has.
    pub fn end(page: Option<String>) -> Self {
        Self {
            is_end: true,
            expiration_url: page.map(Some),
            ..Self::default()
        }
    }
}

/// Campaign parameters in the form in which they are stored.
pub(super) fn check_utm(utm: Utm) -> Result<Utm, DraftError> {
    let value = |field, text| optional(field, text, Limit::NAME);
    Ok(Utm {
        source: value("utm.source", utm.source)?,
        medium: value("utm.medium", utm.medium)?,
        campaign: value("utm.campaign", utm.campaign)?,
        term: value("utm.term", utm.term)?,
        content: value("utm.content", utm.content)?,
    })
}

fn text(
    field: &'static str,
    given: Option<Option<String>>,
    limit: Limit,
) -> Result<Option<Option<String>>, DraftError> {
    given.map(|text| optional(field, text, limit)).transpose()
}

fn page(
    field: &'static str,
    given: Option<Option<String>>,
) -> Result<Option<Option<String>>, DraftError> {
    let page = given.map(|url| url.map(|url| destination(field, &url)).transpose());
    page.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empties_a_field_and_what_is_not_given_stays() {
        let edit: LinkEdit =
            serde_json::from_str(r#"{"label": null, "category": " mirror "}"#).unwrap();
        let edit = edit.check(&[]).unwrap();
        assert_eq!(
            edit,
            LinkEdit {
                label: Some(None),
                category: Some(Some("mirror".to_owned())),
                ..LinkEdit::default()
            }
        );
        let edit: DeliveryEdit =
            serde_json::from_str(r#"{"expires_at": null, "utm": {}}"#).unwrap();
        assert_eq!(
            edit.check().unwrap(),
            DeliveryEdit {
                expires_at: Some(None),
                utm: Some(Utm::default()),
                ..DeliveryEdit::default()
            }
        );
    }

    #[test]
    fn a_change_is_checked_as_what_is_made_is() {
        for (json, field) in [
            (r#"{"url": "javascript:alert(1)"}"#, "url"),
            (r#"{"url": "https://{p1}/"}"#, "url"),
            (r#"{"end_url": "/over"}"#, "end_url"),
            (r#"{"label": "a\u0000b"}"#, "label"),
        ] {
            let edit: LinkEdit = serde_json::from_str(json).unwrap();
            assert_eq!(edit.check(&[]).unwrap_err().field, field);
        }
        for (json, field) in [
            (r#"{"label": " "}"#, "label"),
            (r#"{"expiration_url": "over"}"#, "expiration_url"),
            (r#"{"utm": {"term": "a\u0001"}}"#, "utm.term"),
        ] {
            let edit: DeliveryEdit = serde_json::from_str(json).unwrap();
            assert_eq!(edit.check().unwrap_err().field, field);
        }
        for json in [r#"{"slug": "a"}"#, r#"{"url": null}"#, r#"{"ended": null}"#] {
            assert!(serde_json::from_str::<LinkEdit>(json).is_err(), "{json}");
        }
    }
}
