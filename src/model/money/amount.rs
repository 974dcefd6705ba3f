//! Amounts as shops write them: `2,000.00`, `1.299,00`, `1 299,00`, `1'299.00`, `12,34,567.00`,
//! `$49.90`, `49,90 €`, `EUR 49.90`, `49,-`.
//!
//! An amount is read where it can mean one thing only. A point that stands alone is the decimal
//! point (`1.299` is one and a fraction: numbers of programs look like that); a comma that stands
//! alone is one unless three digits follow, since `6,795` is six or nearly seven thousand. With a
//! currency beside it the text was written for people, and `1.299 €` could be either too. What
//! could be two amounts is none.
//!
//! | text | amount |
//! |---|---|
//! | two different separators | the last one is the decimal point, the other one groups thousands |
//! | one separator several times, or spaces and apostrophes | groups thousands |
//! | `6,795`, `1.299 €`, `1,23,4`, `1.299.000,50,1` | none |
//!
//! The code of a currency, or a sign that only one currency has, says the currency as well; `$`,
//! `£`, `¥` and `kr` are those of several.

use super::{Currency, Money, MoneyError};

/// An amount, and the currency that stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// How much.
    pub money: Money,
    /// The currency, if the text names exactly one.
    pub currency: Option<Currency>,
}

/// Signs of currencies in lower case, longest first, with the code if only one currency uses the
/// sign.
const SIGNS: [(&str, &str); 37] = [
    ("us$", "USD"),
    ("nz$", "NZD"),
    ("au$", "AUD"),
    ("ca$", "CAD"),
    ("hk$", "HKD"),
    ("nt$", "TWD"),
    ("mx$", "MXN"),
    ("r$", "BRL"),
    ("a$", ""),
    ("c$", ""),
    ("s$", ""),
    ("sfr.", "CHF"),
    ("sfr", "CHF"),
    ("zł", "PLN"),
    ("kč", "CZK"),
    ("лв", "BGN"),
    ("lei", ""),
    ("руб.", "RUB"),
    ("руб", "RUB"),
    ("fr.", ""),
    ("kr.", ""),
    ("kr", ""),
    ("ft", ""),
    ("€", "EUR"),
    ("₹", "INR"),
    ("₽", "RUB"),
    ("₺", "TRY"),
    ("₴", "UAH"),
    ("₪", "ILS"),
    ("₫", "VND"),
    ("₦", "NGN"),
    ("₱", "PHP"),
    ("฿", "THB"),
    ("₩", ""),
    ("$", ""),
    ("£", ""),
    ("¥", ""),
];

/// The ISO 4217 codes that amounts are given in. A word beside a number is a currency only if it is
/// one of them.
const CODES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB \
    BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF CLP \
     CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ \
     GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK \
     JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK \
     MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO \
     NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP \
     SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND \
     TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW";

/// Reads an amount.
///
/// # Errors
/// The text is not an amount, could be read as two, or the amount is too large.
pub fn read(text: &str) -> Result<Amount, MoneyError> {
    let (text, mut sign) = signed(text.trim());
    let (text, before) = without_mark(text, Side::Before);
    let (text, after) = without_mark(text, Side::After);
    if before.is_some() && after.is_some() {
        return Err(MoneyError::NotANumber);
    }
    let mark = before.or(after);
    // `-$5` and `$-5`
    let (digits, inner) = match sign {
        None => signed(text),
        Some(_) => (text, None),
    };
    sign = sign.or(inner);
    let (whole, places) = parts(digits, mark.is_some())?;
    Ok(Amount {
        money: Money::of(sign == Some('-'), &whole, places)?,
        currency: mark.flatten(),
    })
}

