//! A password on its way: never shown, and of bounded length before anything is computed of it.

use std::fmt;

use serde::Deserialize;

/// Fewest characters of a new password.
const LEAST: usize = 12;
/// Most bytes of any password.
const MOST: usize = 1_024;

/// A password as somebody gives it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// A password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// What is wrong with it, whoever gives it.
    ///
    /// # Errors
    /// The password is longer than any that is kept here.
    pub fn check_length(&self) -> Result<(), String> {
        match self.0.len() <= MOST {
            true => Ok(()),
            false => Err(format!("is longer than {MOST} bytes")),
        }
    }

    /// What is wrong with it as a new password.
    ///
    /// # Errors
    /// The password is too short or too long.
    pub fn check_new(&self) -> Result<(), String> {
        self.check_length()?;
        match self.0.chars().count() >= LEAST {
            true => Ok(()),
            false => Err(format!("is shorter than {LEAST} characters")),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(password)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_length_and_is_not_shown() {
        let password = |length: usize| Password::new("\u{e9}".repeat(length));
        assert!(password(12).check_new().is_ok());
        assert!(password(11).check_new().is_err());
        assert!(password(512).check_new().is_ok());
        assert!(password(513).check_new().is_err());
        assert!(password(1).check_length().is_ok());
        assert!(!format!("{:?}", password(12)).contains('\u{e9}'));
    }
}
