//! TLS of what this server calls: the system's certificates.

use std::sync::Arc;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_rustls::builderstates::WantsSchemes;

/// TLS with the system's certificates. Without any, `what` is told to be unable to use https, and
/// plain HTTP still works.
pub fn with_roots(what: &str) -> Option<HttpsConnectorBuilder<WantsSchemes>> {
    let ring = rustls::crypto::ring::default_provider;
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(ring());
    builder
        .inspect_err(|error| {
            tracing::warn!(%error, "the system has no certificates: {what} cannot be https");
        })
        .ok()
        .or_else(|| {
            let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring()));
            let tls = tls.with_safe_default_protocol_versions().ok()?;
            let tls = tls
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            Some(HttpsConnectorBuilder::new().with_tls_config(tls))
        })
}
