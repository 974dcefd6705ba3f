//! Idempotency keys: a second hit with the same key is dropped. Where a key counts: nobody can make
//! another's hit disappear by sending its key first.
//!
//! | sender | scope |
//! |---|---|
//! | authenticated | all of them |
//! | anybody with a visitor id | the visitor |
//! | a trusted server that names no visitor | all trusted servers |
//! | anybody else | address and agent; and the visitor that its answer makes |
//!
//! The last has two, since a browser whose cookies are blocked stays the same only by its address,
//! and one whose first answer was lost may have kept its cookie.

use sha2::{Digest as _, Sha256};

use crate::model::clock::Micros;
use crate::model::hit::{Authority, Hit};
use crate::store::{self, Tx};

/// Removes hits whose key was used before, in the database or among these hits, within one of the
/// key's scopes; returns how many.
///
/// # Errors
/// The database refuses.
pub(super) async fn drop_duplicates(
    tx: &mut Tx,
    hits: &mut Vec<&Hit>,
    now: Micros,
) -> store::Result<u64> {
    let mut keys: Vec<(ScopedKey<'_>, usize)> = Vec::new();
    for (index, hit) in hits.iter().enumerate() {
        let Some(key) = &hit.idempotency_key else {
            continue;
        };
        let scopes = scopes(hit).into_iter().flatten();
        keys.extend(scopes.map(|scope| ((scope, key.as_str()), index)));
    }
    if keys.is_empty() {
        return Ok(0);
    }
    keys.sort_unstable();
    let mut is_again = vec![false; hits.len()];
    keys.dedup_by(|(key, index), (first, _)| {
        let is_same = key == first;
        // A hit has each key once.
        is_again[*index] |= is_same;
        is_same
    });
    let taken = tx
        .idempotency_keys(keys.iter().map(|((scope, key), _)| (scope.as_str(), *key)))
        .await?;
    if !taken.is_empty() {
        // Each of the others is taken now, also where the hit has one that was taken before.
        keys.retain(|((scope, key), index)| {
            let is_taken = taken.contains(&(scope.clone(), (*key).to_owned()));
            is_again[*index] |= is_taken;
            !is_taken
        });
    }
    let fresh = keys.into_iter().map(|(key, _)| key);
    tx.insert_idempotency_keys(fresh, now).await?;
    let before = hits.len();
    let mut is_again = is_again.into_iter();
    hits.retain(|_| is_again.next() != Some(true));
    Ok((before - hits.len()) as u64)
}

/// A scope and a key in it.
type ScopedKey<'h> = (String, &'h str);

fn scopes(hit: &Hit) -> [Option<String>; 2] {
    let visitor = hit.visitor_id.map(|id| format!("v{}", id.0.simple()));
    match (hit.authority, visitor) {
        (Authority::Authenticated, _) => [Some("api".to_owned()), None],
        (Authority::Public, Some(visitor)) if !hit.visitor_is_new => [Some(visitor), None],
        (Authority::Public, _) if hit.is_trusted => [Some("trusted".to_owned()), None],
        (Authority::Public, visitor) => [Some(client_scope(hit)), visitor],
    }
}

/// Address and agent, as a digest: the keys are no log of addresses.
fn client_scope(hit: &Hit) -> String {
    let address = hit.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let digest = Sha256::new()
        .chain_update(address)
        .chain_update([0])
        .chain_update(hit.user_agent.as_deref().unwrap_or_default())
        .finalize();
    let half = digest.first_chunk().copied().map_or(0, u128::from_be_bytes);
    format!("c{half:032x}")
}
