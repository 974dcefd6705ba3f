//! What PHP writes is read; what it would not have written is refused, quickly. The texts were
//! written by PHP 8.2's `serialize`.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Value<'_>, PhpError> {
    decode(text.as_bytes(), 1_000)
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

#[test]
fn every_kind_of_plain_data_is_read() {
    for (written, expected) in [
        ("N;", Value::Null),
        ("b:1;", Value::Bool(true)),
        ("b:0;", Value::Bool(false)),
        ("i:-9223372036854775808;", Value::Int(i64::MIN)),
        ("i:9223372036854775807;", Value::Int(i64::MAX)),
        ("d:0.1;", Value::Float(0.1)),
        ("d:1.0E+25;", Value::Float(1e25)),
        ("d:-0;", Value::Float(-0.0)),
        ("d:INF;", Value::Float(f64::INFINITY)),
        ("d:-INF;", Value::Float(f64::NEG_INFINITY)),
        ("s:0:\"\";", text("")),
        ("s:5:\"a\";b}\";", text("a\";b}")),
        ("s:6:\"M\u{fc}nz\u{20ac}\";", Value::Null),
        ("s:9:\"M\u{fc}nz\u{20ac}!\";", text("M\u{fc}nz\u{20ac}!")),
        ("a:0:{}", Value::Array(vec![])),
        (
            "a:2:{i:0;s:1:\"x\";s:1:\"k\";a:1:{i:7;N;}}",
            Value::Array(vec![
                (ArrayKey::Int(0), text("x")),
                (
                    ArrayKey::Text("k".into()),
                    Value::Array(vec![(ArrayKey::Int(7), Value::Null)]),
                ),
            ]),
        ),
    ] {
        if written.starts_with("s:6") {
            assert_eq!(
                read(written),
                Err(PhpError::Malformed(11)),
                "bytes, not characters"
            );
        } else {
            assert_eq!(read(written), Ok(expected), "{written}");
        }
    }
    assert!(matches!(read("d:NAN;"), Ok(Value::Float(number)) if number.is_nan()));
}

#[test]
fn bytes_that_are_no_text_are_kept_as_far_as_they_are() {
    assert_eq!(
        decode(b"s:5:\"M\xfcnz!\";", 0),
        Ok(text("M\u{fffd}nz!")),
        "Latin-1 of an old site"
    );
}

#[test]
fn objects_and_references_are_refused() {
    for written in [
        "O:8:\"stdClass\":0:{}",
        "a:1:{i:0;O:8:\"stdClass\":1:{s:1:\"a\";i:1;}}",
        "C:11:\"ArrayObject\":21:{x:i:0;a:0:{};m:a:0:{}}",
        "E:11:\"Suit:Hearts\";",
        "a:2:{i:0;i:1;i:1;R:2;}",
        "a:2:{i:0;i:1;i:1;r:1;}",
        "S:1:\"\\61\";",
        "o:1:{s:1:\"a\";i:1;}",
    ] {
        assert!(
            matches!(read(written), Err(PhpError::NotPlain(_))),
            "{written}"
        );
    }
    let closure = "a:1:{O:7:\"Closure\":0:{}i:0;}";
    assert!(
        matches!(read(closure), Err(PhpError::Malformed(_))),
        "as a key"
    );
}

#[test]
fn what_php_would_not_have_written_is_refused() {
    for written in [
        "",
        "a",
        "a:",
        "N",
        "x:1;",
        "b:2;",
        "b:;",
        "i:;",
        "i:1",
        "i:1.5;",
        "i:0x10;",
        "i:9223372036854775808;",
        "d:inf;",
        "d:nan;",
        "d:Infinity;",
        "d:;",
        "d:1e;",
        "s:3:\"ab\";",
        "s:2:\"abc\";",
        "s:-1:\"\";",
        "s:+1:\"a\";",
        "s:1:'a';",
        "s:1:\"a\"",
        "s:18446744073709551615:\"a\";",
        "s:99999999999999999999999999:\"a\";",
        "s:4294967295:\"",
        "a:1:{i:0;i:1;",
        "a:1:{i:0;}",
        "a:2:{i:0;i:1;}",
        "a:1:{i:0;i:1;i:1;i:2;}",
        "a:-1:{}",
        "a:1:{N;i:1;}",
        "a:1:{a:0:{}i:1;}",
        "a:0:{",
        "a:0:}",
        "a:0:{}a:0:{}",
        "i:1; ",
        "a:1{i:0;i:1;}",
        "i:00000000000000000000000000000000000000001;",
    ] {
        assert!(read(written).is_err(), "{written}");
    }
}

