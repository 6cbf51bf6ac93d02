//! What a source gives, whatever it is made of: rows that can be mapped, and rows that cannot be read.
//!
//! Invariant: one bad row is a [`Broken`] and never ends the pass; only the source itself being away does.

use serde_json::{Map, Value};

/// One readable row or item.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Place in its file or answer, from 1.
    pub number: u64,
    /// First line of the row in its file; 0 where there are no lines.
    pub line: u64,
    /// As it came, for the dead letter.
    pub raw: Vec<u8>,
    /// Column → text or null; of a JSON source the item as it is.
    pub value: Map<String, Value>,
}

/// One row that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    pub number: u64,
    pub line: u64,
    pub raw: Vec<u8>,
    pub fault: Fault,
    /// What could be read of it: enough, with luck, to tell whose row it is.
    pub supposed: Map<String, Value>,
}

/// Either of them.
pub type Read = Result<Row, Box<Broken>>;

/// What is wrong, in the terms of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Has a page in `docs/errors`.
    pub code: &'static str,
    pub field: Option<String>,
    pub observed: Option<String>,
    pub message: String,
}

impl Fault {
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, field: None, observed: None, message: message.into() }
    }

    /// Names the column or pointer.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the value, cut to what a person can take in.
    #[must_use]
    pub fn observed(mut self, value: impl AsRef<str>) -> Self {
        self.observed = Some(cut(value.as_ref(), 200));
        self
    }
}

/// The first `limit` characters, with a mark where something was left out.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
