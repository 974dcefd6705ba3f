//! Reports: the results of a delivery.
//!
//! The indicators and their formulas are those of `tests/cases/adobe/PROTOCOL.md`, "Indicators".
//! They are made of figures that are kept as the hits come, by link, kind, verdict, reason and
//! currency, so a report reads hundreds of rows, however many hits there are. The text-only
//! messages are counted when they are asked for, through an index.
//!
//! Revenue is what something proves (see [`crate::model::hit::Proof`]), each order once; what
//! anybody can say stands apart, in `unproved`.
//!
//! Hits of machines (prefetch, bot, scanner) are in no indicator; they are told by themselves, and
//! all hits by verdict and reason.

mod read;
mod summary;
mod view;

use std::collections::BTreeMap;

pub use read::read_hours;
pub use summary::{Summary, read_first_hours, read_summaries};
pub use view::ReportView;

use crate::from_row;
use crate::model::hit::{Kind, LinkId, Sum};
use crate::store::deliveries::Delivery;

/// What is told of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What the delivery is.
    pub delivery: Delivery,
    /// Messages that cannot report an open.
    pub text_only: i64,
    /// Hits by kind, all hours and links together.
    pub kinds: BTreeMap<Kind, Count>,
    /// Hits by verdict and its reason; an empty reason is none.
    pub verdicts: BTreeMap<(String, String), i64>,
    /// Messages with any activity.
    pub distinct_opens: i64,
    /// Visitors that clicked; forwarded mails add some.
    pub clicking_persons: i64,
    /// Its links by id, also those that nobody followed, and other links that were followed from
    /// it.
    pub links: Vec<LinkRow>,
    /// Orders whose delivery is proved, one entry per currency (`None`: none given), in
    /// alphabetical order.
    pub sales: BTreeMap<Option<String>, Sales>,
    /// The others.
    pub unproved: BTreeMap<Option<String>, Sales>,
}

/// Hits of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By people.
    pub hits: i64,
    /// Messages with at least one of them.
    pub broadlogs: i64,
    /// By machines.
    pub machine_hits: i64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.broadlogs += other.broadlogs;
        self.machine_hits += other.machine_hits;
    }
}

/// A link and how often it was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// Its id.
    pub id: LinkId,
    /// Its template; `None` if the link is gone.
    pub url: Option<String>,
    /// Its name.
    pub label: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Hits through it. `broadlogs` are the messages whose first click it was: over all links they
    /// add up to the recipients who clicked.
    pub count: Count,
    /// Visitors that followed it.
    pub clicking_persons: i64,
    /// Orders that it led to and whose delivery is proved, by currency.
    pub sales: BTreeMap<Option<String>, Sales>,
}

from_row!(LinkRow, row => { id, url, label, category } {
    count: Count::default(),
    clicking_persons: 0,
    sales: BTreeMap::new(),
});

impl LinkRow {
    /// One that is gone.
    fn gone(id: LinkId) -> Self {
        Self {
            id,
            url: None,
            label: None,
            category: None,
            count: Count::default(),
            clicking_persons: 0,
            sales: BTreeMap::new(),
        }
    }
}

/// Orders in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    /// How many.
    pub transactions: i64,
    /// Exact, refunds taken off.
    pub amount: Sum,
    /// Items bought.
    pub items: i64,
}

impl Sales {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Amount of an average transaction, rounded half away from zero to the fourth place.
    pub fn amount_per_transaction(&self) -> Option<Sum> {
        average(self.amount, self.transactions)
    }

    /// Items of an average transaction.
    pub fn items_per_transaction(&self) -> Option<f64> {
        ratio(self.items, self.transactions)
    }
}

/// One hour of a delivery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HourRow {
    /// Hits by kind.
    pub kinds: BTreeMap<Kind, Count>,
    /// Messages whose first activity fell into this hour.
    pub new_broadlogs: i64,
    /// Orders whose delivery is proved, by currency.
    pub sales: BTreeMap<Option<String>, Sales>,
    /// The others.
    pub unproved: BTreeMap<Option<String>, Sales>,
}

impl Report {
    /// A delivery without any activity.
    fn empty(delivery: Delivery) -> Self {
        Self {
            delivery,
            text_only: 0,
            kinds: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            distinct_opens: 0,
            clicking_persons: 0,
            links: Vec::new(),
            sales: BTreeMap::new(),
            unproved: BTreeMap::new(),
        }
    }

