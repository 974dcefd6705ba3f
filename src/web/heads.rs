//! Request heads that hyper would refuse, mended before hyper sees them: a reader with a mangled
//! link still gets to the page.
//!
//! hyper answers 414 to a target above 65,534 bytes, 431 to more than 100 headers, and 400 to a
//! NUL, a raw space or bytes that are no UTF-8. A mail program that glues a megabyte onto a pixel's
//! URL does not send again without it, so for `GET` and `HEAD`:
//!
//! - a target that is too long is cut: the path and the first parameters stay;
//! - bytes that a target may not hold are percent-encoded, which loses nothing;
//! - header lines that are too many, too long or malformed are cut or left out; control characters
//!   in values become spaces.
//!
//! What was lost is recorded in the header
//! [`MENDED_HEADER`](crate::tracking::inbound::MENDED_HEADER), and the hit notes it. Other methods
//! and the API are not touched: their senders read the refusal.
//!
//! hyper's own options do not do this, which `heads/hyper.rs` proves: `max_headers` moves every
//! request's header table to the heap, and there is still a number above which nobody gets to the
//! page; `max_header_size` only says when to refuse; `ignore_invalid_headers` passes over lines
//! that frame a body (`Content-Length : 3`), so that a proxy in front and we would disagree on
//! where the next request begins; and none of them cuts a target.
//!
//! Which bytes are a body is never mended, else a client behind a shared proxy could hide a request
//! inside another one: lines that decide it (and those that say who the client is) pass as they
//! came, and after a head whose framing is not plain the rest of the connection passes unseen. An
//! ordinary request is looked at where it lies, without a copy.

#[cfg(test)]
mod hyper;
mod line;
mod mender;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::mender::Mender;

/// Most bytes of a request's head that hyper takes.
pub const MOST_HEAD: usize = 128 << 10;
/// A connection that mends request heads on the way in.
#[derive(Debug)]
pub struct Mended<S> {
    stream: S,
    mender: Mender,
    /// Mended bytes that wait to be read, from `given` on.
    out: Vec<u8>,
    given: usize,
}

impl<S> Mended<S> {
    /// Wraps a connection at its start.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            mender: Mender::default(),
            out: Vec::new(),
            given: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.out.len() {
                let rest = &this.out[this.given..];
                let part = &rest[..rest.len().min(buf.remaining())];
                buf.put_slice(part);
                this.given += part.len();
                if this.given == this.out.len() {
                    // Heads that need mending are rare: an idle connection holds no buffer for the
                    // next one.
                    (this.out, this.given) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            if read.is_empty() || this.mender.passes(read) {
                return Poll::Ready(Ok(()));
            }
            this.mender.feed(read, &mut this.out)?;
            buf.set_filled(before);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
