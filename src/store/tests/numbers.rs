//! The formats that are made by hand, against what Postgres itself reads and says: NUMERIC, INET,
//! times and lists of texts. And what SQLite makes of the same values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, HitRow, Kind, Money};
use crate::store::hits::HitFilter;
use crate::store::maintenance::PartitionMonth;
use crate::store::{Either, Ip, Store, Tags};
use proptest::prelude::{Strategy as _, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sqlx::{Decode, Encode, Postgres, Row as _, Sqlite, Type};

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, hit, new_store};

/// Values of a property, many at a time: each of them costs no round trip of its own.
fn values<T: std::fmt::Debug>(
    count: usize,
    strategy: impl proptest::strategy::Strategy<Value = T>,
) -> Vec<T> {
    let mut runner = TestRunner::default();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Amounts of every length, and those around a change of digits in base 10,000.
fn amounts() -> Vec<i64> {
    let mut amounts = vec![
        0,
        1,
        -1,
        i64::MAX,
        i64::MIN,
        i64::MIN + 1,
        Money::MAX,
        -Money::MAX,
    ];
    for power in 0..=18 {
        let power = 10_i64.pow(power);
        for amount in [power - 1, power, power + 1, power.saturating_mul(5)] {
            amounts.extend([amount, -amount]);
        }
    }
    let random = prop_oneof![
        any::<i64>(),
        (any::<i64>(), 0..64_u32).prop_map(|(amount, shift)| amount >> shift),
        // Zeros among the digits.
        (any::<i16>(), 0..14_u32).prop_map(|(amount, power)| i64::from(amount) * 10_i64.pow(power)),
    ];
    amounts.extend(values(1_500, random));
    amounts
}

/// As Postgres writes an amount: four places.
fn decimal(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let size = amount.unsigned_abs();
    format!("{sign}{}.{:04}", size / 10_000, size % 10_000)
}

/// Sends values one by one through a statement that Postgres answers as text.
async fn read_as_text<T>(store: &Store, sql: &'static str, values: Vec<T>) -> Vec<String>
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static,
{
    let Either::Postgres(sessions) = store.reader() else {
        panic!("Postgres only");
    };
    let mut session = sessions.acquire().await.unwrap();
    let mut texts = Vec::new();
    for value in values {
        texts.push(
            sqlx::query_scalar(sql)
                .bind(value)
                .fetch_one(&mut *session)
                .await
                .unwrap(),
        );
    }
    texts
}

/// What a value is after both databases had it.
async fn there_and_back<T>(store: &Store, value: T, postgres: &'static str) -> T
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + for<'r> Decode<'r, Postgres>,
    T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Sqlite>,
    T: Send + Unpin + 'static,
{
    match store.reader() {
        Either::Postgres(pool) => {
            sqlx::query_scalar(postgres)
                .bind(value)
                .fetch_one(pool)
                .await
        }
        Either::Sqlite(pool) => {
            sqlx::query_scalar("select $1")
                .bind(value)
                .fetch_one(pool)
                .await
        }
    }
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_amount_is_read_as_it_was_meant_on_postgres() {
    let store = new_store(Engine::Postgres).await;
    let amounts = amounts();
    let bound: Vec<Money> = amounts.iter().copied().map(Money).collect();
    // In an array, as bulk statements send them.
    let sql =
        "select x::text from unnest($1::numeric[]) with ordinality as t(x, place) order by place";
    let Either::Postgres(pool) = store.reader() else {
        panic!("Postgres");
    };
    let texts: Vec<String> = sqlx::query_scalar(sql)
        .bind(bound)
        .fetch_all(pool)
        .await
        .unwrap();
    let expected: Vec<String> = amounts.iter().copied().map(decimal).collect();
    assert_eq!(texts, expected);
    // And as a value of its own.
    let few: Vec<Money> = amounts.iter().copied().take(90).map(Money).collect();
    assert_eq!(
        read_as_text(&store, "select $1::numeric::text", few).await,
        expected[..90]
    );
    // Postgres calculates with it: no digit that it would not have made itself.
    let sql = "select bool_and(numeric_send(x) = numeric_send((x::text)::numeric))
               from unnest($1::numeric[]) as t(x)";
    let bound: Vec<Money> = amounts.iter().copied().map(Money).collect();
    let is_same: bool = sqlx::query_scalar(sql)
        .bind(bound)
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(is_same);
    store.close().await;
}

async fn an_amount_comes_back_as_it_was(engine: Engine) {
    let store = new_store(engine).await;
    for amount in amounts().into_iter().take(200) {
        let back = there_and_back(&store, Money(amount), "select $1::numeric").await;
        assert_eq!(back, Money(amount));
    }
    store.close().await;
}

/// Sums, and columns that somebody else has filled: any number of digits before and behind the
/// point.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_numeric_is_read_as_far_as_an_amount_goes_on_postgres() {
    let store = new_store(Engine::Postgres).await;
    let digits = |most: usize| {
        proptest::collection::vec(0..10_u8, 0..most)
            .prop_map(|digits| digits.iter().map(u8::to_string).collect::<String>())
    };
    let mut numbers = values(400, (any::<bool>(), digits(30), digits(30)));
    for (whole, places) in [
        ("0", "0"),
        ("0", "00001"),
        ("0", "99999"),
        ("922337203685477", "5807"),
        ("922337203685477", "58079"),
        ("922337203685477", "5808"),
        ("1", "00000000000000000001"),
        ("100000000000000000000000000000000000000000", "0"),
    ] {
        numbers.extend([false, true].map(|sign| (sign, whole.to_owned(), places.to_owned())));
    }
    let Either::Postgres(pool) = store.reader() else {
        panic!("Postgres");
    };
    let texts: Vec<String> = numbers
        .iter()
        .map(|(is_negative, whole, places)| {
            format!("{}0{whole}.{places}0", if *is_negative { "-" } else { "" })
        })
        .collect();
    let sql =
        "select x::numeric from unnest($1::text[]) with ordinality as t(x, place) order by place";
    let read: Vec<Money> = sqlx::query_scalar(sql)
        .bind(&texts)
        .fetch_all(pool)
        .await
        .unwrap();
    for ((is_negative, whole, places), read) in numbers.iter().zip(read) {
        let digits = format!("{whole}{}", &format!("{places}0000")[..4]);
        let size: i128 = digits.parse().unwrap_or(i128::MAX);
        let amount = if *is_negative { -size } else { size };
        let expected = amount.clamp(i64::MIN.into(), i64::MAX.into());
        assert_eq!(
            i128::from(read.0),
            expected,
            "{is_negative} {whole}.{places}"
        );
    }
    // What is no amount is none, rather than zero.
    for word in ["NaN", "Infinity", "-Infinity"] {
        let sql = "select $1::text::numeric";
        let read: sqlx::Result<Money> = sqlx::query_scalar(sql).bind(word).fetch_one(pool).await;
        assert!(read.is_err(), "{word}: {read:?}");
    }
    store.close().await;
}

fn addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = [
        "0.0.0.0",
        "255.255.255.255",
        "192.0.2.7",
        "::",
        "::1",
        "::ffff:192.0.2.7",
        "::192.0.2.7",
        "2001:db8::",
        "2001:0:0:1::1",
        "fe80::1",
        "64:ff9b::192.0.2.7",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]
    .iter()
    .map(|address| address.parse().unwrap())
    .collect();
    let random = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits))),
        // Runs of zeros, which are written short.
        any::<[bool; 8]>().prop_map(|words| IpAddr::from(words.map(u16::from))),
    ];
    addresses.extend(values(600, random));
    addresses
}

