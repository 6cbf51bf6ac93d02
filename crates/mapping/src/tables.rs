//! Side tables that a mapping may ask: a source's own (streets by address number) and the landscape's (unit codes). Keys are compared in
//! Normalization Form C.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::{Value, value::Object};
use model::nfc;

/// Name → key → rows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<Content>);

type Content = BTreeMap<String, BTreeMap<String, Vec<Value>>>;

impl Tables {
    /// Adds one row; several rows may share a key.
    pub fn insert(&mut self, table: &str, key: &str, row: &serde_json::Value) {
        let content = Arc::make_mut(&mut self.0);
        if !content.contains_key(table) {
            content.insert(table.to_owned(), BTreeMap::new());
        }
        if let Some(rows) = content.get_mut(table) {
            rows.entry(nfc(key).into_owned()).or_default().push(Value::from(minijinja::value::Serde(row)));
        }
    }

    /// Makes a table known that may have no rows.
    pub fn declare(&mut self, table: &str) {
        Arc::make_mut(&mut self.0).entry(table.to_owned()).or_default();
    }

    #[must_use]
    pub fn contains(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    /// Names of all tables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Rows under `key`; None when there is no such table.
    pub(crate) fn rows(&self, table: &str, key: &str) -> Option<&[Value]> {
        self.0.get(table).map(|rows| rows.get(&*nfc(key)).map_or(&[][..], Vec::as_slice))
    }
}

/// How tables travel in a template's context; a template sees nothing of it.
impl Object for Tables {}
