//! The hit: one thing that happened, in one form for all dialects.
//!
//! A `Hit` that exists is valid: every string is clean (valid UTF-8, no NUL, no control characters;
//! line breaks only in values of `extra` and in contact fields that came from a text area or in
//! JSON) and cut to a size that the database takes, every number fits its column. What was cut or
//! repaired is said in `reason`; what no column holds goes into `extra`, whole. Dialects fill a hit
//! through [`Hit::new`] and the setters here; none of them writes an unchecked string.

mod amount;
mod ampersand;
mod extra;
mod money;
mod proof;
mod sum;
mod text;

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use amount::{Amount, read as read_amount, read_whole};
pub use ampersand::{plain_ampersands, plain_pair, plain_query};
pub use money::{Currency, Money, MoneyError};
pub use proof::{LeastProof, Proof};
pub use sum::Sum;
pub use text::{Limit, clean, clean_bytes, clean_lines};

use crate::model::clock::Micros;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// One campaign sent.
    DeliveryId
);
number_id!(
    /// One message of a delivery to one contact.
    BroadlogId
);
number_id!(
    /// A tracked destination.
    LinkId
);
uuid_id!(
    /// One hit.
    HitId
);
uuid_id!(
    /// One browser or app installation.
    VisitorId
);
uuid_id!(
    /// One person.
    ContactId
);

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word as it stands in the database and in answers.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant of a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

word!(
    /// What happened.
    Kind {
        /// A tracked link was followed.
        Click = "click",
        /// A mail was opened (its pixel was fetched).
        Open = "open",
        /// A page was shown.
        Pageview = "pageview",
        /// Something was bought.
        Transaction = "transaction",
        /// Something else, named by `event`.
        Event = "event",
        /// A form was sent.
        Form = "form",
        /// A person opted out.
        Optout = "optout",
        /// The mail's web version was opened.
        Mirror = "mirror",
    }
);

word!(
    /// The wire protocol that said it.
    Dialect {
        /// Our own parameters, tokens and JSON.
        Native = "native",
        /// Mautic's links, pixel payloads and forms.
        Mautic = "mautic",
        /// Adobe Campaign's links and tags.
        Adobe = "adobe",
        /// Mapp Intelligence's requests.
        Mapp = "mapp",
    }
);

word!(
    /// Who is believed to have caused it. Only `human` and `suspect` count in figures.
    Verdict {
        /// A person.
        Human = "human",
        /// Fetched ahead of a possible click (`Sec-Purpose: prefetch`).
        Prefetch = "prefetch",
        /// A crawler, by its user agent.
        Bot = "bot",
        /// A security scanner that follows links.
        Scanner = "scanner",
        /// Something does not add up; `reason` says what.
        Suspect = "suspect",
    }
);

impl VisitorId {
    /// Whether the id was derived from a vendor's own, unsigned one (see
    /// `dialect::foreign_visitor`): it tells hits apart, and proves nothing, since whoever knows or
    /// guesses the vendor's id can send it.
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }
}

impl Verdict {
    /// Whether a hit with this verdict counts in figures.
    pub fn counts(self) -> bool {
        matches!(self, Self::Human | Self::Suspect)
    }
}

/// Where a hit's broadlog and delivery come from; decides how much they prove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// None given.
    #[default]
    None,
    /// The signed link itself, or an authenticated sender: proof of this message.
    Link,
    /// The signed session cookie of an earlier click.
    Session,
    /// Given openly in the request: a hint for figures, no proof of a person.
    Claimed,
    /// An unsigned id of a vendor's link, or the session that its click began: who holds the mail
    /// has it, but it can be guessed. It names the person of this hit, weaker than anything signed,
    /// and never takes a browser over from somebody else.
    Unsigned,
}

/// Who vouches for the fields of a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// Anyone: only fields that the configuration lets the public set.
    #[default]
    Public,
    /// A sender with the API token: any field, and proof of who it is.
    Authenticated,
}

/// A tag to add or to take away (`ProductA,-ProductB`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// The tag.
    pub name: String,
    /// True takes it away.
    pub remove: bool,
}

/// Campaign parameters, each at most 255 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utm {
    /// `utm_source`
    pub source: Option<String>,
    /// `utm_medium`
    pub medium: Option<String>,
    /// `utm_campaign`
    pub campaign: Option<String>,
    /// `utm_term`
    pub term: Option<String>,
    /// `utm_content`
    pub content: Option<String>,
}

impl Utm {
    /// The slot of a parameter name.
    pub fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "utm_source" => &mut self.source,
            "utm_medium" => &mut self.medium,
            "utm_campaign" => &mut self.campaign,
            "utm_term" => &mut self.term,
            "utm_content" => &mut self.content,
            _ => return None,
        })
    }

    /// Names and values that are set.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("utm_source", &self.source),
            ("utm_medium", &self.medium),
            ("utm_campaign", &self.campaign),
            ("utm_term", &self.term),
            ("utm_content", &self.content),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }
}

