//! Ordinary connections pass byte for byte, however they are cut into reads; the others come out as
//! hyper takes them.

use proptest::prelude::*;

use super::*;

/// What comes out when the bytes arrive in these pieces; `None` if the connection is ended.
fn mended(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> Option<Vec<u8>> {
    let (mut mender, mut out, mut rest) = (Mender::default(), Vec::new(), input);
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (part, later) = rest.split_at(size);
        rest = later;
        if mender.passes(part) {
            out.extend_from_slice(part);
        } else {
            mender.feed(part, &mut out).ok()?;
        }
    }
    Some(out)
}

fn whole(input: &[u8]) -> String {
    String::from_utf8_lossy(&mended(input, std::iter::empty()).unwrap()).into_owned()
}

fn ordinary_request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof!["GET", "HEAD", "POST", "OPTIONS", "DELETE"];
    let target = "/[a-zA-Z0-9/._~!$&'()*+,;=:@%^|{}?-]{0,120}";
    let header = ("[A-Za-z][A-Za-z0-9-]{0,20}", "[ -~\t\u{e4}\u{20ac}]{0,40}").prop_filter(
        "framing has its own",
        |(name, _)| {
            !["content-length", "transfer-encoding", "upgrade"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        },
    );
    let body = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    (method, target, prop::collection::vec(header, 0..30), body).prop_map(
        |(method, target, headers, body)| {
            let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
            for (name, value) in headers {
                request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            if let Some(body) = &body {
                request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
            }
            request.extend_from_slice(b"\r\n");
            request.extend_from_slice(&body.unwrap_or_default());
            request
        },
    )
}

/// Bytes that look enough like requests to reach every corner.
fn any_connection() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET ", "HEAD ", "POST ", "/", "?", "&a=b", " ", "%", "\"", "\0", "\r\n", "\n", "\r", "\r\n\r\n", ":", "\t",
            " HTTP/1.1\r\n", " HTTP/1.0\n", "Content-Length: \
                3\r\n", "content-length : 3\r\n", "Transfer-Encoding: chunked\r\n",
            "X: y\r\n", "Host: a\r\n", "/api/v1",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (1_usize..5_000).prop_map(|times| b"&abc=%41".repeat(times)),
        1 => (1_usize..200).prop_map(|times| b"N: v\r\n".repeat(times)),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn ordinary_requests_pass_unchanged_however_they_are_cut(
        requests in prop::collection::vec(ordinary_request(), 1..5),
        sizes in prop::collection::vec(1_usize..600, 0..60),
    ) {
        let input = requests.concat();
        prop_assert_eq!(mended(&input, sizes.into_iter()), Some(input));
    }

    #[test]
    fn the_pieces_in_which_bytes_arrive_change_nothing(
        input in any_connection(),
        sizes in prop::collection::vec(1_usize..3_000, 0..60),
    ) {
        // Only whole lines are let go, so what was held back at the end of the input is not
        // compared.
        prop_assert_eq!(mended(&input, sizes.into_iter()), mended(&input, std::iter::empty()));
    }

    #[test]
    fn bytes_after_a_head_with_odd_framing_are_not_touched(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut input = b"GET /x HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n".to_vec();
        input.extend_from_slice(&body);
        prop_assert_eq!(mended(&input, std::iter::empty()), Some(input));
    }
}

#[test]
fn a_long_query_keeps_its_first_whole_parameters() {
    let input = format!(
        "GET /p.gif?first=1{} HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n\r\n",
        "&junk=12345".repeat(100_000)
    );
    let out = whole(input.as_bytes());
    assert!(out.starts_with("GET /p.gif?first=1&junk=12345&"));
    let (head, next) = out.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap();
    assert!(line.ends_with("&junk=12345 HTTP/1.1"), "{}", line.len());
    assert!((30_000..33_000).contains(&line.len()));
    assert!(head.ends_with("Host: a\r\nx-sillage-mended: cut"));
    assert_eq!(next, "GET /next HTTP/1.1\r\n\r\n");
}

