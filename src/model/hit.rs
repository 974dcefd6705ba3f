//! The hit: one thing that happened, in one form for all dialects.
//!
//! A `Hit` that exists is valid: every string is clean (valid UTF-8, no NUL, no control characters;
//! line breaks only in values of `extra` and in contact fields that came from a text area or in
//! JSON) and cut to a size that the database takes, every number fits its column. What was cut or
//! repaired is said in `reason`; what no column holds goes into `extra`, whole. Dialects fill a hit
//! through [`Hit::new`] and the setters here; none of them writes an unchecked string.

mod columns;
mod erased;
mod extra;
mod foreign;
mod ids;
mod proof;
pub(crate) mod summary;
mod utm;
mod words;

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub(crate) use columns::hit_columns;
pub use columns::{COLUMNS, HitRow};
pub use erased::is_searched;
pub use foreign::{Foreign, PageTagDraft};
pub use ids::{BroadlogId, ContactId, DeliveryId, HitId, LinkId, VisitorId, read_uid};
pub use proof::{LeastProof, Proof};
pub use utm::Utm;
pub use words::{Authority, Dialect, Kind, PageTagKind, Provenance, Reason, Verdict};

use crate::model::clock::Micros;
use crate::model::site::DEFAULT_SITE;
// What is true of any text and amount is what a hit is made of.
pub use crate::model::money::{Amount, Currency, Money, MoneyError, Sum, read_amount, read_whole};
pub use crate::model::text::{
    Limit, clean, clean_bytes, clean_lines, plain_ampersands, plain_pair, plain_query,
};

/// A tag to add or to take away (`ProductA,-ProductB`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// The tag.
    pub name: String,
    /// True takes it away.
    pub remove: bool,
}

/// Stands in the `reason` of a hit that turned out to be a person's.
const SETTLED: &str = "settled as a person's";

/// Stands in a `reason` that has no room for another note.
const MORE_NOTES: &str = "more notes";

/// One thing that happened. See the module for what holds for every hit.
///
/// In the spool a hit is a MessagePack array in the order of these fields: new fields go to the
/// end, with `#[serde(default)]`, so that a new server reads what an old one left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Version 7 UUID, made where the hit arrived.
    pub id: HitId,
    /// When the server took it.
    pub received_at: Micros,
    /// What happened.
    pub kind: Kind,
    /// Which protocol said it.
    pub dialect: Dialect,
    /// Site name; `default` where none was given.
    pub site: String,
    /// Any string: an app may send `cart_screen`.
    pub page_url: Option<String>,
    /// At most 500 characters.
    pub page_title: Option<String>,
    /// As the browser sends it, `de-DE`.
    pub page_language: Option<String>,
    /// The page before.
    pub referrer: Option<String>,
    /// Adobe's page tag.
    pub page_tag: Option<String>,
    /// Campaign.
    pub delivery_id: Option<DeliveryId>,
    /// Message.
    pub broadlog_id: Option<BroadlogId>,
    /// Tracked destination.
    pub link_id: Option<LinkId>,
    /// What the three ids above prove.
    pub provenance: Provenance,
    /// Browser or installation.
    pub visitor_id: Option<VisitorId>,
    /// The visitor id was made for this very hit: it has no history.
    pub visitor_is_new: bool,
    /// Contact named by an authenticated sender through its id.
    pub contact_id: Option<ContactId>,
    /// Exact to 1/10,000.
    pub revenue: Option<Money>,
    /// ISO 4217, upper case.
    pub currency: Option<Currency>,
    /// Order number of the shop.
    pub order_id: Option<String>,
    /// Number of items.
    pub quantity: Option<i32>,
    /// Campaign parameters.
    pub utm: Utm,
    /// Tags to add and to take away.
    pub tags: Vec<TagChange>,
    /// Name of an event.
    pub event: Option<String>,
    /// Address of the client.
    pub ip: Option<IpAddr>,
    /// As the client says it.
    pub user_agent: Option<String>,
    /// Who is believed to have caused it.
    pub verdict: Verdict,
    /// Why the verdict, and what was cut or repaired: notes joined by `; `.
    pub reason: Option<String>,
    /// Contact fields that this hit may set; unique ones among them also name the contact.
    pub fields: Vec<(String, String)>,
    /// Who vouches for `fields`.
    pub authority: Authority,
    /// A second hit with the same key is dropped and counted.
    pub idempotency_key: Option<String>,
    /// When it happened, if the sender says so.
    pub occurred_at: Option<Micros>,
    /// What no column holds.
    #[serde(default)]
    pub extra: Option<serde_json::Map<String, serde_json::Value>>,
    /// What a vendor's request leaves to the projection.
    #[serde(default)]
    pub foreign: Option<Box<Foreign>>,
    /// It came from one of the networks in `trust.senders`: what it says about its delivery is
    /// believed.
    #[serde(default)]
    pub is_trusted: bool,
}

