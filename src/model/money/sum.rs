//! Sums of amounts: exact, however many there are.

use std::fmt;
use std::ops::{Add, AddAssign, Neg};

use super::Money;

/// A sum in 1/10,000 of the currency's unit. Twenty hits can hold more than 64 bits; 128 bits hold
/// the greatest amount 10^20 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum(pub i128);

impl From<Money> for Sum {
    fn from(amount: Money) -> Self {
        Self(i128::from(amount.0))
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Neg for Sum {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl fmt::Display for Sum {
    /// As [`Money`]: no trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = Money::SCALE as u128;
        let amount = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, places) = (amount / scale, amount % scale);
        match places {
            0 => write!(f, "{sign}{whole}"),
            _ => {
                let places = format!("{places:04}");
                write!(f, "{sign}{whole}.{}", places.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_beyond_64_bits_is_written_whole() {
        let most = Sum::from(Money(Money::MAX));
        let sum = (0..30).fold(Sum::default(), |sum, _| sum + most);
        assert_eq!(sum.to_string(), "2999999999999999.997");
        assert_eq!((-sum).to_string(), "-2999999999999999.997");
    }

    proptest::proptest! {
        #[test]
        fn a_sum_of_one_amount_is_written_as_the_amount(amount in -Money::MAX..=Money::MAX) {
            proptest::prop_assert_eq!(Sum::from(Money(amount)).to_string(), Money(amount).to_string());
        }
    }
}
