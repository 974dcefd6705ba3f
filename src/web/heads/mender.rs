//! A connection's bytes, piece by piece as they are read: which of them are a head, which a body,
//! and what becomes of a head.

use std::io;

use memchr::{memchr, memchr_iter, memchr3, memrchr};

use super::line::{
    MOST_TARGET, cut_target, encode_target, frames_body, is_mendable, is_request_line, is_token,
    is_value, is_value_byte, name_and_value, names_client, resembles_framing, without_end,
};
use crate::tracking::inbound::MENDED_HEADER;

/// What is kept of one line.
const MOST_LINE: usize = 64 << 10;
/// How much of a line may wait for its end; more is cut out of its middle.
const MOST_WAITING: usize = 2 * MOST_LINE;
/// The end of a request line: a space, `HTTP/1.1`, CR, LF, and some room.
const TAIL: usize = 16;
/// How much of a head is kept; below [`MOST_HEAD`](super::MOST_HEAD).
const MOST_KEPT: usize = 112 << 10;
/// Number of header lines to keep; hyper takes 100, and those that always pass need room.
const MOST_LINES: usize = 90;
/// A head with more bytes ends the connection.
const MOST_BYTES: usize = 4 << 20;

/// The parser's position in a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In a head, or between two requests.
    #[default]
    Head,
    /// In a body, with this many bytes to come.
    Body(u64),
    /// After a head that is left to hyper.
    Unseen,
}

/// The length of the body, according to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    NoBody,
    Length(u64),
    /// Chunked, contradictory or malformed.
    Odd,
}

impl Framing {
    fn see(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // Nearly every line is told apart by its first letter.
        match name.first() {
            Some(b'c' | b'C') if is(b"content-length") => {
                let digits = value.trim_ascii();
                let length = (digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit))
                    .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
                    .flatten();
                *self = match (*self, length) {
                    (Self::NoBody, Some(length)) => Self::Length(length),
                    _ => Self::Odd,
                };
            }
            Some(b't' | b'T') if is(b"transfer-encoding") => *self = Self::Odd,
            Some(b'u' | b'U') if is(b"upgrade") => *self = Self::Odd,
            _ => {}
        }
    }

    fn after_head(self) -> Place {
        match self {
            Self::NoBody | Self::Length(0) => Place::Head,
            Self::Length(length) => Place::Body(length),
            Self::Odd => Place::Unseen,
        }
    }
}

/// How far a connection is.
#[derive(Debug, Default)]
pub(super) struct Mender {
    place: Place,
    /// The current line so far; bytes may be missing after [`MOST_LINE`].
    line: Vec<u8>,
    has_gap: bool,
    /// Mended lines of the current head.
    head: Vec<u8>,
    /// Bytes of the current head as they came.
    bytes: usize,
    lines: usize,
    framing: Framing,
    /// Whether the current request may be mended at all.
    is_mended: bool,
    is_cut: bool,
    is_repaired: bool,
}

impl Mender {
    /// Whether the bytes are complete, ordinary heads and bodies; if so, they are consumed.
    pub(super) fn passes(&mut self, mut input: &[u8]) -> bool {
        if self.bytes > 0 {
            return false;
        }
        let mut place = self.place;
        while !input.is_empty() {
            match place {
                Place::Unseen => break,
                Place::Body(left) => {
                    let taken = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    input = &input[taken..];
                    place = in_body(left, taken);
                }
                Place::Head => {
                    let Some((length, framing)) = ordinary_head(input) else {
                        return false;
                    };
                    input = &input[length..];
                    place = framing.after_head();
                }
            }
        }
        self.place = place;
        true
    }