/// What a vendor's request says that only the database can answer; the projection reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Foreign {
    /// The message under a name of its vendor: `mautic:<tracking hash>`, `adobe:<uuid>`. Table
    /// `message_keys` knows its broadlog.
    pub message_key: Option<String>,
    /// A unique field and its value that name an existing contact (Adobe's `rcpid`): it makes no
    /// contact and sets nothing.
    pub recipient: Option<(String, String)>,
    /// The hit counts only where its visitor is known from an earlier click (Adobe's permanent
    /// mode).
    pub is_for_known_visitors: bool,
    /// `page_tag` as the request describes it, to be made where there is none of the name yet.
    pub page_tag: Option<PageTagDraft>,
    /// Why the record goes straight into quarantine: it was answered, but it is no hit.
    pub refused: Option<String>,
    /// `message_key` stood in the address of a page, which can have been passed on: it names nobody
    /// in a browser that is known.
    pub is_from_page: bool,
    /// The visitor's id was handed to this browser by a parameter: whoever handed it over may have
    /// it too.
    pub visitor_is_handed: bool,
    /// The unsigned id that the visitor was derived from, as it goes back to the browser: never in
    /// a form that our signature vouches for. Answers need it, and nothing else.
    #[serde(skip)]
    pub visitor: Option<String>,
}

word!(
    /// What a page tag stands for.
    PageTagKind {
        /// A page: Adobe's `w`.
        Web = "web",
        /// A transaction: Adobe's `t`.
        Transaction = "transaction",
    }
);

/// A page tag made on the fly: `tagid=<identifier>|<w or t>|<folder>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageTagDraft {
    /// What it stands for.
    pub kind: PageTagKind,
    /// Where its maker wants it listed.
    pub folder: Option<String>,
}

/// One thing that happened. See the module for what holds of every hit.
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
    /// As the browser says it, `de-DE`.
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
    /// Why the verdict, and what was cut or repaired: words joined by `; `.
    pub reason: Option<String>,
    /// Contact fields that this hit may set; unique ones among them also name the contact.
    pub fields: Vec<(String, String)>,
    /// Who vouches for `fields`.
    pub authority: Authority,
    /// A second hit with the same key is dropped and counted.
    pub idempotency_key: Option<String>,
    /// When it happened, where the sender says so.
    pub occurred_at: Option<Micros>,
    /// What no column holds.
    #[serde(default)]
    pub extra: Option<serde_json::Map<String, serde_json::Value>>,
    /// What a vendor's request leaves to the projection.
    #[serde(default)]
    pub foreign: Option<Box<Foreign>>,
    /// It came from one of the networks in `trust.senders`: what it says of its delivery is
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
            site: "default".to_owned(),
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

    /// Whether a proof of this hit may become one of its visitor: not where somebody else may have
    /// the visitor's id.
    pub fn visitor_can_be_proved(&self) -> bool {
        let is_handed = self.foreign.as_ref().is_some_and(|f| f.visitor_is_handed);
        !is_handed && self.visitor_id.is_some_and(|id| !id.is_derived())
    }

    /// Adds a word to `reason`, once.
    pub fn note(&mut self, word: &str) {
        match &mut self.reason {
            None => self.reason = Some(word.to_owned()),
            Some(reason) => {
                if reason.len() + word.len() < 500 && !reason.split("; ").any(|had| had == word) {
                    reason.push_str("; ");
                    reason.push_str(word);
                }
            }
        }
    }

    /// Sets a verdict with its reason; a stronger verdict that stands already is kept.
    pub fn judge(&mut self, verdict: Verdict, reason: &str) {
        if self.verdict == Verdict::Human
            || (self.verdict == Verdict::Suspect && verdict != Verdict::Human)
        {
            self.verdict = verdict;
        }
        self.note(reason);
    }

    /// Cleans a string and cuts it to `limit`, noting a repair under `name`; an empty one is none.
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

    /// Takes a campaign parameter, cut to 255 characters with a note; false where the name is none.
    /// An empty value takes away what was there. `R&amp;D`, as HTML escapes it, is `R&D`: two
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

    /// [`Self::take_utm`] where the parameter has no value yet.
    pub fn take_utm_if_none(&mut self, name: &str, value: &str) {
        if let Some(None) = self.utm.slot(name) {
            self.take_utm(name, value);
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

    /// The time that figures count this hit under: when it happened where that is believable (the
    /// week before it arrived), else when it arrived.
    pub fn counted_at(&self) -> Micros {
        match self.occurred_at {
            Some(at)
                if at <= self.received_at && at.0 > self.received_at.0 - 7 * 24 * Micros::HOUR =>
            {
                at
            }
            _ => self.received_at,
        }
    }
}