impl Hit {
    /// An empty hit of a kind.
    pub fn new(id: HitId, received_at: Micros, kind: Kind, dialect: Dialect) -> Self {
        Self {
            id,
            received_at,
            kind,
            dialect,
            site: DEFAULT_SITE.to_owned(),
            page_url: None,
            page_title: None,
            page_language: None,
            referrer: None,
            page_tag: None,
            delivery_id: None,
            broadlog_id: None,
            link_id: None,
            provenance: Provenance::None,
            visitor_id: None,
            visitor_is_new: false,
            contact_id: None,
            revenue: None,
            currency: None,
            order_id: None,
            quantity: None,
            utm: Utm::default(),
            tags: Vec::new(),
            event: None,
            ip: None,
            user_agent: None,
            verdict: Verdict::Human,
            reason: None,
            fields: Vec::new(),
            authority: Authority::Public,
            idempotency_key: None,
            occurred_at: None,
            extra: None,
            foreign: None,
            is_trusted: false,
        }
    }

    /// What a vendor's request leaves to the projection, to be filled in.
    pub fn foreign_mut(&mut self) -> &mut Foreign {
        self.foreign.get_or_insert_default()
    }

    /// The message under its vendor's name.
    pub fn message_key(&self) -> Option<&str> {
        self.foreign.as_ref()?.message_key.as_deref()
    }

    /// Whether a proof for this hit may become one for its visitor: not if somebody else may have
    /// the visitor's id.
    pub fn visitor_can_be_proved(&self) -> bool {
        let is_handed = self.foreign.as_ref().is_some_and(|f| f.visitor_is_handed);
        !is_handed && self.visitor_id.is_some_and(|id| !id.is_derived())
    }

    /// Adds a note to `reason`, once. Beyond 500 bytes it only says that there were more.
    pub fn note(&mut self, word: &str) {
        match &mut self.reason {
            None => self.reason = Some(word.to_owned()),
            Some(reason) => {
                if reason
                    .split("; ")
                    .any(|had| had == word || had == MORE_NOTES)
                {
                    return;
                }
                let has_room = reason.len() + word.len() < 500;
                reason.push_str("; ");
                reason.push_str(if has_room { word } else { MORE_NOTES });
            }
        }
    }

    /// Sets a verdict with its reason; a stronger one that is already set is kept.
    pub fn judge(&mut self, reason: Reason) {
        let verdict = reason.verdict();
        if self.verdict == Verdict::Human
            || (self.verdict == Verdict::Suspect && verdict != Verdict::Human)
        {
            self.verdict = verdict;
        }
        self.note(reason.as_str());
    }

    /// Judges it once more: what it was judged by before goes, except for what is known for
    /// certain. Notes about other things stay.
    pub fn judge_anew(&mut self, why: Option<Reason>) {
        let facts = self.forget_judgements();
        self.verdict = Verdict::Human;
        for reason in facts.into_iter().chain(why) {
            self.judge(reason);
        }
    }

    /// Gives it the verdict that its message's hits together show.
    pub fn settle(&mut self, why: Option<Reason>) {
        self.judge_anew(why);
        if why.is_none() {
            self.note(SETTLED);
        }
    }

    /// Whether its verdict is the one that its message's hits together show.
    pub fn is_settled(&self) -> bool {
        let notes = self.reason.as_deref().unwrap_or_default();
        self.verdict_reason().is_some_and(Reason::is_settled)
            || notes.split("; ").any(|note| note == SETTLED)
    }

    /// Gives it the verdict that a person decided.
    pub fn decide(&mut self, verdict: Verdict) {
        let facts = self.forget_judgements();
        self.verdict = verdict;
        // Before the facts: the first reason that fits the verdict is the one that it is counted
        // by.
        for reason in verdict.decided().into_iter().chain(facts) {
            self.note(reason.as_str());
        }
    }

    /// Takes the reasons of its verdict out of its notes; returns those that are facts.
    fn forget_judgements(&mut self) -> Vec<Reason> {
        let notes = self.reason.take().unwrap_or_default();
        let mut facts = Vec::new();
        for note in notes.split("; ").filter(|note| !note.is_empty()) {
            match Reason::parse(note) {
                Some(reason) if reason.is_fact() => facts.push(reason),
                Some(_) => {}
                None if note == SETTLED => {}
                None => self.note(note),
            }
        }
        facts
    }

    /// Takes some notes away.
    pub fn forget_notes(&mut self, forgotten: &[&str]) {
        let notes = self.reason.take().unwrap_or_default();
        let kept = notes.split("; ").filter(|note| !note.is_empty());
        for note in kept.filter(|note| !forgotten.contains(note)) {
            self.note(note);
        }
    }

