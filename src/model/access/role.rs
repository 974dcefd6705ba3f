//! What a user may do, in one word.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Rights, Scope, Scopes};

/// The work that somebody does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at reports, which name nobody.
    Viewer,
    /// Sees persons and hits too.
    Analyst,
    /// Does everything but say who may do what.
    Operator,
    /// Does everything.
    Admin,
}

impl Role {
    /// All of them, from the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Analyst, Self::Operator, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What it allows.
    pub fn rights(self) -> Rights {
        const SEEN: [Scope; 3] = [Scope::ReportsRead, Scope::ContactsRead, Scope::HitsRead];
        match self {
            Self::Viewer => Rights::of(Scopes::of(&[Scope::ReportsRead])),
            Self::Analyst => Rights::of(Scopes::of(&SEEN)),
            Self::Operator => Rights::of(Scopes::of(&Scope::ALL)),
            Self::Admin => Rights::ADMIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        for (less, more) in Role::ALL.into_iter().zip(&Role::ALL[1..]) {
            let has = |role: Role| role.rights().scopes;
            let mut scopes = Scope::ALL.into_iter();
            assert!(scopes.all(|scope| !has(less).has(scope) || has(*more).has(scope)));
            assert!(!less.rights().is_admin);
        }
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
