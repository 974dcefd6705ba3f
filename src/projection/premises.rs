//! What a transaction has decided by, which others may have changed before it got its turn.
//!
//! Where nobody had a turn meanwhile, nothing is looked at again. Not looked at at all: messages
//! and their receivers, which never change but by a merge, and of a merge any transaction beside it
//! is told; and what another's hits in flight led to, since the order of hits of two spools says
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::orders::Orders;
use crate::identity::{Binding, Changes, Contact, Known, Lookup};
use crate::model::hit::{ContactId, Hit, VisitorId};
use crate::store::{self, Meanwhile, Tx, lost_race};

/// Visitors, contacts and orders as they were read.
pub(super) struct Premises {
    visitors: Vec<VisitorId>,
    bindings: HashMap<VisitorId, Binding>,
    contacts: HashMap<ContactId, Contact>,
}

impl Premises {
    /// What is known of those that are looked up; none where nobody can change it.
    pub(super) fn of(tx: &Tx, lookup: &Lookup<'_>, known: &Known) -> Option<Self> {
        tx.is_beside().then(|| Self {
            visitors: lookup.visitors.clone(),
            bindings: known.visitors.clone(),
            contacts: known.contacts.clone(),
        })
    }

    /// Takes the transaction's turn, and looks whether everything is as it was. `changes` are what
    /// was decided of people, `hits` what orders were looked up by. Returns visitors that were
    /// nobody's and have got a person meanwhile: hits of theirs are among these, which whoever gave
    /// them the person could not see.
    ///
    /// # Errors
    /// Something has changed (see [`store::is_race`]), or the database refuses.
    pub(super) async fn confirm(
        premises: Option<Self>,
        tx: &mut Tx,
        changes: &Changes,
        orders: &Orders,
        hits: &[&Hit],
    ) -> store::Result<BTreeMap<VisitorId, Binding>> {
        let meanwhile = tx.take_turn().await?;
        let Some(premises) = premises else {
            return Ok(BTreeMap::new());
        };
        match meanwhile {
            Meanwhile::Nothing => Ok(BTreeMap::new()),
            Meanwhile::Merges => Err(lost_race("contacts")),
            Meanwhile::Turns => premises.look_again(tx, changes, orders, hits).await,
        }
    }

    async fn look_again(
        self,
        tx: &mut Tx,
        changes: &Changes,
        orders: &Orders,
        hits: &[&Hit],
    ) -> store::Result<BTreeMap<VisitorId, Binding>> {
        // New ones that get a person were not looked up: nobody could know them.
        let new = changes.visitors.keys();
        let visitors: BTreeSet<VisitorId> = self.visitors.iter().chain(new).copied().collect();
        let again = tx
            .look_again(&visitors, changes.keys.keys(), &Orders::keys(hits))
            .await?;
        let mut named = BTreeMap::new();
        for visitor in visitors {
            let (before, now) = (self.bindings.get(&visitor), again.bindings.get(&visitor));
            let Some(now) = now.filter(|now| Some(*now) != before) else {
                continue;
            };
            match changes.visitors.get(&visitor) {
                // It was somebody's and still was when these hits came: they came before.
                None if before.is_some() => {}
                None => {
                    named.insert(visitor, *now);
                }
                Some(mine) if mine.contact != now.contact => return Err(lost_race("a visitor")),
                // A claim does not take the place of a proof.
                Some(mine) if now.is_proved && !mine.is_proved => {
                    return Err(lost_race("a visitor"));
                }
                Some(_) => {}
            }
        }
        if again.is_owned {
            return Err(lost_race("a unique value"));
        }
        let ids: BTreeSet<ContactId> = self.contacts.keys().copied().collect();
        if tx.load_contacts(&ids).await? != self.contacts {
            return Err(lost_race("a contact"));
        }
        if !orders.are_as_loaded(tx, hits, &again.told).await? {
            return Err(lost_race("an order"));
        }
        Ok(named)
    }
}
