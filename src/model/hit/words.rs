//! The words that say what a hit is, who said it and how much it is believed, as they stand in
//! the database and in answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        // Not derived: the derive does not see words that come in by a macro.
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(Self::ALL.iter().map(|word| word.as_str())))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }

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
        /// Fetched ahead by a machine (`Sec-Purpose: prefetch`, Apple Mail's privacy protection):
        /// whether a person came is unknown.
        Prefetch = "prefetch",
        /// A crawler, a monitor or another program that no person uses to browse.
        Bot = "bot",
        /// A security scanner that follows links.
        Scanner = "scanner",
        /// Something does not add up; `reason` says what.
        Suspect = "suspect",
    }
);

word!(
    /// Why a hit has its verdict. The word appears in `reason`, among notes about other things.
    Reason {
        /// A header says that nobody has clicked yet.
        PrefetchHeader = "prefetch header",
        /// `HEAD` on a link or pixel.
        Head = "HEAD request",
        /// Office checks whether a link is alive before it opens the browser.
        OfficeCheck = "link check by Office",
        /// The operator's list says so.
        ListedPrefetch = "listed as prefetch",
        /// The operator's list says so.
        ListedBot = "listed as bot",
        /// The operator's list says so.
        ListedScanner = "listed as scanner",
        /// The operator's list says so.
        ListedSuspect = "listed as suspect",
        /// A person decided so.
        DecidedPrefetch = "decided as prefetch",
        /// A person decided so.
        DecidedBot = "decided as bot",
        /// A person decided so.
        DecidedScanner = "decided as scanner",
        /// A person decided so.
        DecidedSuspect = "decided as suspect",
        /// From a network where mail is scanned and nobody reads it.
        MailScanner = "network of a mail scanner",
        /// The images of a mail were fetched before anyone had opened it.
        MailPrivacy = "mail privacy protection",
        /// A mailbox's image proxy came before anyone could have opened the mail.
        ProxyAtOnce = "image proxy within seconds of sending",
        /// Image proxies fetch images; one that follows links scans mail.
        ProxyClicks = "image proxy on a link",
        /// The client has no name.
        NoAgent = "no user agent",
        /// A crawler's agent, or that of a browser without a screen.
        Crawler = "user agent of a crawler",
        /// Client hints of a browser without a screen.
        Headless = "client hints of a headless browser",
        /// An HTTP library followed a link of a message.
        Library = "HTTP library on a link",
        /// From a network that often scans mail, within ten minutes of sending.
        OftenScans = "network that often scans mail",
        /// An agent without any word of a browser or app.
        NoBrowser = "user agent of no browser",
        /// Earlier than a person could be.
        TooSoon = "within the minute of sending",
        /// Two links within two seconds, or three within a minute, without the cookie of the first
        /// answer.
        LinksAtOnce = "several links at once",
        /// An opt-out and another link within a minute, without the cookie.
        OptOutAndLink = "opt-out and another link at once",
        /// Three networks within two minutes, without the cookie.
        ManyNetworks = "three networks within two minutes",
        /// The same network asked for the head of a link just before.
        HeadBefore = "HEAD request just before",
        /// The network that then followed several links at once.
        OpenBefore = "opened before several links at once",
        /// A personal destination leads to a host that is not listed.
        PersonalHost = "personal host not listed",
        /// A page tag past its expiry.
        PageTagExpired = "page tag expired",
    }
);

impl Reason {
    /// The verdict that it leads to.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::PrefetchHeader
            | Self::OfficeCheck
            | Self::MailPrivacy
            | Self::ListedPrefetch
            | Self::DecidedPrefetch => Verdict::Prefetch,
            Self::Head
            | Self::MailScanner
            | Self::ProxyClicks
            | Self::OftenScans
            | Self::ListedScanner
            | Self::DecidedScanner
            | Self::LinksAtOnce
            | Self::OptOutAndLink
            | Self::ManyNetworks
            | Self::HeadBefore
            | Self::OpenBefore => Verdict::Scanner,
            Self::Crawler | Self::Headless | Self::Library | Self::ListedBot | Self::DecidedBot => {
                Verdict::Bot
            }
            Self::ProxyAtOnce
            | Self::NoAgent
            | Self::NoBrowser
            | Self::TooSoon
            | Self::PersonalHost
            | Self::PageTagExpired
            | Self::ListedSuspect
            | Self::DecidedSuspect => Verdict::Suspect,
        }
    }

    /// Whether only the hits of a message together show it.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::LinksAtOnce
                | Self::OptOutAndLink
                | Self::ManyNetworks
                | Self::HeadBefore
                | Self::OpenBefore
        )
    }

    /// Whether it gives way to the proof that a person was there.
    pub fn gives_way(self) -> bool {
        let is_guess = matches!(
            self,
            Self::TooSoon | Self::OftenScans | Self::NoBrowser | Self::NoAgent
        );
        is_guess || self.is_settled()
    }

    /// Whether it comes from an operator's list.
    pub fn is_listed(self) -> bool {
        self.verdict().listed() == Some(self)
    }

    /// Whether it is known for certain when the hit comes, whatever the rules say: no later verdict
    /// takes it away.
    pub fn is_fact(self) -> bool {
        matches!(self, Self::PersonalHost | Self::PageTagExpired)
    }
}

impl Verdict {
    /// The reason where an operator's list gives it; none for a person's.
    pub fn listed(self) -> Option<Reason> {
        match self {
            Self::Human => None,
            Self::Prefetch => Some(Reason::ListedPrefetch),
            Self::Bot => Some(Reason::ListedBot),
            Self::Scanner => Some(Reason::ListedScanner),
            Self::Suspect => Some(Reason::ListedSuspect),
        }
    }

    /// The reason where a person decided so; none for a person's hit.
    pub fn decided(self) -> Option<Reason> {
        match self {
            Self::Human => None,
            Self::Prefetch => Some(Reason::DecidedPrefetch),
            Self::Bot => Some(Reason::DecidedBot),
            Self::Scanner => Some(Reason::DecidedScanner),
            Self::Suspect => Some(Reason::DecidedSuspect),
        }
    }

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
    /// An unsigned id of a vendor's link, or the session that its click began: whoever has the mail
    /// has it, but it can be guessed. It identifies the person of this hit, weaker than anything
    /// signed, and never takes over somebody else's browser.
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

word!(
    /// What a page tag stands for.
    PageTagKind {
        /// A page: Adobe's `w`.
        Web = "web",
        /// A transaction: Adobe's `t`.
        Transaction = "transaction",
    }
);
