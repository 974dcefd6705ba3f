//! One line of a head: what it is, and how a target is encoded and cut.

use memchr::{memchr, memmem, memrchr};

/// Targets up to this length pass uncut; hyper's own limit is 65,534.
pub(super) const MOST_TARGET: usize = 60_000;
/// How much of a longer one is kept. Every parameter is cut to 8,000 characters later.
const KEPT_TARGET: usize = 32 << 10;

/// Whether a request line asks for something that a person waits for.
pub(super) fn is_mendable(line: &[u8]) -> bool {
    [b"GET ".as_slice(), b"HEAD "].iter().any(|method| {
        line.strip_prefix(*method)
            .is_some_and(|target| !target.starts_with(b"/api/"))
    })
}

/// Whether a line has a method and a version that hyper knows. Any other is refused, whatever else
/// it says.
pub(super) fn is_request_line(line: &[u8]) -> bool {
    (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")) && !line.starts_with(b"CONNECT ")
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

pub(super) fn name_and_value(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

/// Lines that define the body, or whether another request follows.
pub(super) fn frames_body(name: &[u8]) -> bool {
    is_any(
        name,
        &[
            "connection",
            "content-length",
            "transfer-encoding",
            "upgrade",
        ],
    )
}

/// Whether a malformed line could be read as one that frames the body by somebody less strict, such
/// as a proxy in front (`Transfer-Encoding\x0b: chunked`, `Content-Length 3`). hyper refuses such a
/// line, and with it the request; without the line it would take what may be a body for a request.
pub(super) fn resembles_framing(line: &[u8]) -> bool {
    let letters: Vec<u8> = line
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .map(u8::to_ascii_lowercase)
        .collect();
    ["contentlength", "transferencoding"]
        .iter()
        .any(|name| memmem::find(&letters, name.as_bytes()).is_some())
}

/// Lines that say who the client is and what it wants: a flood of others must not push them out.
pub(super) fn names_client(name: &[u8]) -> bool {
    is_any(name, &["forwarded", "host", "x-forwarded-for"])
}

fn is_any(name: &[u8], known: &[&str]) -> bool {
    known
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

pub(super) fn is_token(name: &[u8]) -> bool {
    const TOKEN: [bool; 256] = {
        let mut map = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            map[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"!#$%&'*+-.^_`|~";
        let mut index = 0;
        while index < others.len() {
            map[others[index] as usize] = true;
            index += 1;
        }
        map
    };
    !name.is_empty() && name.iter().all(|&byte| TOKEN[usize::from(byte)])
}

pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| is_value_byte(byte))
}

pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// Percent-encodes what a target must not contain; UTF-8 stays as it is.
pub(super) fn encode_target(target: &[u8]) -> Vec<u8> {
    let is_text = std::str::from_utf8(target).is_ok();
    let mut out = Vec::with_capacity(target.len());
    for &byte in target {
        if byte <= 0x20
            || matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x7f)
            || byte > 0x7f && !is_text
        {
            out.extend_from_slice(percent_encoding::percent_encode_byte(byte).as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

/// Cuts an encoded target at a parameter's end, or within a parameter that is too long by itself.
pub(super) fn cut_target(target: &mut Vec<u8>) {
    target.truncate(KEPT_TARGET);
    if let Some(at) = memrchr(b'&', target).filter(|at| *at > KEPT_TARGET / 2) {
        target.truncate(at);
        return;
    }
    // Not within an escape or a character.
    if let Some(at) = memrchr(b'%', target).filter(|at| at + 3 > target.len()) {
        target.truncate(at);
    }
    if let Err(error) = std::str::from_utf8(target) {
        target.truncate(error.valid_up_to());
    }
}
