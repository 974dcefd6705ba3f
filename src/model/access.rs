//! Who may do what: the scopes of tokens, the roles of users, and what a path of the API needs.
//!
//! Pure rules. A path names its [`Need`]; a caller has [`Rights`]; nothing between says yes or no.

mod admin_session;
mod password;
mod role;
mod secret_text;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::hint::one_of;

pub use admin_session::AdminSession;
pub use password::Password;
pub use role::Role;
pub use secret_text::{SecretPrint, SessionText, TokenText};

/// A token's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub i64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one sign-in, by which it is listed and ended; no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// One thing that a token may be allowed to do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum Scope {
    /// Make, change and end deliveries and links, and read them.
    #[serde(rename = "links:write")]
    LinksWrite,
    /// Make messages, and with `contacts:read` contacts.
    #[serde(rename = "messages:write")]
    MessagesWrite,
    /// Send hits from a server.
    #[serde(rename = "hits:write")]
    HitsWrite,
    /// Read all hits.
    #[serde(rename = "hits:read")]
    HitsRead,
    /// Read contacts and their timelines.
    #[serde(rename = "contacts:read")]
    ContactsRead,
    /// Erase contacts.
    #[serde(rename = "contacts:erase")]
    ContactsErase,
    /// Read reports, which name no person.
    #[serde(rename = "reports:read")]
    ReportsRead,
    /// Set the server up and look at how it is.
    #[serde(rename = "operate")]
    Operate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LinksWrite,
        Self::MessagesWrite,
        Self::HitsWrite,
        Self::HitsRead,
        Self::ContactsRead,
        Self::ContactsErase,
        Self::ReportsRead,
        Self::Operate,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinksWrite => "links:write",
            Self::MessagesWrite => "messages:write",
            Self::HitsWrite => "hits:write",
            Self::HitsRead => "hits:read",
            Self::ContactsRead => "contacts:read",
            Self::ContactsErase => "contacts:erase",
            Self::ReportsRead => "reports:read",
            Self::Operate => "operate",
        }
    }

    /// The scope of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Several scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

impl Scopes {
    /// These scopes.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < scopes.len() {
            bits |= scopes[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a scope is among them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Their names, always in the same order.
    pub fn names(self) -> Vec<&'static str> {
        let all = Scope::ALL.into_iter();
        let mine = all.filter(|scope| self.has(*scope));
        mine.map(Scope::as_str).collect()
    }

    /// Reads names. One that only a later version knows allows nothing here.
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let known: Vec<Scope> = names.into_iter().filter_map(Scope::parse).collect();
        Self::of(&known)
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Ok(Self::of_names(names.iter().map(String::as_str)))
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its scopes.
    pub scopes: Scopes,
    /// Whether it may do everything, and also say who else may do what.
    pub is_admin: bool,
}

impl Rights {
    /// Those of the admin token.
    pub const ADMIN: Self = Self {
        scopes: Scopes::of(&Scope::ALL),
        is_admin: true,
    };

    /// Those of a token.
    pub fn of(scopes: Scopes) -> Self {
        Self {
            scopes,
            is_admin: false,
        }
    }
}

/// What a path of the API needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// One of these scopes.
    Any(&'static [Scope]),
    /// All of these scopes.
    All(&'static [Scope]),
    /// The admin token, or a user who is admin.
    Admin,
    /// Nothing but to be known.
    Known,
    /// Nothing at all: what signs somebody in.
    Nothing,
}

impl Need {
    /// Whether a caller has what is needed.
    pub fn is_met_by(self, rights: Rights) -> bool {
        let has = |scope: &Scope| rights.scopes.has(*scope);
        rights.is_admin
            || match self {
                Self::Any(scopes) => scopes.iter().any(has),
                Self::All(scopes) => scopes.iter().all(has),
                Self::Admin => false,
                Self::Known | Self::Nothing => true,
            }
    }

    /// Names of the scopes that it speaks of.
    pub fn scopes(self) -> Vec<&'static str> {
        match self {
            Self::Any(scopes) | Self::All(scopes) => {
                scopes.iter().map(|scope| scope.as_str()).collect()
            }
            Self::Admin | Self::Known | Self::Nothing => Vec::new(),
        }
    }
}

/// `the scope hits:read`, `one of the scopes a, b or c`, `the scopes a and b`.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.scopes().as_slice()) {
            (Self::Admin, _) => f.write_str("the admin token, or a user with the role admin"),
            (Self::Known | Self::Nothing, _) => f.write_str("no scope"),
            (_, [only]) => write!(f, "the scope {only}"),
            (Self::Any(_), several) => write!(f, "one of the scopes {}", one_of(several)),
            (Self::All(_), several) => write!(f, "the scopes {}", several.join(" and ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_told() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
            let told = serde_json::to_value(scope).unwrap();
            assert_eq!(told, scope.as_str());
        }
        let some = Scopes::of(&[Scope::Operate, Scope::HitsWrite]);
        assert_eq!(some.names(), ["hits:write", "operate"]);
        let told = serde_json::to_string(&some).unwrap();
        assert_eq!(serde_json::from_str::<Scopes>(&told).unwrap(), some);
        let later = r#"["hits:write", "moon:write", "operate"]"#;
        assert_eq!(serde_json::from_str::<Scopes>(later).unwrap(), some);
        assert!(Scopes::default().is_empty() && !some.is_empty());
    }

    #[test]
    fn a_need_is_met_by_one_or_all_of_its_scopes_or_by_the_admin_alone() {
        const TWO: &[Scope] = &[Scope::HitsRead, Scope::ContactsRead];
        let with = |scopes: &[Scope]| Rights::of(Scopes::of(scopes));
        let one = with(&[Scope::HitsRead]);
        assert!(Need::Any(TWO).is_met_by(one) && !Need::All(TWO).is_met_by(one));
        assert!(Need::All(TWO).is_met_by(with(TWO)));
        assert!(!Need::Any(TWO).is_met_by(with(&[Scope::HitsWrite])));
        assert!(!Need::Admin.is_met_by(with(&Scope::ALL)));
        for need in [Need::Any(TWO), Need::All(TWO), Need::Admin] {
            assert!(need.is_met_by(Rights::ADMIN));
            assert!(!need.is_met_by(with(&[])));
        }
        assert!(Need::Known.is_met_by(with(&[])));
    }
}