#[test]
fn depth_and_size_are_capped() {
    let nested = |depth: usize| format!("{}N;{}", "a:1:{i:0;".repeat(depth), "}".repeat(depth));
    assert!(read(&nested(MOST_DEPTH)).is_ok());
    assert_eq!(read(&nested(MOST_DEPTH + 1)), Err(PhpError::TooDeep));
    assert_eq!(read(&nested(100_000)), Err(PhpError::TooDeep));
    assert_eq!(read("a:999999999:{i:0;i:1;"), Err(PhpError::TooMany));
    assert_eq!(read("a:18446744073709551615:{"), Err(PhpError::TooMany));
    assert!(read("a:999999999999999999999:{").is_err());
    // Each announces what it may, all together more.
    assert_eq!(read(&"a:600:{i:0;".repeat(2)), Err(PhpError::TooMany));
}

#[test]
fn values_are_the_texts_that_php_makes_of_them() {
    for (value, expected) in [
        (Value::Bool(true), Some("1")),
        (Value::Bool(false), Some("")),
        (Value::Int(-5), Some("-5")),
        (Value::Float(49.9), Some("49.9")),
        (Value::Float(1e300), Some("1e300")),
        (Value::Float(f64::NAN), Some("NAN")),
        (Value::Float(f64::NEG_INFINITY), Some("-INF")),
        (Value::Null, None),
        (Value::Array(vec![]), None),
    ] {
        assert_eq!(value.text().as_deref(), expected);
    }
}

/// As PHP would write it.
fn serialize(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("N;"),
        Value::Bool(is) => out.push_str(if *is { "b:1;" } else { "b:0;" }),
        Value::Int(number) => out.push_str(&format!("i:{number};")),
        Value::Float(_) => out.push_str(&format!("d:{};", value.text().unwrap())),
        Value::Text(text) => out.push_str(&format!("s:{}:\"{text}\";", text.len())),
        Value::Array(entries) => {
            out.push_str(&format!("a:{}:{{", entries.len()));
            for (key, value) in entries {
                match key {
                    ArrayKey::Int(number) => out.push_str(&format!("i:{number};")),
                    ArrayKey::Text(text) => out.push_str(&format!("s:{}:\"{text}\";", text.len())),
                }
                serialize(value, out);
            }
            out.push('}');
        }
    }
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let key = || {
        prop_oneof![
            any::<i64>().prop_map(ArrayKey::Int),
            "\\PC{0,8}".prop_map(|text| ArrayKey::Text(text.into())),
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300_f64).prop_map(Value::Float),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop::collection::vec((key(), inner), 0..5).prop_map(Value::Array)
    })
}

/// Pieces that a text from a hostile hand is made of.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "a:1:{",
            "a:3:{",
            "a:999999999:{",
            "i:0;",
            "i:1;",
            "s:1:\"a\";",
            "s:3:\"a\";",
            "s:0:\"\";",
            "N;",
            "b:1;",
            "d:0.5;",
            "d:INF;",
            "}",
            ";",
            ":",
            "\"",
            "O:8:\"stdClass\":0:{}",
            "R:1;",
            "-",
            "9",
            "\u{fc}",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_php_writes_comes_back(value in value()) {
        let mut written = String::new();
        serialize(&value, &mut written);
        prop_assert_eq!(decode(written.as_bytes(), 1_000), Ok(value));
    }

    #[test]
    fn a_part_of_it_is_refused(value in value(), cut in any::<prop::sample::Index>()) {
        let mut written = String::new();
        serialize(&value, &mut written);
        prop_assert!(decode(&written.as_bytes()[..cut.index(written.len())], 1_000).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), pieces in hostile()) {
        let _ = decode(&bytes, 1_000);
        let _ = decode(&pieces, 1_000);
    }
}