#[test]
fn a_parameter_that_is_too_long_by_itself_is_cut_outside_of_escapes() {
    let input = format!("GET /p?a={} HTTP/1.1\r\n\r\n", "%C3%BC".repeat(200_000));
    let out = whole(input.as_bytes());
    let line = out.lines().next().unwrap();
    let value = line.strip_suffix(" HTTP/1.1").unwrap();
    assert!(value.len() > 32_000);
    assert!(value.ends_with("%C3") || value.ends_with("%BC"));
}

#[test]
fn what_a_target_may_not_hold_is_encoded() {
    assert_eq!(
        whole(b"GET /p?a=\0&b=x y&c=\xff\"<> HTTP/1.1\r\n\r\n"),
        "GET /p?a=%00&b=x%20y&c=%FF%22%3C%3E HTTP/1.1\r\n\r\n"
    );
    assert_eq!(
        whole("GET /p?a=\u{fc} HTTP/1.1\r\n\r\n".as_bytes()),
        "GET /p?a=\u{fc} HTTP/1.1\r\n\r\n"
    );
}

#[test]
fn header_floods_and_broken_headers_leave_a_head_that_hyper_takes() {
    let flood = "a: b\r\n".repeat(5_000);
    let out =
        whole(format!("GET / HTTP/1.1\r\n{flood}X-Forwarded-For: 192.0.2.1\r\n\r\n").as_bytes());
    assert_eq!(out.matches("a: b\r\n").count(), MOST_LINES);
    assert!(out.ends_with("X-Forwarded-For: 192.0.2.1\r\nx-sillage-mended: cut\r\n\r\n"));

    let out = whole(b"GET / HTTP/1.1\r\nCookie: a=\0b\r\nbroken line\r\n\xff: x\r\n: y\r\n\r\n");
    assert_eq!(
        out,
        "GET / HTTP/1.1\r\nCookie: a= b\r\nx-sillage-mended: repaired\r\n\r\n"
    );

    let out = whole(
        format!(
            "GET / HTTP/1.1\r\nCookie: a={}\r\nb: c\r\n\r\n",
            "x".repeat(1 << 20)
        )
        .as_bytes(),
    );
    assert!(out.len() < 128 << 10 && out.contains("b: c\r\n") && out.contains("mended: cut"));
}

/// A proxy in front may read them as a body's length. Left out, they would turn that body into a
/// request of its own; as they came, hyper refuses them.
#[test]
fn malformed_lines_that_could_frame_a_body_reach_hyper_as_they_came() {
    for line in [
        "Transfer-Encoding\u{b}: chunked",
        "\u{b}Transfer-Encoding: chunked",
        "Transfer Encoding: chunked",
        "transfer-encoding",
        "Content-Length 3",
        "Content-Length : 3",
        "\0Content-Length: 3",
        "X\u{0}\u{c}content-length: 3",
    ] {
        let input =
            format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nGET /inner HTTP/1.1\r\n\r\n");
        assert!(
            whole(input.as_bytes()).contains(&format!("\r\n{line}\r\n")),
            "{line:?}"
        );
    }
}

#[test]
fn the_api_and_posts_are_left_to_hyper() {
    for start in ["GET /api/v1/hits?", "POST /mtc/event?"] {
        let input = format!("{start}{} HTTP/1.1\r\na: \0\r\n\r\n", "x".repeat(1 << 20));
        assert_eq!(whole(input.as_bytes()), input);
    }
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let input = [b"GET /?".as_slice(), &vec![b'x'; MOST_BYTES]].concat();
    assert_eq!(mended(&input, std::iter::repeat(16 << 10)), None);
    let lines = [
        b"GET / HTTP/1.1\r\n".as_slice(),
        &b"a: b\r\n".repeat(800_000),
    ]
    .concat();
    assert_eq!(mended(&lines, std::iter::repeat(16 << 10)), None);
}
