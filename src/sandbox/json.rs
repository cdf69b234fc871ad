//! A JSON document as the rules look at it: texts are borrowed from the body, numbers and nulls are only "something else".

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One value of a document.
#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
    /// Null or a number: nothing that the cohort API takes.
    Other,
}

/// An object's keys and values in order; a repeated key counts by its last value.
#[derive(Debug, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// Reads a whole body; `None` where it is not one JSON object.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        match serde_json::from_slice(body) {
            Ok(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.0.iter().rev().find(|(candidate, _)| candidate == key).map(|(_, value)| value)
    }

    /// The value of this key, where it is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }
}

impl Json<'_> {
    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut object = Vec::new();
        // A key is read as a value to borrow it; JSON has no other keys than texts.
        while let Some((key, value)) = entries.next_entry::<Json, Json>()? {
            if let Json::Text(key) = key {
                object.push((key, value));
            }
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_are_documents() {
        for (body, is_document) in [
            ("{}", true),
            (r#" {"a": [1, -2, 1e99, null, true, "b", {}]} "#, true),
            ("", false),
            ("[]", false),
            ("null", false),
            (r#""text""#, false),
            ("{} {}", false),
            (r#"{"a": }"#, false),
            (r#"{"a": "\ud800"}"#, false),
        ] {
            assert_eq!(Object::parse(body.as_bytes()).is_some(), is_document, "{body}");
        }
        assert_eq!(Object::parse(b"{\"a\": \"\xff\"}"), None);
        assert_eq!(Object::parse("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn texts_are_borrowed_and_the_last_of_a_repeated_key_counts() {
        let document = Object::parse(br#"{"a": "first", "a": "plain", "b\n": "esc\u0061ped", "c": 1}"#).unwrap();
        assert!(matches!(document.get("a"), Some(Json::Text(Cow::Borrowed("plain")))));
        assert_eq!(document.text("b\n"), Some("escaped"));
        assert_eq!(document.text("c"), None);
        assert_eq!(document.get("d"), None);
    }
}
