//! Batches: how they are packed, where their lines end, and what each line becomes.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::tracking::mapp::batch;
use crate::tracking::mapp::tests::{Asked, extra, visitor, with};

fn lines_of(body: &str) -> Vec<String> {
    batch::lines(body.as_bytes())
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect()
}

#[test]
fn lines_end_in_every_way_that_sdks_write() {
    let (a, b) = ("wt?p=600,a&x=1", "wt?p=600,b");
    for body in [
        format!("{a}\n{b}"),
        format!("{a}\r\n{b}\r\n"),
        format!("{a}\\n{b}"),
        format!("{a}\\n{b}\\n"),
        format!("\n\r\n{a}\n\n \n{b}\n\n"),
    ] {
        assert_eq!(lines_of(&body), [a, b], "{body:?}");
    }
    assert_eq!(lines_of("?p=600,a\\n?p=600,b"), ["?p=600,a", "?p=600,b"]);
    let inside = "wt?p=600,c:\\new\\nothing";
    assert_eq!(lines_of(&format!("{inside}\n{b}")), [inside, b]);
    assert_eq!(lines_of(""), [""; 0]);
}

fn batch_hits(body: &str, url: &str) -> Vec<Hit> {
    let asked = Asked {
        query: url,
        headers: &[],
        is_trusted: true,
    };
    with(&asked, |inbound, rules| {
        let sender = Sender::of(inbound, rules);
        let defaults = batch::defaults(inbound.query);
        batch::lines(body.as_bytes())
            .flat_map(|line| batch::line_hits(&sender, "111", &defaults, line))
            .collect()
    })
}

#[test]
fn parameters_of_the_batchs_url_are_defaults() {
    let hits = batch_hits(
        "wt?p=600,a\nwt?p=600,b&eid=9",
        "eid=7&X-WT-IP=203.0.113.7&la=de",
    );
    assert_eq!(hits[0].visitor_id, visitor("7"));
    assert_eq!(hits[1].visitor_id, visitor("9"));
    assert!(
        hits.iter()
            .all(|hit| hit.ip.unwrap().to_string() == "203.0.113.7"
                && hit.page_language.as_deref() == Some("de"))
    );
}

#[test]
fn defaults_beyond_what_is_read_of_a_line_are_told() {
    let names = |count: usize| (0..count).map(|n| format!("&x{n}=1")).collect::<String>();
    let told = |line: &str, url: &str| {
        let hits = batch_hits(line, url);
        let reason = hits[0].reason.clone().unwrap_or_default();
        reason.contains("parameters cut")
    };
    let url = names(300);
    assert!(!told("wt?p=600,a&y=1&x1=2", &url));
    let line = "wt?p=600,a".to_owned() + &names(250) + &"&y=1".repeat(250);
    assert!(told(&line, &url));
    assert!(told("wt?p=600,a", &names(501)));
}

#[test]
fn bad_lines_are_kept_for_the_quarantine() {
    let hits = batch_hits(
        "hello\nwt?p=600,a\nwt?x=1\n{\"p\":1}\n/111/wt?p=600,b\nwt-abcde?p=600,c\np=600,d",
        "",
    );
    let refused: Vec<_> = hits
        .iter()
        .map(|hit| {
            hit.foreign
                .as_ref()
                .and_then(|foreign| foreign.refused.as_deref())
        })
        .collect();
    let no_hit = Some("line is no hit");
    assert_eq!(
        refused,
        [
            no_hit,
            None,
            Some("line without p"),
            no_hit,
            None,
            None,
            None
        ]
    );
    assert_eq!(extra(&hits[0], "line"), "hello");
    let long = batch_hits(&format!("wt?p=600,a&x={}", "y".repeat(70_000)), "");
    assert_eq!(
        long[0].foreign.as_ref().unwrap().refused.as_deref(),
        Some("line too long")
    );
    assert_eq!(long[0].extra.as_ref().unwrap().len(), 16);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_deflated_batch_is_unpacked_with_zlibs_frame_and_without() {
    let plain = b"wt?p=600,a\nwt?p=600,b\n".repeat(20);
    for body in [
        zlib(&plain),
        deflate(&plain),
        gzip(&plain),
        // Unpacked by somebody who left the header.
        plain.clone(),
    ] {
        assert_eq!(batch::unpack(body, Packing::Deflate, 1), Ok(plain.clone()));
    }
    assert_eq!(batch::unpack(Vec::new(), Packing::Deflate, 1), Ok(vec![]));
    for mut broken in [zlib(&plain), deflate(&plain)] {
        broken.truncate(broken.len() / 2);
        let refused = Err(Unusable::BrokenDeflate);
        assert_eq!(batch::unpack(broken, Packing::Deflate, 1), refused);
    }
    for bomb in [
        zlib(&vec![b'\n'; 100 << 20]),
        deflate(&vec![b'\n'; 100 << 20]),
    ] {
        let refused = Err(Unusable::TooLong);
        assert_eq!(batch::unpack(bomb, Packing::Deflate, 1), refused);
    }
}

#[test]
fn what_a_batch_is_packed_with_is_read_from_its_header() {
    for (value, packing) in [
        ("gzip", Some(Packing::Plain)),
        ("X-GZIP", Some(Packing::Plain)),
        ("identity", Some(Packing::Plain)),
        ("", Some(Packing::Plain)),
        (" Deflate ", Some(Packing::Deflate)),
        ("br", None),
        ("zstd", None),
        ("gzip, br", None),
        ("utf-8", Some(Packing::Plain)),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", value.parse().unwrap());
        assert_eq!(Packing::of(&headers), packing, "{value}");
    }
    assert_eq!(Packing::of(&HeaderMap::new()), Some(Packing::Plain));
}

#[test]
fn batches_are_unpacked_within_limits() {
    let plain = b"wt?p=600,a\n".to_vec();
    assert_eq!(
        batch::unpack(gzip(&plain), Packing::Plain, 1),
        Ok(plain.clone())
    );
    assert_eq!(
        batch::unpack(plain.clone(), Packing::Plain, 1),
        Ok(plain.clone())
    );
    let mut broken = gzip(&plain);
    broken.truncate(20);
    assert_eq!(
        batch::unpack(broken, Packing::Plain, 1),
        Err(Unusable::BrokenGzip)
    );
    let bomb = gzip(&vec![b'\n'; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(
        batch::unpack(bomb, Packing::Plain, 1),
        Err(Unusable::TooLong)
    );
    assert!(batch::unpack(plain.repeat(10_000), Packing::Plain, 1).is_ok());
    assert_eq!(
        batch::unpack(plain.repeat(10_001), Packing::Plain, 1),
        Err(Unusable::TooManyLines)
    );
    assert_eq!(
        batch::unpack(plain.repeat(5_001), Packing::Plain, 2),
        Err(Unusable::TooManyLines)
    );
    let empty = vec![b'\n'; 24 << 20];
    assert!(batch::unpack(empty, Packing::Plain, 1).is_ok());
}

proptest! {
    #[test]
    fn no_gzip_panics(mut body: Vec<u8>, cut in 0_usize..60, flip in 0_usize..60) {
        let _ = batch::unpack([&[0x1f, 0x8b, 8, 0][..], &body].concat(), Packing::Plain, 1);
        body = gzip(&body);
        body.truncate(cut.max(2));
        if let Some(byte) = body.get_mut(flip) {
            *byte ^= 0x55;
        }
        let _ = batch::unpack(body.clone(), Packing::Plain, 1);
        let _ = batch::unpack(body, Packing::Deflate, 1);
    }
}
