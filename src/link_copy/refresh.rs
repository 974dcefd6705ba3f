//! The refresh: every changed link is fetched once, in the order of changes, and what came late is found without fetching the rest again.
//!
//! The copy reads on from a time and a number, page by page, and keeps its place in the file with the links, so a million new links cost one
//! reading, also where the server is restarted in between. Clocks of servers differ and transactions commit late, so rows may turn up before that
//! place: for a minute the times of changes are counted again every ten seconds, and where a time has other rows than were seen, they are
//! fetched. Rows of one transaction share their time, so that is a list of transactions, not of links.
//!
//! Between pages the refresh rests as long as the page took, up to a bound: clicks and hits need the same processors.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::RefreshError::{Database, File};
use super::LinkCopy;
use crate::clock::Micros;
use crate::store::{self, ChangePoint, ChangedAt};

/// How late a row may turn up: clocks that differ and transactions that take long, together.
const LATE: i64 = 60 * Micros::SECOND;
/// How far another server's clock may be ahead before its rows are fetched again until this clock has caught up.
const AHEAD: i64 = 30 * Micros::SECOND;
/// How often late rows are looked for.
const LOOK_EVERY: i64 = 10 * Micros::SECOND;
/// Links of a round trip.
const PAGE: usize = 2_000;
/// Longest rest between two: what takes longer waits for a disk, not for a processor.
const REST: Duration = Duration::from_millis(50);

/// How far the copy has come.
#[derive(Debug)]
pub(super) struct Progress {
    links: Reached,
    deliveries: Reached,
}

impl Progress {
    fn start(now: Micros) -> Self {
        Self {
            links: Reached::new(ChangePoint::START, now),
            deliveries: Reached::new(ChangePoint::START, now),
        }
    }

    /// Whether it lies where this server's clock cannot have led it.
    fn is_ahead(&self, now: Micros) -> bool {
        let most = now.0 + AHEAD + LATE;
        self.links.point.at.0 > most || self.deliveries.point.at.0 > most
    }

    /// What is kept over a restart.
    pub(super) fn points(&self) -> [(&'static str, ChangePoint); 2] {
        [
            ("links", self.links.point),
            ("deliveries", self.deliveries.point),
        ]
    }
}

#[derive(Debug)]
struct Reached {
    point: ChangePoint,
    /// What was seen of the last minute before it: rows and the greatest number, by time.
    seen: HashMap<i64, (i64, i64)>,
    /// Until when late rows may turn up, by this server's clock.
    look_until: Micros,
    look_next: Micros,
}

impl Reached {
    fn new(point: ChangePoint, now: Micros) -> Self {
        Self {
            point,
            seen: HashMap::new(),
            look_until: Micros(now.0 + LATE),
            // Whatever was written while this server was away.
            look_next: now,
        }
    }

    fn note(&mut self, point: ChangePoint) {
        let (rows, greatest) = self.seen.entry(point.at.0).or_insert((0, i64::MIN));
        *rows += 1;
        *greatest = (*greatest).max(point.id);
    }

    /// Goes on to a point; not far beyond the present, so that one server's wrong clock does not hide what others write.
    fn advance(&mut self, point: ChangePoint, now: Micros) {
        self.point = point.min(ChangePoint {
            at: Micros(now.0 + AHEAD),
            id: i64::MAX,
        });
        self.look_until = Micros(now.0 + LATE);
    }

    /// The span of time in which to look for late rows, where it is time to.
    fn look(&mut self, now: Micros) -> Option<(Micros, Micros)> {
        if now > self.look_until || now < self.look_next {
            return None;
        }
        self.look_next = Micros(now.0 + LOOK_EVERY);
        let from = self.point.at.0 - LATE;
        self.seen.retain(|at, _| *at >= from);
        Some((Micros(from), self.point.at))
    }

