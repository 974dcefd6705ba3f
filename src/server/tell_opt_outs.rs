//! Tells the old system of opt-outs from its messages: it may still be sending. They are kept by
//! the projection in the transaction that stores the hit, so none is lost with a restart or while
//! the old system is away. Told twice is as good as once.

use std::sync::Arc;
use std::time::Duration;

use crate::model::clock::{Clock, Micros};
use crate::store::{self, Store};
use crate::web::AdminState;

/// How often to look for new ones.
const EVERY: Duration = Duration::from_secs(2);
/// Maximum number of notifications between two looks.
const AT_ONCE: i64 = 50;
/// Pause after the first failure; it doubles.
const FIRST_PAUSE: i64 = 5 * Micros::SECOND;
/// Longest pause.
const MOST_PAUSE: i64 = 6 * Micros::HOUR;
/// After this many failures, about a week, it is given up.
const MOST_ATTEMPTS: i64 = 40;

/// Runs until dropped. `admin` is the current state: a reload may name another old system.
pub(super) async fn run(store: Store, clock: Clock, admin: impl Fn() -> Arc<AdminState>) {
    loop {
        if let Err(error) = tell(&store, &clock, &admin()).await {
            tracing::debug!(%error, "opt-outs wait for the database");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn tell(store: &Store, clock: &Clock, admin: &AdminState) -> store::Result<()> {
    let Some(upstream) = &admin.upstream else {
        return Ok(());
    };
    let count = |outcome: &'static str| {
        metrics::counter!("sillage_upstream_opt_outs_total", "outcome" => outcome).increment(1);
    };
    for untold in store.untold_opt_outs(clock.now(), AT_ONCE).await? {
        let hash = untold.message_key.rsplit(':').next().unwrap_or_default();
        if upstream.unsubscribe(admin.default_site(), hash).await {
            store.forget_untold(&untold.message_key).await?;
            count("told");
        } else if untold.attempts + 1 >= MOST_ATTEMPTS {
            tracing::error!(
                "gave up telling the old system of an opt-out: it did not answer for days"
            );
            store.forget_untold(&untold.message_key).await?;
            count("given up");
        } else {
            let doubled = FIRST_PAUSE << untold.attempts.clamp(0, 20);
            let next = Micros(clock.now().0 + doubled.min(MOST_PAUSE));
            store.put_off_untold(&untold.message_key, next).await?;
            count("put off");
        }
    }
    Ok(())
}
