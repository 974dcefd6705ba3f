//! Multipart bodies: forms with files, and beacons of a `FormData`.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream;
use multer::Multipart;

use crate::model::hit::clean_bytes;

/// Most bytes of all fields' names and texts together; files do not count.
pub const MOST_TEXT: usize = 1 << 20;

/// Whether a `Content-Type` is that of a multipart body.
pub fn is_multipart(content_type: &str) -> bool {
    content_type
        .trim_start()
        .get(..10)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
}

/// A body that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Multipart without a boundary.
    #[error("The form's data has no boundary.")]
    Boundary,
    /// Multipart that ends in the middle, or is not multipart.
    #[error("The form's data is incomplete.")]
    Incomplete,
    /// More than [`MOST_TEXT`].
    #[error("The form's data is too large.")]
    TooLarge,
}

/// Passes the name and text of each part of a multipart body to `take`, until that says there is no
/// room for more. For a file, the text is its name.
///
/// # Errors
/// The form is broken, or its texts are too large.
pub fn each_part(
    content_type: &str,
    body: &Bytes,
    take: impl FnMut(&str, String) -> bool,
) -> Result<(), Unreadable> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| Unreadable::Boundary)?;
    read_parts(boundary, body.clone(), take)
        // All bytes are there, so nothing is ever waited for.
        .now_or_never()
        .unwrap_or(Err(Unreadable::Incomplete))
}

async fn read_parts(
    boundary: String,
    body: Bytes,
    mut take: impl FnMut(&str, String) -> bool,
) -> Result<(), Unreadable> {
    let whole = stream::once(async move { Ok::<_, Infallible>(body) });
    let mut parts = Multipart::new(whole, boundary);
    let mut size = 0;
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|_| Unreadable::Incomplete)?
    {
        let Some(name) = part.name().map(str::to_owned) else {
            continue;
        };
        let file = part.file_name().map(str::to_owned);
        let content = part.bytes().await.map_err(|_| Unreadable::Incomplete)?;
        let text = match file {
            Some(name) => name,
            None => clean_bytes(&content).into_owned(),
        };
        size += name.len() + text.len();
        if size > MOST_TEXT {
            return Err(Unreadable::TooLarge);
        }
        if !take(&name, text) {
            break;
        }
    }
    Ok(())
}