    /// Why it has its verdict; `None` for a person's.
    pub fn verdict_reason(&self) -> Option<Reason> {
        let mut notes = self.reason.as_deref()?.split("; ");
        notes.find_map(|note| Reason::parse(note).filter(|why| why.verdict() == self.verdict))
    }

    /// Cleans a string and cuts it to `limit`, noting a repair under `name`; `None` if nothing is
    /// left.
    pub fn take(&mut self, name: &str, value: &str, limit: Limit) -> Option<String> {
        self.taken(name, clean(value, limit))
    }

    /// [`Self::take`] for a URL, whose ampersands HTML may have escaped.
    pub fn take_url(&mut self, name: &str, value: &str) -> Option<String> {
        self.take(name, &plain_ampersands(value), Limit::URL)
    }

    /// [`Self::take`] for a text of many lines.
    pub fn take_lines(&mut self, name: &str, value: &str, limit: Limit) -> Option<String> {
        self.taken(name, clean_lines(value, limit))
    }

    /// Takes a campaign parameter, cut to 255 characters with a note; false if the name is not one.
    /// An empty value clears the earlier one. `R&amp;D`, as HTML escapes it, is `R&D`: two
    /// spellings would be two campaigns.
    pub fn take_utm(&mut self, name: &str, value: &str) -> bool {
        if self.utm.slot(name).is_none() {
            return false;
        }
        let value = self.take(name, &plain_ampersands(value), Limit::NAME);
        if let Some(slot) = self.utm.slot(name) {
            *slot = value;
        }
        true
    }

    /// [`Self::take_utm`] if the parameter has no value yet.
    pub fn take_utm_if_none(&mut self, name: &str, value: &str) {
        if let Some(None) = self.utm.slot(name) {
            self.take_utm(name, value);
        }
    }

    /// Takes the currency written beside an amount, if nothing else gives one; `name` is the
    /// amount's, for the note if they differ.
    pub fn take_currency_beside(&mut self, name: &str, beside: Option<Currency>) {
        match (self.currency, beside) {
            (None, Some(_)) => self.currency = beside,
            (Some(given), Some(beside)) if given != beside => {
                self.note(&format!("{name} in another currency"));
            }
            _ => {}
        }
    }

    fn taken(
        &mut self,
        name: &str,
        (value, repair): (Cow<'_, str>, Option<&'static str>),
    ) -> Option<String> {
        if let Some(repair) = repair {
            self.note(&format!("{name} {repair}"));
        }
        if value.is_empty() {
            None
        } else {
            Some(value.into_owned())
        }
    }

    /// The time under which figures count this hit: when it happened, if that is plausible (within
    /// a week before it arrived), else when it arrived.
    pub fn counted_at(&self) -> Micros {
        match self.occurred_at {
            Some(at) if at <= self.received_at && at.0 > self.received_at.0 - 7 * Micros::DAY => at,
            _ => self.received_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_later_verdict_leaves_facts_and_other_notes() {
        let mut hit = Hit::new(HitId(Uuid::nil()), Micros(0), Kind::Click, Dialect::Native);
        hit.note("link repaired");
        hit.judge(Reason::TooSoon);
        hit.judge(Reason::PersonalHost);
        hit.judge_anew(Some(Reason::Crawler));
        let reason = "link repaired; personal host not listed; user agent of a crawler";
        assert_eq!(hit.reason.as_deref(), Some(reason));
        assert_eq!(hit.verdict, Verdict::Bot);
        assert_eq!(hit.verdict_reason(), Some(Reason::Crawler));
        hit.decide(Verdict::Suspect);
        assert_eq!(hit.verdict_reason(), Some(Reason::DecidedSuspect));
        hit.decide(Verdict::Human);
        assert_eq!((hit.verdict, hit.verdict_reason()), (Verdict::Human, None));
        hit.judge_anew(None);
        assert_eq!(hit.verdict_reason(), Some(Reason::PersonalHost));
        let mut plain = Hit::new(HitId(Uuid::nil()), Micros(0), Kind::Click, Dialect::Native);
        plain.judge(Reason::TooSoon);
        plain.judge_anew(None);
        assert_eq!((plain.verdict, plain.reason), (Verdict::Human, None));
    }

    #[test]
    fn notes_that_find_no_room_are_told_of() {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(0), Kind::Open, Dialect::Native);
        hit.note("cut");
        hit.note("cut");
        assert_eq!(hit.reason.as_deref(), Some("cut"));
        for number in 0..100 {
            hit.note(&format!("field {number} cut"));
        }
        let reason = hit.reason.unwrap();
        assert!(
            reason.ends_with("; more notes") && reason.len() < 520,
            "{reason}"
        );
        assert_eq!(reason.matches("more notes").count(), 1);
    }
}
