//! What PHP's `serialize` writes, read: the inside of Mautic's `ct` and `d`.
//!
//! Anyone can send such a text, so only plain data is read: arrays, strings, numbers, booleans and
//! null. Objects, enums, closures and references are refused, as are lengths that do not fit.
//! Arrays within arrays are kept on a list and not on the stack, depth and number of values are
//! capped before memory is taken for them, and every byte is looked at once.

use std::borrow::Cow;

use crate::model::hit::clean_bytes;

/// Arrays within arrays.
pub const MOST_DEPTH: usize = 8;
/// Digits of a number, with sign and exponent: PHP writes at most 24.
const MOST_DIGITS: usize = 32;

/// A value. Texts are byte strings; invalid UTF-8 is U+FFFD.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `N;`
    Null,
    /// `b:1;`
    Bool(bool),
    /// `i:-5;`
    Int(i64),
    /// `d:0.5;`, also `INF`, `-INF` and `NAN`
    Float(f64),
    /// `s:3:"abc";`
    Text(Cow<'a, str>),
    /// `a:1:{i:0;N;}`
    Array(Vec<(ArrayKey<'a>, Value<'a>)>),
}

/// A key of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArrayKey<'a> {
    /// Of a list.
    Int(i64),
    /// Of a map.
    Text(Cow<'a, str>),
}

/// Why a text cannot be read. Offsets are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhpError {
    /// An object, an enum, a reference, a custom format.
    #[error("contains something other than plain data at {0}")]
    NotPlain(usize),
    /// Anything that PHP would not have written.
    #[error("is malformed at {0}")]
    Malformed(usize),
    /// Arrays nested too deep.
    #[error("is nested deeper than {MOST_DEPTH} arrays")]
    TooDeep,
    /// More values than the reader accepts.
    #[error("contains too many values")]
    TooMany,
}

impl Value<'_> {
    /// The text that PHP makes of it; `None` for null and arrays.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null | Self::Array(_) => return None,
            Self::Bool(is) => Cow::Borrowed(if *is { "1" } else { "" }),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(number) if number.is_nan() => Cow::Borrowed("NAN"),
            Self::Float(number) if number.is_infinite() => {
                Cow::Borrowed(if *number > 0.0 { "INF" } else { "-INF" })
            }
            // `Debug` has an exponent where `Display` would write 300 zeros.
            Self::Float(number) => Cow::Owned(format!("{number:?}")),
            Self::Text(text) => Cow::Borrowed(text),
        })
    }
}

/// Reads a whole text with at most `most_values` values in arrays.
///
/// # Errors
/// The text is not plain data as PHP writes it, or is larger than allowed.
pub fn decode(bytes: &[u8], most_values: usize) -> Result<Value<'_>, PhpError> {
    let (value, end) = decode_start(bytes, most_values)?;
    if end == bytes.len() {
        Ok(value)
    } else {
        Err(PhpError::Malformed(end))
    }
}

/// Reads the value that a text begins with, as PHP's `unserialize` does, and returns where it ends.
///
/// # Errors
/// As [`decode`].
pub fn decode_start(bytes: &[u8], most_values: usize) -> Result<(Value<'_>, usize), PhpError> {
    let mut reader = PhpReader { bytes, at: 0 };
    let mut open: Vec<OpenArray<'_>> = Vec::new();
    let mut values = 0;
    loop {
        let mut value = match reader.begin()? {
            Begun::Value(value) => value,
            Begun::Array(0) => {
                reader.expect(b"}")?;
                Value::Array(Vec::new())
            }
            Begun::Array(count) => {
                // Counted when they are announced, before there is one of them.
                values += count;
                if values > most_values {
                    return Err(PhpError::TooMany);
                }
                if open.len() == MOST_DEPTH {
                    return Err(PhpError::TooDeep);
                }
                open.push(OpenArray {
                    key: reader.key()?,
                    entries: Vec::with_capacity(count),
                    missing: count,
                });
                continue;
            }
        };
        // Into its array; where that was the last of it, this array into its own, and so on.
        loop {
            let Some(mut array) = open.pop() else {
                return Ok((value, reader.at));
            };
            array.entries.push((array.key, value));
            array.missing -= 1;
            if array.missing > 0 {
                array.key = reader.key()?;
                open.push(array);
                break;
            }
            reader.expect(b"}")?;
            value = Value::Array(array.entries);
        }
    }
}

