//! Adobe Campaign's tables: `nms:trackingUrl`, `nms:delivery`, `nms:broadLogRcp`, as queries and
//! workflows export them (`@id`, `[delivery/@id]`) and as their columns are called in its database
//! (`iTrackingUrlId`, `sSource`, `tsContact`).
//!
//! Links write a negative 32-bit number in the hexadecimal of its unsigned form, so that is the
//! number here.

use uuid::Uuid;

use super::columns::{Cells, Column, ColumnError, Header, name, plain};
use super::draft::{Draft, ReadRow, SentMessage};
use super::template;
use crate::model::hint::quote;
use crate::model::hit::{BroadlogId, DeliveryId, Limit, LinkId, PageTagKind, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::wire::Id;
use crate::operator::contacts::NewContact;
use crate::operator::{NewDelivery, NewLink, NewPageTag};

const DELIVERY: [&str; 4] = ["deliveryid", "ideliveryid", "delivery", "jobid"];

/// The number that stands in links: from 1 to 2^63, negative 32-bit ones in their unsigned form.
fn id(number: Option<i64>, name: &str) -> Result<i64, String> {
    match number {
        None => Err(format!("{name} is empty")),
        Some(0) => Err(format!("{name} is 0")),
        Some(number) => Ok(Id::of_number(number).map_or(number, |id| id.0)),
    }
}

/// What a tracked URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrlType {
    Click,
    Open,
    Optout,
    Web,
    Transaction,
    Mirror,
}

fn url_type(text: Option<&str>) -> Result<UrlType, String> {
    let Some(text) = text else {
        return Ok(UrlType::Click);
    };
    Ok(match text {
        "2" => UrlType::Open,
        "3" => UrlType::Optout,
        "4" => UrlType::Web,
        "5" => UrlType::Transaction,
        "6" => UrlType::Mirror,
        // 1, and what later versions added for other channels.
        _ if text.parse::<u16>().is_ok() => UrlType::Click,
        _ => match plain(text) {
            word if word.contains("mirror") => UrlType::Mirror,
            word if word.contains("optout") || word.contains("unsub") => UrlType::Optout,
            word if word.contains("transaction") => UrlType::Transaction,
            word if word.contains("open") => UrlType::Open,
            word if word.contains("click") => UrlType::Click,
            word if word.contains("web") => UrlType::Web,
            _ => return Err(format!("type {} is not from 1 to 6", quote(text))),
        },
    })
}

pub(super) fn read_urls(header: &Header, hosts: &[HostPattern]) -> Result<ReadRow, ColumnError> {
    let number = header.need(
        "id",
        &[
            "id",
            "itrackingurlid",
            "trackingurlid",
            "iurlid",
            "urlid",
            "primarykey",
        ],
    )?;
    let source = header.need(
        "source",
        &[
            "source",
            "ssource",
            "sourceurl",
            "ssourceurl",
            "url",
            "surl",
        ],
    )?;
    let delivery = header.need("delivery-id", &DELIVERY)?;
    let kind = header.find("type", &["type", "itype"])?;
    let tag = header.find("tagId", &["tagid", "stagid"])?;
    let label = header.find("label", &["label", "slabel"])?;
    let category = header.find("category", &["category", "scategory"])?;
    let validity = header.find("validity", &["validity", "tsvalidity"])?;
    let hosts = hosts.to_vec();
    Ok(Box::new(move |row| {
        let kind = url_type(kind.text(row)?)?;
        match kind {
            UrlType::Open => return Ok(Draft::Ignored),
            UrlType::Web | UrlType::Transaction => {
                let tag = NewPageTag {
                    identifier: tag.needed(row)?.to_owned(),
                    label: label.name(row)?,
                    kind: if kind == UrlType::Web {
                        PageTagKind::Web
                    } else {
                        PageTagKind::Transaction
                    },
                    folder: None,
                    source_url: source.text(row)?.map(str::to_owned),
                    valid_until: validity.time(row)?,
                };
                let tag = tag.check().map_err(|error| error.to_string())?;
                return Ok(Draft::PageTag(tag));
            }
            UrlType::Click | UrlType::Optout | UrlType::Mirror => {}
        }
        Ok(Draft::Link(NewLink {
            id: Some(LinkId(id(number.number(row)?, "id")?)),
            delivery_id: Some(DeliveryId(id(delivery.number(row)?, "delivery-id")?)),
            slug: None,
            url: template::from_adobe(source.needed(row)?, &hosts)
                .map_err(|error| error.to_string())?,
            label: label.name(row)?,
            category: match kind {
                UrlType::Optout => Some("optout".to_owned()),
                UrlType::Mirror => Some("mirror".to_owned()),
                _ => category
                    .text(row)?
                    .map(|text| clean(text, Limit::WORD).0.into_owned())
                    .filter(|text| !text.is_empty()),
            },
        }))
    }))
}

