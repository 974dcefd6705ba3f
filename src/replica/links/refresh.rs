//! The refresh: every changed link is fetched once, in the order of changes, and what came late is
//! found without fetching the rest again.
//!
//! The copy reads on from a time and a number, page by page, and keeps its place in the file with
//! the links, so a million new links cost one reading, also where the server is restarted in
//! between. Clocks of servers differ and transactions commit late, so rows may turn up before that
//! place: for a minute the times of changes are counted again every ten seconds, and where a time
//! has other rows than were seen, they are fetched. Rows of one transaction share their time, so
//! that is a list of transactions, not of links.
//!
//! **The place moves when what lies before it was taken**, never sooner: what the file could not
//! take is read again, and a look for late rows that failed is made up for. While the file takes
//! nothing (its disk is full), memory is told of what changes, and the file catches up after.
//!
//! Between pages the refresh rests as long as the page took, up to a bound: clicks and hits need
//! the same processors.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::RefreshError::{Database, File};
use super::LinkCopy;
use crate::model::clock::Micros;
use crate::model::link::LinkRecord;
use crate::store::{self, ChangePoint, ChangedAt};

/// How late a row may turn up, from clock differences and long transactions together.
const LATE: i64 = 60 * Micros::SECOND;
/// How far another server's clock may be ahead before its rows are fetched again until this clock
/// has caught up.
const AHEAD: i64 = 30 * Micros::SECOND;
/// How often late rows are looked for.
const LOOK_EVERY: i64 = 10 * Micros::SECOND;
/// Links of a round trip.
const PAGE: usize = 2_000;
/// Longest pause between two: a slower one waits for a disk, not for a processor.
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

    /// Whether it is beyond what this server's clock could have reached.
    fn is_ahead(&self, now: Micros) -> bool {
        let most = now.0 + AHEAD + LATE;
        self.links.point.at.0 > most || self.deliveries.point.at.0 > most
    }
}

#[derive(Debug)]
struct Reached {
    /// Changes up to here are in memory.
    point: ChangePoint,
    /// Changes up to here are in the file; kept over a restart.
    filed: ChangePoint,
    /// What was seen in the last minute before it: rows and the greatest number, by time.
    seen: HashMap<i64, (i64, i64)>,
    /// The position at the last look for late rows.
    looked_at: ChangePoint,
    /// A look was begun and not completed.
    is_look_due: bool,
    /// Until when late rows may turn up, by this server's clock.
    look_until: Micros,
    look_next: Micros,
}

impl Reached {
    fn new(point: ChangePoint, now: Micros) -> Self {
        Self {
            point,
            filed: point,
            seen: HashMap::new(),
            looked_at: point,
            is_look_due: false,
            look_until: Micros(now.0 + LATE),
            // Whatever was written while this server was away.
            look_next: now,
        }
    }

    /// Advances over rows, to the last of them, but not far beyond the present, so that one
    /// server's wrong clock does not hide what others write.
    fn advance(&mut self, rows: &[ChangePoint], now: Micros) {
        let Some(&last) = rows.last() else { return };
        for row in rows.iter().filter(|row| **row > self.point) {
            let (rows, greatest) = self.seen.entry(row.at.0).or_insert((0, i64::MIN));
            *rows += 1;
            *greatest = (*greatest).max(row.id);
        }
        let reached = within(last, now);
        // What is read again for the file is behind what memory knows.
        self.point = self.point.max(reached);
        if self.looked_at == ChangePoint::START {
            self.looked_at = reached;
        }
        self.look_until = Micros(now.0 + LATE);
    }

    /// Records that a page ending at `end` was written to the file up to `filed`, or not at all.
    /// Returns where the next page begins.
    fn file(&mut self, filed: ChangePoint, end: ChangePoint, is_taken: bool) -> ChangePoint {
        if is_taken {
            self.filed = filed;
            end
        } else {
            // What memory knows already is the file's alone.
            end.max(self.point)
        }
    }

    /// The span of time in which to look for late rows, if it is time to.
    fn look(&mut self, now: Micros) -> Option<(Micros, Micros)> {
        let is_time = now <= self.look_until && now >= self.look_next;
        if !is_time && !self.is_look_due {
            return None;
        }
        self.is_look_due = true;
        let from = self.point.min(self.looked_at).at.0 - LATE;
        self.seen.retain(|at, _| *at >= from);
        Some((Micros(from), self.point.at))
    }

    /// The times whose rows differ from those seen before.
    fn compare(&self, found: Vec<ChangedAt>) -> Vec<ChangedAt> {
        found
            .into_iter()
            .filter(|found| self.seen.get(&found.at.0) != Some(&(found.rows, found.greatest)))
            .collect()
    }

    /// The rows of a time were fetched.
    fn saw(&mut self, found: ChangedAt) {
        self.seen.insert(found.at.0, (found.rows, found.greatest));
    }

    /// A look came to its end.
    fn looked(&mut self, now: Micros) {
        self.is_look_due = false;
        self.looked_at = self.point;
        self.look_next = Micros(now.0 + LOOK_EVERY);
    }
}

