//! The data directory: used by one server at a time, closed to other users, with small files that
//! are written atomically.
//!
//! **Whose it is.** Two servers on one spool would each answer for the other's hits, so a server
//! holds a lock on the directory itself for as long as it runs: whatever path or link leads to it,
//! and whatever is deleted in it. The file `lock` is held too, for file systems that lock no
//! directories (NFS) and for servers of earlier versions.
//!
//! **Who may read it.** It holds personal data and keys. Only the owner can read what the process
//! creates ([`keep_to_owner`]); permissions of files from earlier versions are restricted at
//! startup.

mod note;

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

pub use note::ServerNote;

/// The embedded database in the data directory.
pub const EMBEDDED: &str = "sillage.db";

/// Prefixes of our files in the directory: databases with their journals, what was set aside of
/// them, copies, keys.
const OURS: [&str; 9] = [
    EMBEDDED,
    "spool.",
    "links.db",
    "forms.json",
    "tokens.json",
    "signing.keys",
    "admin.token",
    "server.json",
    "lock",
];

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A server has it.
    #[error(
        "data directory {}: another server uses it. Each server needs its own: stop the other \
        one, or name another directory with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be made, opened or locked.
    #[error("data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A data directory locked by this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    _dir: File,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if needed, locks it for this process, and restricts who may read its
    /// contents.
    ///
    /// # Errors
    /// Another process has it, or the system refuses.
    pub fn take(dir: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let opened = File::open(dir).map_err(failed)?;
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "this file system cannot lock directories; using the \
                    file lock alone");
            }
        }
        let lock = lock_file(&dir.join("lock"))
            .map_err(failed)?
            .ok_or_else(|| DataDirError::InUse(dir.to_owned()))?;
        narrow(dir);
        Ok(Self {
            _dir: opened,
            _lock: lock,
        })
    }
}

/// Locks a file; `None` if another process has it.
fn lock_file(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Deleted between opening and locking: whoever comes next would lock another file of that
        // name.
        let held = file.metadata()?;
        if std::fs::metadata(path).is_ok_and(|found| id_of(&found) == id_of(&held)) {
            return Ok(Some(file));
        }
    }
}

fn id_of(meta: &std::fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Makes the process create files and directories for their owner alone, whatever its umask was:
/// also those that SQLite creates.
pub fn keep_to_owner() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Removes other users' access to our files. For the directory it only warns: somebody may have
/// shared it with a group on purpose, or it may not be ours to close.
fn narrow(dir: &Path) {
    let is_open = |meta: &std::fs::Metadata| meta.permissions().mode() & 0o077 != 0;
    if std::fs::metadata(dir).is_ok_and(|meta| is_open(&meta)) {
        tracing::warn!(
            dir = %dir.display(),
            "other users can enter the data directory, which holds personal data and keys; \
            restrict it with chmod 700"
        );
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_ours = OURS
            .iter()
            .any(|ours| name.as_encoded_bytes().starts_with(ours.as_bytes()));
        // Not through a link: what it leads to may be somebody else's.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if entry.metadata().is_ok_and(|meta| is_open(&meta)) {
            let path = entry.path();
            let file = path.display();
            match std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
                Ok(()) => {
                    tracing::warn!(%file, "other users could read this file; now only its owner \
                        can")
                }
                Err(error) => {
                    tracing::warn!(%file, %error, "other users can read this file; restrict it \
                        with chmod 600")
                }
            }
        }
    }
}

/// Warns if others may read a file outside the directory: its place was chosen, and perhaps its
/// permissions were too.
pub fn warn_of_readers(file: &Path) {
    if std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!(file = %file.display(), "other users can read the database, which holds \
            personal data; restrict it with chmod 600");
    }
}

/// Writes a file atomically, for its owner alone: a crash or a full disk leaves the old or the new
/// file, and once this returns a power cut leaves the new one.
///
/// # Errors
/// The system refuses; the file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = (|| {
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_has_one_owner_whatever_is_deleted_in_it_and_however_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let held = DataDir::take(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        std::fs::remove_file(dir.join("lock")).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        for name in [&dir, &link, &root.path().join("data/../data")] {
            let error = DataDir::take(name).unwrap_err();
            assert!(matches!(error, DataDirError::InUse(_)), "{error}");
        }
        drop(held);
        DataDir::take(&link).unwrap();
    }

    #[test]
    fn files_that_others_could_read_are_closed_and_strange_ones_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "sillage.db",
            "spool.db-wal",
            "links.db.damaged",
            "notes.txt",
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
        drop(DataDir::take(dir.path()).unwrap());
        for (name, expected) in [
            ("sillage.db", 0o600),
            ("spool.db-wal", 0o600),
            ("links.db.damaged", 0o600),
            ("notes.txt", 0o644),
            ("lock", 0o600),
        ] {
            assert_eq!(mode(&dir.path().join(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.keys");
        // What a crash left.
        std::fs::write(dir.path().join("signing.keys.new"), "half").unwrap();
        write_whole(&path, b"one\n").unwrap();
        write_whole(&path, b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_whole(&dir.path().join("no/file"), b"x").is_err());
    }
}
