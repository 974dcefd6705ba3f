//! Cuts a stream of bytes into lines without holding more than one of them.

use bytes::Bytes;

/// Longest line; a longer one is skipped to its end, whatever its length.
pub(super) const MOST_LINE: usize = 256 << 10;

/// A line of more than [`MOST_LINE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// The lines of a body that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    piece: Bytes,
    at: usize,
    /// The start of a line whose end has not come yet.
    begun: Vec<u8>,
    /// The line given out last, where it had to be put together.
    whole: Vec<u8>,
    is_skipping: bool,
}

impl Lines {
    /// Takes the next piece, once [`Lines::next_line`] has given all lines of the one before.
    pub(super) fn feed(&mut self, piece: Bytes) {
        self.piece = piece;
        self.at = 0;
    }

    /// The next line that has come whole, without its end.
    pub(super) fn next_line(&mut self) -> Option<Result<&[u8], TooLong>> {
        let rest = &self.piece[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            if self.is_skipping || self.begun.len() + rest.len() > MOST_LINE {
                self.is_skipping = true;
                self.begun.clear();
            } else {
                self.begun.extend_from_slice(rest);
            }
            self.at = self.piece.len();
            return None;
        };
        let line = self.at..self.at + length;
        self.at += length + 1;
        if std::mem::take(&mut self.is_skipping) || self.begun.len() + length > MOST_LINE {
            self.begun.clear();
            return Some(Err(TooLong));
        }
        if self.begun.is_empty() {
            return Some(Ok(&self.piece[line]));
        }
        self.begun.extend_from_slice(&self.piece[line]);
        std::mem::swap(&mut self.begun, &mut self.whole);
        self.begun.clear();
        Some(Ok(&self.whole))
    }

    /// What follows the last line end, once the body has ended.
    pub(super) fn last_line(&mut self) -> Option<Result<&[u8], TooLong>> {
        if self.is_skipping {
            Some(Err(TooLong))
        } else if self.begun.is_empty() {
            None
        } else {
            Some(Ok(&self.begun))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
            while let Some(line) = lines.next_line() {
                all.push(line.map(<[u8]>::to_vec));
            }
        }
        all.extend(lines.last_line().map(|line| line.map(<[u8]>::to_vec)));
        all
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_body_is_cut(text in "[ab\n]{0,60}", size in 1_usize..10) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let mut expected: Vec<_> = text.split('\n').map(|line| Ok(line.as_bytes().to_vec())).collect();
            // Nothing after the last line end is no line.
            expected.pop_if(|last| *last == Ok(Vec::new()));
            prop_assert_eq!(read(&pieces), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_skipped_and_the_next_is_read() {
        let long = vec![b'x'; MOST_LINE];
        assert_eq!(
            read(&[&long, &long, b"y\nz\n"]),
            [Err(TooLong), Ok(b"z".to_vec())]
        );
        assert_eq!(
            read(&[&long, b"\nz"]),
            [Ok(long.clone()), Ok(b"z".to_vec())]
        );
        assert_eq!(read(&[&long, b"y"]), [Err(TooLong)]);
        let at_once = [&long[..], b"y\nz"].concat();
        assert_eq!(read(&[&at_once]), [Err(TooLong), Ok(b"z".to_vec())]);
    }
}
