//! Orders that count in the figures, so that each counts once, however often it is told: who said
//! it, how much, and where it was counted.

use std::collections::BTreeSet;

use sqlx::FromRow as _;
use uuid::Uuid;

use super::figures::{Place, Touches};
use super::retention::Aging;
use super::touches::Touch;
use super::{Bulk, Store, Tx, Writes};
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Money, VisitorId};
use crate::{both, fetch_bulk, from_row};

/// What a hit says about an order that was already known, or about none.
pub mod note {
    /// Nothing new.
    pub const REPEATED: &str = "order counted before";
    /// Another amount.
    pub const CHANGED: &str = "order changed";
    /// The same, now with proof of a delivery.
    pub const PROVED: &str = "order proved";
    /// A refund that is known.
    pub const REFUNDED: &str = "refund counted before";
    /// A refund of more than was paid.
    pub const TOO_MUCH: &str = "refund above the order";
    /// A refund of an order that is not known.
    pub const UNKNOWN: &str = "refund of an unknown order";

    /// All of them.
    pub const ALL: [&str; 6] = [REPEATED, CHANGED, PROVED, REFUNDED, TOO_MUCH, UNKNOWN];
}

/// An order of a shop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// The shop's number.
    pub order_id: String,
    /// Of the hit.
    pub site: String,
    /// Empty for none.
    pub currency: String,
}

/// Who reported an order. Only the same holder may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A trusted sender: nobody else counts beside it.
    Sender,
    /// A browser without any id. There is one for each order.
    Nobody,
    /// A browser.
    Visitor(VisitorId),
}

impl Holder {
    fn text(self) -> String {
        match self {
            Self::Sender => "sender".to_owned(),
            Self::Nobody => "nobody".to_owned(),
            Self::Visitor(id) => id.0.simple().to_string(),
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "sender" => Self::Sender,
            text => Uuid::try_parse(text).map_or(Self::Nobody, |id| Self::Visitor(VisitorId(id))),
        }
    }
}

/// What counts of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The browser that reported it first.
    pub visitor: Option<VisitorId>,
    /// Where it counts.
    pub place: Place,
    /// How much, refunds apart.
    pub revenue: Money,
    /// Items.
    pub quantity: i64,
    /// What the browser has refunded, not above 0.
    pub refunded: Money,
    /// The last of its refunds.
    pub last_refund: Money,
    /// When it was told first.
    pub counted_at: Micros,
    /// What led to it.
    pub touches: Touches,
}

/// Identifies an order as one holder reported it.
pub(crate) type HeldOrder = (OrderKey, Holder);

pub(super) fn keys<'k>(keys: impl Iterator<Item = &'k OrderKey> + Clone) -> Bulk {
    Bulk::new()
        .text("order_id", keys.clone().map(|key| key.order_id.clone()))
        .text("site", keys.clone().map(|key| key.site.clone()))
        .text("currency", keys.map(|key| key.currency.clone()))
}

fn held_keys<'k>(held: impl Iterator<Item = &'k HeldOrder> + Clone) -> Bulk {
    keys(held.clone().map(|(key, _)| key)).text("holder", held.map(|(_, holder)| holder.text()))
}

from_row!(OrderKey, row => { order_id, site, currency });

/// An order as one holder reported it.
struct ToldOrder {
    held: HeldOrder,
    order: Order,
}

from_row!(ToldOrder, row => {} {
    held: (OrderKey::from_row(row)?, Holder::parse(row.try_get("holder")?)),
    order: Order {
        visitor: Some(row.try_get("visitor_id")?)
            .filter(|id: &Uuid| !id.is_nil())
            .map(VisitorId),
        place: Place {
            delivery: row.try_get("delivery_id")?,
            broadlog: row.try_get("broadlog_id")?,
            link: row.try_get("link_id")?,
            site: row.try_get("site")?,
            at: row.try_get("hour")?,
            kind: Kind::Transaction,
            currency: row.try_get("money_currency")?,
            is_proved: row.try_get::<i64, _>("is_proved")? != 0,
        },
        revenue: row.try_get("revenue")?,
        quantity: row.try_get("quantity")?,
        refunded: row.try_get("refunded")?,
        last_refund: row.try_get("last_refund")?,
        counted_at: row.try_get("counted_at")?,
        touches: read_touches(row.try_get("touches")?)?,
    },
});

/// Orders that some rows name by their key, and what else is asked for of them.
macro_rules! select_orders {
    ($rest:literal) => {
        concat!(
            "select o.order_id, o.site, o.currency, o.holder, o.visitor_id, o.delivery_id,
             o.broadlog_id, o.link_id, o.hour, o.money_currency,
                    o.is_proved, o.revenue, o.quantity, o.refunded, o.last_refund, o.counted_at, o.touches
             from {rows} join orders o on o.order_id = rows.order_id and o.site = rows.site
             and o.currency = rows.currency ",
            $rest
        )
    };
}

pub(super) fn read_touches(text: &str) -> sqlx::Result<Touches> {
    let touches: Vec<Touch> =
        serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(touches.into())
}

