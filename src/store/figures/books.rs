//! Orders, their money and items, and how exact sums stand in the database.

use std::ops::AddAssign;

use crate::from_row;
use crate::model::hit::{Money, Sum};
use crate::store::{Bulk, Tx};

/// Orders, their money and items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    /// Orders, each once.
    pub transactions: i64,
    /// Amounts.
    pub revenue: Sum,
    /// Items.
    pub quantity: i64,
}

impl AddAssign for Sales {
    fn add_assign(&mut self, more: Self) {
        self.transactions += more.transactions;
        self.revenue += more.revenue;
        self.quantity = self.quantity.saturating_add(more.quantity);
    }
}

/// What counts, and what is reported apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) proved: Sales,
    pub(super) apart: Sales,
}

from_row!(Books, row => {} {
    proved: Sales {
        transactions: row.try_get("transactions")?,
        revenue: joined(row.try_get("revenue")?, row.try_get("revenue_carry")?),
        quantity: row.try_get("quantity")?,
    },
    apart: Sales {
        transactions: row.try_get("unproved_transactions")?,
        revenue: joined(row.try_get("unproved_revenue")?, row.try_get("unproved_carry")?),
        quantity: row.try_get("unproved_quantity")?,
    },
});

/// The columns of books, in the order of [`Books::add_columns`].
macro_rules! book_columns {
    () => {
        "transactions, revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, \
        unproved_carry, unproved_quantity"
    };
}
pub(super) use book_columns;

impl Books {
    pub(super) fn of(&mut self, is_proved: bool) -> &mut Sales {
        if is_proved {
            &mut self.proved
        } else {
            &mut self.apart
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the columns of books to rows.
    pub(super) fn add_columns(bulk: Bulk, books: impl Iterator<Item = Self> + Clone) -> Bulk {
        let proved = || books.clone().map(|books| books.proved);
        let apart = || books.clone().map(|books| books.apart);
        bulk.big("transactions", proved().map(|sales| sales.transactions))
            .money("revenue", proved().map(|sales| split(sales.revenue).0))
            .big(
                "revenue_carry",
                proved().map(|sales| split(sales.revenue).1),
            )
            .big("quantity", proved().map(|sales| sales.quantity))
            .big(
                "unproved_transactions",
                apart().map(|sales| sales.transactions),
            )
            .money(
                "unproved_revenue",
                apart().map(|sales| split(sales.revenue).0),
            )
            .big(
                "unproved_carry",
                apart().map(|sales| split(sales.revenue).1),
            )
            .big("unproved_quantity", apart().map(|sales| sales.quantity))
    }
}

impl AddAssign for Books {
    fn add_assign(&mut self, more: Self) {
        self.proved += more.proved;
        self.apart += more.apart;
    }
}

/// In 1/10,000: what a sum's carry counts.
const CARRY: i128 = 1_000_000_000_000_000_000;

/// A sum as the database has it: the remainder, and how often [`CARRY`] is in it.
pub(super) fn split(sum: Sum) -> (Money, i64) {
    // The carry is beyond no sum of amounts that there can be.
    (Money((sum.0 % CARRY) as i64), (sum.0 / CARRY) as i64)
}

/// The sum from a remainder and a carry.
pub fn joined(rest: Money, carry: i64) -> Sum {
    Sum(i128::from(rest.0) + i128::from(carry) * CARRY)
}

/// The assignments of an `on conflict … do update` that add what comes to a table's sum: the rest
/// stays below [`CARRY`], and what is above it goes into the carry. Both databases divide towards
/// zero here.
pub(super) fn sum_is_added(tx: &Tx, table: &str, rest: &str, carry: &str) -> String {
    let sum = format!("({table}.{rest} + excluded.{rest})");
    // Amounts are numbers with four places on Postgres, and 1/10,000 on SQLite.
    let (rest_of, carry_of) = match tx {
        Tx::Postgres(_) => (
            format!("{sum} % 100000000000000"),
            format!("cast(div({sum}, 100000000000000) as bigint)"),
        ),
        Tx::Sqlite(_) => (format!("{sum} % {CARRY}"), format!("{sum} / {CARRY}")),
    };
    format!("{rest} = {rest_of}, {carry} = {table}.{carry} + excluded.{carry} + {carry_of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_sum_comes_back_from_its_rest_and_its_carry(sum in -(1_i128 << 120)..(1_i128 << 120)) {
            // What 64 bits of carry hold.
            let sum = Sum(sum.clamp(-CARRY * i128::from(i64::MAX), CARRY * i128::from(i64::MAX)));
            let (rest, carry) = split(sum);
            proptest::prop_assert_eq!(joined(rest, carry), sum);
        }
    }

    #[test]
    fn a_stored_sum_of_an_earlier_version_is_read_as_it_is() {
        assert_eq!(joined(Money(i64::MAX), 0), Sum(i128::from(i64::MAX)));
    }
}