    /// Takes bytes that do not pass as they are; complete heads go to `out`.
    pub(super) fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            match self.place {
                Place::Unseen => {
                    out.extend_from_slice(input);
                    return Ok(());
                }
                Place::Body(left) => {
                    let taken = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    out.extend_from_slice(&input[..taken]);
                    input = &input[taken..];
                    self.place = in_body(left, taken);
                }
                Place::Head => {
                    let end = memchr(b'\n', input).map(|at| at + 1);
                    let (part, rest) = input.split_at(end.unwrap_or(input.len()));
                    input = rest;
                    self.bytes += part.len();
                    if self.bytes > MOST_BYTES {
                        return Err(io::Error::other("a request's head is too long"));
                    }
                    self.line.extend_from_slice(part);
                    if self.line.len() > MOST_WAITING {
                        self.shorten_line(out);
                    }
                    if end.is_some() && self.place == Place::Head {
                        self.end_line(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Cuts the middle out of an overlong line.
    fn shorten_line(&mut self, out: &mut Vec<u8>) {
        let is_request_line = self.head.is_empty();
        if !(self.is_mended || is_request_line && is_mendable(&self.line)) {
            return self.give_up(out);
        }
        self.line.drain(MOST_LINE..self.line.len() - TAIL);
        self.has_gap = true;
    }

    /// Leaves the rest of the connection to hyper, which will refuse it.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.head);
        out.append(&mut self.line);
        *self = Self {
            place: Place::Unseen,
            ..Self::default()
        };
    }

    fn end_line(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let has_gap = std::mem::take(&mut self.has_gap);
        let text = without_end(&line);
        match (self.head.is_empty(), text.is_empty()) {
            // hyper skips these too.
            (true, true) => {
                out.extend_from_slice(&line);
                self.bytes = 0;
            }
            (true, false) => {
                self.is_mended = is_mendable(text);
                let mended = if self.is_mended {
                    self.mend_request_line(text, has_gap)
                } else {
                    is_request_line(text).then(|| line.clone())
                };
                match mended {
                    Some(mended) => self.head = mended,
                    None => {
                        self.line = line;
                        self.give_up(out);
                    }
                }
            }
            (false, true) => {
                self.tell_losses();
                self.head.extend_from_slice(&line);
                out.append(&mut self.head);
                *self = Self {
                    place: self.framing.after_head(),
                    ..Self::default()
                };
            }
            (false, false) if self.is_mended => self.mend_header(&line, has_gap)?,
            (false, false) => {
                let (name, value) = name_and_value(text);
                self.framing.see(name.trim_ascii(), value);
                self.head.extend_from_slice(&line);
                if self.head.len() > MOST_KEPT {
                    self.give_up(out);
                }
            }
        }
        Ok(())
    }

    fn mend_request_line(&mut self, text: &[u8], has_gap: bool) -> Option<Vec<u8>> {
        let version_at = memrchr(b' ', text)?;
        let target_at = memchr(b' ', text)? + 1;
        if !matches!(&text[version_at..], b" HTTP/1.1" | b" HTTP/1.0") || target_at >= version_at {
            return None;
        }
        let raw = &text[target_at..if has_gap { MOST_LINE } else { version_at }];
        let mut target = encode_target(raw);
        if has_gap || target.len() > MOST_TARGET {
            cut_target(&mut target);
            self.is_cut = true;
        }
        Some([&text[..target_at], &target, &text[version_at..], b"\r\n"].concat())
    }

    fn mend_header(&mut self, line: &[u8], has_gap: bool) -> io::Result<()> {
        let text = without_end(line);
        let (name, value) = name_and_value(text);
        let bare = name.trim_ascii();
        self.framing.see(bare, value);
        // A folded line may go on with one that frames the body: hyper refuses it.
        let is_malformed = name.len() == text.len() || !is_token(name);
        let is_verbatim = text.starts_with(b" ")
            || text.starts_with(b"\t")
            || frames_body(bare)
            || is_malformed && resembles_framing(name);
        if is_verbatim || names_client(bare) {
            if has_gap {
                return Err(io::Error::other("a header line is too long"));
            }
        } else if is_malformed {
            self.is_repaired = true;
            return Ok(());
        } else if self.lines == MOST_LINES
            || self.head.len() + text.len().min(MOST_LINE) > MOST_KEPT
        {
            self.is_cut = true;
            return Ok(());
        } else {
            self.lines += 1;
        }
        if is_verbatim {
            self.head.extend_from_slice(line);
            return Ok(());
        }
        let kept = if names_client(bare) {
            text
        } else {
            &text[..text.len().min(MOST_LINE)]
        };
        self.is_cut |= kept.len() < text.len();
        self.is_repaired |= !is_value(kept);
        let mended = kept
            .iter()
            .map(|&byte| if is_value_byte(byte) { byte } else { b' ' });
        self.head.extend(mended);
        self.head.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn tell_losses(&mut self) {
        for (is_lost, word) in [(self.is_cut, "cut"), (self.is_repaired, "repaired")] {
            if is_lost {
                let line = format!("{}: {word}\r\n", MENDED_HEADER.as_str());
                self.head.extend_from_slice(line.as_bytes());
            }
        }
    }
}

fn in_body(left: u64, taken: usize) -> Place {
    match left - taken as u64 {
        0 => Place::Head,
        left => Place::Body(left),
    }
}

/// The length of the head at the start of the input and what follows it, if it is complete and
/// nothing in it needs mending.
fn ordinary_head(input: &[u8]) -> Option<(usize, Framing)> {
    let mut at = memchr(b'\n', input)? + 1;
    let line = input[..at].strip_suffix(b"\r\n")?;
    let is_plain = line.len() <= MOST_TARGET
        && line.iter().all(|byte| (0x20..0x7f).contains(byte))
        && memchr3(b'"', b'<', b'>', line).is_none()
        && memchr(b'`', line).is_none()
        && memchr_iter(b' ', line).count() == 2
        && is_request_line(line);
    if !is_plain {
        return None;
    }
    let mut framing = Framing::default();
    for _ in 0..=MOST_LINES {
        let end = at + memchr(b'\n', &input[at..])? + 1;
        let line = input[at..end].strip_suffix(b"\r\n")?;
        at = end;
        if line.is_empty() {
            return Some((at, framing));
        }
        let (name, value) = name_and_value(line);
        if at > MOST_KEPT || name.len() == line.len() || !is_token(name) || !is_value(value) {
            return None;
        }
        framing.see(name, value);
    }
    None
}

#[cfg(test)]
mod tests;
