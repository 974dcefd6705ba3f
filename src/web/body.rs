//! The one reader of request bodies.
//!
//! Nothing that a client says of a body's length is believed: chunked bodies say nothing. A body in
//! one piece is not copied.

use std::error::Error;
use std::time::Duration;

use axum::RequestExt as _;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Problem;

/// How much of a body is taken.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Limits {
    /// Most bytes.
    pub(in crate::web) bytes: usize,
    /// How long it may take to arrive.
    pub(in crate::web) time: Duration,
    /// Kilobytes of such bodies that may wait in memory together.
    pub(in crate::web) room: Option<&'static Semaphore>,
}

/// A body, and its share of memory if that is counted.
#[derive(Debug)]
pub(in crate::web) struct Whole {
    pub(in crate::web) bytes: Bytes,
    pub(in crate::web) room: Option<SemaphorePermit<'static>>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Unread {
    /// It is larger than allowed.
    TooLarge,
    /// It took longer than it may.
    Slow,
    /// It broke off.
    Broken,
    /// Too many others wait in memory.
    NoRoom,
}

impl Unread {
    /// What the client is told.
    pub(in crate::web) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// The body is too large, too slow or broken off.
pub(in crate::web) async fn read_whole(body: Body, limits: Limits) -> Result<Whole, Unread> {
    let Limits { bytes, time, room } = limits;
    match tokio::time::timeout(time, collect(body, bytes, room)).await {
        Ok(read) => read,
        Err(_) => Err(Unread::Slow),
    }
}

async fn collect(
    mut body: Body,
    most: usize,
    counted: Option<&'static Semaphore>,
) -> Result<Whole, Unread> {
    let mut room = match counted {
        Some(room) => Some(room.try_acquire().map_err(|_| Unread::NoRoom)?),
        None => None,
    };
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| why(&error))?.into_data() else {
            continue;
        };
        let length = first.len() + joined.len() + data.len();
        if length > most {
            return Err(Unread::TooLarge);
        }
        if let (Some(counted), Some(room)) = (counted, &mut room) {
            let more = (length >> 10) + 1 - room.num_permits();
            let more = counted.try_acquire_many(more as u32);
            room.merge(more.map_err(|_| Unread::NoRoom)?);
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    let bytes = match joined.is_empty() {
        true => first,
        false => joined.freeze(),
    };
    Ok(Whole { bytes, room })
}

/// Whether a layer's limit was exceeded, or the connection broke.
fn why(error: &axum::Error) -> Unread {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Unread::TooLarge;
        }
        cause = error.source();
    }
    Unread::Broken
}

/// The body of an API call, up to the limit of its route.
#[derive(Debug)]
pub(in crate::web) struct WholeBody(pub(in crate::web) Bytes);

impl<S: Send + Sync> FromRequest<S> for WholeBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        // The layer says how long it may be, and the operator's servers may take their time.
        let body = request.into_limited_body();
        match collect(body, usize::MAX, None).await {
            Ok(whole) => Ok(Self(whole.bytes)),
            Err(Unread::TooLarge) => Err(Problem::too_large()),
            Err(unread) => Err(Problem::new(
                unread.status(),
                "the body was incomplete: send the request again",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 5_000,
        time: Duration::from_secs(60),
        room: None,
    };

    fn pieces(pieces: &[&'static [u8]]) -> Body {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece)))
            .collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_however_it_comes() {
        for (body, whole) in [
            (pieces(&[]), ""),
            (pieces(&[b"abc"]), "abc"),
            (pieces(&[b"", b"a", b"", b"bc", b"d"]), "abcd"),
        ] {
            assert_eq!(read_whole(body, LIMITS).await.unwrap().bytes, whole);
        }
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let piece = b"piece";
        let whole = read_whole(pieces(&[piece]), LIMITS).await.unwrap();
        assert_eq!(whole.bytes.as_ptr(), piece.as_ptr());
    }

    #[tokio::test]
    async fn limits_are_of_what_comes_and_not_of_what_is_said() {
        let long = &[0_u8; 3_000];
        let read = read_whole(pieces(&[long, long]), LIMITS).await;
        assert_eq!(read.unwrap_err(), Unread::TooLarge);
        static ROOM: Semaphore = Semaphore::const_new(5);
        let limits = Limits {
            room: Some(&ROOM),
            ..LIMITS
        };
        let whole = read_whole(pieces(&[long, b"a"]), limits).await.unwrap();
        assert_eq!(ROOM.available_permits(), 2, "three kilobytes wait");
        let read = read_whole(pieces(&[long]), limits).await;
        assert_eq!(read.unwrap_err(), Unread::NoRoom);
        drop(whole);
        assert_eq!(ROOM.available_permits(), 5);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let limits = Limits {
            time: Duration::ZERO,
            ..LIMITS
        };
        let read = read_whole(body, limits).await;
        assert_eq!(read.unwrap_err(), Unread::Slow);
    }

    #[test]
    fn a_layers_limit_is_told_from_a_broken_connection() {
        assert_eq!(
            why(&axum::Error::new(std::io::Error::other("reset"))),
            Unread::Broken
        );
    }

    #[tokio::test]
    async fn a_body_beyond_its_layers_limit_is_too_large() {
        let body = http_body_util::Limited::new(pieces(&[b"abc", b"def"]), 4);
        let read = read_whole(Body::new(body), LIMITS).await;
        assert_eq!(read.unwrap_err(), Unread::TooLarge);
    }
}