    /// Hits of a kind.
    pub fn of(&self, kind: Kind) -> Count {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// Recipients who opened, with those who opened unseen because their message was text only:
    /// distinct opens × to deliver ÷ (to deliver − text-only). None where every message was text
    /// only.
    pub fn estimated_distinct_opens(&self) -> Option<i64> {
        let (all, text) = (
            i128::from(self.delivery.messages),
            i128::from(self.text_only),
        );
        let opens = i128::from(self.distinct_opens);
        match all - text {
            // Hits may come before the messages are counted, or from messages made elsewhere.
            _ if text == 0 => Some(self.distinct_opens),
            seen if seen > 0 => i64::try_from((opens * all + seen / 2) / seen).ok(),
            _ => None,
        }
    }

    /// Recipients who clicked.
    pub fn recipients_who_clicked(&self) -> i64 {
        self.of(Kind::Click).broadlogs
    }

    /// Clicking persons − recipients who clicked.
    pub fn estimated_forwards(&self) -> i64 {
        (self.clicking_persons - self.recipients_who_clicked()).max(0)
    }

    /// Recipients who clicked ÷ distinct opens.
    pub fn raw_reactivity(&self) -> Option<f64> {
        ratio(self.recipients_who_clicked(), self.distinct_opens)
    }

    /// Recipients who clicked ÷ estimated distinct opens.
    pub fn estimated_reactivity(&self) -> Option<f64> {
        ratio(
            self.recipients_who_clicked(),
            self.estimated_distinct_opens()?,
        )
    }

    /// Orders whose delivery is proved, each once.
    pub fn transactions(&self) -> i64 {
        self.sales.values().map(|sales| sales.transactions).sum()
    }

    /// Pages and purchases, each as often as it was shown.
    pub fn visited_pages(&self) -> i64 {
        self.of(Kind::Pageview).hits + self.of(Kind::Transaction).hits
    }

    /// An amount for each message that was to be delivered.
    pub fn amount_per_message(&self, sales: &Sales) -> Option<Sum> {
        average(sales.amount, self.delivery.messages)
    }
}

/// To four places; `None` if the divisor is zero.
fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0)
}

fn average(Sum(amount): Sum, count: i64) -> Option<Sum> {
    let count = i128::from(count);
    (count > 0).then(|| Sum((amount * 2 + amount.signum() * count) / (count * 2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{DeliveryId, Utm};

    fn report(messages: i64, text_only: i64, distinct_opens: i64, clicked: i64) -> Report {
        let delivery = Delivery {
            id: DeliveryId(7),
            label: String::new(),
            channel: String::new(),
            sent_at: None,
            expires_at: None,
            expiration_url: None,
            utm: Utm::default(),
            origin: None,
            messages,
            created_at: Micros(0),
        };
        Report {
            text_only,
            kinds: BTreeMap::from([(
                Kind::Click,
                Count {
                    hits: clicked * 2,
                    broadlogs: clicked,
                    machine_hits: 7,
                },
            )]),
            distinct_opens,
            clicking_persons: clicked + 3,
            ..Report::empty(delivery)
        }
    }

    #[test]
    fn indicators_follow_their_formulas() {
        let report = report(1_000, 200, 400, 100);
        assert_eq!(report.estimated_distinct_opens(), Some(500));
        assert_eq!(report.raw_reactivity(), Some(0.25));
        assert_eq!(report.estimated_reactivity(), Some(0.2));
        assert_eq!(report.estimated_forwards(), 3);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let nothing = report(0, 0, 0, 0);
        assert_eq!(nothing.raw_reactivity(), None);
        assert_eq!(nothing.estimated_distinct_opens(), Some(0));
        assert_eq!(nothing.amount_per_message(&Sales::default()), None);
        assert_eq!(report(10, 10, 5, 5).estimated_reactivity(), None);
    }

    #[test]
    fn averages_of_money_are_rounded_half_away_from_zero() {
        let of = |amount: i128, transactions| {
            Sales {
                amount: Sum(amount),
                transactions,
                items: 0,
            }
            .amount_per_transaction()
            .map(|amount| amount.0)
        };
        assert_eq!(of(10, 3), Some(3));
        assert_eq!(of(5, 2), Some(3));
        assert_eq!(of(-5, 2), Some(-3));
        let beyond = i128::from(i64::MAX) * 4;
        assert_eq!(of(beyond, 1), Some(beyond));
        assert_eq!(of(5, 0), None);
    }
}
