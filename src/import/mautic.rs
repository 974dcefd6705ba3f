//! Mautic's tables: `page_redirects`, `email_stats`, `leads`.
//!
//! A redirect's 25 characters are its slug. A message is known by its tracking hash (`mautic:<hash>`) and belongs to the delivery that has the
//! e-mail's number. People are found by their address; Mautic's own number stays with them in the field `mautic_id`.

use std::collections::BTreeSet;

use super::columns::{Cells as _, Column, ColumnError, Header, plain};
use super::people::{NewContact, SentMessage};
use super::{Draft, Reader, adobe};
use crate::hit::{DeliveryId, Limit, clean};
use crate::sending::NewLink;

/// The field that keeps Mautic's number of a contact.
pub(super) const MAUTIC_ID: &str = "mautic_id";

/// Columns of `leads` that say nothing of the person.
const NOT_THE_PERSON: [&str; 12] = [
    "checkedout",
    "checkedoutby",
    "checkedoutbyuser",
    "createdby",
    "createdbyuser",
    "dateidentified",
    "internal",
    "ispublished",
    "modifiedby",
    "modifiedbyuser",
    "ownerid",
    "socialcache",
];

/// A name for people to read: cut where it is too long, none where nothing is left.
pub(super) fn name(text: Option<&str>) -> Option<String> {
    let name = clean(text?, Limit::NAME).0.into_owned();
    (!name.is_empty()).then_some(name)
}

pub(super) fn read_redirects(header: &Header) -> Result<Reader, ColumnError> {
    let slug = header.need("redirect_id", &["redirectid"])?;
    let url = header.need("url", &["url"])?;
    let is_published = header.find("is_published", &["ispublished"])?;
    Ok(Box::new(move |row| {
        let draft = NewLink {
            slug: Some(slug.needed(row)?.to_owned()),
            // Mautic takes the escapes of HTML out when it redirects.
            url: url.needed(row)?.replace("&amp;", "&"),
            ..NewLink::default()
        };
        if is_published.flag(row)? == Some(false) {
            return Ok(Draft::Ignored);
        }
        draft
            .check()
            .map(Draft::Link)
            .map_err(|error| error.to_string())
    }))
}

pub(super) fn read_email_stats(header: &Header) -> Result<Reader, ColumnError> {
    let hash = header.need("tracking_hash", &["trackinghash"])?;
    let delivery = header.need("email_id", &["emailid", "email"])?;
    let address = header.need("email_address", &["emailaddress"])?;
    let lead = header.find("lead_id", &["leadid", "lead"])?;
    let sent_at = header.find("date_sent", &["datesent"])?;
    let is_failed = header.find("is_failed", &["isfailed"])?;
    Ok(Box::new(move |row| {
        if is_failed.flag(row)? == Some(true) {
            return Ok(Draft::Ignored);
        }
        let hash = hash.needed(row)?;
        if !(5..=64).contains(&hash.len()) || !hash.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("tracking_hash is no hash".to_owned());
        }
        let delivery_id = delivery
            .number(row)?
            .filter(|id| *id > 0)
            .ok_or("email_id is empty: the e-mail was deleted in Mautic")?;
        let mut fields = vec![("email".to_owned(), address.needed(row)?.to_owned())];
        if let Some(lead) = lead.number(row)? {
            fields.push((MAUTIC_ID.to_owned(), lead.to_string()));
        }
        Ok(Draft::Message(SentMessage {
            id: None,
            key: Some(format!("mautic:{hash}")),
            delivery_id: DeliveryId(delivery_id),
            fields,
            sent_at: sent_at.time(row)?,
        }))
    }))
}

pub(super) fn read_contacts(header: &Header) -> Result<Reader, ColumnError> {
    let id = header.need("id", &["id", "leadid", "contactid"])?;
    let tags = header.find("tags", &["tags"])?;
    // Whoever exports two columns of one name means one of them, but which?
    let mut seen = BTreeSet::new();
    let mut fields: Vec<(String, Column)> = Vec::new();
    for name in header.names() {
        let bare = plain(name);
        if bare.is_empty()
            || bare == "tags"
            || NOT_THE_PERSON.contains(&bare.as_str())
            || !seen.insert(bare.clone())
        {
            continue;
        }
        if let Some(column) = header
            .find("a field", &[bare])?
            .filter(|column| *column != id && column.index != id.index)
        {
            fields.push((
                clean(&name.to_lowercase(), Limit::WORD).0.replace(' ', "_"),
                column,
            ));
        }
    }
    Ok(Box::new(move |row| {
        let number = adobe::positive(id.number(row)?, "id")?;
        let mut contact = NewContact {
            fields: vec![(MAUTIC_ID.to_owned(), number.to_string())],
            tags: Vec::new(),
        };
        for (name, column) in &fields {
            let text = column
                .text(row)
                .map_err(|_| format!("{name} is not UTF-8 or holds a NUL byte"))?;
            if let Some(text) = text {
                contact.fields.push((name.clone(), text.to_owned()));
            }
        }
        if let Some(text) = tags.text(row)? {
            contact.tags = text
                .split(['|', ','])
                .filter_map(|tag| name(Some(tag)))
                .collect();
        }
        Ok(Draft::Contact(contact))
    }))
}
