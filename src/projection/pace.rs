//! When the projection gives way.
//!
//! While about as much arrives as could be projected, projecting hardly keeps up and takes the processors from the answers. So in such a
//! burst it waits: the spool is there to absorb it. The wait is bounded, and ends early when the burst does.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::spool::Spool;

/// How often the rate of arrivals is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Share of the capacity above which arrivals are a burst. At two thirds the projection would be at work two thirds of the
/// time; a lower bar would let the backlog grow under a load that the machine can carry.
const BURST: f64 = 0.3;

/// Compares what arrives with what can be projected.
#[derive(Debug)]
pub struct Pace {
    give_way: Duration,
    /// Hits a second that the projection was seen to store; none before the first full batch.
    capacity: Option<f64>,
    /// Hits accepted so far and when that was looked at.
    seen: Option<(u64, Instant)>,
    /// Arrivals a second, over the last few ticks.
    arrivals: f64,
    burst_since: Option<Instant>,
    busy_seen: Option<(Duration, Instant)>,
}

impl Pace {
    /// `give_way` is the longest wait for one burst; zero never waits.
    pub fn new(give_way: Duration) -> Self {
        Self {
            give_way,
            capacity: None,
            seen: None,
            arrivals: 0.0,
            burst_since: None,
            busy_seen: None,
        }
    }

    /// Learns from a batch that was stored. Small ones say nothing about the capacity: their transaction is mostly overhead.
    pub fn projected(&mut self, hits: usize, took: Duration) {
        if hits >= 500 && !took.is_zero() {
            let rate = hits as f64 / took.as_secs_f64();
            self.capacity = Some(
                self.capacity
                    .map_or(rate, |capacity| capacity * 0.8 + rate * 0.2),
            );
        }
    }

    /// Share of the last tick in which the runtime's workers were busy.
    fn busy(&mut self) -> f64 {
        let metrics = tokio::runtime::Handle::current().metrics();
        let workers = metrics.num_workers();
        let total: Duration = (0..workers)
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum();
        let now = Instant::now();
        let (before, at) = self.busy_seen.replace((total, now)).unwrap_or((total, now));
        let passed = now.duration_since(at).as_secs_f64() * workers as f64;
        if passed > 0.0 {
            total.saturating_sub(before).as_secs_f64() / passed
        } else {
            0.0
        }
    }

    /// Takes a new count of accepted hits; true while there is a burst that still deserves waiting.
    pub fn is_burst(&mut self, accepted: u64, now: Instant) -> bool {
        let (before, at) = *self.seen.get_or_insert((accepted, now));
        let passed = now.duration_since(at);
        if passed >= TICK / 2 {
            let rate = accepted.saturating_sub(before) as f64 / passed.as_secs_f64();
            // A pause between two looks at it counts for as much as it lasted.
            let weight = (passed.as_secs_f64() / 0.3).min(1.0);
            self.arrivals += (rate - self.arrivals) * weight;
            self.seen = Some((accepted, now));
        }
        let is_more = self
            .capacity
            .is_some_and(|capacity| self.arrivals > capacity * BURST);
        if !is_more {
            self.burst_since = None;
            return false;
        }
        now.duration_since(*self.burst_since.get_or_insert(now)) < self.give_way
    }

    /// Waits while there is a burst and the spool has room: at half of its limit, storing matters more than speed.
    pub async fn give_way(&mut self, spool: &Spool, stop: &watch::Receiver<bool>) {
        let busy = self.busy();
        tracing::debug!(
            busy,
            arrivals = self.arrivals,
            capacity = self.capacity,
            backlog = spool.backlog(),
            "pace"
        );
        while self.is_burst(spool.accepted(), Instant::now()) && spool.has_room() && !*stop.borrow()
        {
            tokio::time::sleep(TICK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_while_more_arrives_than_it_could_store_and_not_forever() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(Duration::from_secs(5));
        assert!(!pace.is_burst(0, at(0)));
        pace.projected(4_000, Duration::from_millis(200));
        assert!(!pace.is_burst(1_000, at(100)), "10,000/s against 20,000/s");
        let burst: Vec<bool> = (2..80)
            .map(|tick| pace.is_burst(tick * 5_000, at(tick * 100)))
            .collect();
        assert!(
            !burst[0] && burst[5] && burst[40] && !burst[70],
            "{burst:?}"
        );
        assert!(!pace.is_burst(80 * 5_000, at(9_000)), "the burst is over");
    }

    #[test]
    fn a_small_batch_teaches_nothing() {
        let mut pace = Pace::new(Duration::from_secs(5));
        pace.projected(3, Duration::from_millis(10));
        assert!(!pace.is_burst(0, Instant::now()));
        assert_eq!(pace.capacity, None);
    }
}