pub(super) fn read_deliveries(header: &Header) -> Result<ReadRow, ColumnError> {
    let number = header.need("id", &["id", "ideliveryid", "deliveryid", "primarykey"])?;
    let label = header.need(
        "label",
        &["label", "slabel", "internalname", "sinternalname"],
    )?;
    let sent_at = header.find(
        "contactDate",
        &["contactdate", "tscontact", "schedulingcontactdate"],
    )?;
    // Not `validity`: that is when Adobe stops trying to send, some days after the first mail.
    let expires_at = header.find(
        "webValidity",
        &["webvalidity", "tswebvalidity", "validitywebvalidity"],
    )?;
    let expiration_url = header.find("expirationURL", &["expirationurl"])?;
    Ok(Box::new(move |row| {
        NewDelivery {
            id: Some(DeliveryId(id(number.number(row)?, "id")?)),
            label: name(label.needed(row)?).unwrap_or_default(),
            sent_at: sent_at.time(row)?,
            expires_at: expires_at.time(row)?,
            expiration_url: expiration_url.text(row)?.map(str::to_owned),
            ..NewDelivery::default()
        }
        .check()
        .map(Draft::Delivery)
        .map_err(|error| error.to_string())
    }))
}

pub(super) fn read_broadlogs(header: &Header, unique: &[String]) -> Result<ReadRow, ColumnError> {
    let uuid = header.find("uuid", &["uuid", "suuid", "broadloguuid"])?;
    // From version 8 on messages may have their UUID alone.
    let numbers = ["id", "ibroadlogid", "broadlogid", "primarykey"];
    let number = match uuid {
        Some(_) => header.find("id", &numbers)?,
        None => Some(header.need("id", &numbers)?),
    };
    let delivery = header.need("delivery-id", &DELIVERY)?;
    let sent_at = header.find("eventDate", &["eventdate", "tsevent"])?;
    let mut fields: Vec<(String, Column)> = Vec::new();
    let mut names = Vec::new();
    for field in unique {
        let bare = plain(field);
        let mut spellings = vec![
            bare.clone(),
            format!("s{bare}"),
            format!("recipient{bare}"),
            format!("recipients{bare}"),
        ];
        if bare == "email" {
            spellings.extend(["address".to_owned(), "saddress".to_owned()]);
        }
        if let Some(column) = header.find("a unique field", &spellings)? {
            fields.push((field.clone(), column));
        }
        names.extend(spellings);
    }
    if fields.is_empty() {
        header.need("the person (contacts.unique)", &names)?;
    }
    Ok(Box::new(move |row| {
        // Or it stands where the number stood.
        let in_its_place = number
            .text(row)?
            .and_then(|text| Uuid::parse_str(text).ok());
        let uuid = match (in_its_place, uuid.text(row)?) {
            (Some(uuid), _) => Some(uuid),
            (None, None) => None,
            (None, Some(text)) => {
                let why = |_| format!("uuid {} is not a UUID", quote(text));
                Some(Uuid::parse_str(text).map_err(why)?)
            }
        };
        let has_number = in_its_place.is_none() && number.text(row)?.is_some();
        let id = match has_number || uuid.is_none() {
            true => Some(id(number.number(row)?, "id")?),
            false => None,
        };
        let mut person = Vec::new();
        for (name, column) in &fields {
            if let Some(text) = column
                .text(row)
                .map_err(|_| format!("{name} is not UTF-8 or contains a NUL byte"))?
            {
                person.push((name.clone(), text.to_owned()));
            }
        }
        Ok(Draft::Message(SentMessage {
            id: id.map(BroadlogId),
            key: uuid.map(|uuid| format!("adobe:{uuid}")),
            delivery_id: DeliveryId(self::id(delivery.number(row)?, "delivery-id")?),
            contact: NewContact::new(None, person),
            sent_at: sent_at.time(row)?,
        }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_are_those_of_the_links() {
        assert_eq!(id(Some(-1), "id"), Ok(0xffff_ffff));
        assert_eq!(id(Some(i64::from(i32::MIN)), "id"), Ok(0x8000_0000));
        assert_eq!(id(Some(7), "id"), Ok(7));
        assert_eq!(id(Some(i64::MIN), "id"), Ok(i64::MIN));
        assert!(id(Some(0), "id").is_err() && id(None, "id").is_err());
    }

    #[test]
    fn types_are_read_as_numbers_and_as_the_console_says_them() {
        for (text, expected) in [
            (None, UrlType::Click),
            (Some("1"), UrlType::Click),
            (Some("11"), UrlType::Click),
            (Some("Email click"), UrlType::Click),
            (Some("Opt-out"), UrlType::Optout),
            (Some("Mirror page"), UrlType::Mirror),
            (Some("Web"), UrlType::Web),
            (Some("Transaction"), UrlType::Transaction),
            (Some("Open"), UrlType::Open),
        ] {
            assert_eq!(url_type(text), Ok(expected));
        }
        assert!(url_type(Some("-3")).is_err() && url_type(Some("banner")).is_err());
    }
}
