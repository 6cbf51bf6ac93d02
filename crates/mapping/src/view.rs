//! A golden record as templates see it.

use std::collections::BTreeMap;

use minijinja::{Value, value::Serde};
use model::{Data, Domain, Golden, RecordKey};

/// `item` (or `customer`, ...), `meta`, `key`, `domain`. Made once per record, asked by scope, gates and mapping.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) context: Value,
    pub(crate) domain: Domain,
    pub(crate) is_delete: bool,
}

impl View {
    #[must_use]
    pub fn new(golden: &Golden, domain: Domain, key: &RecordKey) -> Self {
        let data = golden.data.as_ref().map_or(Value::from(()), data);
        let context: BTreeMap<&str, Value> = BTreeMap::from([
            (domain.name(), data),
            ("meta", Value::from(Serde(&golden.meta))),
            ("key", Value::from(key.as_str())),
            ("domain", Value::from(domain.name())),
        ]);
        Self { context: Value::from(context), domain, is_delete: golden.data.is_none() }
    }
}

fn data(data: &Data) -> Value {
    match data {
        Data::Customer(data) => Value::from(Serde(data.as_ref())),
        Data::Item(data) => Value::from(Serde(data.as_ref())),
        Data::WorkCenter(data) => Value::from(Serde(data.as_ref())),
        Data::Reference(data) => Value::from(Serde(data.as_ref())),
    }
}
