//! The content of a delivery's mail, as it was given and as messages are written from it.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::{Store, Tx};
use crate::content::{Edit, LinkKind, Part, Source};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId};
use crate::{both, from_row};

/// The content of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Whose it is.
    pub delivery_id: DeliveryId,
    /// As it was given.
    pub source: Source,
    /// What messages have in it.
    pub edits: Edits,
    /// Its links by their places in it, then those that it had once.
    pub links: Vec<ContentLink>,
    /// When it was given.
    pub changed_at: Micros,
}

impl Content {
    /// The links that it has now, in their order.
    pub fn current(&self) -> impl Iterator<Item = &ContentLink> {
        self.links.iter().take_while(|link| !link.is_former)
    }
}

/// What messages have in place of ranges of the two parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Edits {
    /// Of the HTML.
    pub html: Vec<Edit>,
    /// Of the text.
    pub text: Vec<Edit>,
}

/// A link of a content: what it was found by, which its row may have changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentLink {
    /// The delivery's link.
    pub id: LinkId,
    /// Where it is.
    pub part: Part,
    /// Its destination there.
    pub url: String,
    /// What a click on it is.
    pub kind: LinkKind,
    /// Whether it is in the content no more: messages that were sent have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_former: bool,
}

from_row!(Content, row => { delivery_id, changed_at } {
    source: Source {
        html: row.try_get("html")?,
        text: row.try_get("text")?,
    },
    edits: row.try_get::<Json<Edits>, _>("edits")?.0,
    links: row.try_get::<Json<Vec<ContentLink>>, _>("links")?.0,
});

impl Store {
    /// The content of a delivery, if it has one.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn content(&self, delivery_id: DeliveryId) -> sqlx::Result<Option<Content>> {
        let sql = "select delivery_id, html, text, edits, links, changed_at \
            from delivery_contents where delivery_id = $1";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery_id).fetch_optional(pool).await)
    }
}

impl Tx {
    /// The links of a delivery's content, and those that it had once. Call it where the delivery is
    /// locked.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn content_links(
        &mut self,
        delivery_id: DeliveryId,
    ) -> sqlx::Result<Vec<ContentLink>> {
        let sql = "select links from delivery_contents where delivery_id = $1";
        let links: Option<Json<Vec<ContentLink>>> = both!(self, c => sqlx::query_scalar(sql).bind(delivery_id).fetch_optional(&mut **c).await)?;
        Ok(links.map_or_else(Vec::new, |links| links.0))
    }

    /// Stores a content in place of the delivery's one before.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save_content(&mut self, content: &Content) -> sqlx::Result<()> {
        let sql = "insert into delivery_contents (delivery_id, html, text, edits, links, changed_at)
                   values ($1, $2, $3, $4, $5, $6)
                   on conflict (delivery_id) do update set html = excluded.html,
                   text = excluded.text,
                   edits = excluded.edits, links = excluded.links, changed_at = excluded.changed_at";
        both!(self, c => sqlx::query(sql)
            .bind(content.delivery_id)
            .bind(&content.source.html)
            .bind(&content.source.text)
            .bind(Json(&content.edits))
            .bind(Json(&content.links))
            .bind(content.changed_at)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Takes so many numbers of links; returns the first.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_link_numbers(&mut self, count: usize) -> sqlx::Result<i64> {
        self.take_numbers("link", i64::try_from(count).unwrap_or(i64::MAX))
            .await
    }
}
