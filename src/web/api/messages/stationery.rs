//! Writes the answers: `{"broadlog_id": …, "contact_id": …, "links": {"<link id>": "<url>"},
//! "open_pixel": "<url>", "list_unsubscribe": "<<url>>", "list_unsubscribe_post":
//! "List-Unsubscribe=One-Click"}`, a line a message; and `"opted_out": true` where its contact has
//! unsubscribed, `"cut": true` where a field of it was longer than it may be.
//!
//! All that is the same in every line is made once; a line then costs a signature a link and no
//! JSON tree. Where the mail itself is asked for (`"html"`, `"text"`), its parts come last.

use std::fmt::Write as _;

use crate::content::{Letter, Template};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::keys::Keys;
use crate::model::link::LinkToken;
use crate::model::site::Site;
use crate::model::wire::Id;
use crate::operator::messages::{MessageOutcome, Sent};
use crate::store::deliveries::{Delivery, Link};
use crate::tracking::route::UNSUBSCRIBE;

/// The mail of a delivery, as far as it is asked for.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Its HTML.
    pub(super) html: Option<Template>,
    /// Its text.
    pub(super) text: Option<Template>,
    /// The delivery's link of each place in it.
    pub(super) links: Vec<LinkId>,
}

/// Bytes of an answer that are written at once where they are messages: memory stays flat.
const PIECE: usize = 256 << 10;

/// What the lines of one delivery are made of.
pub(super) struct Stationery {
    keys: Keys,
    delivery_id: DeliveryId,
    sent_at: Option<Micros>,
    /// Each link with what comes before its token: `,"7":"https://…/r/`.
    links: Vec<(LinkId, String)>,
    /// `},"open_pixel":"https://…/o/`
    before_pixel: String,
    /// `.gif","list_unsubscribe":"<https://…/u/`
    before_unsubscribe: String,
    mail: Option<Mail>,
    /// For each place of the mail the link in `links`.
    places: Vec<usize>,
}

impl Stationery {
    /// For messages whose links their site serves.
    pub(super) fn new(keys: Keys, delivery: &Delivery, links: &[Link], site: &Site) -> Self {
        let open_string = |url: String| {
            let mut text = serde_json::Value::from(url).to_string();
            text.pop();
            text
        };
        let links = links.iter().enumerate().map(|(index, link)| {
            let comma = if index == 0 { "" } else { "," };
            let url = open_string(format!("{}/", site.redirect_url()));
            (link.id, format!("{comma}\"{}\":{url}", link.id))
        });
        Self {
            keys,
            delivery_id: delivery.id,
            sent_at: delivery.sent_at,
            links: links.collect(),
            before_pixel: format!(
                "}},\"open_pixel\":{}",
                open_string(format!("{}/o/", site.base_url))
            ),
            before_unsubscribe: format!(
                ".gif\",\"list_unsubscribe\":{}",
                open_string(format!("<{}{UNSUBSCRIBE}/", site.base_url))
            ),
            mail: None,
            places: Vec::new(),
        }
    }

    /// With the mail itself in each line.
    pub(super) fn with_mail(self, mail: Option<Mail>) -> Self {
        let place = |id: &LinkId| self.links.iter().position(|link| link.0 == *id);
        let places = mail.iter().flat_map(|mail| &mail.links);
        Self {
            // A link that somebody has deleted by hand is none of the delivery's.
            places: places.map(|id| place(id).unwrap_or(usize::MAX)).collect(),
            mail,
            ..self
        }
    }

    /// How many lines are written at once.
    pub(super) fn lines_at_once(&self) -> usize {
        let Some(mail) = &self.mail else {
            return usize::MAX;
        };
        let parts = mail.html.iter().chain(&mail.text);
        let bytes = parts.map(Template::bytes).sum::<usize>().max(1);
        (PIECE / bytes).max(1)
    }

    /// The lines of a chunk, or of a part of it.
    pub(super) fn write(&self, outcomes: &[MessageOutcome]) -> String {
        let parts = self
            .mail
            .iter()
            .flat_map(|mail| mail.html.iter().chain(&mail.text));
        let of_mail: usize = parts.map(Template::bytes).sum();
        let a_line = 320 + self.before_pixel.len() + self.links.len() * 80 + of_mail;
        let mut text = String::with_capacity(outcomes.len() * a_line);
        for outcome in outcomes {
            match outcome {
                Ok(sent) => self.write_message(sent, &mut text),
                Err(error) => {
                    let error = serde_json::json!({ "error": error.to_string() });
                    let _ = write!(text, "{error}");
                }
            }
            text.push('\n');
        }
        text
    }

    fn write_message(&self, sent: &Sent, text: &mut String) {
        let mut token = LinkToken {
            delivery_id: self.delivery_id,
            broadlog_id: sent.broadlog_id,
            link_id: None,
            sent_minute: Some(sent.sent_minute(self.sent_at)),
        };
        text.push_str("{\"broadlog_id\":");
        text.push_str(&serde_json::to_string(&Id::from(sent.broadlog_id)).unwrap_or_default());
        text.push_str(",\"contact_id\":\"");
        let mut buffer = uuid::Uuid::encode_buffer();
        text.push_str(sent.contact_id.0.hyphenated().encode_lower(&mut buffer));
        text.push_str("\",\"links\":{");
        let is_plain = self.mail.is_none();
        let mut tokens = Tokens::default();
        for (id, before) in &self.links {
            token.link_id = Some(*id);
            text.push_str(before);
            let start = text.len();
            token.encode_into(&self.keys, text);
            if !is_plain {
                tokens.add(&text[start..]);
            }
            text.push('"');
        }
        token.link_id = None;
        text.push_str(&self.before_pixel);
        // The pixel's token names the message and no more: so does that of the way out.
        let before = text.len();
        token.encode_into(&self.keys, text);
        let of_message = text[before..].to_owned();
        text.push_str(&self.before_unsubscribe);
        text.push_str(&of_message);
        text.push_str(">\",\"list_unsubscribe_post\":\"List-Unsubscribe=One-Click\"");
        if sent.has_opted_out {
            text.push_str(",\"opted_out\":true");
        }
        if sent.is_cut {
            text.push_str(",\"cut\":true");
        }
        if let Some(mail) = &self.mail {
            let links: Vec<&str> = self.places.iter().map(|place| tokens.get(*place)).collect();
            let letter = Letter {
                links: &links,
                message: &of_message,
                values: &sent.values,
            };
            for (name, part) in [("html", &mail.html), ("text", &mail.text)] {
                if let Some(part) = part {
                    let _ = write!(text, ",\"{name}\":\"");
                    part.write(&letter, text);
                    text.push('"');
                }
            }
        }
        text.push('}');
    }
}

