//! Connections to receivers: the name is resolved here, every address is checked, and a checked
//! address is the one that is connected to. A name that resolves to something else a moment later
//! leads nowhere, since nobody asks for it again. The name still stands in the certificate that the
//! receiver must show.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tower::Service;

use crate::model::webhook::check_address;

/// How long one address may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Looks a name up.
pub(super) type Resolve =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system_resolver() -> Resolve {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Connects to checked addresses.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) resolve: Resolve,
    pub(super) allowed: Arc<[IpNet]>,
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let is_secure = uri.scheme() != Some(&Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let name = uri.host().unwrap_or_default();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let addresses = match bare.parse() {
            Ok(address) => vec![address],
            Err(_) => (self.resolve)(bare.to_owned()).await?,
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            if let Err(forbidden) = check_address(address, is_secure, &self.allowed) {
                last = io::Error::new(io::ErrorKind::PermissionDenied, forbidden);
                continue;
            }
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match tokio::time::timeout(CONNECT, connecting).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
