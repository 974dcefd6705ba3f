//! The API: `/api/v1`, with the admin token.

use std::sync::Arc;

use axum::Router;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::App;

/// All routes of the API.
pub fn router(_app: Arc<App>, _max_body_bytes: usize) -> Router<Arc<App>> {
    Router::new()
}

/// Whether a request carries the admin token. Compared in constant time.
pub fn is_admin(token: &str, headers: &HeaderMap) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    given.is_some_and(|given| {
        let given = given.trim().as_bytes();
        given.len() == token.len()
            && given
                .iter()
                .zip(token.as_bytes())
                .fold(0, |differs, (a, b)| differs | (a ^ b))
                == 0
    })
}
