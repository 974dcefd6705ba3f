//! Hits as bytes: length (u32, little-endian), then MessagePack.

use crate::model::hit::Hit;

/// A frame that holds no hit, with its bytes: the projection quarantines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// What stood there.
    pub bytes: Vec<u8>,
    /// Why it is no hit.
    pub reason: String,
}

/// Appends a hit.
pub fn encode_frame(hit: &Hit, body: &mut Vec<u8>) {
    let start = body.len();
    body.extend_from_slice(&[0; 4]);
    // Writing to a Vec cannot fail and every field of a hit has a MessagePack form; were it
    // otherwise, an empty frame would say so in the quarantine.
    if let Err(error) = rmp_serde::encode::write(body, hit) {
        tracing::error!(%error, "a hit could not be encoded");
        body.truncate(start + 4);
    }
    let length = (body.len() - start - 4) as u32;
    body[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads every frame of a body. Hits are boxed: one has a kilobyte, and thousands wait together. A
/// frame that is no hit is told; so is a body that ends within one.
pub fn decode_frames(mut body: &[u8]) -> impl Iterator<Item = Result<Box<Hit>, BadFrame>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let whole = body;
        let frame = body
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((frame, rest)) = frame else {
            body = &[];
            return Some(Err(BadFrame {
                bytes: whole.to_vec(),
                reason: "the group ends within a record".to_owned(),
            }));
        };
        body = rest;
        Some(
            rmp_serde::from_slice(frame)
                .map(Box::new)
                .map_err(|error| BadFrame {
                    bytes: frame.to_vec(),
                    reason: error.to_string(),
                }),
        )
    })
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
        assert!(read[1].is_err() && read[3].is_err());
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
            let mut body = (older.len() as u32).to_le_bytes().to_vec();
            body.extend_from_slice(&older);
            assert!(decode_frames(&body).next().unwrap().is_ok());
        }
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
            let parts: Vec<u8> = split_frames(&body, most).flat_map(|(_, part)| part.to_vec()).collect();
            prop_assert_eq!(parts, body);
        }

        #[test]
        fn no_bytes_panic(body: Vec<u8>) {
            let _ = decode_frames(&body).count();
        }
    }
}
