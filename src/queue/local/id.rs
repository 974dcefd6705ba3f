//! The spool's id beside its file, `spool.id`: in case exactly that page of the file is lost.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use uuid::Uuid;

const ID: &str = "spool.id";
const NEW: &str = "spool.id.new";

/// The id beside the file.
pub fn read_id(dir: &Path) -> Option<Uuid> {
    std::fs::read_to_string(dir.join(ID))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Writes the id beside the file. If there is no room for it, the next start does it.
pub(super) fn write_id(dir: &Path, id: Uuid) {
    if read_id(dir) == Some(id) {
        return;
    }
    let new = dir.join(NEW);
    let written = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            writeln!(file, "{id}")?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, dir.join(ID)));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
}
