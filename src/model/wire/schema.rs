//! How ids, times and the like are described in OpenAPI: by what stands in JSON, whatever they are
//! made of here. Structs that people see need no word about their fields for it.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::{Id, Time, Uid};
use crate::model::access::{SessionId, TokenId, UserId};
use crate::model::clock::Micros;
use crate::model::form::FormId;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, LinkId, VisitorId};

macro_rules! described {
    ($name:literal, $schema:ident: $($type:ty),+ $(,)?) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )+};
}
described!("Id", id: Id, DeliveryId, BroadlogId, FormId, LinkId, TokenId, UserId);
described!("Uuid", uuid: Uid, ContactId, VisitorId, SessionId);
described!("Time", time: Time, Micros);

fn id() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1_i64));
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[1-9][0-9]{0,18}$"));
    // The tables of Adobe number 32-bit ids into the negative.
    let adobes = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(i64::from(i32::MIN)))
        .maximum(Some(-1_i64));
    OneOfBuilder::new()
        .item(number)
        .item(text)
        .item(adobes)
        .description(Some(
            "A whole number from 1 to 9223372036854775807. Answers have a number up to 2^53, and a \
            string above, where readers that take numbers for floats lose digits. Both are \
            accepted, and so is an id below zero as Adobe's tables have it beyond 2^31.",
        ))
        .examples([json!(7)])
        .into()
}

fn uuid() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .examples([json!("0190a5a0-0000-7000-8000-000000000000")])
        .into()
}

fn time() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some(
            "RFC 3339, to the microsecond. Any offset is accepted; answers are in UTC.",
        ))
        .examples([json!("2026-01-31T09:00:00Z")])
        .into()
}

/// A text or null.
pub(crate) fn text_or_null() -> ObjectBuilder {
    let types = vec![Type::String, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
}

/// A whole number or null.
pub(crate) fn whole_or_null() -> ObjectBuilder {
    let types = vec![Type::Integer, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
}
