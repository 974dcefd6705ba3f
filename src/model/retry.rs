//! How often and how long something is tried again. One rule, so that what waits for the same
//! database neither floods it nor sleeps through its return.
//!
//! | who | tries again | gives up |
//! |---|---|---|
//! | the projection | [`Backoff`] | never: the spool holds what it has not stored |
//! | an import | [`Backoff`] | after a minute: a person waits, and can start it again |
//! | the copies of links and forms | every `links.refresh` | never: they answer with what they have |
//! | a spool whose disk failed | at the next hit, and every 200 ms | never |
//! | a caller of ours that gets 503 | after [`RETRY_AFTER`] | as it likes |

use std::time::Duration;

/// `Retry-After` of every 503, in seconds: the longest pause of a [`Backoff`]. A caller that comes
/// sooner may find a database that is back but not noticed yet.
pub const RETRY_AFTER: &str = "2";

/// Pauses between tries: 100 ms, then twice as long each time, at most two seconds. The first is
/// short since most failures are a connection that was cut; the last is what a database that is
/// down for hours is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(2);

    /// How long to wait after one more failure.
    pub fn pause(&mut self) -> Duration {
        self.0 = (self.0 * 2).clamp(Self::FIRST, Self::MOST);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_two_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..7).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        let longest = RETRY_AFTER.parse().map(Duration::from_secs);
        assert_eq!(longest, Ok(Backoff::MOST));
    }
}
