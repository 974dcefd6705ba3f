//! A batch: one hit a line, plain, gzipped or deflated, as Mapp's server SDKs and the pixel's
//! beacon send them.
//!
//! Lines end with LF or CRLF; PHP's fork-curl consumer writes a backslash and an `n` instead. A
//! line is `wt?p=…`, `?p=…` or `p=…`; one that is nothing of the kind becomes a hit that the
//! projection puts into quarantine, with the line. Parameters of the batch's URL are defaults for
//! every line.

use std::io::Read as _;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use memchr::{memchr, memchr2_iter};

use super::parameters::Parameters;
use super::reader::take_hits;
use super::sender::Sender;
use super::{new_hit, split_sites};
use crate::model::hit::{Hit, Limit, clean_bytes};

/// Most bytes of a batch, packed and unpacked.
pub const MOST_BYTES: usize = 24 << 20;
/// Most lines of a batch.
pub const MOST_LINES: usize = 10_000;
/// Longest line that is read: twice what the pixel sends at most.
const MOST_LINE: usize = 64 << 10;
/// How much of a bad line goes into one entry of `extra`, and how many entries there are.
const PART: usize = 3_900;
const MOST_PARTS: usize = 16;

/// Why a batch cannot be read. Its sender will not send it again, which would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// More than [`MOST_BYTES`].
    #[error("batch too long")]
    TooLong,
    /// More than [`MOST_LINES`].
    #[error("batch of too many lines")]
    TooManyLines,
    /// It begins like gzip but is not.
    #[error("batch is broken gzip")]
    BrokenGzip,
    /// Declared as deflate but neither that nor text.
    #[error("batch is broken deflate")]
    BrokenDeflate,
}

/// The declared encoding of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// None, or gzip, which is recognisable.
    Plain,
    /// Deflate, which is not recognisable: in a zlib frame, as RFC 9110 has it, or without, as many
    /// send it.
    Deflate,
}

impl Packing {
    /// From `Content-Encoding`; `None` for one that cannot be unpacked here. Words that are not
    /// encodings (`utf-8`) are some SDK's mistake and mean nothing.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut packing = Self::Plain;
        for value in headers.get_all(CONTENT_ENCODING) {
            for word in value.as_bytes().split(|byte| *byte == b',') {
                match word.trim_ascii().to_ascii_lowercase().as_slice() {
                    b"deflate" => packing = Self::Deflate,
                    b"br" | b"zstd" | b"compress" | b"x-compress" | b"dcb" | b"dcz" => return None,
                    _ => {}
                }
            }
        }
        Some(packing)
    }
}

/// The text of a body: unpacked where it is gzip, whatever the header says, which proxies drop or
/// add, and where it is said to be deflated. For several track ids each line is several hits, and
/// so less may come.
///
/// # Errors
/// The batch cannot be unpacked, or has too many bytes or lines.
pub fn unpack(body: Vec<u8>, packing: Packing, sites: usize) -> Result<Vec<u8>, Unusable> {
    let sites = sites.max(1);
    let body = if body.starts_with(&[0x1f, 0x8b]) {
        read_all(MultiGzDecoder::new(body.as_slice())).ok_or(Unusable::BrokenGzip)?
    } else if packing == Packing::Deflate {
        let unpacked = read_all(ZlibDecoder::new(body.as_slice()))
            .or_else(|| read_all(DeflateDecoder::new(body.as_slice())));
        match unpacked {
            Some(text) => text,
            // A proxy has unpacked it and left the header.
            None if lines(&body)
                .next()
                .is_none_or(|line| read_line(line).is_ok()) =>
            {
                body
            }
            None => return Err(Unusable::BrokenDeflate),
        }
    } else {
        body
    };
    if body.len() > MOST_BYTES / sites {
        return Err(Unusable::TooLong);
    }
    if lines(&body).nth(MOST_LINES / sites).is_some() {
        return Err(Unusable::TooManyLines);
    }
    Ok(body)
}

/// What can be unpacked, up to one byte more than allowed; `None` if it is broken.
fn read_all(packed: impl std::io::Read) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    packed
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .ok()
        .map(|_| text)
}

/// The non-empty lines of a body.
pub fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        // A body may be nothing but empty lines, millions of them.
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        let (end, next) = end_of_line(rest);
        let line = &rest[..end];
        rest = &rest[next..];
        Some(line)
    })
    .map(|line| {
        let line = line.trim_ascii();
        line.strip_suffix(b"\\n").unwrap_or(line).trim_ascii()
    })
    .filter(|line| !line.is_empty())
}

/// Where the first line ends and the next begins. A backslash and an `n` end it only where another
/// line follows: a value of some SDK that does not encode may hold them. No byte behind the line is
/// looked at: ten thousand short lines must not cost as many looks at the whole.
fn end_of_line(text: &[u8]) -> (usize, usize) {
    for place in memchr2_iter(b'\n', b'\\', text) {
        let rest = &text[place..];
        if rest.starts_with(b"\n") {
            return (place, place + 1);
        }
        if [&b"\\nwt?"[..], b"\\n?"]
            .iter()
            .any(|separator| rest.starts_with(separator))
        {
            return (place, place + 2);
        }
    }
    (text.len(), text.len())
}

/// Parameters of the batch's URL.
pub fn defaults<'q>(query: &'q str) -> Parameters<'q> {
    Parameters::read(query.as_bytes())
}

/// The hits of a line, one for each track id; a line that is not a hit becomes one for the
/// quarantine.
pub fn line_hits(
    sender: &Sender<'_>,
    sites: &str,
    defaults: &Parameters<'_>,
    line: &[u8],
) -> Vec<Hit> {
    match read_line(line) {
        Ok(own) => take_hits(sender, sites, &own.or(defaults)),
        Err(why) => vec![refuse(sender, sites, line, why)],
    }
}

fn read_line(line: &[u8]) -> Result<Parameters<'_>, &'static str> {
    if line.len() > MOST_LINE {
        return Err("line too long");
    }
    let query = match memchr(b'?', line) {
        _ if line.starts_with(b"p=") => line,
        Some(place) if is_call(&line[..place]) => &line[place + 1..],
        _ => return Err("line is no hit"),
    };
    let parameters = Parameters::read(query);
    if parameters.p().is_none() {
        return Err("line without p");
    }
    Ok(parameters)
}

/// `wt`, nothing, or a path that ends so.
fn is_call(before: &[u8]) -> bool {
    let call = before.rsplit(|byte| *byte == b'/').next().unwrap_or(before);
    call.is_empty()
        || call == b"wt.pl"
        || call.strip_prefix(b"wt").is_some_and(|suffix| {
            suffix
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(b))
        })
}

fn refuse(sender: &Sender<'_>, sites: &str, line: &[u8], why: &'static str) -> Hit {
    let mut hit = new_hit(sender.inbound);
    hit.ip = Some(sender.inbound.client);
    if let Some(site) = split_sites(sites).first() {
        hit.site = hit.take("site", site, Limit::WORD).unwrap_or_default();
    }
    hit.foreign_mut().refused = Some(why.to_owned());
    for (index, part) in line.chunks(PART).take(MOST_PARTS).enumerate() {
        let name = match index {
            0 => "line".to_owned(),
            _ => format!("line {}", index + 1),
        };
        hit.keep(&name, &clean_bytes(part));
    }
    if line.len() > PART * MOST_PARTS {
        hit.note("line cut");
    }
    hit
}

#[cfg(test)]
mod tests;