fn within(point: ChangePoint, now: Micros) -> ChangePoint {
    point.min(ChangePoint {
        at: Micros(now.0 + AHEAD),
        id: i64::MAX,
    })
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
    /// The database cannot say what changed.
    #[error("the database: {0}")]
    Database(store::Error),
    /// The copy cannot be read or written.
    #[error("the local copy: {0}")]
    File(store::Error),
}

type Refreshed<T> = Result<T, RefreshError>;

/// What was fetched, and whether the file took it.
struct Taken {
    links: usize,
    file: store::Result<()>,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            links: 0,
            file: Ok(()),
        }
    }
}

impl LinkCopy {
    /// Fetches what changed since the last time; returns how many links that were.
    ///
    /// # Errors
    /// The database or the file fails.
    pub async fn refresh(&self) -> Result<usize, RefreshError> {
        let now = self.0.clock.now();
        let mut place = self.0.progress.lock().await;
        if self.0.file.mend().await {
            *place = None;
        }
        // The clock was ahead when it read on so far, and is right now: what others changed
        // meanwhile lies behind. From the start, then.
        if place.as_ref().is_some_and(|place| place.is_ahead(now)) {
            *place = Some(Progress::start(now));
        }
        let progress = match &mut *place {
            Some(progress) => progress,
            empty => empty.insert(self.load_progress(now).await?),
        };
        let (mut count, mut file) = (0, Ok(()));
        for taken in [
            self.read_links(progress, now).await?,
            self.read_deliveries(progress, now).await?,
            self.look_back(progress, now).await?,
        ] {
            count += taken.links;
            file = file.and(taken.file);
        }
        file.map_err(File)?;
        self.0.is_behind.store(false, Ordering::Release);
        Ok(count)
    }

    /// Fetches at once what was changed at a time: links, and those of deliveries. They are read
    /// while no refresh is under way, so a change that came later is never undone.
    ///
    /// # Errors
    /// The database or the file fails.
    pub async fn fetch_changed(&self, at: Micros) -> Result<(), RefreshError> {
        let _place = self.0.progress.lock().await;
        let mut taken = Taken::default();
        self.fetch(Which::ChangedAt(at), &mut taken).await?;
        self.fetch(Which::OfDeliveries(at, at), &mut taken).await?;
        taken.file.map_err(File)
    }

