//! The public JSON shape of each resource, derived once for the API, the command line and
//! exports alike.
//!
//! Where a row is told as it is stored, the row itself is the shape: [`Delivery`] and [`PageTag`].
//! The views here add what the row does not know, such as the address of this server.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::clock::Micros;
use crate::model::form::{Form, FormId};
use crate::model::hit::{ContactId, VisitorId};
use crate::model::site::Site;
use crate::model::wire;
pub use crate::store::deliveries::{Delivery, Link};
use crate::store::forms::StoredForm;
pub use crate::store::page_tags::PageTag;
use crate::store::persons::ContactRecord;

/// A link: `{id, delivery_id?, slug?, url, label?, category?, ended_at?, end_url?, short_url?}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LinkView {
    #[serde(flatten)]
    link: Link,
    /// Its short URL; `None` if it has no slug.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<String>,
}

impl LinkView {
    /// A link with the URLs of its site.
    pub fn at(link: Link, site: &Site) -> Self {
        let short_url = link
            .slug
            .as_ref()
            .map(|slug| format!("{}/{slug}", site.redirect_url()));
        Self { link, short_url }
    }
}

/// A contact: `{id, former_ids, fields, tags, visitor_ids, created_at, changed_at}`, of its
/// visitors the latest 1,000.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ContactView<'c> {
    id: Option<ContactId>,
    former_ids: &'c [ContactId],
    fields: &'c BTreeMap<String, Value>,
    tags: &'c [String],
    visitor_ids: &'c [VisitorId],
    #[serde(with = "wire::option_time")]
    created_at: Option<Micros>,
    #[serde(with = "wire::option_time")]
    changed_at: Option<Micros>,
    /// Since when it has been unsubscribed; `None` if it is not.
    #[serde(with = "wire::option_time")]
    opted_out_at: Option<Micros>,
}

impl<'c> ContactView<'c> {
    /// A visitor who has left hits but no name: no id, fields or times.
    pub fn anonymous(visitor: &'c VisitorId) -> Self {
        static NO_FIELDS: BTreeMap<String, Value> = BTreeMap::new();
        Self {
            id: None,
            former_ids: &[],
            fields: &NO_FIELDS,
            tags: &[],
            visitor_ids: std::slice::from_ref(visitor),
            created_at: None,
            changed_at: None,
            opted_out_at: None,
        }
    }
}

impl<'c> From<&'c ContactRecord> for ContactView<'c> {
    fn from(contact: &'c ContactRecord) -> Self {
        Self {
            id: Some(contact.id),
            former_ids: &contact.former_ids,
            fields: &contact.fields,
            tags: &contact.tags,
            visitor_ids: &contact.visitor_ids,
            created_at: Some(contact.created_at),
            changed_at: Some(contact.changed_at),
            opted_out_at: contact.opted_out_at,
        }
    }
}

/// A form: `{id, name, alias, fields, …, submit_url, created_at, changed_at}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FormView {
    #[serde(with = "wire::id")]
    id: FormId,
    #[serde(flatten)]
    form: Form,
    /// What its page posts to.
    submit_url: String,
    #[serde(with = "wire::time")]
    created_at: Micros,
    #[serde(with = "wire::time")]
    changed_at: Micros,
}

impl FormView {
    /// A form with the URLs of its site.
    pub fn at(stored: StoredForm, site: &Site) -> Self {
        Self {
            id: stored.id,
            submit_url: format!("{}/form/submit?formId={}", site.base_url, stored.id),
            form: stored.form,
            created_at: stored.created_at,
            changed_at: stored.changed_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::hit::{DeliveryId, LinkId, PageTagKind, Utm};

    const AT: Micros = Micros(1_700_000_000_000_000);

    #[test]
    fn ids_beyond_2_to_the_53_are_strings_and_times_are_in_utc() {
        let delivery = Delivery {
            id: DeliveryId((1 << 53) + 1),
            label: "News".to_owned(),
            channel: "email".to_owned(),
            sent_at: Some(AT),
            expires_at: None,
            expiration_url: None,
            utm: Utm {
                source: Some("letter".to_owned()),
                ..Utm::default()
            },
            origin: None,
            messages: 2,
            created_at: AT,
        };
        let expected = json!({
            "id": "9007199254740993", "label": "News", "channel": "email",
            "sent_at": "2023-11-14T22:13:20Z", "expires_at": null, "expiration_url": null,
            "utm": {"source": "letter"}, "messages": 2, "created_at": "2023-11-14T22:13:20Z",
        });
        assert_eq!(json!(delivery), expected);
    }

    #[test]
    fn a_link_tells_what_it_has_and_where_its_slug_is_followed() {
        let link = |slug: Option<&str>, delivery_id| Link {
            id: LinkId(7),
            delivery_id,
            slug: slug.map(str::to_owned),
            url: "https://shop.example/".to_owned(),
            label: None,
            category: None,
            ended_at: None,
            end_url: None,
        };
        let view = |link| {
            json!(LinkView::at(
                link,
                &Site::new("https://t.example".to_owned())
            ))
        };
        assert_eq!(
            view(link(Some("autumn"), None)),
            json!({"id": 7, "slug": "autumn", "short_url": "https://t.example/r/autumn",
                "url": "https://shop.example/"})
        );
        assert_eq!(
            view(link(None, Some(DeliveryId(4)))),
            json!({"id": 7, "delivery_id": 4, "url": "https://shop.example/"})
        );
    }

    #[test]
    fn what_a_page_tag_does_not_have_is_null() {
        let tag = PageTag {
            identifier: "home".to_owned(),
            label: "Home".to_owned(),
            kind: PageTagKind::Web,
            folder: None,
            source_url: None,
            valid_until: None,
            created_at: AT,
        };
        assert_eq!(
            json!(tag),
            json!({"identifier": "home", "label": "Home", "kind": "web", "folder": null,
                "source_url": null, "valid_until": null, "created_at": "2023-11-14T22:13:20Z"})
        );
    }

    #[test]
    fn a_visitor_without_a_name_has_all_members_of_a_contact() {
        let visitor = VisitorId(uuid::Uuid::from_u128(3));
        assert_eq!(
            json!(ContactView::anonymous(&visitor)),
            json!({"id": null, "former_ids": [], "fields": {}, "tags": [],
                "visitor_ids": ["00000000-0000-0000-0000-000000000003"], "created_at": null,
                "changed_at": null, "opted_out_at": null})
        );
    }
}
