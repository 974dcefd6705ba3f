//! Exact money: no float anywhere between the wire and the sum.

mod amount;
mod sum;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use amount::{Amount, read as read_amount, read_whole};
pub use sum::Sum;

/// An amount in 1/10,000 of the currency's unit: the four places of `numeric(18,4)`, in 64 bits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(pub i64);

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("is not a decimal number")]
    NotANumber,
    /// More than 14 digits before the point.
    #[error("has more than 14 digits before the decimal point")]
    TooLarge,
}

impl Money {
    /// The greatest amount of `numeric(18,4)`: 99,999,999,999,999.9999.
    pub const MAX: i64 = 999_999_999_999_999_999;
    /// Units of the smallest place in one.
    pub const SCALE: i64 = 10_000;
}

impl Money {
    /// The amount from its digits before and after the decimal point. Places after the fourth are
    /// rounded half away from zero.
    pub(super) fn of(is_negative: bool, whole: &str, places: &str) -> Result<Self, MoneyError> {
        let whole = whole.trim_start_matches('0');
        if whole.len() > 14 {
            return Err(MoneyError::TooLarge);
        }
        let mut amount = whole
            .bytes()
            .fold(0_i64, |sum, b| sum * 10 + i64::from(b - b'0'));
        for place in 0..4 {
            amount = amount * 10
                + places
                    .as_bytes()
                    .get(place)
                    .map_or(0, |b| i64::from(b - b'0'));
        }
        if places.as_bytes().get(4).is_some_and(|b| *b >= b'5') {
            amount += 1;
        }
        if amount > Self::MAX {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self(if is_negative { -amount } else { amount }))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads `-1234.5678` exactly, and what shops write (see `read_amount`); ignores a currency
    /// beside the amount.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        read_amount(text).map(|amount| amount.money)
    }
}

impl fmt::Display for Money {
    /// `49.9`, `-0.0001`, `12`: no trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = self.0.unsigned_abs();
        let (whole, places) = (amount / Self::SCALE as u64, amount % Self::SCALE as u64);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if places != 0 {
            let places = format!("{places:04}");
            write!(f, ".{}", places.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// An ISO 4217 code: three ASCII capitals. Unknown but well-formed codes are taken: the list
/// changes, a shop's code does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = <&str>::deserialize(deserializer)?;
        Self::parse(code).ok_or_else(|| serde::de::Error::custom("no currency"))
    }
}

impl Currency {
    /// Reads a code in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.trim().as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(code.map(|b| b.to_ascii_uppercase())))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let read = |text: &str| text.parse::<Money>().map(|m| m.to_string());
        assert_eq!(read("49.90"), Ok("49.9".to_owned()));
        assert_eq!(read("49,90"), Ok("49.9".to_owned()));
        assert_eq!(read("-.00005"), Ok("-0.0001".to_owned()));
        assert_eq!(
            read("99999999999999.9999"),
            Ok("99999999999999.9999".to_owned())
        );
        assert_eq!(read("99999999999999.99995"), Err(MoneyError::TooLarge));
        assert_eq!(
            read("1234567890123456789012345678901234567890"),
            Err(MoneyError::TooLarge)
        );
        for bad in ["", "-", ".", "1e5", "NaN", "1,234", "1.2.3", "0x10", "١"] {
            assert_eq!(read(bad), Err(MoneyError::NotANumber), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(amount in -Money::MAX..=Money::MAX) {
            assert_eq!(Money(amount).to_string().parse(), Ok(Money(amount)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Money>();
        }
    }
}
