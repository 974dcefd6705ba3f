//! The bytes of a hit in a queue and in quarantine.
//!
//! **Format.** The first byte of a record is the number of its format.
//!
//! ```text
//! format 1   1 (u8) | CRC-32 of what follows (u32, little-endian) | the hit
//! before     the hit: formats had no number yet
//! ```
//!
//! A hit is a MessagePack array of its fields in their order (see [`crate::model::hit::Hit`]).
//! Numbers are below 0x80 and no MessagePack array begins with such a byte, so records from before
//! the numbers can be recognised. A frame is the length of a record (u32, little-endian), then the
//! record.
//!
//! **What may change.** A field at the end of `Hit` with `#[serde(default)]` needs no new format.
//! Anything else does: raise [`FORMAT`], and keep the struct of the format before to read it. Every
//! format from 1 on has its checksum in the same place, so a server can tell a newer record from a
//! damaged one.
//!
//! **How it fails.** A record that cannot be read gives the reason, see [`Unreadable`]. A damaged
//! record is lost; any other is kept in quarantine, where a server that can read it stores it.

use crate::model::hit::Hit;

/// The format that is written, and the highest that can be read.
pub const FORMAT: u8 = 1;

/// Bytes of a record before its hit.
const HEAD: usize = 5;

/// Why a record is no hit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its bytes are not those that were written.
    #[error("the record is damaged: its checksum does not match")]
    Damaged,
    /// The group is shorter than its records say.
    #[error("the group ends within a record")]
    CutOff,
    /// A newer server wrote it.
    #[error(
        "the record has format {0}, and this server reads formats up to {FORMAT}: \
        run `sillage quarantine retry` with the newer server that wrote it"
    )]
    Newer(u8),
    /// It is intact but holds something else.
    #[error("{0}")]
    NoHit(String),
}

/// A frame that holds no hit, with the bytes of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// What stood there.
    pub bytes: Vec<u8>,
    /// Why it is no hit.
    pub why: Unreadable,
}

/// Appends a hit and its length.
pub fn encode_frame(hit: &Hit, body: &mut Vec<u8>) {
    let start = body.len();
    body.extend_from_slice(&[0; 4]);
    append_record(hit, body);
    let length = (body.len() - start - 4) as u32;
    body[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// A hit as it goes into quarantine.
pub fn encode_record(hit: &Hit) -> Vec<u8> {
    let mut record = Vec::new();
    append_record(hit, &mut record);
    record
}

fn append_record(hit: &Hit, body: &mut Vec<u8>) {
    let start = body.len();
    body.extend_from_slice(&[FORMAT, 0, 0, 0, 0]);
    // Writing to a Vec cannot fail and every field of a hit has a MessagePack form; were it
    // otherwise, a record without a hit would say so in the quarantine.
    if let Err(error) = rmp_serde::encode::write(body, hit) {
        tracing::error!(%error, "a hit could not be encoded");
        body.truncate(start + HEAD);
    }
    let sum = crc32fast::hash(&body[start + HEAD..]);
    body[start + 1..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// Reads a record of any format so far.
///
/// # Errors
/// The bytes are not a hit, or not one that this version can read.
pub fn decode_record(record: &[u8]) -> Result<Box<Hit>, Unreadable> {
    let hit = match record.first() {
        Some(1..0x80) => {
            let (number, hit) = numbered(record).ok_or(Unreadable::Damaged)?;
            if number > FORMAT {
                return Err(Unreadable::Newer(number));
            }
            hit
        }
        _ => record,
    };
    rmp_serde::from_slice(hit)
        .map(Box::new)
        .map_err(|error| Unreadable::NoHit(error.to_string()))
}

/// The number of a record that has one, and its hit; `None` if the checksum does not match.
fn numbered(record: &[u8]) -> Option<(u8, &[u8])> {
    let (head, hit) = record.split_first_chunk::<HEAD>()?;
    let [number, sum @ ..] = *head;
    (u32::from_le_bytes(sum) == crc32fast::hash(hit)).then_some((number, hit))
}

/// The record of the first frame, and what follows it; `None` if the body ends before.
fn split_frame(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Reads every frame of a body. Hits are boxed: one takes a kilobyte, and thousands wait together.
/// Reports frames that are not hits, and a body that ends within one.
pub fn decode_frames(mut body: &[u8]) -> impl Iterator<Item = Result<Box<Hit>, BadFrame>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let Some((record, rest)) = split_frame(body) else {
            let bytes = std::mem::take(&mut body).to_vec();
            let why = Unreadable::CutOff;
            return Some(Err(BadFrame { bytes, why }));
        };
        body = rest;
        Some(decode_record(record).map_err(|why| BadFrame {
            bytes: record.to_vec(),
            why,
        }))
    })
}

/// The intact part of a damaged body: its frames, and how many. If a frame's length is lost, the
/// next one is searched for.
pub(super) fn whole_frames(body: &[u8]) -> (Vec<u8>, u32) {
    let (mut kept, mut count, mut at) = (Vec::new(), 0, 0);
    while at < body.len() {
        match split_frame(&body[at..]) {
            Some((record, _)) if is_whole(record) => {
                let end = at + 4 + record.len();
                kept.extend_from_slice(&body[at..end]);
                count += 1;
                at = end;
            }
            _ => at += 1,
        }
    }
    (kept, count)
}

fn is_whole(record: &[u8]) -> bool {
    match record.first() {
        Some(1..0x80) => numbered(record).is_some(),
        // Without a checksum: it is read to its last byte, and no text of a hit holds what a page
        // that is gone is read as.
        Some(0x80..) => decode_record(record)
            .is_ok_and(|hit| serde_json::to_value(&*hit).is_ok_and(|hit| !holds_nul(&hit))),
        _ => false,
    }
}

fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(values) => values.iter().any(holds_nul),
        serde_json::Value::Object(values) => values.values().any(holds_nul),
        _ => false,
    }
}

