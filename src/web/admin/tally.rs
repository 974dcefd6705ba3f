//! Counts in memory that the database gets every few seconds. What a crash takes is a few seconds
//! of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that are told apart between two writes.
pub(super) const MOST_WAITING: usize = 1_000;

/// What is counted under a name.
pub(super) trait Count {
    /// Takes another count of the same name.
    fn add(&mut self, more: Self);
}

/// The counts that the database does not have yet, by name.
pub(super) struct Tally<K, C> {
    waiting: Arc<Mutex<HashMap<K, C>>>,
    /// The name of what there is no room for.
    others: fn() -> K,
}

impl<K, C> Clone for Tally<K, C> {
    fn clone(&self) -> Self {
        Self {
            waiting: Arc::clone(&self.waiting),
            others: self.others,
        }
    }
}

impl<K: Eq + Hash, C: Count> Tally<K, C> {
    /// None yet.
    pub(super) fn new(others: fn() -> K) -> Self {
        Self {
            waiting: Arc::default(),
            others,
        }
    }

    /// Counts under a name, or among the others if there are too many names.
    pub(super) fn add(&self, name: K, count: C) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = waiting.len() >= MOST_WAITING && !waiting.contains_key(&name);
        let name = if is_full { (self.others)() } else { name };
        match waiting.get_mut(&name) {
            Some(counted) => counted.add(count),
            None => {
                waiting.insert(name, count);
            }
        }
    }

    /// All of them; from here on the caller has them.
    pub(super) fn take(&self) -> Vec<(K, C)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain().collect()
    }

    /// Puts back what the database did not take.
    pub(super) fn put_back(&self, counted: Vec<(K, C)>) {
        for (name, count) in counted {
            self.add(name, count);
        }
    }
}
