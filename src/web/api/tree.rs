//! What a sender wrote, as a tree, to tell what is wrong with it.
//!
//! A body that can be read is read straight into its type, which costs nothing. One that cannot is
//! read once more through here: the tree is deserialized with an error type of our own,
//! [`Mistake`], which keeps what serde's calls say of the field, what stands there and what is
//! allowed. A query is a tree from the start: it is short.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::Number;

use super::mistake::{Mistake, Step};
use crate::model::hint::{one_of, quote};

/// A value of JSON, with every field as often as it was given; or a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A value of a query: a text that may be meant as a number.
    Parameter(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// The parameters of a query string.
    pub(super) fn of_query(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self::Object(
            pairs
                .map(|(name, value)| (name.into_owned(), Self::Parameter(value.into_owned())))
                .collect(),
        )
    }

    /// The value as it is quoted in a sentence.
    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(yes) => yes.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Parameter(text) => quote(text),
            Self::List(_) => "an array".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }

    fn must_be(&self, allowed: impl fmt::Display) -> Mistake {
        self.note(Mistake::must_be(allowed))
    }

    /// Says that this is what stands where a mistake is.
    fn note(&self, mistake: Mistake) -> Mistake {
        mistake.of(|| self.shown())
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(yes))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                Ok(Tree::Number(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
                Ok(Number::from_f64(number).map_or(Tree::Null, Tree::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Tree::Object(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

macro_rules! numbers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let read = match self {
                Tree::Parameter(text) => text.trim().parse().ok().map(Tree::Number),
                Tree::Number(number) => Some(Tree::Number(number.clone())),
                _ => None,
            };
            match read.as_ref() {
                Some(Tree::Number(number)) if !number.is_f64() => visit_number(number, visitor),
                _ => Err(Mistake::must_be("a whole number")),
            }
            .map_err(|mistake| self.note(mistake))
        })+
    };
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Mistake> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or_default())
    }
}

/// Each method asks for what serde wants and says so in our words if it is not there.
impl<'de> Deserializer<'de> for &'de Tree {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(yes) => visitor.visit_bool(*yes),
            Tree::Number(number) => visit_number(number, visitor),
            Tree::Text(text) | Tree::Parameter(text) => visitor.visit_str(text),
            Tree::List(list) => visitor.visit_seq(Items {
                list: list.iter(),
                index: 0,
            }),
            Tree::Object(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                value: None,
            }),
        }
        .map_err(|mistake| self.note(mistake))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::Bool(yes) => visitor.visit_bool(*yes),
            Tree::Parameter(text) if text == "true" || text == "false" => {
                visitor.visit_bool(text == "true")
            }
            _ => Err(self.must_be("true or false")),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::Text(text) | Tree::Parameter(text) => visitor
                .visit_str(text)
                .map_err(|mistake: Mistake| self.note(mistake)),
            _ => Err(self.must_be("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::Null => visitor.visit_none(),
            value => visitor
                .visit_some(value)
                .map_err(|mistake| self.note(mistake)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::List(_) => self.deserialize_any(visitor),
            _ => Err(self.must_be("an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self {
            Tree::Object(_) => self.deserialize_any(visitor),
            _ => Err(self.must_be("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self {
            Tree::Object(_) => self.deserialize_any(visitor),
            _ => Err(self.must_be(format_args!("an object with {}", fields.join(", ")))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self {
            Tree::Text(word) | Tree::Parameter(word) => {
                visitor.visit_enum(word.as_str().into_deserializer())
            }
            _ => Err(self.must_be(one_of(words))),
        }
    }

    forward_to_deserialize_any! {
        f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'t> {
    list: std::slice::Iter<'t, Tree>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        let Some(value) = self.list.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(value)
            .map(Some)
            .map_err(|mistake| value.note(mistake).below(Step::Item(index)))
    }
}

struct Fields<'t> {
    fields: std::slice::Iter<'t, (String, Tree)>,
    value: Option<&'t (String, Tree)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        self.value = self.fields.next();
        self.value
            .map(|(name, _)| seed.deserialize(StringDeserializer::new(name.clone())))
            .transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let Some((name, value)) = self.value.take() else {
            return Err(Mistake::must_be("a name before each value"));
        };
        seed.deserialize(value)
            .map_err(|mistake| value.note(mistake).below(Step::Field(name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Sample {
        label: String,
        limit: Option<i64>,
        kind: Option<Word>,
        inner: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Inner {
        yes: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Click,
        Open,
    }

    fn mistake(json: &str) -> String {
        let tree: Tree = serde_json::from_str(json).unwrap();
        Sample::deserialize(&tree).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_names_the_field_what_stands_there_and_what_is_allowed() {
        for (json, expected) in [
            (
                "7",
                " is 7 but must be an object with label, limit, kind, inner",
            ),
            ("{}", "label is required"),
            (r#"{"label":7}"#, "label is 7 but must be a string"),
            (
                r#"{"label":"a","limit":"7"}"#,
                "limit is \"7\" but must be a whole number",
            ),
            (
                r#"{"label":"a","kind":"clik"}"#,
                "kind is \"clik\" but must be click or open (did you mean click?)",
            ),
            (
                r#"{"lable":"a"}"#,
                "lable is not a known field (did you mean label?); known fields: label, limit, \
                kind, inner",
            ),
            (
                r#"{"label":"a","label":"b"}"#,
                "label is given twice: give it once",
            ),
            (
                r#"{"label":"a","inner":[{"yes":true},{"yes":{}}]}"#,
                "inner[1].yes is an object but must be true or false",
            ),
            (r#"{"label":"a","inner":[{}]}"#, "inner[0].yes is required"),
            (
                r#"{"label":"a","inner":{}}"#,
                "inner is an object but must be an array",
            ),
        ] {
            assert_eq!(mistake(json), expected, "{json}");
        }
    }

    #[test]
    fn a_query_holds_numbers_and_words() {
        let read = |query: &str| Sample::deserialize(&Tree::of_query(query));
        assert_eq!(
            read("label=%41&limit=12&kind=open").unwrap().limit,
            Some(12)
        );
        assert!(read("label=a&limit=many").is_err());
        assert!(read("label=a&label=b").is_err());
        assert!(read("label=a&nope").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_json_panics(text: String) {
            if let Ok(tree) = serde_json::from_str::<Tree>(&text) {
                let _ = Sample::deserialize(&tree);
            }
        }
    }
}
