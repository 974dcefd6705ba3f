//! Curves, as SVG without any text in it: it may be drawn as wide as the page is. What it shows
//! stands in a table below, for people who print or listen.

use super::show::{At, Num};
use crate::model::clock::Micros;

/// Most points of a curve.
const MOST_POINTS: i64 = 200;
/// The drawing's size; the page stretches it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

/// Curves over the same time.
pub(super) struct Chart {
    /// Names, and points of `polyline`.
    pub(super) curves: Vec<Curve>,
    /// The greatest value.
    pub(super) most: Num,
    /// Times at the axis, from left to right.
    pub(super) ticks: Vec<At>,
    /// The same as rows of a table.
    pub(super) rows: Vec<Row>,
    /// How long a step is: `hour`.
    pub(super) step: String,
}

/// One of them.
pub(super) struct Curve {
    pub(super) name: &'static str,
    /// `s1`, which the style sheet gives a colour.
    pub(super) class: String,
    pub(super) points: String,
    pub(super) total: Num,
}

/// A step of all curves.
pub(super) struct Row {
    pub(super) at: At,
    pub(super) values: Vec<Num>,
}

/// Steps from the finest on.
const STEPS: [i64; 6] = [1, 3, 6, 24, 24 * 7, 24 * 28];

impl Chart {
    /// Curves of values at times, each added to the step that it falls into, of at least `finest`
    /// hours; `None` if there are no values.
    pub(super) fn new(
        names: &[&'static str],
        values: &[(Micros, Vec<i64>)],
        finest: i64,
    ) -> Option<Self> {
        let first = values.iter().map(|(at, _)| *at).min()?;
        let last = values.iter().map(|(at, _)| *at).max()?;
        let span = last.0 - first.0;
        let fits = |hours: &i64| *hours >= finest && span / (hours * Micros::HOUR) < MOST_POINTS;
        let hours = STEPS.into_iter().find(fits).unwrap_or(STEPS[5]);
        let step = hours * Micros::HOUR;
        let start = match hours {
            24.. => first.day(),
            _ => first.hour(),
        };
        let count = ((last.0 - start.0) / step).min(MOST_POINTS * 2) as usize + 1;
        let mut rows = vec![vec![0_i64; names.len()]; count];
        for (at, of) in values {
            let index = ((at.0 - start.0) / step) as usize;
            if let Some(row) = rows.get_mut(index.min(count - 1)) {
                for (sum, value) in row.iter_mut().zip(of) {
                    *sum += value;
                }
            }
        }
        let most = rows.iter().flatten().copied().max().unwrap_or(0).max(1);
        let at = |index: usize| Micros(start.0 + index as i64 * step);
        let curves = names.iter().enumerate().map(|(column, name)| {
            let values = || rows.iter().filter_map(|row| row.get(column)).copied();
            Curve {
                name,
                class: format!("s{}", column + 1),
                points: points(&values().collect::<Vec<_>>(), most),
                total: Num(values().sum()),
            }
        });
        let curves = curves.collect();
        let ticks = [0, count / 2, count - 1];
        let mut ticks: Vec<At> = ticks.into_iter().map(|index| At(at(index))).collect();
        ticks.dedup();
        Some(Self {
            curves,
            most: Num(most),
            ticks,
            step: match hours {
                1 => "hour".to_owned(),
                24 => "day".to_owned(),
                168.. => format!("{} weeks", hours / 168),
                _ => format!("{hours} hours"),
            },
            rows: rows
                .into_iter()
                .enumerate()
                .filter(|(_, values)| values.iter().any(|value| *value != 0))
                .map(|(index, values)| Row {
                    at: At(at(index)),
                    values: values.into_iter().map(Num).collect(),
                })
                .collect(),
        })
    }
}

/// Points of a polyline from left to right.
pub(super) fn points(values: &[i64], most: i64) -> String {
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut out = String::with_capacity(values.len() * 12);
    let height = |value: i64| HEIGHT - value.max(0) as f64 / most as f64 * (HEIGHT - 4.0) - 2.0;
    if let [only] = values {
        return format!("0,{0:.1} {WIDTH},{0:.1}", height(*only));
    }
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out += &format!("{:.1},{:.1}", index as f64 / last * WIDTH, height(*value));
    }
    out
}

/// A small curve of a list's row.
pub(super) fn spark(values: &[i64]) -> String {
    points(values, values.iter().copied().max().unwrap_or(0).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_no_more_points_than_a_page_shows_and_loses_no_value() {
        for hours in [1, 2, 199, 200, 5_000, 200_000] {
            let values: Vec<_> = (0..hours)
                .step_by((hours as usize / 500).max(1))
                .map(|hour| (Micros(hour * Micros::HOUR), vec![1, 2]))
                .collect();
            let chart = Chart::new(&["a", "b"], &values, 1).unwrap();
            let told: i64 = chart.rows.iter().map(|row| row.values[0].0).sum();
            assert_eq!(told, values.len() as i64, "{hours}");
            assert_eq!(chart.curves[1].total, Num(2 * told));
            let points = chart.curves[0].points.split(' ').count();
            assert!((2..=401).contains(&points), "{hours}: {points}");
        }
        assert!(Chart::new(&["a"], &[], 1).is_none());
    }

    #[test]
    fn the_greatest_value_is_at_the_top() {
        assert_eq!(points(&[0, 5, 10], 10), "0.0,98.0 300.0,50.0 600.0,2.0");
        assert_eq!(spark(&[0, 0]), "0.0,98.0 600.0,98.0");
    }
}
