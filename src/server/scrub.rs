//! After persons are erased: the spool is rewritten without what was deleted there. Each server
//! does so with its own.

use std::time::Duration;

use crate::queue::local::Spool;
use crate::store::Store;

/// How often it is looked for erasures.
const EVERY: Duration = Duration::from_secs(5);

/// Runs until it is dropped. At a start it cannot know what happened before, so it scrubs once if
/// anybody was ever erased.
pub(super) async fn run(store: Store, spool: Spool) {
    let mut seen = None;
    loop {
        match store.last_erasure().await {
            Ok(last) if last != seen => {
                spool.scrub();
                seen = last;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "erasures wait for the database"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