/// The tokens of a message: each is signed once, however often the mail has it.
#[derive(Default)]
struct Tokens {
    text: String,
    ends: Vec<usize>,
}

impl Tokens {
    fn add(&mut self, token: &str) {
        self.text.push_str(token);
        self.ends.push(self.text.len());
    }

    fn get(&self, place: usize) -> &str {
        let Some(end) = self.ends.get(place) else {
            return "";
        };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::model::hit::{BroadlogId, ContactId, Utm};
    use crate::model::link::TOKEN_EPOCH_MINUTES;
    use crate::operator::messages::MessageError;

    const MINUTE: i64 = 60 * Micros::SECOND;

    fn minute(minute: i64) -> Micros {
        Micros((TOKEN_EPOCH_MINUTES + minute) * MINUTE + 5)
    }

    fn lines(sent_at: Option<Micros>, outcomes: &[MessageOutcome]) -> (Keys, Vec<Value>) {
        let keys = Keys::parse(&["1:0123456789abcdef0123456789abcdef".to_owned()]).unwrap();
        let delivery = Delivery {
            id: DeliveryId(4),
            label: String::new(),
            channel: String::new(),
            sent_at,
            expires_at: None,
            expiration_url: None,
            utm: Utm::default(),
            origin: None,
            messages: 0,
            created_at: Micros(0),
        };
        let link = |id| Link {
            id: LinkId(id),
            delivery_id: None,
            slug: None,
            url: String::new(),
            label: None,
            category: None,
            ended_at: None,
            end_url: None,
        };
        let stationery = Stationery::new(
            keys.clone(),
            &delivery,
            &[link(7), link(8)],
            &Site::new("https://t.example/\"q".to_owned()),
        );
        let text = stationery.write(outcomes);
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (keys, lines)
    }

    fn sent(broadlog: i64) -> MessageOutcome {
        Ok(Sent {
            broadlog_id: BroadlogId(broadlog),
            contact_id: ContactId(Uuid::from_u128(3)),
            created_at: minute(100),
            has_opted_out: false,
            is_cut: false,
            values: Box::default(),
        })
    }

    #[test]
    fn a_line_holds_a_signed_token_for_each_link_and_the_pixel() {
        let (keys, lines) = lines(None, &[sent(5)]);
        let token = |url: &Value, before: &str, after: &str| {
            let name = url.as_str().unwrap().strip_prefix(before).unwrap();
            LinkToken::decode(name.strip_suffix(after).unwrap(), &keys).unwrap()
        };
        let line = &lines[0];
        assert_eq!(line["broadlog_id"], 5);
        assert_eq!(line["contact_id"], Uuid::from_u128(3).to_string());
        assert_eq!(line["links"].as_object().unwrap().len(), 2);
        let second = token(&line["links"]["8"], "https://t.example/\"q/r/", "");
        assert_eq!(
            second,
            LinkToken {
                delivery_id: DeliveryId(4),
                broadlog_id: BroadlogId(5),
                link_id: Some(LinkId(8)),
                sent_minute: Some(TOKEN_EPOCH_MINUTES + 100),
            }
        );
        let pixel = token(&line["open_pixel"], "https://t.example/\"q/o/", ".gif");
        assert_eq!((pixel.link_id, pixel.broadlog_id), (None, BroadlogId(5)));
        let way_out = token(&line["list_unsubscribe"], "<https://t.example/\"q/u/", ">");
        assert_eq!(way_out, pixel);
        assert_eq!(line["list_unsubscribe_post"], "List-Unsubscribe=One-Click");
        assert_eq!(line["opted_out"], Value::Null);
    }

    #[test]
    fn the_minute_of_sending_is_the_deliverys_where_that_lies_ahead() {
        for (sent_at, expected) in [(None, 100), (Some(50), 100), (Some(200), 200)] {
            let (keys, lines) = lines(sent_at.map(minute), &[sent(5)]);
            let name = lines[0]["links"]["7"].as_str().unwrap();
            let token = LinkToken::decode(name.rsplit('/').next().unwrap(), &keys).unwrap();
            assert_eq!(token.sent_minute, Some(TOKEN_EPOCH_MINUTES + expected));
        }
    }

    #[test]
    fn an_error_stands_in_its_lines_place_and_great_numbers_are_strings() {
        let wrong = Err(MessageError::Line("\"quoted\"".to_owned()));
        let (_, lines) = lines(None, &[sent(i64::MAX), wrong, sent(6)]);
        assert_eq!(lines[0]["broadlog_id"], i64::MAX.to_string());
        assert_eq!(lines[1], serde_json::json!({"error": "\"quoted\""}));
        assert_eq!(lines[2]["broadlog_id"], 6);
    }
}