    /// The times that have other rows than were seen.
    fn compare(&mut self, found: Vec<ChangedAt>) -> Vec<Micros> {
        found
            .into_iter()
            .filter(|found| {
                let now = (found.rows, found.greatest);
                self.seen.insert(found.at.0, now) != Some(now)
            })
            .map(|found| found.at)
            .collect()
    }
}

/// Links that are fetched out of turn.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// Those that were changed at a time.
    ChangedAt(Micros),
    /// Those of the deliveries that were changed between two times, both included.
    OfDeliveries(Micros, Micros),
}

/// Why links are not refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The database does not say what changed.
    #[error("the database: {0}")]
    Database(store::Error),
    /// The copy cannot be read or written.
    #[error("the local copy: {0}")]
    File(store::Error),
}

type Refreshed<T> = Result<T, RefreshError>;

impl LinkCopy {
    /// Fetches what changed since the last time; returns how many links that were.
    ///
    /// # Errors
    /// The database or the file fails.
    pub async fn refresh(&self) -> Result<usize, RefreshError> {
        let now = self.0.clock.now();
        let mut place = self.0.progress.lock().await;
        // The clock was ahead when it read on so far, and is right now: what others changed meanwhile lies behind. From the start, then.
        if place.as_ref().is_some_and(|place| place.is_ahead(now)) {
            *place = Some(Progress::start(now));
        }
        let progress = match &mut *place {
            Some(progress) => progress,
            empty => empty.insert(self.load_progress(now).await?),
        };
        let count = self.read_on(progress, now).await? + self.look_back(progress, now).await?;
        Ok(count)
    }

