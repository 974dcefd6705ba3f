//! The one writer: collects, commits, releases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::entry::Entry;
use super::keeper::{DELETE_EVERY, Keeper};
use super::shared::{Phase, Shared};

/// Maximum number of offers in one commit. Larger groups gain nothing and make each response wait
/// for more bytes.
const MOST: usize = 4_096;
/// Most bytes in one commit.
const MOST_BYTES: usize = 4 << 20;

/// Writes what is offered until the spool is closed, and deletes what is done until its reader is
/// gone too.
pub(super) async fn run(
    mut keeper: Keeper,
    mut entries: mpsc::Receiver<Entry>,
    shared: Arc<Shared>,
) {
    let mut phase = shared.phase.subscribe();
    let mut batch = Vec::with_capacity(MOST);
    loop {
        tokio::select! {
            biased;
            count = entries.recv_many(&mut batch, MOST) => {
                if count == 0 {
                    break;
                }
                gather(&mut entries, &mut batch, shared.limits.linger).await;
                commit(&mut keeper, &mut batch, &shared).await;
            }
            // What is in the queue by then is still received.
            () = closing(&mut phase), if !entries.is_closed() => {
                entries.close();
                continue;
            }
            () = tokio::time::sleep(DELETE_EVERY) => {}
        }
        keeper.look_after(&shared).await;
    }
    drop(batch);
    shared.phase.send_replace(Phase::Written);
    loop {
        tokio::select! {
            biased;
            () = shared.written.closed() => break,
            () = tokio::time::sleep(DELETE_EVERY) => {}
        }
        keeper.look_after(&shared).await;
    }
    keeper.end(&shared).await;
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // An error is for a sender that is gone, which lives as long as the writer.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

/// Also takes what is about to arrive: a commit costs the same for one hit as for fifty.
/// Connections with pending requests get their turn first, again as long as that yields something;
/// an idle machine does not wait.
async fn gather(entries: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>, linger: Duration) {
    if !linger.is_zero() && batch.len() < MOST {
        tokio::time::sleep(linger).await;
    }
    let mut before = 0;
    while batch.len() > before && batch.len() < MOST {
        before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < MOST
            && let Ok(entry) = entries.try_recv()
        {
            batch.push(entry);
        }
    }
}

/// Writes everything that waits, in commits of bounded size, and settles every offer.
async fn commit(keeper: &mut Keeper, batch: &mut Vec<Entry>, shared: &Shared) {
    let mut left: usize = batch.iter().map(|entry| entry.body.len()).sum();
    let mut rest = batch.drain(..);
    while rest.len() > 0 {
        let (mut body, mut hits) = (Vec::new(), 0_u32);
        let mut accounts = Vec::with_capacity(rest.len());
        let (mut waited, mut unwritten) = (0, 0);
        while body.len() < MOST_BYTES
            && let Some(entry) = rest.next()
        {
            let length = entry.body.len();
            waited += length as u64;
            unwritten += u64::from(entry.account.hits);
            if entry.account.claim() {
                if body.is_empty() && rest.len() == 0 {
                    body = entry.body.into_vec();
                } else {
                    if body.is_empty() {
                        body.reserve_exact(left.min(MOST_BYTES + length));
                    }
                    body.extend_from_slice(&entry.body);
                }
                hits += entry.account.hits;
                accounts.push(entry.account);
            } else {
                entry.account.forget();
            }
            left -= length;
        }
        let bytes = body.len() as u64;
        let first = keeper.last + 1;
        let outcome = if hits == 0 {
            Ok(())
        } else {
            keeper.append(hits, body).await
        };
        shared.waiting.fetch_sub(waited, Ordering::Relaxed);
        if hits > 0 {
            shared.disk_fails.store(outcome.is_err(), Ordering::Relaxed);
        }
        if outcome.is_ok() && hits > 0 {
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            shared.backlog.fetch_add(u64::from(hits), Ordering::Relaxed);
            let done = shared.done.load(Ordering::Acquire);
            let written = *shared.written.borrow();
            shared.ages.note(first, written, done);
            shared.written.send_replace(keeper.last);
        }
        shared.unwritten.fetch_sub(unwritten, Ordering::Release);
        for account in accounts {
            account.settle(outcome);
        }
    }
}
