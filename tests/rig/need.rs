//! What a run needs, and waits for.

use std::time::{Duration, Instant};

/// Fails in `tests/run quick`, which must run where nothing but the build is there.
pub fn need(program: &str) {
    assert!(
        std::env::var_os("SILLAGE_TESTS_QUICK").is_none(),
        "this test needs {program}: add its name to what `quick` leaves out in tests/run"
    );
}

/// Asks again until the condition holds; a deadline reached is a failure that says what was waited
/// for.
pub async fn wait_for(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let waited = try_wait_for(what, within, async || Ok(condition().await)).await;
    waited.unwrap_or_else(|error| panic!("{error}"));
}

/// [`wait_for`] as an error, which the condition may return as well.
pub async fn try_wait_for(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !condition().await? {
        let waited = started.elapsed();
        anyhow::ensure!(waited < within, "{what}: not within {within:?}");
        // Often at first: hundreds of cases wait for something that takes milliseconds, and the
        // benchmark reads off how long a start took.
        let pause = (waited / 16).clamp(Duration::from_millis(1), Duration::from_millis(20));
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
