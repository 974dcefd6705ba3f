//! Bodies on their way: whether something moves, and how long nothing does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// Any error that a body may end with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When something last moved.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Activity {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes once nothing has moved for so long.
    pub(super) async fn ends(&self, patience: Duration) {
        loop {
            let end = self.last() + patience;
            tokio::time::sleep_until(end).await;
            if self.last() + patience <= Instant::now() {
                return;
            }
        }
    }
}

/// A body that records each of its chunks.
pub(super) struct Watched<B> {
    body: B,
    activity: Activity,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B, activity: Activity) -> Self {
        Self { body, activity }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.activity.note();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, which breaks off if nothing comes for too long. Holds its place among
/// the requests in progress.
pub(super) struct Idle {
    body: Incoming,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Idle {
    pub(super) fn new(body: Incoming, patience: Duration, room: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            patience,
            timer: Box::pin(tokio::time::sleep(patience)),
            _room: room,
        }
    }
}

impl Body for Idle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let next = Instant::now() + self.patience;
                self.timer.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match self.timer.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err("the old system stopped sending".into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
