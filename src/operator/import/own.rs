//! `links`: our own form. `id`, `slug`, `url`, `label`, `category`, `delivery_id`; each row has an
//! id or a slug, by which it is known the next time. It is what `export links --format csv` writes.

use super::columns::{Cells as _, ColumnError, Header, name};
use super::draft::{Draft, ReadRow};
use crate::model::hit::{DeliveryId, LinkId};
use crate::operator::NewLink;
use crate::operator::export::read_csv_text;

pub(super) fn read_links(header: &Header) -> Result<ReadRow, ColumnError> {
    let url = header.need("url", &["url"])?;
    let id = header.find("id", &["id", "linkid"])?;
    let slug = match id {
        Some(_) => header.find("slug", &["slug"])?,
        None => Some(header.need("slug (or id)", &["slug"])?),
    };
    let label = header.find("label", &["label"])?;
    let category = header.find("category", &["category"])?;
    let delivery = header.find("delivery_id", &["deliveryid"])?;
    Ok(Box::new(move |row| {
        let draft = NewLink {
            id: id.positive(row)?.map(LinkId),
            delivery_id: delivery.positive(row)?.map(DeliveryId),
            slug: slug.text(row)?.map(read_csv_text).map(str::to_owned),
            url: url.needed(row)?.to_owned(),
            label: label.text(row)?.map(read_csv_text).and_then(name),
            category: category.text(row)?.map(read_csv_text).map(str::to_owned),
        };
        if draft.id.is_none() && draft.slug.is_none() {
            return Err("has neither an id nor a slug".to_owned());
        }
        draft
            .check()
            .map(Draft::Link)
            .map_err(|error| error.to_string())
    }))
}