/// Parts of a body with whole frames in each, and how many: at most `most` bytes where a single
/// frame has no more.
pub(super) fn split_frames(mut body: &[u8], most: usize) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (mut end, mut count) = (0, 0);
        while let Some(length) = body[end..].first_chunk::<4>() {
            let next = end + 4 + u32::from_le_bytes(*length) as usize;
            if next > body.len() || (count > 0 && next > most) {
                break;
            }
            (end, count) = (next, count + 1);
        }
        if count == 0 && !body.is_empty() {
            // No frame: it goes on as it is, and the reader says so.
            (end, count) = (body.len(), 1);
        }
        let (part, rest) = body.split_at(end);
        body = rest;
        (count > 0).then_some((count, part))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Currency, Dialect, HitId, Kind, Money};

    fn hit() -> Hit {
        let mut hit = Hit::new(
            HitId(Uuid::from_u128(7)),
            Micros(1),
            Kind::Transaction,
            Dialect::Native,
        );
        hit.revenue = Some(Money(499_000));
        hit.currency = Currency::parse("eur");
        hit.ip = Some("2001:db8::1".parse().unwrap());
        hit.keep("a", "b");
        hit
    }

    fn frame_of(record: &[u8]) -> Vec<u8> {
        let mut frame = (record.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(record);
        frame
    }

    #[test]
    fn hits_come_back_and_a_broken_frame_spares_its_neighbours() {
        let mut body = Vec::new();
        encode_frame(&hit(), &mut body);
        body.extend_from_slice(&[2, 0, 0, 0, 0xc1, 0xc1]);
        encode_frame(&hit(), &mut body);
        body.extend_from_slice(&[9, 0, 0, 0, 1]);
        let read: Vec<_> = decode_frames(&body).collect();
        assert_eq!(read.len(), 4);
        assert_eq!(
            (read[0].as_ref(), read[2].as_ref()),
            (Ok(&Box::new(hit())), Ok(&Box::new(hit())))
        );
        assert!(matches!(
            read[1].as_ref().unwrap_err().why,
            Unreadable::NoHit(_)
        ));
        assert_eq!(read[3].as_ref().unwrap_err().why, Unreadable::CutOff);
    }

    #[test]
    fn a_hit_of_an_older_server_is_read() {
        // The last fields are left out, as servers without them wrote it.
        let mut older = rmp_serde::to_vec(&hit()).unwrap();
        for field in [
            rmp_serde::to_vec(&hit().is_trusted).unwrap(),
            rmp_serde::to_vec(&hit().foreign).unwrap(),
            rmp_serde::to_vec(&hit().extra).unwrap(),
        ] {
            let fields = u16::from_be_bytes([older[1], older[2]]);
            assert_eq!(older[0], 0xdc);
            older[1..3].copy_from_slice(&(fields - 1).to_be_bytes());
            assert!(older.ends_with(&field));
            older.truncate(older.len() - field.len());
            // As they stood before formats had a number, and as they would with one.
            assert!(decode_record(&older).is_ok());
            let mut record = vec![1];
            record.extend_from_slice(&crc32fast::hash(&older).to_le_bytes());
            record.extend_from_slice(&older);
            assert!(decode_record(&record).is_ok());
        }
    }

    #[test]
    fn a_record_of_a_newer_server_is_told_from_a_damaged_one() {
        let mut record = encode_record(&hit());
        record[0] = FORMAT + 1;
        assert_eq!(decode_record(&record), Err(Unreadable::Newer(FORMAT + 1)));
        let said = Unreadable::Newer(2).to_string();
        assert!(said.starts_with("the record has format 2, and"), "{said}");
        for at in 1..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode_record(&damaged), Err(Unreadable::Damaged));
        }
        assert_eq!(decode_record(&[1, 2, 3]), Err(Unreadable::Damaged));
    }

    #[test]
    fn of_a_damaged_body_whole_frames_are_kept_and_half_ones_are_not() {
        let mut unnumbered = hit();
        unnumbered.keep("long", &"x".repeat(500));
        let unnumbered = frame_of(&rmp_serde::to_vec(&unnumbered).unwrap());
        let mut numbered = Vec::new();
        encode_frame(&hit(), &mut numbered);
        for frame in [&unnumbered, &numbered] {
            let body = frame.repeat(5);
            assert_eq!(whole_frames(&body), (body.clone(), 5));
            // The second is hit from within to its end and the third's length is gone with it.
            let mut damaged = body.clone();
            damaged[frame.len() + frame.len() / 2..2 * frame.len() + 4].fill(0);
            assert_eq!(whole_frames(&damaged), (frame.repeat(3), 3));
            // Zeros within a text leave a text: only its NULs tell.
            let mut damaged = body.clone();
            let middle = frame.len() + frame.len() / 2;
            damaged[middle..middle + 8].fill(0);
            assert_eq!(whole_frames(&damaged).1, 4);
            assert_eq!(whole_frames(&body[..body.len() - 1]).1, 4);
        }
        assert_eq!(whole_frames(&[0; 1_000]), (Vec::new(), 0));
    }

    #[test]
    fn a_large_body_becomes_parts_of_whole_frames() {
        let mut frame = Vec::new();
        encode_frame(&hit(), &mut frame);
        let body = frame.repeat(10);
        let parts: Vec<_> = split_frames(&body, 3 * frame.len() + 1).collect();
        let counts: Vec<u32> = parts.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [3, 3, 3, 1]);
        assert!(
            parts
                .iter()
                .all(|(count, part)| decode_frames(part).count() == *count as usize)
        );
        assert_eq!(split_frames(&body, 1).count(), 10);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_in_parts(body: Vec<u8>, most in 1_usize..50) {
            let parts = split_frames(&body, most).flat_map(|(_, part)| part.to_vec());
            prop_assert_eq!(parts.collect::<Vec<u8>>(), body);
        }

        #[test]
        fn no_bytes_panic(body: Vec<u8>) {
            let _ = decode_frames(&body).count();
            let _ = whole_frames(&body);
        }
    }
}
