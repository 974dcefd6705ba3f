//! Breaking requests, the same way each time for the same seed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::decoders::Request;
use super::LONGEST;

/// What decoders stumble over, where it is a value or a part of one.
const HARD: [&[u8]; 48] = [
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999999",
    b"0.00000000000000000001",
    b"1,50",
    b"1.000,50",
    b"%",
    b"%2",
    b"%zz",
    b"%00",
    b"\0",
    b"%ff%fe",
    b"\xff\xfe",
    b"%C3",
    b"\xc3",
    b"%F0%9F%92%A1",
    "\u{202e}\u{feff}".as_bytes(),
    b"%2C%2C%2C",
    b",,,,,,,,,,,,",
    b"%3B%3B%3B",
    b";;;;",
    b"&&&=&=&",
    b"====",
    b"a=b%26c=d",
    b"[]",
    b"[a][b][c]",
    b"<script>",
    b"%0d%0aX:y",
    b"\r\n",
    b"\\n",
    b"hffffffffffffffff,ffffffffffffffff,ffffffffffffffff",
    b"h,,",
    b"h0,0,0",
    b"ffffffffffffffffffffffffffffffffffffffff",
    b"a:1:{i:0;",
    b"a:2147483647:{",
    b"s:999999999:\"x\";",
    b"O:8:\"stdClass\":0:{}",
    b"d:1e400;",
    b"i:99999999999999999999;",
    b"b:2;N;r:1;R:1;",
    b"--B\r\n",
];

/// Makes one request after another.
pub struct Mutator<'c> {
    corpus: &'c [Request],
    state: u64,
    request: Request,
}

impl<'c> Mutator<'c> {
    /// Starts at a seed.
    pub fn new(corpus: &'c [Request], seed: u64) -> Self {
        Self {
            corpus,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            request: Request::default(),
        }
    }

    /// SplitMix64: short, fast, and good enough to break things.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 {
            0
        } else {
            (self.random() % end as u64) as usize
        }
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// The next one.
    pub fn next_request(&mut self) -> &Request {
        let corpus = self.corpus;
        let mut request = corpus[self.below(corpus.len())].clone();
        let other = &corpus[self.below(corpus.len())];
        for _ in 0..=self.below(4) {
            // What is there is what the decoder reads.
            match self.below(12) {
                0 => {
                    request.path =
                        text(self.broken(request.path.into_bytes(), other.path.as_bytes()))
                }
                1 => {
                    request.cookie =
                        text(self.broken(request.cookie.into_bytes(), other.cookie.as_bytes()))
                }
                2 if !request.content_type.is_empty() => {
                    let broken = self.broken(request.content_type.into_bytes(), b"; boundary=\"");
                    request.content_type = text(broken);
                }
                _ if request.body.is_empty() => {
                    request.query =
                        text(self.broken(request.query.into_bytes(), other.query.as_bytes()));
                }
                3 => {
                    request.query =
                        text(self.broken(request.query.into_bytes(), other.query.as_bytes()))
                }
                _ => request.body = self.broken(request.body, &other.body),
            }
        }
        self.request = request;
        &self.request
    }

    /// One way of breaking, at one place.
    fn broken(&mut self, mut text: Vec<u8>, other: &[u8]) -> Vec<u8> {
        let at = self.below(text.len() + 1);
        match self.below(40) {
            0..=9 => self.break_pair(&mut text),
            10..=13 => {
                let hard = self.pick(&HARD);
                text.splice(at..at, hard.iter().copied());
            }
            14..=18 => {
                let random = self.random();
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << (random % 8);
                }
            }
            19..=21 => text.truncate(at),
            22..=24 => {
                let length = self.below(16);
                let end = (at + length).min(text.len());
                text.drain(at..end);
            }
            25..=28 => {
                // A part of another one.
                let from = self.below(other.len() + 1);
                let length = self.below(64);
                let end = (from + length).min(other.len());
                text.splice(at..at, other[from..end].iter().copied());
            }
            29..=31 => {
                // A part once more, or to somewhere else.
                let length = self.below(24);
                let end = (at + length).min(text.len());
                let part = text[at..end].to_vec();
                let to = self.below(text.len() + 1);
                text.splice(to..to, part);
            }
            32..=34 => {
                for _ in 0..=self.below(8) {
                    let byte = self.random() as u8;
                    let place = self.below(text.len() + 1);
                    text.insert(place, byte);
                }
            }
            35..=37 => self.break_payload(&mut text),
            _ if self.below(16) == 0 => {
                // Long, out of one part.
                let length = 1 + self.below(24);
                let end = (at + length).min(text.len());
                let mut part = text[at..end].to_vec();
                if part.is_empty() {
                    part = self.pick(&HARD).to_vec();
                    part.push(b'&');
                }
                let room = LONGEST.saturating_sub(text.len() + 1_024);
                let times = self.below(room / part.len() + 1);
                text.splice(at..at, part.repeat(times));
            }
            _ => {
                let length = text.len().max(1);
                text.rotate_left(at % length);
            }
        }
        text
    }

    /// Parameters as such: one doubled, emptied, replaced, moved or gone.
    fn break_pair(&mut self, text: &mut Vec<u8>) {
        let separator = self.pick(b"&&&&&;,:");
        let mut pairs: Vec<Vec<u8>> = text
            .split(|byte| *byte == separator)
            .map(<[u8]>::to_vec)
            .collect();
        let place = self.below(pairs.len());
        let name_end = pairs[place].iter().position(|byte| *byte == b'=');
        let name_end = name_end.map_or(0, |end| end + 1);
        match self.below(6) {
            0 => {
                let again = pairs[place].clone();
                pairs.push(again);
            }
            1 => pairs[place].truncate(name_end),
            2 => {
                let hard = self.pick(&HARD);
                pairs[place].truncate(name_end);
                pairs[place].extend_from_slice(hard);
            }
            3 => {
                let other = self.below(pairs.len());
                pairs.swap(place, other);
            }
            4 => {
                pairs.remove(place);
            }
            _ => {
                let hard = self.pick(&HARD);
                pairs[place].extend_from_slice(hard);
            }
        }
        *text = pairs.join(&separator);
    }

    /// Within base64: what is in a `d`, `ct` or `e`.
    fn break_payload(&mut self, text: &mut Vec<u8>) {
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        let mut longest = 0..0;
        let mut start = 0;
        for end in 0..=text.len() {
            if end == text.len() || !is_base64(&text[end]) {
                if end - start > longest.len() {
                    longest = start..end;
                }
                start = end + 1;
            }
        }
        let whole = longest.start..longest.start + longest.len() / 4 * 4;
        let Ok(mut payload) = STANDARD.decode(&text[whole.clone()]) else {
            return;
        };
        let at = self.below(payload.len() + 1);
        match self.below(4) {
            0 => {
                let hard = self.pick(&HARD);
                payload.splice(at..at, hard.iter().copied());
            }
            1 => payload.truncate(at),
            2 => self.break_pair(&mut payload),
            _ => {
                let random = self.random();
                if let Some(byte) = payload.get_mut(at) {
                    *byte = random as u8;
                }
            }
        }
        text.splice(whole, STANDARD.encode(payload).into_bytes());
    }
}

/// As a request's head holds it.
fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
