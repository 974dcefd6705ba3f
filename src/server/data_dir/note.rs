//! `server.json`: what the last server on a data directory recorded about itself, for its next
//! start and for the command line.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::write_whole;
use crate::model::keys::KeyPrint;

const FILE: &str = "server.json";

/// What a server notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNote {
    /// Its public URL, without a trailing slash.
    pub public_url: String,
    /// `paths.redirect`.
    pub redirect: String,
    /// Keys that links were signed with and that nobody has given up.
    pub keys: Vec<KeyPrint>,
    /// Whether the database has confirmed that no other links need other keys.
    #[serde(default)]
    pub is_confirmed: bool,
}

impl ServerNote {
    /// The note in a directory. An unreadable one counts as missing: the keys are then compared
    /// with the database.
    pub fn read(dir: &Path) -> Option<Self> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot read what the last server \
                    noted");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "cannot read what the last server \
                    noted");
            })
            .ok()
    }

    /// Writes it, whole.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_whole(&dir.join(FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ServerNote::read(dir.path()), None);
        let note = ServerNote {
            public_url: "https://t.example".to_owned(),
            redirect: "/r".to_owned(),
            keys: vec![KeyPrint {
                number: 1,
                print: "ab".to_owned(),
            }],
            is_confirmed: true,
        };
        note.write(dir.path()).unwrap();
        assert_eq!(ServerNote::read(dir.path()), Some(note));
        std::fs::write(dir.path().join(FILE), "{\"public_url\":").unwrap();
        assert_eq!(ServerNote::read(dir.path()), None);
    }
}