impl Tx {
    /// Those of some orders that anyone has reported. Nearly all are reported once, so for most of
    /// them this is all that is queried.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn told_orders(
        &mut self,
        orders: &BTreeSet<OrderKey>,
    ) -> sqlx::Result<BTreeSet<OrderKey>> {
        let told = fetch_bulk!(
            self,
            keys(orders.iter()),
            "select rows.order_id, rows.site, rows.currency from {rows} where exists (select 1
             from orders o
                 where o.order_id = rows.order_id and o.site = rows.site
                 and o.currency = rows.currency)",
            row => OrderKey::from_row(row)?
        )?;
        Ok(BTreeSet::from_iter(told))
    }

    /// What is known of orders: for `exact` what these holders reported, for `whole` what anyone
    /// did. The second can be many, once: when a trusted sender reports an order, it replaces all
    /// others.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load_orders(
        &mut self,
        exact: &[HeldOrder],
        whole: &[OrderKey],
    ) -> sqlx::Result<Vec<(HeldOrder, Order)>> {
        let mut orders: Vec<ToldOrder> = fetch_bulk!(
            &mut *self,
            held_keys(exact.iter()),
            select_orders!("and o.holder = rows.holder"),
            row => ToldOrder::from_row(row)?
        )?;
        let more: Vec<ToldOrder> = fetch_bulk!(
            self,
            keys(whole.iter()),
            select_orders!(""),
            row => ToldOrder::from_row(row)?
        )?;
        orders.extend(more);
        let orders = orders.into_iter().map(|told| (told.held, told.order));
        Ok(orders.collect())
    }

    /// Writes new and changed orders, and deletes those that no longer count.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save_orders(
        &mut self,
        changed: &[(&HeldOrder, &Order)],
        gone: &[&HeldOrder],
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let sql = "delete from orders where (order_id, site, currency, holder) in (
                       select order_id, site, currency, holder from {rows})";
        writes
            .add(self, held_keys(gone.iter().copied()), sql)
            .await?;
        let orders = || changed.iter().map(|(_, order)| *order);
        let visitor = |order: &Order| order.visitor.map_or(Uuid::nil(), |id| id.0);
        let touches = |order: &Order| serde_json::to_string(&order.touches[..]).unwrap_or_default();
        let rows = held_keys(changed.iter().map(|(held, _)| *held))
            .uuid("visitor_id", orders().map(visitor))
            .big("delivery_id", orders().map(|order| order.place.delivery))
            .big("broadlog_id", orders().map(|order| order.place.broadlog))
            .big("link_id", orders().map(|order| order.place.link))
            .time("hour", orders().map(|order| order.place.at))
            .text(
                "money_currency",
                orders().map(|order| order.place.currency.clone()),
            )
            .big(
                "is_proved",
                orders().map(|order| i64::from(order.place.is_proved)),
            )
            .money("revenue", orders().map(|order| order.revenue))
            .big("quantity", orders().map(|order| order.quantity))
            .money("refunded", orders().map(|order| order.refunded))
            .money("last_refund", orders().map(|order| order.last_refund))
            .time("counted_at", orders().map(|order| order.counted_at))
            .text("touches", orders().map(touches));
        let sql = "insert into orders (order_id, site, currency, holder, visitor_id, delivery_id,
                   broadlog_id, link_id, hour, money_currency, is_proved,
                                 revenue, quantity, refunded, last_refund, counted_at, touches)
             select order_id, site, currency, holder, visitor_id, delivery_id, broadlog_id, link_id,
             hour, money_currency, is_proved,
                    revenue, quantity, refunded, last_refund, counted_at, touches
             from {rows} where true
             on conflict (order_id, site, currency, holder) do update set
                 visitor_id = excluded.visitor_id, delivery_id = excluded.delivery_id, broadlog_id = excluded.broadlog_id,
                 link_id = excluded.link_id, hour = excluded.hour, money_currency = excluded.money_currency, is_proved = excluded.is_proved,
                 revenue = excluded.revenue, quantity = excluded.quantity, refunded = excluded.refunded, last_refund = excluded.last_refund,
                 counted_at = excluded.counted_at, touches = excluded.touches";
        writes.add(self, rows, sql).await
    }
}

impl Store {
    /// Forgets orders that were half a year old at a time: what is told of them after that counts
    /// anew, a page shown again or a refund alike. Never more than two days' worth at once, so that
    /// a mistake about the time does not cost half a year.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn forget_orders(&self, at: Micros) -> sqlx::Result<()> {
        let sql = "select min(counted_at) from orders";
        let oldest: Option<Micros> =
            both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)?;
        let Some(oldest) = oldest else {
            return Ok(());
        };
        let until = Micros((at.0 - KEPT).min(oldest.0 + 2 * Micros::DAY));
        self.delete_before(ORDERS, until).await
    }
}

const ORDERS: Aging = Aging {
    name: "orders",
    key: "order_id, site, currency, holder",
    time: "counted_at",
};

/// How long an order is remembered.
const KEPT: i64 = 183 * Micros::DAY;