    /// How far the file says it has come.
    async fn load_progress(&self, now: Micros) -> Refreshed<Progress> {
        let points = self.0.file.points().await.map_err(File)?;
        let reached = |name: &str| {
            let point = points.iter().find(|(known, _)| known == name);
            Reached::new(point.map_or(ChangePoint::START, |(_, point)| *point), now)
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

    /// New rows: each once, and again what the file did not take.
    async fn read_links(&self, progress: &mut Progress, now: Micros) -> Refreshed<Taken> {
        let reached = &mut progress.links;
        let mut taken = Taken::default();
        let mut after = reached.filed;
        loop {
            let started = Instant::now();
            let page = self.0.store.links_changed(after, PAGE as i64).await;
            let page = page.map_err(Database)?;
            let Some(&(end, _)) = page.last() else { break };
            let is_last = page.len() < PAGE;
            let (points, links): (Vec<_>, Vec<_>) = page.into_iter().unzip();
            let filed = within(end, now);
            self.take(&links, Some(("links", filed)), &mut taken).await;
            reached.advance(&points, now);
            after = reached.file(filed, end, taken.file.is_ok());
            if is_last {
                break;
            }
            rest(started).await;
        }
        Ok(taken)
    }

    /// The links of new and changed deliveries.
    async fn read_deliveries(&self, progress: &mut Progress, now: Micros) -> Refreshed<Taken> {
        let reached = &mut progress.deliveries;
        let mut taken = Taken::default();
        let mut after = reached.filed;
        loop {
            let page = self.0.store.deliveries_changed(after, PAGE as i64).await;
            let page = page.map_err(Database)?;
            let (Some(&first), Some(&last)) = (page.first(), page.last()) else {
                break;
            };
            let is_last = page.len() < PAGE;
            self.fetch(Which::OfDeliveries(first.at, last.at), &mut taken)
                .await?;
            let filed = within(last, now);
            self.take(&[], Some(("deliveries", filed)), &mut taken)
                .await;
            reached.advance(&page, now);
            after = reached.file(filed, last, taken.file.is_ok());
            if is_last {
                break;
            }
        }
        Ok(taken)
    }

    /// Rows that turned up behind.
    async fn look_back(&self, progress: &mut Progress, now: Micros) -> Refreshed<Taken> {
        let store = &self.0.store;
        let mut taken = Taken::default();
        let links = &mut progress.links;
        if let Some((from, to)) = links.look(now) {
            let found = store.link_changes(from, to).await.map_err(Database)?;
            for found in links.compare(found) {
                self.fetch(Which::ChangedAt(found.at), &mut taken).await?;
                if taken.file.is_ok() {
                    links.saw(found);
                }
            }
            if taken.file.is_ok() {
                links.looked(now);
            }
        }
        let deliveries = &mut progress.deliveries;
        if let Some((from, to)) = deliveries.look(now) {
            let found = store.delivery_changes(from, to).await.map_err(Database)?;
            for found in deliveries.compare(found) {
                self.fetch(Which::OfDeliveries(found.at, found.at), &mut taken)
                    .await?;
                if taken.file.is_ok() {
                    deliveries.saw(found);
                }
            }
            if taken.file.is_ok() {
                deliveries.looked(now);
            }
        }
        Ok(taken)
    }

    /// Updates memory, and the file unless it failed before: then it is behind, and must not get
    /// anything later.
    async fn take(
        &self,
        links: &[LinkRecord],
        reached: Option<(&'static str, ChangePoint)>,
        taken: &mut Taken,
    ) {
        taken.links += links.len();
        if taken.file.is_ok() {
            taken.file = self.write(links, reached).await;
            if taken.file.is_err() {
                self.0.is_behind.store(true, Ordering::Release);
            }
        } else {
            self.tell_memory(links);
        }
    }

    /// Takes links page by page, in the order of numbers.
    async fn fetch(&self, which: Which, taken: &mut Taken) -> Refreshed<()> {
        let (store, limit) = (&self.0.store, PAGE as i64);
        let mut after = None;
        loop {
            let started = Instant::now();
            let links = match which {
                Which::ChangedAt(at) => store.links_changed_at(at, after, limit).await,
                Which::OfDeliveries(from, to) => {
                    store.links_of_changed(from, to, after, limit).await
                }
            };
            let links = links.map_err(Database)?;
            self.take(&links, None, taken).await;
            match links.last() {
                Some(last) if links.len() == PAGE => after = Some(last.id),
                _ => return Ok(()),
            }
            rest(started).await;
        }
    }

    /// Refreshes every `every` until dropped. `tell` receives each time what the database answered:
    /// others may not have queried it for long.
    pub async fn run(self, every: Duration, tell: impl Fn(Result<(), &store::Error>) + Send) {
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
                    tracing::warn!(%error, "cannot refresh links; serving them from the local \
                        copy");
                }
                Err(_) => {}
            }
            tokio::time::sleep(every).await;
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
        let rows: Vec<_> = (1..=3).map(|id| point(START - 5, id)).collect();
        reached.advance(&rows, now);
        assert_eq!(
            reached.look(now),
            Some((Micros(START - 5 - LATE), Micros(START - 5)))
        );
        assert_eq!(reached.compare(vec![changed(START - 5, 3, 3)]), []);
        // A transaction of the same time, and one of an earlier time; again until they are fetched.
        let found = vec![changed(START - 5, 4, 9), changed(START - 9, 1, 7)];
        for _ in 0..2 {
            assert_eq!(reached.compare(found.clone()), found);
        }
        for found in &found {
            reached.saw(*found);
        }
        assert_eq!(reached.compare(found), []);
    }

    #[test]
    fn late_rows_are_looked_for_now_and_then_and_not_for_ever() {
        let mut reached = Reached::new(ChangePoint::START, Micros(START));
        reached.advance(&[point(START - 5, 3)], Micros(START));
        assert!(reached.look(Micros(START)).is_some());
        reached.looked(Micros(START));
        assert!(reached.look(Micros(START + LOOK_EVERY - 1)).is_none());
        assert!(reached.look(Micros(START + LOOK_EVERY)).is_some());
        reached.looked(Micros(START + LOOK_EVERY));
        assert!(reached.look(Micros(START + LATE + 1)).is_none());
    }

    #[test]
    fn a_look_that_failed_is_made_up_for_from_where_the_last_one_was() {
        let mut reached = Reached::new(ChangePoint::START, Micros(START));
        reached.advance(&[point(START - 5, 3)], Micros(START));
        assert!(reached.look(Micros(START)).is_some());
        // It failed, and so did everything for ten minutes.
        let later = START + 600 * Micros::SECOND;
        let from = Micros(START - 5 - LATE);
        assert_eq!(reached.look(Micros(later)), Some((from, Micros(START - 5))));
        reached.advance(&[point(later - 5, 4)], Micros(later));
        assert_eq!(reached.look(Micros(later)), Some((from, Micros(later - 5))));
        reached.looked(Micros(later));
        let soon = later + LOOK_EVERY;
        assert_eq!(
            reached.look(Micros(soon)),
            Some((Micros(later - 5 - LATE), Micros(later - 5)))
        );
    }

    #[test]
    fn a_clock_that_is_ahead_hides_nothing() {
        let mut reached = Reached::new(ChangePoint::START, Micros(START));
        reached.advance(&[point(START + 3_600 * Micros::SECOND, 1)], Micros(START));
        assert_eq!(reached.point, point(START + AHEAD, i64::MAX));
    }
}
