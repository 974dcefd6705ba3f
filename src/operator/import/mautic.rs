//! Mautic's tables: `page_redirects`, `email_stats`, `leads`.
//!
//! A redirect's 25 characters are its slug. A message is known by its tracking hash
//! (`mautic:<hash>`) and belongs to the delivery that has the e-mail's number. People are found by
//! their address; Mautic's own number stays with them in the field `mautic_id`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::columns::{Cells as _, Column, ColumnError, Header, name, plain};
use super::draft::{Draft, MAUTIC_ID, ReadRow, SentMessage};
use crate::model::hit::{DeliveryId, Limit, clean, plain_ampersands};
use crate::operator::NewLink;
use crate::operator::contacts::NewContact;

/// Tokens for a person's fields; the second is the older name.
const TOKENS: [&str; 2] = ["contactfield=", "leadfield="];

/// Columns of `leads` that do not describe the person.
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

pub(super) fn read_redirects(header: &Header) -> Result<ReadRow, ColumnError> {
    let slug = header.need("redirect_id", &["redirectid"])?;
    let url = header.need("url", &["url"])?;
    let is_published = header.find("is_published", &["ispublished"])?;
    Ok(Box::new(move |row| {
        let draft = NewLink {
            slug: Some(slug.needed(row)?.to_owned()),
            // Mautic takes the escapes of HTML out when it redirects.
            url: without_tokens(&plain_ampersands(url.needed(row)?)),
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

/// A URL in which Mautic's tokens for a person's fields, `{contactfield=firstname|there}`, have
/// become what Mautic puts there for a person without the field: the text behind the bar, or
/// nothing. Whose click it is the database knows, and a click does not wait for it.
fn without_tokens(url: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(url.len()), url);
    while let Some((before, token, after)) = next_token(rest) {
        out.push_str(before);
        // `|true` asks for the value encoded.
        let default = token.rsplit_once('|').map_or("", |(_, default)| default);
        if default != "true" {
            out.extend(utf8_percent_encode(default, NON_ALPHANUMERIC));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What comes before the first token, in it and after it. Its braces and its bar may be escaped.
fn next_token(url: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    TOKENS
        .iter()
        .flat_map(|name| url.match_indices(name))
        .filter_map(|(at, name)| {
            let before = ["{", "%7B", "%7b"]
                .iter()
                .find_map(|brace| url[..at].strip_suffix(brace))?;
            let inner = &url[at + name.len()..];
            let (end, brace) = ["}", "%7D", "%7d"]
                .iter()
                .filter_map(|brace| Some((inner.find(brace)?, brace)))
                .min()?;
            let token = percent_decode_str(&inner[..end]).decode_utf8_lossy();
            Some((before, token, &inner[end + brace.len()..]))
        })
        .min_by_key(|(before, ..)| before.len())
}

pub(super) fn read_email_stats(header: &Header) -> Result<ReadRow, ColumnError> {
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
            return Err("tracking_hash is not a hash".to_owned());
        }
        let delivery_id = delivery
            .number(row)?
            .filter(|id| *id > 0)
            .ok_or("email_id is empty: the email was deleted in Mautic")?;
        let mut fields = vec![("email".to_owned(), address.needed(row)?.to_owned())];
        if let Some(lead) = lead.number(row)? {
            fields.push((MAUTIC_ID.to_owned(), lead.to_string()));
        }
        Ok(Draft::Message(SentMessage {
            id: None,
            key: Some(format!("mautic:{hash}")),
            delivery_id: DeliveryId(delivery_id),
            contact: NewContact::new(None, fields),
            sent_at: sent_at.time(row)?,
        }))
    }))
}

pub(super) fn read_contacts(header: &Header) -> Result<ReadRow, ColumnError> {
    let id = header.need("id", &["id", "leadid", "contactid"])?;
    let tags = header.find("tags", &["tags"])?;
    // Whoever exports two columns of one name means one of them, but which?
    let mut seen = BTreeSet::new();
    let mut fields: Vec<(String, Column)> = Vec::new();
    for title in header.names() {
        let bare = plain(title);
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
                clean(&title.to_lowercase(), Limit::WORD)
                    .0
                    .replace(' ', "_"),
                column,
            ));
        }
    }
    Ok(Box::new(move |row| {
        let number = id.positive(row)?.ok_or("id is empty")?;
        let mut values = vec![(MAUTIC_ID.to_owned(), number.to_string())];
        for (field, column) in &fields {
            let text = column
                .text(row)
                .map_err(|_| format!("{field} is not UTF-8 or contains a NUL byte"))?;
            if let Some(text) = text {
                values.push((field.clone(), text.to_owned()));
            }
        }
        let tags = tags.text(row)?.unwrap_or_default().split(['|', ',']);
        let tags = tags.filter_map(|tag| name(&plain_ampersands(tag)));
        let contact = NewContact::new(None, values).with_tags(tags);
        Ok(Draft::Contact(contact))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_what_a_person_without_the_field_would_see() {
        for (url, expected) in [
            ("https://x.example/?a={b}", "https://x.example/?a={b}"),
            (
                "https://x.example/?n={contactfield=firstname}&b=1",
                "https://x.example/?n=&b=1",
            ),
            (
                "https://x.example/?n={contactfield=firstname|my friend}#{leadfield=city|true}",
                "https://x.example/?n=my%20friend#",
            ),
            (
                "https://x.example/%7bcontactfield=a%7Cb%7D/{leadfield=c}{contactfield=d|e}",
                "https://x.example/b/e",
            ),
            (
                "https://x.example/?{contactfield=never closed",
                "https://x.example/?{contactfield=never closed",
            ),
        ] {
            assert_eq!(without_tokens(url), expected, "{url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_whole_token_is_left_and_no_text_panics(url in "(\\PC|\\{contactfield=|%7Bleadfield=|\\}|%7D|\\|){0,40}") {
            proptest::prop_assert!(next_token(&without_tokens(&url)).is_none());
        }
    }
}
