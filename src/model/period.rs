//! A stretch of time as people ask for it: from a day to a day, in days of their own time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};
use serde::Deserialize;
use utoipa::ToSchema;

use super::clock::Micros;

/// The granularity of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// A quarter of an hour: the finest there is.
    Quarter,
    /// An hour of the local clock.
    Hour,
    /// A local day.
    Day,
    /// A local week, from Monday on.
    Week,
    /// A local month.
    Month,
}

/// A time zone by its name in the IANA database: `Europe/Paris`.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone of a name; `None` if it does not exist.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "UTC" => Some(Self::default()),
            _ => TimeZone::get(name).ok().map(Self),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Reads a time: RFC 3339, or a date, which is the start of that day here.
    pub fn read(&self, text: &str) -> Option<Micros> {
        match Micros::parse_rfc3339(text) {
            Ok(at) => Some(at),
            Err(_) => self.start_of(text.parse().ok()?),
        }
    }

    fn start_of(&self, day: Date) -> Option<Micros> {
        let start = day.to_zoned_datetime(self.0.clone()).ok()?;
        Some(Micros(start.timestamp().as_microsecond()))
    }

    fn date(&self, at: Micros) -> Option<Date> {
        let at = Timestamp::from_microsecond(at.0).ok()?;
        Some(self.0.to_datetime(at).date())
    }

    /// The end of the part that contains a time.
    fn end(&self, grain: Grain, at: Micros) -> Option<Micros> {
        let clock = |length: i64| {
            let moment = Timestamp::from_microsecond(at.0).ok()?;
            let offset = i64::from(self.0.to_offset(moment).seconds()) * Micros::SECOND;
            let passed = (at.0 + offset).rem_euclid(length);
            Some(Micros(at.0 - passed + length))
        };
        let day = |first: Date, length: Span| self.start_of(first.checked_add(length).ok()?);
        let date = self.date(at)?;
        match grain {
            Grain::Quarter => clock(Micros::HOUR / 4),
            Grain::Hour => clock(Micros::HOUR),
            Grain::Day => day(date, 1.day()),
            Grain::Week => {
                let left = 7 - date.weekday().to_monday_zero_offset();
                day(date, i64::from(left).days())
            }
            Grain::Month => day(date.first_of_month(), 1.month()),
        }
    }
}

/// A range of time, its end excluded.
#[derive(Clone, Debug)]
pub struct Period {
    /// Its start.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// Whose days are meant.
    pub zone: Zone,
}

/// Part of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its start.
    pub from: Micros,
    /// Its end, excluded.
    pub to: Micros,
}

impl Period {
    /// The parts of the period, oldest first; the first and the last are cut to it. `None` if there
    /// are more than `most`.
    pub fn parts(&self, grain: Grain, most: usize) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut from = self.from;
        while from < self.to {
            if parts.len() == most {
                return None;
            }
            // Beyond the calendar's years there is nothing.
            let to = self.zone.end(grain, from).unwrap_or(self.to).min(self.to);
            parts.push(Part { from, to });
            from = to;
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(from: &str, to: &str, zone: &str) -> Period {
        let zone = Zone::parse(zone).unwrap();
        Period {
            from: zone.read(from).unwrap(),
            to: zone.read(to).unwrap(),
            zone,
        }
    }

    fn starts(period: &Period, grain: Grain) -> Vec<String> {
        let parts = period.parts(grain, 1_000).unwrap();
        assert_eq!(parts.last().unwrap().to, period.to);
        parts.iter().map(|part| part.from.rfc3339()).collect()
    }

    #[test]
    fn days_are_those_of_the_zone_also_where_the_clock_is_changed() {
        let of = period("2026-10-24", "2026-10-27", "Europe/Paris");
        let expected = [
            "2026-10-23T22:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        ];
        assert_eq!(starts(&of, Grain::Day), expected);
        assert_eq!(of.parts(Grain::Hour, 1_000).unwrap().len(), 73);
        let half = period("2026-11-01", "2026-11-03", "Asia/Kathmandu");
        assert_eq!(
            starts(&half, Grain::Day),
            ["2026-10-31T18:15:00Z", "2026-11-01T18:15:00Z"]
        );
        // Midnight is left out there on that day.
        let gap = period("2025-09-06", "2025-09-09", "America/Santiago");
        assert_eq!(gap.parts(Grain::Day, 9).unwrap().len(), 3);
    }

    #[test]
    fn the_first_and_the_last_part_are_cut() {
        let of = period("2026-11-04T12:10:00Z", "2026-12-02", "UTC");
        assert_eq!(
            starts(&of, Grain::Week),
            [
                "2026-11-04T12:10:00Z",
                "2026-11-09T00:00:00Z",
                "2026-11-16T00:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z"
            ]
        );
        assert_eq!(
            starts(&of, Grain::Month),
            ["2026-11-04T12:10:00Z", "2026-12-01T00:00:00Z"]
        );
    }

    #[test]
    fn a_zone_that_is_none_is_refused() {
        for name in ["", "Europe/Nowhere", "../etc/passwd", "europe", "é"] {
            assert!(Zone::parse(name).is_none(), "{name}");
        }
        assert_eq!(Zone::parse("europe/paris").unwrap().name(), "Europe/Paris");
    }

    proptest::proptest! {
        #[test]
        fn parts_follow_one_another_without_gaps(from in -3_000_000_000_000_000..4_000_000_000_000_000_i64,
                                                 length in 1..2_000_000_000_000_i64, number in 0_usize..5,
                                                 zone in 0_usize..4) {
            let zones = ["UTC", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"];
            let zone = Zone::parse(zones[zone]).unwrap();
            let grains = [Grain::Quarter, Grain::Hour, Grain::Day, Grain::Week, Grain::Month];
            let period = Period { from: Micros(from), to: Micros(from + length), zone };
            let parts = period.parts(grains[number], 10_000).unwrap();
            proptest::prop_assert_eq!(parts[0].from, period.from);
            proptest::prop_assert_eq!(parts[parts.len() - 1].to, period.to);
            for pair in parts.windows(2) {
                proptest::prop_assert_eq!(pair[0].to, pair[1].from);
            }
            proptest::prop_assert!(parts.iter().all(|part| part.from < part.to));
        }
    }
}
