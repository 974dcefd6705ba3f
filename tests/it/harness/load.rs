//! Clicks and pixels in a stream, each with its number, and the count of what became of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use tokio::task::JoinHandle;

use super::{Campaign, Client, Db, Failure};

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Redirect or pixel, as it should be.
    Answered,
    /// Another status.
    Wrong(u16),
    /// No answer.
    Failed(Failure),
}

/// Load that runs until it is stopped. Every hit carries its run and number in its referrer, and
/// goes out once: nothing is sent again.
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    run: String,
    address: SocketAddr,
    path: String,
    is_stopped: AtomicBool,
    next: AtomicU64,
    outcomes: Mutex<Vec<(u64, Outcome, Duration)>>,
    started: Instant,
    per_second: Option<u32>,
}

impl Load {
    /// Starts so many clients; together they send at most `per_second`, or as fast as they are
    /// answered. Half of the requests click on the campaign's first message, half are pixels.
    pub fn start(
        run: &str,
        address: SocketAddr,
        campaign: &Campaign,
        clients: usize,
        per_second: Option<u32>,
    ) -> Self {
        let shared = Arc::new(Shared {
            run: run.to_owned(),
            address,
            path: campaign.link_path(0),
            is_stopped: AtomicBool::new(false),
            next: AtomicU64::new(0),
            outcomes: Mutex::default(),
            started: Instant::now(),
            per_second,
        });
        let workers = (0..clients)
            .map(|_| tokio::spawn(Arc::clone(&shared).send()))
            .collect();
        Self { shared, workers }
    }

    /// Requests that have their outcome.
    pub fn sent(&self) -> usize {
        self.shared.outcomes.lock().unwrap().len()
    }

    /// Sends no more; requests under way get their outcome.
    pub async fn stop(self) -> Report {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.unwrap();
        }
        let mut outcomes = std::mem::take(&mut *self.shared.outcomes.lock().unwrap());
        outcomes.sort_by_key(|(number, ..)| *number);
        Report {
            run: self.shared.run.clone(),
            outcomes,
        }
    }
}

impl Shared {
    async fn send(self: Arc<Self>) {
        let mut client = Client::new(self.address);
        while !self.is_stopped.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(per_second) = self.per_second {
                let due = Duration::from_secs(number) / per_second;
                tokio::time::sleep(due.saturating_sub(self.started.elapsed())).await;
            }
            let mark = format!("https://load.example/{}/{number}", self.run);
            let is_click = number.is_multiple_of(2);
            let (path, headers) = if is_click {
                (self.path.clone(), vec![("referer", mark.as_str())])
            } else {
                (
                    format!("/mtracking.gif?page_url=https://shop.example/&referrer={mark}"),
                    vec![],
                )
            };
            // Each request is another visitor: cookies would make them one person's.
            client.cookies.clear();
            let began = Instant::now();
            let answer = client
                .request(Method::GET, &path, &headers, Bytes::new())
                .await;
            let expected = if is_click { 302 } else { 200 };
            let outcome = match answer {
                Ok(answer) if answer.status == expected => Outcome::Answered,
                Ok(answer) => Outcome::Wrong(answer.status),
                Err(failure) => Outcome::Failed(failure),
            };
            if outcome == Outcome::Failed(Failure::Refused) {
                // Nobody listens: a browser would not try ten thousand times a second either.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.outcomes
                .lock()
                .unwrap()
                .push((number, outcome, began.elapsed()));
        }
    }
}

/// What became of all requests of one load.
pub struct Report {
    run: String,
    outcomes: Vec<(u64, Outcome, Duration)>,
}

/// How the answers compare with the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub answered: usize,
    pub unanswered: usize,
    /// Answered, and not in the database.
    pub lost: usize,
    /// In the database more than once.
    pub twice: usize,
    /// Not answered, and in the database all the same.
    pub stored_unanswered: usize,
}

impl Comparison {
    /// Every answered hit is in the database, once.
    pub fn assert_stored_once(&self) {
        assert_eq!((self.lost, self.twice), (0, 0), "{self:?}");
    }
}

impl Report {
    /// Answers with another status than they should have.
    pub fn wrong(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|(_, outcome, _)| matches!(outcome, Outcome::Wrong(_)))
            .count()
    }

    /// Everything that is not an answer as it should be.
    pub fn failures(&self) -> Vec<Outcome> {
        self.outcomes
            .iter()
            .map(|(_, outcome, _)| *outcome)
            .filter(|outcome| *outcome != Outcome::Answered)
            .collect()
    }

    /// The time within which the given share (0 to 1) of the answers came.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self
            .outcomes
            .iter()
            .filter(|(_, outcome, _)| *outcome == Outcome::Answered)
            .map(|(.., time)| *time)
            .collect();
        times.sort();
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or_default()
    }

    /// Looks every request up in the database.
    pub async fn compare(&self, db: &Db) -> Comparison {
        let prefix = format!("https://load.example/{}/", self.run);
        let rows = db
            .texts(&format!(
                "select referrer from hits where referrer like '{prefix}%'"
            ))
            .await;
        let mut stored: HashMap<u64, usize> = HashMap::new();
        for row in rows.into_iter().flatten() {
            *stored
                .entry(row[prefix.len()..].parse().unwrap())
                .or_default() += 1;
        }
        let mut comparison = Comparison {
            twice: stored.values().filter(|count| **count > 1).count(),
            ..Comparison::default()
        };
        for (number, outcome, took) in &self.outcomes {
            let is_stored = stored.contains_key(number);
            if *outcome == Outcome::Answered {
                comparison.answered += 1;
                comparison.lost += usize::from(!is_stored);
                if !is_stored {
                    println!("lost: {number} of {}, answered after {took:?}", self.run);
                }
            } else {
                comparison.unanswered += 1;
                comparison.stored_unanswered += usize::from(is_stored);
            }
        }
        comparison
    }
}
