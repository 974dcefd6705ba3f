//! How long the oldest waiting hit has waited, without asking the file: a gauge must answer also
//! while the disk does not.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two marks, which is how exact the answer is: a day of a database that is away
/// is 2 MB of them.
const APART: Duration = Duration::from_secs(1);

/// When groups were written; one mark a second.
#[derive(Debug, Default)]
pub(super) struct Ages(Mutex<VecDeque<Mark>>);

/// Groups from `seq` on were written at `at` or later.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seq: i64,
    at: Instant,
}

impl Ages {
    /// Begins with groups left by an earlier start, the first of them this old.
    pub(super) fn begin_with(&self, oldest: Option<(i64, Duration)>) {
        let now = Instant::now();
        let mark = oldest.map(|(seq, age)| Mark {
            seq,
            at: now.checked_sub(age).unwrap_or(now),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mark.into_iter().collect();
    }

    /// Groups from `seq` on are on disk as of now; `written` was the last before, and those up to
    /// `done` are in the database.
    pub(super) fn note(&self, seq: i64, written: i64, done: i64) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written <= done {
            // Nothing waited. Numbers leave gaps at a start, so a mark could not tell.
            marks.clear();
        }
        forget(&mut marks, done);
        if marks.back().is_none_or(|last| last.at.elapsed() >= APART) {
            let at = Instant::now();
            marks.push_back(Mark { seq, at });
        }
    }

    /// How long the first group after `done` has waited, where `written` is the last there is.
    pub(super) fn oldest(&self, done: i64, written: i64) -> Duration {
        if written <= done {
            return Duration::ZERO;
        }
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut marks, done);
        marks
            .front()
            .map_or(Duration::ZERO, |first| first.at.elapsed())
    }
}

/// Leaves the mark of the first group after `done` in front.
fn forget(marks: &mut VecDeque<Mark>, done: i64) {
    while marks.get(1).is_some_and(|next| next.seq <= done + 1) {
        marks.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn what_an_earlier_start_left_is_as_old_as_it_is() {
        let ages = Ages::default();
        ages.begin_with(Some((5, HOUR)));
        assert!(ages.oldest(4, 5) >= HOUR);
        assert_eq!(ages.oldest(5, 5), Duration::ZERO);
        ages.note(6, 5, 4);
        assert!(ages.oldest(4, 6) >= HOUR, "the first still waits");
        assert!(ages.oldest(5, 6) < HOUR, "now the next is the oldest");
    }

    #[test]
    fn an_idle_night_is_no_wait() {
        let ages = Ages::default();
        ages.begin_with(Some((5, HOUR)));
        assert_eq!(ages.oldest(5, 5), Duration::ZERO);
        ages.note(1_000_000, 5, 5);
        assert!(ages.oldest(5, 1_000_000) < HOUR);
    }
}
