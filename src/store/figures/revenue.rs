//! Whom a purchase's revenue is credited to: by day, model, delivery, link, campaign and currency.
//!
//! | model | the revenue goes to |
//! |---|---|
//! | `session` | the delivery whose session the purchase was in, as in reports of deliveries |
//! | `first_touch` | the first touch within the window |
//! | `last_touch` | the last one |
//! | `linear` | all of them, in equal parts; the order itself is counted with the last |
//!
//! A purchase without a touch goes to none, so each model adds up to the whole revenue. What a
//! model gives is exact to 1/10,000, and what is taken back is what was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::books::{Sales, split, sum_is_added};
use super::sites::Nameless;
use super::{Booking, Place};
use crate::model::clock::Micros;
use crate::model::hit::Sum;
use crate::store::touches::Touch;
use crate::store::{Bulk, Tx, Writes};

/// How revenue is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RevenueModel)]
pub enum Model {
    /// The session's delivery.
    Session,
    /// The first touch.
    FirstTouch,
    /// The last touch.
    LastTouch,
    /// All touches alike.
    Linear,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Session,
        Self::FirstTouch,
        Self::LastTouch,
        Self::Linear,
    ];

    /// The word in the table and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::FirstTouch => "first_touch",
            Self::LastTouch => "last_touch",
            Self::Linear => "linear",
        }
    }

    /// Who is credited for part of a purchase.
    fn credited(self, place: &Place, touches: &[Touch]) -> Vec<Touch> {
        let one = |touch: Option<&Touch>| vec![touch.cloned().unwrap_or_else(nobody)];
        match self {
            Self::Session => {
                let of_delivery = |touch: &&Touch| touch.0 == place.delivery;
                let campaign = touches.iter().rev().find(of_delivery);
                let campaign = campaign.map_or_else(String::new, |touch| touch.2.clone());
                vec![Touch(place.delivery, place.link, campaign)]
            }
            Self::FirstTouch => one(touches.first()),
            Self::LastTouch => one(touches.last()),
            Self::Linear if touches.is_empty() => one(None),
            Self::Linear => touches.to_vec(),
        }
    }
}

fn nobody() -> Touch {
    Touch(0, 0, String::new())
}

/// Part `number` of `count` of a whole: together they are the whole, and parts of the negative are
/// the negative parts.
fn part(whole: i128, number: usize, count: usize) -> i128 {
    let upto = |number: usize| whole * number as i128 / count as i128;
    upto(number + 1) - upto(number)
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CreditKey {
    /// Start of the UTC day.
    day: Micros,
    model: Model,
    site: String,
    touch: Touch,
    currency: String,
}

/// What a batch of hits credits.
#[derive(Debug, Default)]
pub(super) struct Credits {
    of: BTreeMap<CreditKey, Sales>,
}

impl Credits {
    /// Credits what a purchase earns, or takes back what was credited before.
    pub(super) fn book(&mut self, booking: &Booking) {
        let Booking {
            place,
            sales,
            touches,
        } = booking;
        if !place.is_proved || *sales == Sales::default() {
            return;
        }
        for model in Model::ALL {
            let credited = model.credited(place, touches);
            let count = credited.len();
            for (number, touch) in credited.into_iter().enumerate() {
                let key = CreditKey {
                    day: place.at.day(),
                    model,
                    site: place.site.clone(),
                    touch,
                    currency: place.currency.clone(),
                };
                // Parts of 64 bits have 64 bits.
                let of = |whole: i64| part(i128::from(whole), number, count) as i64;
                *self.of.entry(key).or_default() += Sales {
                    transactions: of(sales.transactions),
                    revenue: Sum(part(sales.revenue.0, number, count)),
                    quantity: of(sales.quantity),
                };
            }
        }
    }

    /// Takes another batch's.
    pub(super) fn merge(&mut self, more: Self) {
        for (key, sales) in more.of {
            *self.of.entry(key).or_default() += sales;
        }
    }

    /// Adds the credits to the table's.
    pub(super) async fn save(
        self,
        tx: &mut Tx,
        nameless: &Nameless,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let mut of: BTreeMap<CreditKey, Sales> = BTreeMap::new();
        for (mut key, sales) in self.of {
            key.site = nameless.name(key.site);
            *of.entry(key).or_default() += sales;
        }
        let (keys, sales) = (|| of.keys(), || of.values());
        let rows = Bulk::new()
            .time("day", keys().map(|key| key.day))
            .text("model", keys().map(|key| key.model.as_str().to_owned()))
            .text("site", keys().map(|key| key.site.clone()))
            .big("delivery_id", keys().map(|key| key.touch.0))
            .big("link_id", keys().map(|key| key.touch.1))
            .text("campaign", keys().map(|key| key.touch.2.clone()))
            .text("currency", keys().map(|key| key.currency.clone()))
            .big("transactions", sales().map(|sales| sales.transactions))
            .money("revenue", sales().map(|sales| split(sales.revenue).0))
            .big("revenue_carry", sales().map(|sales| split(sales.revenue).1))
            .big("quantity", sales().map(|sales| sales.quantity));
        let sql = format!(
            "insert into revenue_figures (day, model, site, delivery_id, link_id, campaign,
             currency, transactions, revenue, revenue_carry, quantity)
             select day, model, site, delivery_id, link_id, campaign, currency, transactions,
             revenue, revenue_carry, quantity
             from {{rows}} where true
             on conflict (day, model, site, delivery_id, link_id, campaign, currency) do update set
                 transactions = revenue_figures.transactions + excluded.transactions,
                 quantity = revenue_figures.quantity + excluded.quantity, {}",
            sum_is_added(tx, "revenue_figures", "revenue", "revenue_carry")
        );
        writes.add(tx, rows, sql).await
    }
}

/// The touches of a purchase, shared by everything booked for it.
pub type Touches = Arc<[Touch]>;

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn parts_are_the_whole_and_go_back_to_nothing(whole in proptest::num::i64::ANY, count in 1_usize..60) {
            let parts = |whole| (0..count).map(move |number| part(whole, number, count));
            let whole = i128::from(whole);
            proptest::prop_assert_eq!(parts(whole).sum::<i128>(), whole);
            for (one, back) in parts(whole).zip(parts(-whole)) {
                proptest::prop_assert_eq!(one, -back);
                proptest::prop_assert!((one - whole / count as i128).abs() <= 1);
            }
        }
    }
}