/// An array that is still open.
struct OpenArray<'a> {
    key: ArrayKey<'a>,
    entries: Vec<(ArrayKey<'a>, Value<'a>)>,
    missing: usize,
}

/// What a value begins with.
enum Begun<'a> {
    Value(Value<'a>),
    /// An array of so many.
    Array(usize),
}

struct PhpReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> PhpReader<'a> {
    fn begin(&mut self) -> Result<Begun<'a>, PhpError> {
        Ok(Begun::Value(match self.head()? {
            b"N;" => Value::Null,
            b"b:" => match self.until(b';')? {
                "0" => Value::Bool(false),
                "1" => Value::Bool(true),
                _ => return Err(self.malformed()),
            },
            b"i:" => Value::Int(self.int()?),
            b"d:" => Value::Float(self.float()?),
            b"s:" => Value::Text(self.string()?),
            b"a:" => {
                let count = self.length()?;
                self.expect(b"{")?;
                return Ok(Begun::Array(count));
            }
            [b'O' | b'C' | b'E' | b'R' | b'r' | b'S' | b'o', b':'] => {
                return Err(PhpError::NotPlain(self.at - 2));
            }
            _ => return Err(self.malformed()),
        }))
    }

    fn key(&mut self) -> Result<ArrayKey<'a>, PhpError> {
        match self.head()? {
            b"i:" => Ok(ArrayKey::Int(self.int()?)),
            b"s:" => Ok(ArrayKey::Text(self.string()?)),
            _ => Err(self.malformed()),
        }
    }

    /// The two bytes that say what follows.
    fn head(&mut self) -> Result<&'a [u8], PhpError> {
        let head = self.bytes.get(self.at..self.at + 2);
        let head = head.ok_or_else(|| self.malformed())?;
        self.at += 2;
        Ok(head)
    }

    fn int(&mut self) -> Result<i64, PhpError> {
        self.until(b';')?.parse().map_err(|_| self.malformed())
    }

    fn float(&mut self) -> Result<f64, PhpError> {
        match self.until(b';')? {
            "INF" => Ok(f64::INFINITY),
            "-INF" => Ok(f64::NEG_INFINITY),
            "NAN" => Ok(f64::NAN),
            // Rust reads words that PHP does not write.
            digits if digits.contains(['i', 'I', 'n', 'N']) => Err(self.malformed()),
            digits => digits.parse().map_err(|_| self.malformed()),
        }
    }

    /// A number without a sign, and the colon after it.
    fn length(&mut self) -> Result<usize, PhpError> {
        let digits = self.until(b':')?;
        if digits.starts_with('+') {
            return Err(self.malformed());
        }
        digits.parse().map_err(|_| self.malformed())
    }

    /// `3:"abc";`
    fn string(&mut self) -> Result<Cow<'a, str>, PhpError> {
        let length = self.length()?;
        self.expect(b"\"")?;
        let end = self.at.checked_add(length);
        let text = end.and_then(|end| self.bytes.get(self.at..end));
        let text = text.ok_or_else(|| self.malformed())?;
        self.at += length;
        self.expect(b"\";")?;
        Ok(clean_bytes(text))
    }

    /// A short text up to a byte, which is skipped.
    fn until(&mut self, end: u8) -> Result<&'a str, PhpError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = rest.iter().take(MOST_DIGITS).position(|byte| *byte == end);
        let text = found.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        let text = text.ok_or_else(|| self.malformed())?;
        self.at += text.len() + 1;
        Ok(text)
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), PhpError> {
        if self.bytes[self.at..].starts_with(wanted) {
            self.at += wanted.len();
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn malformed(&self) -> PhpError {
        PhpError::Malformed(self.at)
    }
}

#[cfg(test)]
mod tests;
