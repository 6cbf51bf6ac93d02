//! A record of any domain, proposed and accepted.

use serde::{Deserialize, Serialize};

use crate::{ChangeMeta, Customer, Date, Domain, GoldenMeta, Item, KeyError, RecordKey, Reference, WorkCenter};

/// The data of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Customer(Box<Customer>),
    Item(Box<Item>),
    WorkCenter(Box<WorkCenter>),
    Reference(Box<Reference>),
}

impl Data {
    #[must_use]
    pub const fn domain(&self) -> Domain {
        match self {
            Data::Customer(_) => Domain::Customer,
            Data::Item(_) => Domain::Item,
            Data::WorkCenter(_) => Domain::WorkCenter,
            Data::Reference(_) => Domain::Reference,
        }
    }

    /// The key that follows from the data.
    ///
    /// # Errors
    /// When a key component is empty.
    pub fn key(&self) -> Result<RecordKey, KeyError> {
        let domain = self.domain();
        match self {
            Data::Customer(data) => RecordKey::new(domain, &[&data.customer_id]),
            Data::Item(data) => RecordKey::new(domain, &[&data.item_id, &data.revision]),
            Data::WorkCenter(data) => RecordKey::new(domain, &[&data.plant, &data.work_center_id]),
            Data::Reference(data) => RecordKey::new(domain, &[&data.set, &data.code]),
        }
    }

    /// The record's own validity: from inclusive, to exclusive, null is open.
    #[must_use]
    pub fn validity(&self) -> (Option<Date>, Option<Date>) {
        match self {
            Data::Customer(_) => (None, None),
            Data::Item(data) => (data.valid_from, data.valid_to),
            Data::WorkCenter(data) => (data.valid_from, data.valid_to),
            Data::Reference(data) => (data.valid_from, data.valid_to),
        }
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Data::Customer(data) => data.serialize(serializer),
            Data::Item(data) => data.serialize(serializer),
            Data::WorkCenter(data) => data.serialize(serializer),
            Data::Reference(data) => data.serialize(serializer),
        }
    }
}

/// A record of `change.<source>.<domain>`: a source's proposal; `data` none is a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub meta: ChangeMeta,
    pub data: Option<Data>,
}

/// A record of `golden.<domain>`: the accepted state; `data` none is a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Golden {
    pub meta: GoldenMeta,
    pub data: Option<Data>,
}

/// The typed halves of [`Change`] and [`Golden`], as decoding needs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<Meta, Record> {
    pub meta: Meta,
    pub data: Option<Record>,
}