    /// How far the file says that it is.
    async fn load_progress(&self, now: Micros) -> Refreshed<Progress> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("select name, changed_at, id from progress")
                .fetch_all(&self.0.file)
                .await
                .map_err(File)?;
        let reached = |name: &str| {
            let row = rows.iter().find(|(row, _, _)| row == name);
            let point = row.map_or(ChangePoint::START, |&(_, at, id)| ChangePoint {
                at: Micros(at),
                id,
            });
            Reached::new(point, now)
        };
        let progress = Progress {
            links: reached("links"),
            deliveries: reached("deliveries"),
        };
        if progress.is_ahead(now) {
            return Ok(Progress::start(now));
        }
        Ok(progress)
    }

    /// New rows: each once.
    async fn read_on(&self, progress: &mut Progress, now: Micros) -> Refreshed<usize> {
        let mut count = 0;
        let mut after = progress.links.point;
        loop {
            let started = Instant::now();
            let page = self.0.store.links_changed(after, PAGE as i64).await;
            let page = page.map_err(Database)?;
            let Some(&(end, _)) = page.last() else { break };
            let is_last = page.len() < PAGE;
            let mut links = Vec::with_capacity(page.len());
            for (point, link) in page {
                progress.links.note(point);
                links.push(link);
            }
            after = end;
            progress.links.advance(end, now);
            self.write(&links, Some(progress)).await.map_err(File)?;
            count += links.len();
            if is_last {
                break;
            }
            rest(started).await;
        }
        let mut after = progress.deliveries.point;
        loop {
            let page = self.0.store.deliveries_changed(after, PAGE as i64).await;
            let page = page.map_err(Database)?;
            let (Some(&first), Some(&last)) = (page.first(), page.last()) else {
                break;
            };
            let is_last = page.len() < PAGE;
            for point in page {
                progress.deliveries.note(point);
            }
            count += self.fetch(Which::OfDeliveries(first.at, last.at)).await?;
            after = last;
            progress.deliveries.advance(last, now);
            self.write(&[], Some(progress)).await.map_err(File)?;
            if is_last {
                break;
            }
        }
        Ok(count)
    }

    /// Rows that turned up behind.
    async fn look_back(&self, progress: &mut Progress, now: Micros) -> Refreshed<usize> {
        let mut count = 0;
        if let Some((from, to)) = progress.links.look(now) {
            let found = self
                .0
                .store
                .link_changes(from, to)
                .await
                .map_err(Database)?;
            for at in progress.links.compare(found) {
                count += self.fetch(Which::ChangedAt(at)).await?;
            }
        }
        if let Some((from, to)) = progress.deliveries.look(now) {
            let found = self
                .0
                .store
                .delivery_changes(from, to)
                .await
                .map_err(Database)?;
            for at in progress.deliveries.compare(found) {
                count += self.fetch(Which::OfDeliveries(at, at)).await?;
            }
        }
        Ok(count)
    }

    /// Takes links page by page, in the order of numbers.
    async fn fetch(&self, which: Which) -> Refreshed<usize> {
        let (store, limit) = (&self.0.store, PAGE as i64);
        let (mut after, mut count) = (None, 0);
        loop {
            let started = Instant::now();
            let links = match which {
                Which::ChangedAt(at) => store.links_changed_at(at, after, limit).await,
                Which::OfDeliveries(from, to) => {
                    store.links_of_changed(from, to, after, limit).await
                }
            };
            let links = links.map_err(Database)?;
            self.write(&links, None).await.map_err(File)?;
            count += links.len();
            match links.last() {
                Some(last) if links.len() == PAGE => after = Some(last.id),
                _ => return Ok(count),
            }
            rest(started).await;
        }
    }

    /// Refreshes every `every` until `stop` is true. `tell` is told each time what the database answered: others may not have asked it for long.
    pub async fn run(
        self,
        every: Duration,
        mut stop: watch::Receiver<bool>,
        tell: impl Fn(Result<(), &store::Error>) + Send,
    ) {
        let mut is_failing = false;
        loop {
            let refreshed = self.refresh().await;
            match &refreshed {
                Ok(_) => tell(Ok(())),
                Err(Database(error)) => tell(Err(error)),
                Err(File(_)) => {}
            }
            match refreshed {
                Ok(_) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "links cannot be refreshed; the local copy serves");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

async fn rest(started: Instant) {
    tokio::time::sleep(started.elapsed().min(REST)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, id: i64) -> ChangePoint {
        ChangePoint { at: Micros(at), id }
    }

    fn changed(at: i64, rows: i64, greatest: i64) -> ChangedAt {
        ChangedAt {
            at: Micros(at),
            rows,
            greatest,
        }
    }

    const START: i64 = 1_000 * Micros::SECOND;

    #[test]
    fn what_was_seen_is_not_fetched_again_and_what_came_late_is() {
        let now = Micros(START);
        let mut reached = Reached::new(ChangePoint::START, now);
        for id in 1..=3 {
            reached.note(point(START - 5, id));
        }
        reached.advance(point(START - 5, 3), now);
        assert_eq!(
            reached.look(now),
            Some((Micros(START - 5 - LATE), Micros(START - 5)))
        );
        assert_eq!(reached.compare(vec![changed(START - 5, 3, 3)]), []);
        // A transaction of the same time, and one of an earlier time.
        assert_eq!(
            reached.compare(vec![changed(START - 5, 4, 9), changed(START - 9, 1, 7)]),
            [Micros(START - 5), Micros(START - 9)]
        );
        assert_eq!(
            reached.compare(vec![changed(START - 5, 4, 9), changed(START - 9, 1, 7)]),
            []
        );
    }

    #[test]
    fn late_rows_are_looked_for_now_and_then_and_not_for_ever() {
        let mut reached = Reached::new(ChangePoint::START, Micros(START));
        reached.advance(point(START - 5, 3), Micros(START));
        assert!(reached.look(Micros(START)).is_some());
        assert!(reached.look(Micros(START + LOOK_EVERY - 1)).is_none());
        assert!(reached.look(Micros(START + LOOK_EVERY)).is_some());
        assert!(reached.look(Micros(START + LATE + 1)).is_none());
    }

    #[test]
    fn a_clock_that_is_ahead_hides_nothing() {
        let mut reached = Reached::new(ChangePoint::START, Micros(START));
        reached.advance(point(START + 3_600 * Micros::SECOND, 1), Micros(START));
        assert_eq!(reached.point, point(START + AHEAD, i64::MAX));
    }
}
