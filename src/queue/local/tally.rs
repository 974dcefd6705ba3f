//! The number of waiting hits, kept beside their file: if the file is damaged or lost, this says
//! how many hits were in it.
//!
//! `spool.tally` is one line of JSON, written over the last in a single write a few times a second
//! while the number changes, and never flushed: after a power cut it may be some seconds old. So
//! counts from it are estimates; they include hits that reached the database at the last moment.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::read_id;

const FILE: &str = "spool.tally";
/// Longer than any note: a remainder of an earlier, longer one would be garbage.
const LENGTH: usize = 256;
/// Minimum time between two notes.
pub(super) const EVERY: Duration = Duration::from_millis(100);

/// What waited when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// The spool's id.
    pub(super) id: Option<Uuid>,
    /// Up to here groups were deleted.
    pub(super) deleted_to: i64,
    /// The last group written.
    pub(super) written: i64,
    /// Hits in the groups between.
    pub(super) hits: u64,
}

impl Tally {
    /// The last note in a directory, if any.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Writes it under the spool's current id: the projection may have changed it.
    pub(super) fn write(mut self, dir: &Path) -> io::Result<()> {
        self.id = read_id(dir).or(self.id);
        let mut line = serde_json::to_vec(&self)?;
        line.resize(LENGTH - 1, b' ');
        line.push(b'\n');
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(FILE))?
            .write_all_at(&line, 0)
    }

    /// Discards the note: it has been counted elsewhere.
    pub(super) fn forget(dir: &Path) {
        let _ = std::fs::remove_file(dir.join(FILE));
    }

    /// Whether it is about the spool with this id, as far as both are known.
    pub(super) fn is_of(&self, id: Option<Uuid>) -> bool {
        self.id.is_none() || id.is_none() || self.id == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_comes_back_and_half_a_note_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Tally::read(dir.path()), None);
        let tally = Tally {
            id: Some(Uuid::from_u128(7)),
            deleted_to: 3,
            written: 9,
            hits: 40,
        };
        tally.write(dir.path()).unwrap();
        assert_eq!(Tally::read(dir.path()), Some(tally));
        assert!(tally.is_of(tally.id) && tally.is_of(None));
        assert!(!tally.is_of(Some(Uuid::nil())));
        std::fs::write(dir.path().join(FILE), "{\"id\":").unwrap();
        assert_eq!(Tally::read(dir.path()), None);
        Tally::forget(dir.path());
        assert!(!dir.path().join(FILE).exists());
    }
}
