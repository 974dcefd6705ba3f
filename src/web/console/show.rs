//! Numbers, times and addresses as people read them.

use std::collections::BTreeMap;
use std::fmt;

use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::model::clock::Micros;
use crate::model::hit::Sum;

/// Between groups of digits.
const THIN: char = '\u{202f}';

/// A number: `12 345`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Num(pub(super) i64);

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("−")?;
        }
        f.write_str(&grouped(&self.0.unsigned_abs().to_string()))
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

/// An amount: `1 234.50`, and a currency behind it if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount(pub(super) Sum, pub(super) Option<String>);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let (sign, text) = match text.strip_prefix('-') {
            Some(text) => ("−", text),
            None => ("", text.as_str()),
        };
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        write!(f, "{sign}{}.{places:0<2}", grouped(whole))?;
        match &self.1 {
            Some(currency) => write!(f, "\u{a0}{currency}"),
            None => Ok(()),
        }
    }
}

/// A part of a whole: `12.3 %`; a dash where there is no whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share(pub(super) Option<f64>);

impl Share {
    pub(super) fn of(part: i64, whole: i64) -> Self {
        Self((whole > 0).then(|| part as f64 / whole as f64))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(share) => write!(f, "{:.1}{THIN}%", share * 100.0),
            None => f.write_str("–"),
        }
    }
}

/// A time, UTC; the script turns it into the reader's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(pub(super) Micros);

impl HtmlSafe for At {}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\">{}</time>",
            self.0.rfc3339(),
            self.text()
        )
    }
}

impl At {
    /// `27 Nov 2026, 17:08 UTC`
    fn text(self) -> String {
        let at = self.0.date_time();
        let month = at.month().to_string();
        format!(
            "{} {} {}, {:02}:{:02} UTC",
            at.day(),
            &month[..3],
            at.year(),
            at.hour(),
            at.minute()
        )
    }
}

/// What a contact is called: the first of its fields that identify, else its name.
pub(super) fn name_of<'f>(
    fields: impl IntoIterator<Item = (&'f String, &'f Value)>,
    unique: &[String],
) -> Option<String> {
    let texts = fields.into_iter().filter_map(|(name, value)| {
        let text = value.as_str()?.trim();
        (!text.is_empty()).then_some((name.as_str(), text))
    });
    let texts: BTreeMap<&str, &str> = texts.collect();
    let mut found = unique.iter().filter_map(|name| texts.get(name.as_str()));
    let names = ["firstname", "lastname"].map(|name| texts.get(name).copied());
    let full: Vec<&str> = names.into_iter().flatten().collect();
    let full = (!full.is_empty()).then(|| full.join(" "));
    found.next().map(|text| (*text).to_owned()).or(full)
}

/// The drawing of an icon of `tests/cases/mautic/PROTOCOL.md`, "UTM timeline". A brand's own is its
/// owner's: it gets the one of social media.
pub(super) fn icon(name: &str) -> &'static str {
    match name {
        "envelope" => "M3 6h18v12H3zM3 7l9 7 9-7",
        "bullseye" => "M12 3a9 9 0 1 0 .1 0M12 8a4 4 0 1 0 .1 0",
        "money" => "M3 7h18v10H3zM12 9a3 3 0 1 0 .1 0",
        "map-marker" => "M12 21q-7-8-7-12a7 7 0 0 1 14 0q0 4-7 12M12 7a2 2 0 1 0 .1 0",
        "tablet" => "M6 3h12v18H6zM11 18h2",
        "tag" => "M4 4h8l9 9-8 8-9-9zM8 7.5a.5.5 0 1 0 .1 0",
        _ => {
            "M7 9.5a2.5 2.5 0 1 0 .1 0M17 3.500a2.5 2.5 0 1 0 .1 0M17 15.500a2.5 2.5 0 1 0 .1 0M9 11l6-4M9 13l6 4"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_amounts_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (-1_234_567, "−1\u{202f}234\u{202f}567"),
            (
                i64::MIN,
                "−9\u{202f}223\u{202f}372\u{202f}036\u{202f}854\u{202f}775\u{202f}808",
            ),
        ] {
            assert_eq!(Num(number).to_string(), text);
        }
        let amount =
            |sum, currency: Option<&str>| Amount(Sum(sum), currency.map(str::to_owned)).to_string();
        assert_eq!(amount(12_345_000, Some("EUR")), "1\u{202f}234.50\u{a0}EUR");
        assert_eq!(amount(-49_9001, None), "−49.9001");
        assert_eq!(Share::of(1, 8).to_string(), "12.5\u{202f}%");
        assert_eq!(Share::of(1, 0).to_string(), "–");
    }
}
