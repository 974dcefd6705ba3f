//! What a test needs, and waits for.

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
    let deadline = Instant::now() + within;
    // Often at first: hundreds of cases wait for something that takes milliseconds.
    let mut pause = Duration::from_millis(1);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
