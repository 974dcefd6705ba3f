//! `links`: our own form. `id`, `slug`, `url`, `label`, `category`, `delivery_id`; each row has an
//! id or a slug, by which it is known the next time. It is what `export links --format csv` writes.

use super::columns::{Cells as _, ColumnError, Header};
use super::{Draft, Reader, mautic};
use crate::model::hit::{DeliveryId, LinkId};
use crate::operator::NewLink;
use crate::operator::export::read_csv_text;

pub(super) fn read_links(header: &Header) -> Result<Reader, ColumnError> {
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
        let positive = |number: Option<i64>, name: &str| match number {
            Some(number) if number < 1 => Err(format!("{name} is not from 1 on")),
            number => Ok(number),
        };
        let draft = NewLink {
            id: positive(id.number(row)?, "id")?.map(LinkId),
            delivery_id: positive(delivery.number(row)?, "delivery_id")?.map(DeliveryId),
            slug: slug.text(row)?.map(read_csv_text).map(str::to_owned),
            url: url.needed(row)?.to_owned(),
            label: mautic::name(label.text(row)?.map(read_csv_text)),
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
