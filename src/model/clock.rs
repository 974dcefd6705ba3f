//! The one clock and the one source of ids.
//!
//! Everything that is stored carries a time and most things an id; both come from here and are
//! passed in, so a test can say what time it is. `clippy.toml` forbids every other `now()`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Microseconds since the Unix epoch, UTC: what both databases store exactly. Postgres'
/// `timestamptz` has microseconds, and on SQLite an integer sorts where a text time does not.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// One second.
    pub const SECOND: i64 = 1_000_000;
    /// One hour.
    pub const HOUR: i64 = 3_600 * Self::SECOND;
    /// One day.
    pub const DAY: i64 = 24 * Self::HOUR;

    /// Whole minutes since the Unix epoch.
    pub fn minutes(self) -> i64 {
        self.0.div_euclid(60 * Self::SECOND)
    }

    /// The start of this time's quarter of an hour: local days begin on one everywhere.
    pub fn quarter(self) -> Self {
        Self(self.0 - self.0.rem_euclid(Self::HOUR / 4))
    }

    /// The start of this time's half hour.
    pub fn half_hour(self) -> Self {
        Self(self.0 - self.0.rem_euclid(Self::HOUR / 2))
    }

    /// The start of this time's day, UTC.
    pub fn day(self) -> Self {
        Self(self.0 - self.0.rem_euclid(Self::DAY))
    }

    /// The start of this time's hour.
    pub fn hour(self) -> Self {
        Self(self.0 - self.0.rem_euclid(Self::HOUR))
    }

    /// The calendar form; times beyond the year 9999 become its last second.
    pub fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC))
    }

    /// From the calendar form.
    pub fn from_date_time(at: OffsetDateTime) -> Self {
        Self((at.unix_timestamp_nanos() / 1_000) as i64)
    }

    /// RFC 3339, UTC: `2026-11-21T18:00:00.000001Z`.
    pub fn rfc3339(self) -> String {
        self.date_time().format(&Rfc3339).unwrap_or_default()
    }

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// The text is not an RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, time::error::Parse> {
        OffsetDateTime::parse(text, &Rfc3339).map(Self::from_date_time)
    }
}

/// Source of times and ids. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Fixed(_) => "Clock(fixed)",
        })
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] moves it, for tests.
    pub fn fixed(at: Micros) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(at.0))))
    }

    /// Advances a fixed clock; the machine's clock is left alone.
    pub fn advance(&self, micros: i64) {
        if let Source::Fixed(at) = &self.0 {
            at.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// The present time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    pub fn now(&self) -> Micros {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                // A machine whose clock stands before 1970 has other worries.
                Micros(since.map_or(0, |since| since.as_micros() as i64))
            }
            Source::Fixed(at) => Micros(at.load(Ordering::Relaxed)),
        }
    }

    /// A new random id whose first 48 bits are `at` in milliseconds (UUID version 7): new rows land
    /// at the end of an index instead of all over it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that makes ids"
    )]
    pub fn new_id(&self, at: Micros) -> Uuid {
        let random = Uuid::new_v4();
        let mut counter = [0_u8; 10];
        counter.copy_from_slice(&random.as_bytes()[..10]);
        uuid::Builder::from_unix_timestamp_millis((at.0.max(0) / 1_000) as u64, &counter)
            .into_uuid()
    }
}
