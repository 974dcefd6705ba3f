//! How our types stand in each database's columns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::types::Json;
use sqlx::{
    ColumnIndex, Database, Decode, Encode, FromRow, Postgres, Row, Sqlite, Type, ValueRef as _,
};
use uuid::Uuid;

use crate::model::access::{Role, SessionId, TokenId, UserId};
use crate::model::clock::Micros;
use crate::model::form::FormId;
use crate::model::hit::{
    BroadlogId, ContactId, DeliveryId, Kind, LinkId, Money, PageTagKind, Utm, VisitorId,
};
use crate::model::webhook::WebhookId;

/// Microseconds from 1970 to 2000, Postgres' epoch.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A time as Postgres counts it.
pub(super) fn postgres_time(at: Micros) -> i64 {
    at.0.saturating_sub(POSTGRES_EPOCH)
}

/// What no hit column holds: a JSON object that is passed on unparsed.
pub type Extra = Json<Box<RawValue>>;

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl PgHasArrayType for Micros {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_timestamptz")
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(postgres_time(*self), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Micros {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => Ok(Self(
                i64::from_be_bytes(value.as_bytes()?.try_into()?).saturating_add(POSTGRES_EPOCH),
            )),
            PgValueFormat::Text => Err("a time as text".into()),
        }
    }
}

impl Type<Sqlite> for Micros {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Micros {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0, buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Micros {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self)
    }
}

impl Type<Postgres> for Money {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("numeric")
    }
}

impl PgHasArrayType for Money {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_numeric")
    }
}

/// Postgres' binary `numeric` of an amount: number of base-10,000 digits, weight of the first,
/// sign, scale, digits. An amount in 1/10,000 is a number in base 10,000 already.
pub(super) fn put_numeric(amount: Money, out: &mut Vec<u8>) {
    let mut rest = amount.0.unsigned_abs();
    let mut digits = [0_u16; 6];
    let mut first = digits.len();
    while rest > 0 {
        first -= 1;
        digits[first] = (rest % 10_000) as u16;
        rest /= 10_000;
    }
    let digits = &digits[first..];
    out.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    // The last digit has weight -1.
    out.extend_from_slice(&(digits.len() as i16 - 2).to_be_bytes());
    out.extend_from_slice(&if amount.0 < 0 { 0x4000_u16 } else { 0 }.to_be_bytes());
    out.extend_from_slice(&4_u16.to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

impl Encode<'_, Postgres> for Money {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut bytes = Vec::with_capacity(20);
        put_numeric(*self, &mut bytes);
        buffer.extend_from_slice(&bytes);
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Postgres> for Money {
    /// Amounts beyond 64 bits (sums of sums) saturate rather than fail; places beyond the fourth
    /// are dropped. NaN and the infinities are not amounts.
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let words: Vec<i16> = value
            .as_bytes()?
            .chunks_exact(2)
            .map(|word| i16::from_be_bytes([word[0], word[1]]))
            .collect();
        let [count, weight, sign, _scale, digits @ ..] = words.as_slice() else {
            return Err("a malformed numeric".into());
        };
        let is_negative = match *sign {
            0 => false,
            0x4000 => true,
            _ => return Err("a numeric that is no number".into()),
        };
        let mut amount = 0_i128;
        for index in 0..(i32::from(*weight) + 2).max(0) {
            let digit = if index < i32::from(*count) {
                digits.get(index as usize).copied().unwrap_or(0)
            } else {
                0
            };
            amount = amount
                .saturating_mul(10_000)
                .saturating_add(i128::from(digit));
        }
        let amount = if is_negative { -amount } else { amount };
        Ok(Self(amount.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
    }
}

impl Type<Sqlite> for Money {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Money {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0, buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Money {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self)
    }
}

/// A list of texts: `text[]` on Postgres, a JSON array on SQLite. Null is read as an empty list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub Vec<String>);

impl Type<Postgres> for Tags {
    fn type_info() -> PgTypeInfo {
        <Vec<String> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Tags {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Tags {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        <Vec<String> as Decode<Postgres>>::decode(value).map(Self)
    }
}

impl Type<Sqlite> for Tags {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Tags {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(serde_json::to_string(&self.0)?, buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Tags {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        Ok(Self(serde_json::from_str(
            <&str as Decode<Sqlite>>::decode(value)?,
        )?))
    }
}

/// An address: `inet` on Postgres, text on SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip(pub IpAddr);

/// Postgres' binary `inet`: family (2 or 3), prefix length, is-CIDR, length, bytes.
pub(super) fn put_inet(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            out.extend_from_slice(&[2, 32, 0, 4]);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.extend_from_slice(&[3, 128, 0, 16]);
            out.extend_from_slice(&ip.octets());
        }
    }
}

impl Type<Postgres> for Ip {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("inet")
    }
}

impl Encode<'_, Postgres> for Ip {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut bytes = Vec::with_capacity(20);
        put_inet(self.0, &mut bytes);
        buffer.extend_from_slice(&bytes);
        Ok(IsNull::No)
    }
}

impl<'r> Decode<'r, Postgres> for Ip {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.as_bytes()? {
            [_, _, _, 4, octets @ ..] => {
                Ok(Self(Ipv4Addr::from(<[u8; 4]>::try_from(octets)?).into()))
            }
            [_, _, _, 16, octets @ ..] => {
                Ok(Self(Ipv6Addr::from(<[u8; 16]>::try_from(octets)?).into()))
            }
            _ => Err("a malformed inet".into()),
        }
    }
}

impl Type<Sqlite> for Ip {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Ip {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Ip {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<&str as Decode<Sqlite>>::decode(value)?.parse()?))
    }
}

/// An id is stored as the number or UUID that it is.
macro_rules! column_of {
    ($inner:ty: $($id:ty),+ $(,)?) => {$(
        impl<DB: Database> Type<DB> for $id
        where
            $inner: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$inner as Type<DB>>::type_info()
            }

            fn compatible(info: &DB::TypeInfo) -> bool {
                <$inner as Type<DB>>::compatible(info)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $id
        where
            $inner: Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buffer: &mut <DB as Database>::ArgumentBuffer,
            ) -> Result<IsNull, BoxDynError> {
                self.0.encode_by_ref(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $id
        where
            $inner: Decode<'r, DB>,
        {
            fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                <$inner as Decode<'r, DB>>::decode(value).map(Self)
            }
        }
    )+};
}
column_of!(i64: BroadlogId, DeliveryId, FormId, LinkId, TokenId, UserId);
column_of!(Uuid: ContactId, SessionId, VisitorId, WebhookId);

/// A word is read from a text. An unknown one stands for the default.
macro_rules! word_of_text {
    ($($word:ty: $usual:ident),+ $(,)?) => {$(
        impl<DB: Database> Type<DB> for $word
        where
            str: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <str as Type<DB>>::type_info()
            }

            fn compatible(info: &DB::TypeInfo) -> bool {
                <str as Type<DB>>::compatible(info)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $word
        where
            &'r str: Decode<'r, DB>,
        {
            fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let word = <&'r str as Decode<'r, DB>>::decode(value)?;
                Ok(Self::parse(word).unwrap_or(Self::$usual))
            }
        }
    )+};
}
word_of_text!(Kind: Event, PageTagKind: Web, Role: Viewer);

/// The columns of [`Utm::NAMES`].
impl<'r, R: Row> FromRow<'r, R> for Utm
where
    &'static str: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let mut utm = Self::default();
        for name in Self::NAMES {
            if let Some(slot) = utm.slot(name) {
                *slot = row.try_get(name)?;
            }
        }
        Ok(utm)
    }
}
