//! An offer that waits for the writer, and the reply to it.

use tokio::sync::oneshot;

use super::losses;
use crate::queue::sink::{Claim, Refused};

/// What one call offered. Tens of thousands may wait for a slow disk, so each is small: the frames
/// are exactly sized, and where nobody waits there is nothing to notify.
pub(super) struct Entry {
    pub(super) body: Box<[u8]>,
    pub(super) account: Account,
}

/// The outcome of an offer, owed to whoever waits for it, or to the figures.
pub(super) struct Account {
    /// Zero once it is settled.
    pub(super) hits: u32,
    pub(super) caller: Option<Caller>,
}

/// The waiting caller, who may withdraw the offer first.
pub(super) struct Caller {
    pub(super) claim: Claim,
    pub(super) outcome: oneshot::Sender<Result<(), Refused>>,
}

impl Account {
    /// The writer claims the offer; false if the caller has withdrawn it.
    pub(super) fn claim(&self) -> bool {
        self.caller
            .as_ref()
            .is_none_or(|caller| caller.claim.take())
    }

    pub(super) fn settle(mut self, outcome: Result<(), Refused>) {
        self.pay(outcome);
    }

    /// The caller knows already.
    pub(super) fn forget(mut self) {
        self.hits = 0;
        self.caller = None;
    }

    fn pay(&mut self, outcome: Result<(), Refused>) {
        let hits = std::mem::take(&mut self.hits);
        if let Some(caller) = self.caller.take()
            && caller.outcome.send(outcome).is_ok()
        {
            return;
        }
        if let Err(refused) = outcome
            && hits > 0
        {
            losses::lose(u64::from(hits), refused);
        }
    }
}

impl Drop for Account {
    /// The writer ended before it got to it.
    fn drop(&mut self) {
        self.pay(Err(Refused::Stopping));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_nobody_waits_for_is_its_frames_and_a_few_words() {
        assert!(size_of::<Entry>() <= 40, "{}", size_of::<Entry>());
    }
}
