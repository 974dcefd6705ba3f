//! A token that is to be made.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{DraftError, required};
use crate::model::access::{Scope, Scopes};
use crate::model::clock::Micros;
use crate::model::hint::one_of;
use crate::model::hit::Limit;
use crate::model::wire;

/// Whom it is for, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Name in lists and histories, at most 255 characters.
    pub name: String,
    /// At least one.
    pub scopes: Vec<Scope>,
    /// From this time on it is refused; `None` means never.
    #[serde(default, with = "wire::option_time")]
    pub expires_at: Option<Micros>,
}

impl NewToken {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// The name is empty, too long or holds control characters, there is no scope, or the token
    /// would have expired already.
    pub fn check(self, now: Micros) -> Result<Self, DraftError> {
        if self.scopes.is_empty() {
            let field = "scopes";
            let all = Scope::ALL.map(Scope::as_str);
            let why = format!("is empty; give at least one of {}", one_of(&all));
            return Err(DraftError { field, why });
        }
        if let Some(at) = self.expires_at
            && at <= now
        {
            let field = "expires_at";
            let why = format!("is {}, which is past; give a time to come", at.rfc3339());
            return Err(DraftError { field, why });
        }
        Ok(Self {
            name: required("name", &self.name, Limit::NAME)?,
            ..self
        })
    }

    /// What it may do.
    pub fn scopes(&self) -> Scopes {
        Scopes::of(&self.scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    #[test]
    fn a_token_has_a_name_a_scope_and_a_time_to_live() {
        let good = NewToken {
            name: " shop ".to_owned(),
            scopes: vec![Scope::HitsWrite, Scope::HitsWrite],
            expires_at: Some(Micros(NOW.0 + 1)),
        };
        let checked = good.clone().check(NOW).unwrap();
        assert_eq!(checked.name, "shop");
        assert_eq!(checked.scopes().names(), ["hits:write"]);
        for (wrong, field) in [
            (
                NewToken {
                    name: " ".to_owned(),
                    ..good.clone()
                },
                "name",
            ),
            (
                NewToken {
                    scopes: Vec::new(),
                    ..good.clone()
                },
                "scopes",
            ),
            (
                NewToken {
                    expires_at: Some(NOW),
                    ..good.clone()
                },
                "expires_at",
            ),
        ] {
            assert_eq!(wrong.check(NOW).unwrap_err().field, field);
        }
    }
}
