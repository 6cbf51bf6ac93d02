//! YAML with the place of every key and value, so that each problem can point at it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::Problem;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A mapping's key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Node {
    /// Reads one YAML document.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        serde_saphyr::from_str_with_options::<Raw>(text, options).map(|raw| raw.0.exact(text)).map_err(|error| {
            let location = error.location();
            let number = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
            let shown = error.to_string();
            Problem {
                file: file.to_owned(),
                line: number(location.map(|location| location.line())),
                column: number(location.map(|location| location.column())),
                message: format!("not YAML: {}", without_position(shown.lines().next().unwrap_or_default())),
                hint: None,
            }
        })
    }

    /// A number with more digits than its type holds is its text, as it is where a source writes it (`mapping::read_json`).
    fn exact(mut self, text: &str) -> Self {
        match &mut self.value {
            Value::Float(_) => {
                let line = text.lines().nth(self.line.saturating_sub(1)).unwrap_or_default();
                let is_part = |letter: &char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E');
                let written: String = line.chars().skip(self.column.saturating_sub(1)).take_while(is_part).collect();
                if !mapping::is_exact(&written) {
                    self.value = Value::Text(written);
                }
            }
            Value::List(nodes) => *nodes = std::mem::take(nodes).into_iter().map(|node| node.exact(text)).collect(),
            Value::Map(entries) => {
                *entries = std::mem::take(entries).into_iter().map(|(key, node)| (key, node.exact(text))).collect();
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => {}
        }
        self
    }

    /// What the value is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The scalar as written, for messages.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Null | Value::List(_) | Value::Map(_) => self.kind().to_owned(),
        }
    }

    #[cfg(test)]
    fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// As JSON, for rows, records and expectations of cases.
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(nodes) => nodes.iter().map(Node::json).collect(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect())
            }
        }
    }
}

/// The parser repeats in its text what it also gives as a location.
fn without_position(message: &str) -> &str {
    let message = message
        .split_once(": ")
        .filter(|(head, _)| head.starts_with("error") || head.starts_with("line"))
        .map_or(message, |(_, rest)| rest);
    let message = message.split_once(", set ").map_or(message, |(text, _)| text);
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

struct Raw(Node);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Plain>::deserialize(deserializer)?;
        let (line, column) = place(&spanned.referenced);
        Ok(Raw(Node { value: spanned.value.0, line, column }))
    }
}

fn place(location: &serde_saphyr::Location) -> (usize, usize) {
    (usize::try_from(location.line()).unwrap_or(0), usize::try_from(location.column()).unwrap_or(0))
}

struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any YAML value")
            }

            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Plain, E> {
                Ok(Plain(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Plain, D::Error> {
                Plain::deserialize(deserializer)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
                Ok(Plain(Value::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
                Ok(Plain(Value::Int(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
                Ok(Plain(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int)))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Plain, E> {
                Ok(Plain(Value::Text(value.to_string())))
            }

            fn visit_u128<E>(self, value: u128) -> Result<Plain, E> {
                Ok(Plain(Value::Text(value.to_string())))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
                Ok(Plain(Value::Float(value)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain(Value::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
                let mut list = Vec::new();
                while let Some(Raw(node)) = items.next_element()? {
                    list.push(node);
                }
                Ok(Plain(Value::List(list)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
                let mut map = Vec::new();
                while let Some((key, Raw(node))) = entries.next_entry::<Spanned<String>, Raw>()? {
                    let (line, column) = place(&key.referenced);
                    map.push((Key { text: key.value, line, column }, node));
                }
                Ok(Plain(Value::Map(map)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_place() {
        let node = Node::parse("x.yaml", "version: 2026-11-20.3\nkafka: {brokers: [], slots: 12}\nland: no\n").unwrap();
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        assert_eq!((entries[1].0.line, entries[1].0.column), (2, 1));
        let slots = node.get("kafka").unwrap().get("slots").unwrap();
        assert_eq!((slots.line, slots.column, &slots.value), (2, 29, &Value::Int(12)));
        assert_eq!(node.get("version").unwrap().value, Value::Text("2026-11-20.3".into()));
        assert_eq!(node.get("land").unwrap().value, Value::Text("no".into()), "Norway is a country");
    }

    #[test]
    fn no_digit_of_a_number_is_lost() {
        let node =
            Node::parse("x.yaml", "a: 0.5\nb: [12345678901234567890123, 0.1234567890123456789]\nc: 18446744073709551615\n")
                .unwrap();
        assert_eq!(
            node.json(),
            serde_json::json!({"a": 0.5, "b": ["12345678901234567890123", "0.1234567890123456789"], "c": "18446744073709551615"})
        );
    }

    #[test]
    fn broken_yaml_says_where() {
        for (text, line) in [("a: [1, 2\nb: 3\n", 2), ("a: 1\na: 2\n", 2), ("a: \"x\n", 1)] {
            let problem = Node::parse("x.yaml", text).unwrap_err();
            assert!(problem.line >= line, "{problem}");
        }
        assert_eq!(Node::parse("x.yaml", "").unwrap().value, Value::Null);
        assert_eq!(Node::parse("x.yaml", "# nothing\n").unwrap().value, Value::Null);
    }
}
