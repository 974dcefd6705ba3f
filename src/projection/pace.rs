//! When the projection gives way.
//!
//! In a burst the projection takes the processors from the answers, and the spool is there to
//! absorb it: so it waits while the server's threads are busy answering. How busy they are is asked
//! of the runtime: a comparison of what arrives with what was projected so far was tried and misled
//! by the first, cold batches. Beside a fast projection they may not come to be busy: clients that
//! wait for each answer then send no more than it lets through. So once a second it holds still for
//! a moment and looks what the threads do without it. The wait is bounded, and ends when the burst
//! does.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::queue::source::{Source, Status};

/// How often the threads are sampled.
const TICK: Duration = Duration::from_millis(100);
/// Share of their time that the threads work, from which on it is a burst. On two processors 11,000
/// requests/s beside a projection into Postgres took a quarter, a saturated server 0.42 and more
/// with Postgres beside it and 0.65 to 0.9 without: much lower would let the backlog grow under a
/// load that the machine can carry, much higher would never give way.
const BURST: f64 = 0.36;
/// How often it pauses for a tick to sample.
const PROBE: Duration = Duration::from_secs(1);
/// Arrivals per second below which the threads are busy with something else.
const FEW: f64 = 2_000.0;

/// Samples the runtime's threads and the arrivals.
#[derive(Debug)]
pub struct Pace {
    give_way: Duration,
    last: Option<Look>,
    burst_since: Option<Instant>,
    /// A burst was waited for long enough; it must end before there is another.
    is_spent: bool,
    arrivals: f64,
    probed: Option<Instant>,
}

/// A sample: the threads' busy time, and the hits accepted so far.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// When.
    pub at: Instant,
    /// Work of all threads together since the start.
    pub work: Duration,
    /// How many threads.
    pub threads: usize,
    /// Hits since the start.
    pub accepted: u64,
}

impl Look {
    fn now(queue: &Status) -> Self {
        let metrics = Handle::current().metrics();
        let threads = metrics.num_workers();
        let work = (0..threads)
            .map(|thread| metrics.worker_total_busy_duration(thread))
            .sum();
        Self {
            at: Instant::now(),
            work,
            threads,
            accepted: queue.accepted,
        }
    }
}

impl Pace {
    /// `give_way` is the longest wait for one burst; zero never waits.
    pub fn new(give_way: Duration) -> Self {
        Self {
            give_way,
            last: None,
            burst_since: None,
            is_spent: false,
            arrivals: 0.0,
            probed: None,
        }
    }

    /// Takes a sample; true during a burst that is still worth waiting for. A sample within a
    /// quarter of a tick after the last one changes nothing.
    pub fn is_burst(&mut self, look: Look) -> bool {
        let last = *self.last.get_or_insert(look);
        let passed = look.at.duration_since(last.at).as_secs_f64();
        if passed >= TICK.as_secs_f64() / 4.0 {
            self.last = Some(look);
            let busy = look.work.saturating_sub(last.work).as_secs_f64()
                / (passed * look.threads.max(1) as f64);
            self.arrivals = look.accepted.saturating_sub(last.accepted) as f64 / passed;
            tracing::trace!(busy, arrivals = self.arrivals, "pace");
            if self.arrivals < FEW {
                self.is_spent = false;
            }
            if busy < BURST || self.arrivals < FEW {
                self.burst_since = None;
            } else {
                self.burst_since.get_or_insert(look.at);
            }
        }
        self.is_spent |= self
            .burst_since
            .is_some_and(|since| look.at.duration_since(since) >= self.give_way);
        self.burst_since.is_some() && !self.is_spent
    }

    /// Whether it is time to pause for a tick.
    fn is_probe_due(&mut self, at: Instant) -> bool {
        let is_due = self.arrivals >= FEW
            && !self.is_spent
            && self
                .probed
                .is_none_or(|probed| at.duration_since(probed) >= PROBE);
        if is_due {
            self.probed = Some(at);
        }
        is_due
    }

    /// Waits while there is a burst and the spool has room: at half of its limit, storing matters
    /// more than speed.
    pub async fn give_way(&mut self, source: &mut impl Source, stop: &CancellationToken) {
        let mut queue = source.status();
        let mut look = Look::now(&queue);
        while (self.is_burst(look) || self.is_probe_due(look.at))
            && !self.give_way.is_zero()
            && queue.has_room()
            && !stop.is_cancelled()
        {
            tokio::time::sleep(TICK).await;
            queue = source.status();
            look = Look::now(&queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every tick at two threads of which `busy` per cent work, with `rate` arrivals a
    /// second.
    fn burst_by_tick(
        pace: &mut Pace,
        start: Instant,
        ticks: std::ops::Range<u64>,
        busy: u64,
        rate: u64,
    ) -> Vec<bool> {
        ticks
            .map(|tick| {
                let passed = TICK * tick as u32;
                let work = Duration::from_millis(tick * 2 * busy);
                pace.is_burst(Look {
                    at: start + passed,
                    work,
                    threads: 2,
                    accepted: tick * rate / 10,
                })
            })
            .collect()
    }

    #[test]
    fn it_waits_while_the_threads_are_busy_answering_and_not_forever() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(
            burst_by_tick(&mut pace, start, 0..10, 27, 11_000),
            [false; 10]
        );
        let mut pace = Pace::new(Duration::from_secs(5));
        let burst = burst_by_tick(&mut pace, start, 0..80, 80, 40_000);
        assert!(
            !burst[0] && burst[1] && burst[50] && !burst[51] && !burst[79],
            "{burst:?}"
        );
    }

    #[test]
    fn the_end_of_a_burst_ends_the_wait_and_work_without_arrivals_is_none() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(5));
        assert!(burst_by_tick(&mut pace, start, 0..5, 80, 40_000)[4]);
        assert!(!pace.is_burst(Look {
            at: start + TICK * 6,
            work: Duration::from_millis(800),
            threads: 2,
            accepted: 16_000
        }));
        let mut pace = Pace::new(Duration::from_secs(5));
        assert_eq!(burst_by_tick(&mut pace, start, 0..5, 90, 500), [false; 5]);
    }

    #[test]
    fn now_and_then_it_holds_still_while_hits_arrive_and_no_more_once_a_burst_is_spent() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(5));
        burst_by_tick(&mut pace, start, 0..2, 27, 500);
        assert!(!pace.is_probe_due(start));
        burst_by_tick(&mut pace, start, 2..4, 27, 11_000);
        assert!(pace.is_probe_due(start));
        assert!(!pace.is_probe_due(start + TICK));
        assert!(pace.is_probe_due(start + PROBE));
        let mut pace = Pace::new(Duration::from_secs(5));
        burst_by_tick(&mut pace, start, 0..80, 80, 40_000);
        assert!(!pace.is_probe_due(start + 80 * TICK));
    }
}
