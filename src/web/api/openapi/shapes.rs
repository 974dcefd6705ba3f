//! Shapes of JSON that no struct of ours has: one of several, a line of a stream, what is read by
//! hand.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, Schema, SchemaType};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::model::hit::{Kind, Utm};
use crate::model::wire::schema::{text_or_null, whole_or_null};
use crate::model::wire::{Id, Time, Uid};

/// Schemas by their names.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// A reference to a type's schema.
pub(in crate::web::api) fn named<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// Adds a type's schema, and those that it refers to.
pub(in crate::web::api) fn collect<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// One object, or an array of them: `one_or_many!(NewLinks of LinkRequest)`.
macro_rules! one_or_many {
    ($(#[$doc:meta])* $name:ident of $type:ty) => {
        $(#[$doc])*
        pub(in crate::web::api) struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::web::api::openapi::shapes::or_array::<$type>()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn schemas(
                schemas: &mut Vec<(
                    String,
                    utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>,
                )>,
            ) {
                $crate::web::api::openapi::shapes::collect::<$type>(schemas);
            }
        }
    };
}
pub(in crate::web::api) use one_or_many;

/// One of a type, or an array of them.
pub(in crate::web::api) fn or_array<T: ToSchema>() -> RefOr<Schema> {
    OneOfBuilder::new()
        .item(named::<T>())
        .item(ArrayBuilder::new().items(named::<T>()))
        .into()
}

/// A hand-made schema under a name.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident($($refers:ty),*) $schema:expr) => {
        $(#[$doc])*
        pub(in crate::web::api) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn schemas(schemas: &mut Schemas) {
                let _ = &schemas;
                $(collect::<$refers>(schemas);)*
            }
        }
    };
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn closed() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

shape!(
    /// A line of `POST /deliveries/{id}/messages`.
    MessageLine(Id)
    closed()
        .property(
            "contact",
            ObjectBuilder::new()
                .description(Some("Fields of the recipient; `id` names the contact itself."))
                .property("id", Uid::schema())
                .additional_properties(Some(text())),
        )
        .required("contact")
        .property("broadlog_id", named::<Id>())
        .property("format", text_or_null())
        .property("idempotency_key", text_or_null())
);

shape!(
    /// A line of its answer.
    MadeMessage(Id)
    ObjectBuilder::new()
        .description(Some("The message of a line; or `error`, and then nothing else."))
        .property("broadlog_id", named::<Id>())
        .property("contact_id", Uid::schema())
        .property(
            "links",
            ObjectBuilder::new()
                .description(Some("The address of each link, by its id."))
                .additional_properties(Some(text())),
        )
        .property("open_pixel", text())
        .property("list_unsubscribe", text())
        .property("list_unsubscribe_post", text())
        .property("html", text())
        .property("text", text())
        .property("opted_out", ObjectBuilder::new().schema_type(Type::Boolean))
        .property("cut", ObjectBuilder::new().schema_type(Type::Boolean))
        .property("error", text())
);

/// Numbers are taken as they are written.
fn text_or_number() -> ObjectBuilder {
    let types = vec![Type::String, Type::Number, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
}

fn new_hit() -> ObjectBuilder {
    let or_null = |schema: RefOr<Schema>| {
        let null = ObjectBuilder::new().schema_type(Type::Null);
        OneOfBuilder::new().item(schema).item(null)
    };
    let id = || or_null(named::<Id>());
    let object = || {
        let types = vec![Type::Object, Type::Null];
        ObjectBuilder::new().schema_type(SchemaType::from_iter(types))
    };
    let texts = [
        "page_url",
        "page_title",
        "page_language",
        "referrer",
        "page_tag",
        "event",
        "order_id",
        "idempotency_key",
        "user_agent",
        "site",
        "currency",
    ];
    let hit = closed()
        .description(Some(
            "A hit; what it does not say is told from what it says.",
        ))
        .property("kind", or_null(Kind::schema()))
        .property("delivery_id", id())
        .property("broadlog_id", id())
        .property("link_id", id())
        .property("visitor_id", text_or_null())
        .property("contact_id", or_null(Uid::schema()))
        .property(
            "revenue",
            OneOfBuilder::new()
                .item(ObjectBuilder::new().schema_type(Type::Number))
                .item(text_or_null()),
        )
        .property("quantity", whole_or_null())
        .property("ip", text_or_null())
        .property("at", or_null(named::<Time>()))
        .property(
            "tags",
            OneOfBuilder::new()
                .item(ArrayBuilder::new().items(text()))
                .item(text_or_null()),
        )
        .property("contact", object())
        .property("extra", object());
    texts
        .into_iter()
        .chain(Utm::NAMES)
        .fold(hit, |hit, name| hit.property(name, text_or_number()))
}

shape!(
    /// A hit of `POST /hits`.
    NewHit(Id, Time)
    new_hit()
);

one_or_many!(
    /// A body of `POST /hits`.
    NewHits of NewHit
);

shape!(
    /// What would become of a request.
    ExplainedRequest()
    ObjectBuilder::new()
        .property(
            "status",
            whole_or_null().description(Some("Null where the connection would be closed.")),
        )
        .property("headers", ArrayBuilder::new().items(ArrayBuilder::new().items(text())))
        .property("location", text_or_null())
        .property("set_cookies", ArrayBuilder::new().items(text()))
        .property("body", text_or_null())
        .property("refused", text_or_null())
        .property(
            "hits",
            ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object)),
        )
        .property("hits_left_out", ObjectBuilder::new().schema_type(Type::Integer))
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tracking::native::field_names;

    #[test]
    fn a_hits_fields_are_those_that_are_read() {
        let RefOr::T(Schema::Object(hit)) = NewHit::schema() else {
            panic!("a hit is an object");
        };
        let described: BTreeSet<&str> = hit.properties.keys().map(String::as_str).collect();
        assert_eq!(described, field_names().collect());
    }
}
