//! What a transaction decided by, looked at again in its turn: in one round trip, since all others
//! wait meanwhile.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::orders::{self, OrderKey};
use super::{Bulk, LookUps, Tx};
use crate::identity::{Binding, UniqueKey};
use crate::model::hit::{ContactId, VisitorId};

/// What there is now.
pub(crate) struct Again {
    /// Whose visitors are, those that are somebody's.
    pub(crate) bindings: HashMap<VisitorId, Binding>,
    /// Whether any of the unique values is somebody's.
    pub(crate) is_owned: bool,
    /// The orders that anyone has reported.
    pub(crate) told: BTreeSet<OrderKey>,
}

impl Tx {
    /// Looks visitors, unique values and orders up.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn look_again<'k>(
        &mut self,
        visitors: &BTreeSet<VisitorId>,
        keys: impl Iterator<Item = &'k UniqueKey> + Clone,
        orders: &BTreeSet<OrderKey>,
    ) -> sqlx::Result<Again> {
        let all = LookUps::default()
            .and(
                Bulk::new().uuid("id", visitors.iter().map(|id| id.0)),
                "select rows.number, v.is_proved as value, {uuid}(v.contact_id) as bytes
                 from {rows} join visitors v on v.id = rows.id",
            )
            .and(
                Bulk::new()
                    .text("field", keys.clone().map(|key| key.0.clone()))
                    .text("value", keys.map(|key| key.1.clone())),
                "select rows.number, 0 as value, {none} as bytes from {rows}
                 join contact_keys k on k.field = rows.field and k.value = rows.value",
            )
            .and(
                orders::keys(orders.iter()),
                "select rows.number, 0 as value, {none} as bytes from {rows}
                 where exists (select 1 from orders o where o.order_id = rows.order_id
                     and o.site = rows.site and o.currency = rows.currency)",
            );
        let [bound, owned, told] = all.fetch(self).await?;
        let mut bindings = HashMap::with_capacity(bound.len());
        let visitors = Vec::from_iter(visitors);
        for found in bound {
            let visitor = usize::try_from(found.number)
                .ok()
                .and_then(|at| visitors.get(at));
            let contact = found.bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
            if let (Some(visitor), Some(contact)) = (visitor, contact) {
                let binding = Binding {
                    contact: ContactId(contact),
                    is_proved: found.value != 0,
                };
                bindings.insert(**visitor, binding);
            }
        }
        let told: BTreeSet<i64> = told.iter().map(|found| found.number).collect();
        let told = orders
            .iter()
            .zip(0..)
            .filter(|(_, number)| told.contains(number));
        Ok(Again {
            bindings,
            is_owned: !owned.is_empty(),
            told: told.map(|(key, _)| key.clone()).collect(),
        })
    }
}
