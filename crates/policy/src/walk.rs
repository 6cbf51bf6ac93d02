//! Visits every leaf of a record with its path, without building anything: most records are in order, and each is walked.

use std::fmt::Write as _;

use model::Data;
use serde::{
    Serialize,
    ser::{self, Impossible},
};

/// One step of a path.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Field(&'static str),
    Index(usize),
    Key(String),
}

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf<'a> {
    /// Nothing: null, an empty text or list, an enum's unknown.
    Empty,
    Text(&'a str),
    /// Anything else; `is_default` where the schema's default looks the same.
    Other {
        is_default: bool,
    },
}

/// Calls `visit` for every leaf, in schema order.
pub(crate) fn leaves(data: &Data, visit: &mut dyn FnMut(&[Step], Leaf<'_>)) {
    let mut walker = Walker { path: Vec::with_capacity(6), visit, is_present: false };
    data.serialize(&mut walker).expect("a walk writes nothing that could go wrong");
}

/// RFC 6901.
pub(crate) fn pointer(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) => write!(text, "/{name}"),
            Step::Index(index) => write!(text, "/{index}"),
            Step::Key(key) => write!(text, "/{}", key.replace('~', "~0").replace('/', "~1")),
        }
        .expect("writing to a string");
    }
    text
}

/// Whether `path` lies at or below `pattern`, whose `*` stands for any element.
pub(crate) fn is_below(path: &[Step], pattern: &[String]) -> bool {
    path.len() >= pattern.len()
        && path.iter().zip(pattern).all(|(step, segment)| match step {
            Step::Field(name) => name == segment,
            Step::Index(_) => segment == "*",
            Step::Key(key) => key == segment || segment == "*",
        })
}

struct Walker<'v> {
    path: Vec<Step>,
    visit: &'v mut dyn FnMut(&[Step], Leaf<'_>),
    /// Inside a value that could have been null: present, so not the default.
    is_present: bool,
}

impl Walker<'_> {
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), Never> {
        (self.visit)(&self.path, leaf);
        Ok(())
    }

    fn other(&mut self, is_default: bool) -> Result<(), Never> {
        let is_default = is_default && !self.is_present;
        self.leaf(Leaf::Other { is_default })
    }

    fn below<T: ?Sized + Serialize>(&mut self, step: Step, value: &T) -> Result<(), Never> {
        self.path.push(step);
        self.is_present = false;
        value.serialize(&mut *self)?;
        self.path.pop();
        Ok(())
    }
}

/// A walk cannot fail.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Never(String);

impl ser::Error for Never {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Never> {
            self.other(value == <$type>::default())
        })*
    };
}

impl<'w, 'v> ser::Serializer for &'w mut Walker<'v> {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Elements<'w, 'v>;
    type SerializeTuple = Impossible<(), Never>;
    type SerializeTupleStruct = Impossible<(), Never>;
    type SerializeTupleVariant = Impossible<(), Never>;
    type SerializeMap = Elements<'w, 'v>;
    type SerializeStruct = Elements<'w, 'v>;
    type SerializeStructVariant = Impossible<(), Never>;

    numbers!(serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_u8 u8,
        serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_f32 f32, serialize_f64 f64);

    fn is_human_readable(&self) -> bool {
        // Decimals and dates come as bytes and numbers: no text is built for them.
        false
    }

    fn serialize_char(self, _: char) -> Result<(), Never> {
        self.other(false)
    }

    fn serialize_str(self, text: &str) -> Result<(), Never> {
        self.leaf(if text.is_empty() { Leaf::Empty } else { Leaf::Text(text) })
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Never> {
        self.other(bytes.iter().all(|byte| *byte == 0))
    }

    fn serialize_none(self) -> Result<(), Never> {
        self.leaf(Leaf::Empty)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Never> {
        self.is_present = true;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Never> {
        self.leaf(Leaf::Empty)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Never> {
        self.leaf(Leaf::Empty)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, symbol: &'static str) -> Result<(), Never> {
        if symbol == "UNKNOWN" { self.leaf(Leaf::Empty) } else { self.other(false) }
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, Never> {
        if length == Some(0) {
            self.leaf(Leaf::Empty)?;
        }
        Ok(Elements { walker: self, next: 0, key: String::new() })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Never> {
        self.serialize_seq(length)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Never> {
        Ok(Elements { walker: self, next: 0, key: String::new() })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Never> {
        Err(Never("no record holds a tuple".to_owned()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Never> {
        Err(Never("no record holds a tuple".to_owned()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Never> {
        Err(Never("no record holds a tuple".to_owned()))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Never> {
        Err(Never("no record holds a variant with fields".to_owned()))
    }
}

struct Elements<'w, 'v> {
    walker: &'w mut Walker<'v>,
    next: usize,
    key: String,
}

impl ser::SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = Never;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Never> {
        let step = Step::Index(self.next);
        self.next += 1;
        self.walker.below(step, value)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

impl ser::SerializeMap for Elements<'_, '_> {
    type Ok = ();
    type Error = Never;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Never> {
        self.key = serde_json::to_value(key).ok().and_then(|key| key.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Never> {
        let step = Step::Key(std::mem::take(&mut self.key));
        self.walker.below(step, value)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

impl ser::SerializeStruct for Elements<'_, '_> {
    type Ok = ();
    type Error = Never;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Never> {
        self.walker.below(Step::Field(name), value)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}
