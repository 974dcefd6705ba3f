//! Why a spool cannot be used.

use std::path::{Path, PathBuf};

use crate::queue::frame::FORMAT;
use crate::sqlite::{Trouble, trouble};

/// The spool's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The reason given by SQLite or the file system.
    #[error("spool {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It is no whole database.
    #[error(
        "spool {path} is damaged ({source}): `sillage serve` sets it aside and keeps what can be \
        read, `sillage spool inspect --file {path}` shows what that is"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer server wrote it.
    #[error(
        "spool {path} has format {format}, and this version reads formats up to {FORMAT}: use the \
        newer version that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
    /// There is no spool here.
    #[error("there is no spool {}: no server has been started on this data directory; --data-dir \
        names another", std::path::absolute(.0).as_deref().unwrap_or(.0).display())]
    Missing(PathBuf),
}

impl SpoolError {
    pub(super) fn of(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        if trouble(&source) == Trouble::Damage {
            Self::Damaged { path, source }
        } else {
            Self::Database { path, source }
        }
    }

    /// Whether the disk caused it, which may have room again.
    pub(super) fn is_disk(&self) -> bool {
        matches!(self, Self::Database { source, .. } if trouble(source) == Trouble::Disk)
    }
}

/// What prevents a file from being opened.
pub(super) enum NotOpened {
    Failed(sqlx::Error),
    /// It has an unknown format.
    Newer(i64),
}

impl From<sqlx::Error> for NotOpened {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl NotOpened {
    pub(super) fn of(self, path: &Path) -> SpoolError {
        match self {
            Self::Failed(source) => SpoolError::of(path, source),
            Self::Newer(format) => SpoolError::Newer {
                path: path.to_owned(),
                format,
            },
        }
    }
}