async fn an_address_comes_back_as_it_was(engine: Engine) {
    let store = new_store(engine).await;
    for address in addresses().into_iter().take(200) {
        let back = there_and_back(&store, Ip(address), "select $1::inet").await;
        assert_eq!(back, Ip(address));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_is_read_as_it_was_meant_on_postgres() {
    let store = new_store(Engine::Postgres).await;
    let addresses = addresses();
    let bound = addresses.iter().copied().map(Ip).collect();
    // Unlike `host`, this shows a mask that is not the longest.
    let texts = read_as_text(&store, "select abbrev($1::inet)", bound).await;
    for (text, address) in texts.iter().zip(&addresses) {
        let read: IpAddr = text
            .parse()
            .unwrap_or_else(|_| panic!("{text}, of {address}"));
        assert_eq!(read, *address);
    }
    store.close().await;
}

/// The same values through the writers of hits: few, and so many that Postgres copies them.
async fn amounts_and_addresses_of_hits_are_read_as_they_were_meant(engine: Engine) {
    let store = new_store(engine).await;
    let addresses = addresses();
    let hits: Vec<Hit> = amounts()
        .into_iter()
        .map(|amount| Money(amount.clamp(-Money::MAX, Money::MAX)))
        .zip(addresses.iter().cycle())
        .map(|(amount, address)| {
            let mut hit = hit(Kind::Transaction);
            hit.revenue = Some(amount);
            hit.ip = Some(*address);
            hit
        })
        .collect();
    // 255 go in statements, the others are copied.
    let (few, many) = hits.split_at(255);
    let mut seq = 0;
    for part in [few, many] {
        let mut tx = store.begin_lane().await.unwrap();
        tx.ensure_partitions(&[PartitionMonth::of(NOW)].into())
            .await
            .unwrap();
        let rows: Vec<HitRow<'_>> = part
            .iter()
            .map(|hit| {
                seq += 1;
                HitRow {
                    seq,
                    hit,
                    contact_id: None,
                    counted_revenue: hit.revenue.map(|amount| Money(amount.0.wrapping_neg())),
                }
            })
            .collect();
        tx.insert_hits(&rows).await.unwrap();
        tx.commit().await.unwrap();
    }
    let (revenue, ip) = match engine {
        Engine::Postgres => ("revenue::text, counted_revenue::text", "abbrev(ip)"),
        // In 1/10,000.
        Engine::Sqlite => ("cast(revenue as text), cast(counted_revenue as text)", "ip"),
    };
    let sql = format!("select {revenue}, {ip} from hits order by seq");
    let seen: Vec<(String, String, String)> = both!(store.reader(), pool => {
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    });
    assert_eq!(seen.len(), hits.len());
    let written = |amount: i64| match engine {
        Engine::Postgres => decimal(amount),
        Engine::Sqlite => amount.to_string(),
    };
    for ((revenue, counted, ip), hit) in seen.iter().zip(&hits) {
        let amount = hit.revenue.unwrap().0;
        assert_eq!((revenue, counted), (&written(amount), &written(-amount)));
        assert_eq!(Some(ip.parse().unwrap()), hit.ip, "{ip}");
    }
    // And through our own reader.
    let mut after = 0;
    while after < seq {
        let page = store
            .hits_between(&HitFilter::default(), after, seq, 1_000)
            .await
            .unwrap();
        for stored in &page.hits {
            let hit = &hits[stored.seq as usize - 1];
            assert_eq!((stored.revenue, stored.ip), (hit.revenue, hit.ip.map(Ip)));
        }
        after = page.hits.last().unwrap().seq;
    }
    store.close().await;
}

async fn a_time_comes_back_to_the_microsecond(engine: Engine) {
    let store = new_store(engine).await;
    let first = -210_866_803_200_000_000;
    let mut times = vec![
        first,
        -1,
        0,
        1,
        946_684_799_999_999,
        946_684_800_000_000,
        i64::MAX,
    ];
    times.extend(values(60, first..i64::MAX));
    for at in times {
        assert_eq!(
            there_and_back(&store, Micros(at), "select $1::timestamptz").await,
            Micros(at)
        );
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_time_is_read_as_it_was_meant_on_postgres() {
    let store = new_store(Engine::Postgres).await;
    let times = values(
        60,
        Micros::parse_rfc3339("0001-01-01T00:00:00Z").unwrap().0..253_402_300_800_000_000,
    );
    let bound = times.iter().copied().map(Micros).collect();
    let sql =
        "select to_char($1::timestamptz at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let texts = read_as_text(&store, sql, bound).await;
    for (text, at) in texts.iter().zip(times) {
        assert_eq!(Micros::parse_rfc3339(text).unwrap(), Micros(at), "{text}");
    }
    // A time that no calendar of Postgres has is refused, not bent.
    let Either::Postgres(pool) = store.reader() else {
        panic!("Postgres");
    };
    let before_all = Micros(-210_866_803_200_000_001);
    let refused = sqlx::query("select $1::timestamptz")
        .bind(before_all)
        .execute(pool)
        .await;
    assert!(crate::store::is_refusal(&refused.unwrap_err()));
    store.close().await;
}

async fn lists_of_texts_come_back_to_the_letter(engine: Engine) {
    let store = new_store(engine).await;
    let many = (0..1_000).map(|number| number.to_string()).collect();
    for texts in [
        Vec::new(),
        HOSTILE.map(str::to_owned).to_vec(),
        vec![String::new()],
        many,
    ] {
        let back = there_and_back(&store, Tags(texts.clone()), "select $1::text[]").await;
        assert_eq!(back.0, texts);
    }
    store.close().await;
}

on_both!(
    an_amount_comes_back_as_it_was,
    an_address_comes_back_as_it_was,
    amounts_and_addresses_of_hits_are_read_as_they_were_meant,
    a_time_comes_back_to_the_microsecond,
    lists_of_texts_come_back_to_the_letter,
);
