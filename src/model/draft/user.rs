//! A user that is to be made or changed.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{DraftError, required};
use crate::model::access::{Password, Role};
use crate::model::hit::Limit;
use crate::model::wire::{given, given_whole};

/// Somebody who signs in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What they sign in with, at most 64 characters; case does not matter.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// `None`: only a proxy can sign them in.
    #[schema(value_type = Option<String>, format = Password)]
    pub password: Option<Password>,
}

impl NewUser {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// The name is empty, too long or holds control characters, or the password is too short or too
    /// long.
    pub fn check(self) -> Result<Self, DraftError> {
        check_password(self.password.as_ref())?;
        Ok(Self {
            name: user_name(&self.name)?,
            ..self
        })
    }
}

/// What changes of a user; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserEdit {
    /// What they may do from now on.
    #[serde(default, deserialize_with = "given_whole")]
    pub role: Option<Role>,
    /// A new password; null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Password)]
    pub password: Option<Option<Password>>,
}

impl UserEdit {
    /// Whether it can be taken.
    ///
    /// # Errors
    /// The password is too short or too long.
    pub fn check(self) -> Result<Self, DraftError> {
        check_password(self.password.as_ref().and_then(Option::as_ref))?;
        Ok(self)
    }
}

fn check_password(password: Option<&Password>) -> Result<(), DraftError> {
    let field = "password";
    password
        .map_or(Ok(()), Password::check_new)
        .map_err(|why| DraftError { field, why })
}

/// A name in the one form in which it is stored and looked for.
///
/// # Errors
/// It is empty, too long or holds control characters.
pub fn user_name(text: &str) -> Result<String, DraftError> {
    required("name", text, Limit::WORD).map(|name| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_without_case_and_a_good_password() {
        let user = |name: &str, password: Option<&str>| NewUser {
            name: name.to_owned(),
            role: Role::Viewer,
            password: password.map(|text| Password::new(text.to_owned())),
        };
        let good = user(" Ada@Example.com ", Some("correct horse")).check();
        assert_eq!(good.unwrap().name, "ada@example.com");
        assert!(user("ada", None).check().is_ok());
        assert_eq!(user("", None).check().unwrap_err().field, "name");
        let short = user("ada", Some("short")).check();
        assert_eq!(short.unwrap_err().field, "password");
        let edit = r#"{"password": null}"#;
        let edit: UserEdit = serde_json::from_str(edit).unwrap();
        assert_eq!((edit.role, edit.password), (None, Some(None)));
    }
}
