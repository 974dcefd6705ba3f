//! An offer that waits for the writer, and the reply to it.

use tokio::sync::oneshot;

use super::losses;
use crate::queue::sink::{Claim, Refused};

/// What was offered at once. Tens of thousands may wait for a slow disk, so each is small: the
/// frames take what they need and no more, and where nobody waits there is nobody to tell.
pub(super) struct Entry {
    pub(super) body: Box<[u8]>,
    pub(super) account: Account,
}

/// What an offer is owed: its outcome, to whoever waits for it, or to the figures.
pub(super) struct Account {
    /// Zero once it is settled.
    pub(super) hits: u32,
    pub(super) caller: Option<Caller>,
}

/// Who waits for an outcome, and may take the offer back before.
pub(super) struct Caller {
    pub(super) claim: Claim,
    pub(super) outcome: oneshot::Sender<Result<(), Refused>>,
}

impl Account {
    /// The writer takes the offer; false where the caller has withdrawn it.
    pub(super) fn claim(&self) -> bool {
        self.caller
            .as_ref()
            .is_none_or(|caller| caller.claim.take())
    }

    pub(super) fn settle(mut self, outcome: Result<(), Refused>) {
        self.pay(outcome);
    }

    /// Whoever offered them knows already.
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
    /// The writer ended before it came to it.
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