fn signed(text: &str) -> (&str, Option<char>) {
    let mut chars = text.chars();
    match chars.next() {
        Some('-' | '\u{2212}') => (chars.as_str().trim_start(), Some('-')),
        Some('+') => (chars.as_str().trim_start(), Some('+')),
        _ => (text, None),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Takes a currency's sign or code off one side. The outer option says whether there is one, the
/// inner one which.
fn without_mark(text: &str, side: Side) -> (&str, Option<Option<Currency>>) {
    let edge = match side {
        Side::Before => text.chars().next(),
        Side::After => text.chars().next_back(),
    };
    // Nearly always: digits to the end.
    if edge.is_none_or(|c| c.is_ascii_digit()) {
        return (text, None);
    }
    let digit = |c: char| c.is_ascii_digit();
    let (mark, rest) = match side {
        Side::Before => {
            let end = text.find(|c: char| digit(c) || matches!(c, '-' | '+' | '\u{2212}'));
            let (mark, rest) = text.split_at(end.unwrap_or(text.len()));
            // The point of `$.5` is no part of the mark, as it is in `Fr.5`.
            match mark.strip_suffix('.') {
                Some(bare) if !bare.contains(char::is_alphabetic) => (bare, &text[bare.len()..]),
                _ => (mark, rest),
            }
        }
        Side::After => {
            let start = text.rfind(|c: char| digit(c) || matches!(c, '-' | '–' | '—'));
            let start = start.map_or(0, |at| {
                at + text[at..].chars().next().map_or(0, char::len_utf8)
            });
            let (rest, mark) = text.split_at(start);
            (mark, rest)
        }
    };
    let mark = mark.trim().to_lowercase();
    if let Some((_, code)) = SIGNS.iter().find(|(sign, _)| *sign == mark) {
        return (rest.trim(), Some(Currency::parse(code)));
    }
    let is_code = mark.len() == 3
        && CODES
            .split_ascii_whitespace()
            .any(|code| code.eq_ignore_ascii_case(&mark));
    match is_code {
        true => (rest.trim(), Some(Currency::parse(&mark))),
        false => (text, None),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}')
}

/// The separator that a character stands for, whichever form was typed.
fn kind(c: char) -> Option<char> {
    match c {
        '.' | ',' => Some(c),
        '\'' | '\u{2019}' => Some('\''),
        c if is_space(c) => Some(' '),
        _ => None,
    }
}

/// The digits before and after the decimal point. `for_people`: a currency stands beside them.
fn parts(text: &str, for_people: bool) -> Result<(String, &str), MoneyError> {
    let no_number = Err(MoneyError::NotANumber);
    // `49,-` and `49.–`: no cents. What stands before the dash is the decimal point.
    let plain = text.trim_end_matches(['-', '–', '—']);
    if plain.len() < text.len() {
        let whole = plain
            .strip_suffix([',', '.'])
            .ok_or(MoneyError::NotANumber)?;
        return match whole.find(|c: char| !c.is_ascii_digit()) {
            None if whole.is_empty() => no_number,
            None => Ok((whole.to_owned(), "")),
            Some(at) => {
                let group = whole[at..].chars().next().and_then(kind);
                let group = group.filter(|group| !plain.ends_with(*group));
                let whole = group.and_then(|group| ungrouped(whole, group));
                whole.map(|whole| (whole, "")).ok_or(MoneyError::NotANumber)
            }
        };
    }
    let mut separators: Vec<(usize, char)> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_ascii_digit()) {
        match kind(c) {
            Some(kind) if separators.len() < 12 => separators.push((at, kind)),
            _ => return no_number,
        }
    }
    let after = |at: usize| {
        let rest = &text[at..];
        &rest[rest.chars().next().map_or(0, char::len_utf8)..]
    };
    let Some(&(last, decimal)) = separators.last() else {
        return match text.is_empty() {
            true => no_number,
            false => Ok((text.to_owned(), "")),
        };
    };
    let is_once = separators
        .iter()
        .filter(|(_, kind)| *kind == decimal)
        .count()
        == 1;
    let places = after(last);
    let (whole, places) = match separators.len() {
        1 if decimal == '.' || decimal == ',' => {
            let whole = &text[..last];
            // Three digits behind one to three others may be thousands.
            let may_group =
                places.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            let is_decimal = match decimal {
                '.' => !(may_group && for_people),
                _ => !(may_group || places.is_empty()),
            };
            if !is_decimal || whole.len() + places.len() == 0 {
                return no_number;
            }
            return Ok((whole.to_owned(), places));
        }
        _ if is_once && (decimal == '.' || decimal == ',') => {
            let is_one_kind = separators[..separators.len() - 1]
                .windows(2)
                .all(|two| two[0].1 == two[1].1);
            if !is_one_kind || places.is_empty() {
                return no_number;
            }
            (&text[..last], places)
        }
        _ if separators.iter().all(|(_, kind)| *kind == decimal) => (text, ""),
        _ => return no_number,
    };
    let group = separators[0].1;
    match ungrouped(whole, group) {
        Some(whole) => Ok((whole, places)),
        None => no_number,
    }
}

/// The digits of grouped thousands: `1.299.000`, or as in India `12,34,567`.
fn ungrouped(text: &str, separator: char) -> Option<String> {
    let groups: Vec<&str> = text.split(|c| kind(c) == Some(separator)).collect();
    let is_digits = |group: &&str| group.bytes().all(|b| b.is_ascii_digit());
    let (first, others) = groups
        .split_first()
        .filter(|_| groups.iter().all(is_digits))?;
    let (last, middle) = others.split_last()?;
    let fits =
        |of: usize| (1..=of).contains(&first.len()) && middle.iter().all(|group| group.len() == of);
    let is_indian = separator == ',' && !middle.is_empty() && fits(2);
    (last.len() == 3 && (fits(3) || is_indian)).then(|| groups.concat())
}

/// A number of items: `3`, `3.0`, `3,00`, `1 000`; not `3.5`, nor `1.000`, which could be one or a
/// thousand.
pub fn read_whole(text: &str) -> Option<i32> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    if text.contains(|c: char| c.is_alphabetic()) {
        return None;
    }
    // As if for people: nothing tells that a program wrote it.
    let (digits, sign) = signed(text);
    let (whole, places) = parts(digits, true).ok()?;
    if !places.bytes().all(|b| b == b'0') {
        return None;
    }
    let number: i32 = whole.parse().ok()?;
    Some(if sign == Some('-') { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match read(text) {
            Ok(Amount {
                money,
                currency: Some(currency),
            }) => format!("{money} {}", currency.as_str()),
            Ok(Amount { money, .. }) => money.to_string(),
            Err(MoneyError::NotANumber) => "none".to_owned(),
            Err(MoneyError::TooLarge) => "too large".to_owned(),
        }
    }

    #[test]
    fn what_can_mean_one_amount_only_is_read() {
        for (text, amount) in [
            ("49.90", "49.9"),
            (" 49,90 ", "49.9"),
            ("2,000.00", "2000"),
            ("1.299,00", "1299"),
            ("1 299,00", "1299"),
            ("1\u{a0}299,00", "1299"),
            ("1\u{202f}299,00", "1299"),
            ("1'299.00", "1299"),
            ("1\u{2019}299.00", "1299"),
            ("12,345,678.90", "12345678.9"),
            ("1.299.000,50", "1299000.5"),
            ("1.299.000", "1299000"),
            ("1,299,000", "1299000"),
            ("1 299", "1299"),
            ("1'299", "1299"),
            ("12,34,567.00", "1234567"),
            ("12,34,567", "1234567"),
            ("1.299", "1.299"),
            ("0,795", "0.795"),
            ("1234,567", "1234.567"),
            ("49,9000", "49.9"),
            (".5", "0.5"),
            ("-2,000.00", "-2000"),
            ("\u{2212}49,90", "-49.9"),
            ("+5", "5"),
            ("49,-", "49"),
            ("1.299,–", "1299"),
            ("$49.90", "49.9"),
            ("-$49.90", "-49.9"),
            ("$-49.90", "-49.9"),
            ("$ 2,000.00", "2000"),
            ("US$49.90", "49.9 USD"),
            ("R$ 1.299,00", "1299 BRL"),
            ("49,90 €", "49.9 EUR"),
            ("€49.90", "49.9 EUR"),
            ("49,90\u{a0}€", "49.9 EUR"),
            ("-49,90 €", "-49.9 EUR"),
            ("49,- €", "49 EUR"),
            ("49.90 EUR", "49.9 EUR"),
            ("EUR 49.90", "49.9 EUR"),
            ("eur49.90", "49.9 EUR"),
            ("CHF 1'299.00", "1299 CHF"),
            ("Fr. 49.-", "49"),
            ("1 299,00 zł", "1299 PLN"),
            ("499 kr", "499"),
            ("£5", "5"),
            ("¥1,299,000", "1299000"),
        ] {
            assert_eq!(told(text), amount, "{text:?}");
        }
    }

    #[test]
    fn what_can_mean_two_amounts_or_none_is_none() {
        for text in [
            "6,795",
            "$6,795",
            "1.299 €",
            "€ 1.299",
            "1,23,4",
            "1.2.3",
            "1,2,3",
            "1.299.000,50,1",
            "1 299.000,50",
            "1,299.000.000",
            ",299.00",
            "1,,299.00",
            "1 29",
            "49,",
            "1,299.",
            "-",
            ".",
            "",
            "€",
            "--5",
            "- -5",
            "5-",
            "$5€",
            "EUR 5 EUR",
            "ca 49",
            "net 49.90",
            "49.90 pcs",
            "1e5",
            "NaN",
            "0x10",
            "١",
            "49;10",
            "1.2,9,-",
            "1.299.-",
            "1.x99,-",
            ",-",
            "5 %",
            "2026-11-25",
            "1 299 000 000 000 000 000 000 000 000 000 000 000 000 000",
        ] {
            assert_eq!(told(text), "none", "{text:?}");
        }
        assert_eq!(told("123,456,789,012,345,678.00"), "too large");
    }

    #[test]
    fn numbers_of_items_are_whole() {
        for (text, number) in [
            ("3", Some(3)),
            ("2.0", Some(2)),
            ("2.00", Some(2)),
            ("2,00", Some(2)),
            ("2.0000", Some(2)),
            ("1 000", Some(1_000)),
            ("-1", Some(-1)),
            ("-1.0", Some(-1)),
            ("1.000", None),
            ("1,000", None),
            ("3.5", None),
            ("two", None),
            ("€2", None),
            ("99999999999", None),
            ("", None),
        ] {
            assert_eq!(read_whole(text), number, "{text:?}");
        }
    }

    /// `1299000` as `1.299.000`, with any separator.
    fn grouped(whole: u64, separator: &str) -> String {
        let digits = whole.to_string();
        let mut out = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                out.push_str(separator);
            }
            out.push(digit);
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn every_way_of_writing_an_amount_gives_the_amount(
            whole in 0_u64..=99_999_999_999_999,
            cents in 0_u32..100,
            way in proptest::sample::select(vec![(",", "."), (".", ","), (" ", ","), ("\u{a0}", ","), ("\u{202f}", "."), ("'", "."), ("\u{2019}", ","), ("", "."), ("", ",")]),
            mark in proptest::sample::select(vec![("", ""), ("$", ""), ("€ ", ""), ("", " €"), ("", " EUR"), ("CHF ", ""), ("", "\u{a0}zł"), ("£", "")]),
            is_negative: bool,
        ) {
            let minus = if is_negative { "-" } else { "" };
            let text = format!("{minus}{}{}{}{cents:02}{}", mark.0, grouped(whole, way.0), way.1, mark.1);
            let plain = format!("{minus}{whole}.{cents:02}");
            proptest::prop_assert_eq!(read(&text).map(|amount| amount.money), plain.parse(), "{}", text);
        }

        #[test]
        fn no_text_panics_and_what_a_program_writes_is_exact(text in "\\PC{0,20}|[0-9.,' \
            $€+-]{0,12}", amount in -Money::MAX..=Money::MAX) {
            let _ = (read(&text), read_whole(&text));
            let written = Money(amount).to_string();
            proptest::prop_assert_eq!(read(&written).map(|amount| amount.money), Ok(Money(amount)));
        }
    }
}
