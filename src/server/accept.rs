//! Accepts connections and serves them with hyper, with limits that axum's own loop does not have.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::descriptors::Exhausted;
use crate::config;
use crate::web::{Door, MOST_HEAD, Mended, ServerState, Web};

/// Most connections at once of operators: people and a few programs. Among the descriptors that
/// `descriptors.rs` leaves beside the public ones.
const CONSOLE_CONNECTIONS: usize = 32;

/// Serves until `shutdown` completes and all requests in progress are answered (or the budget is
/// used up).
pub async fn serve(
    listener: TcpListener,
    web: Web,
    door: Door,
    limits: &config::Server,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = match door {
        Door::Public => limits.max_connections,
        Door::Console => limits.max_connections.min(CONSOLE_CONNECTIONS),
    };
    let places = Arc::new(Semaphore::new(places));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        // Bounds what waits for a slow reader too; hyper's pipeline_flush would lift that bound,
        // and a streamed answer of any length would then pile up in memory. With it hyper also
        // closes on a malformed request without its 400.
        .max_buf_size(MOST_HEAD);
    let mut exhausted = Exhausted::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if exhausted.note(&error) {
                    // A moment later a descriptor may be free; asking at once would only keep a
                    // processor busy.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let web = web.clone();
        let service = service_fn(move |request| {
            let web = web.clone();
            async move { Ok::<_, Infallible>(answer(&web, door, peer, request).await) }
        });
        let connection =
            graceful.watch(builder.serve_connection(TokioIo::new(Mended::new(stream)), service));
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown / 2, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some connections did not close within the budget");
    }
}

type Accepted = (
    tokio::net::TcpStream,
    SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Serves one request; at debug, logs a line without anything that identifies the client: tokens
/// are part of the path, so it is not logged.
async fn answer(web: &Web, door: Door, peer: SocketAddr, request: Request<Incoming>) -> Response {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return web.answer(door, peer, request).await;
    }
    let started = Instant::now();
    let (method, route) = (
        request.method().clone(),
        web.route_name(request.uri(), request.headers()),
    );
    let response = Box::pin(web.answer(door, peer, request)).await;
    tracing::debug!(
        http.method = %method,
        http.route = route,
        http.status = response.status().as_u16(),
        duration_us = started.elapsed().as_micros() as u64,
        "request"
    );
    response
}

/// `GET /metrics` on a listener of its own, so that it is never public by accident. Keeps running
/// while the last hits are stored.
pub async fn serve_metrics(listener: TcpListener, state: Arc<impl ServerState + 'static>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let answer = match request.uri().path() {
                    "/metrics" => state.metrics().into_response(),
                    _ => StatusCode::NOT_FOUND.into_response(),
                };
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10));
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
