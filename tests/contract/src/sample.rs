//! Samples of every record type, as JSON and as framed bytes: kept with a release, so that later code proves that it still reads them.

use avro::{Schema, Wire, Writer, fields};
use model::{
    AuditEntry, Change, ChangeMeta, Command, Cursor, Customer, Data, DeadLetter, DestinationStatus, Domain, FindingReport,
    Golden, GoldenMeta, Held, Item, Ledger, LetterStatus, Plan, Receipt, Reference, SourceStatus, WorkCenter, data::Versioned,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::arbitrary::{Choices, Fill, record};

/// The schema id in every sample.
pub const ID: i32 = 7;

fn generated<T: DeserializeOwned>(schema: Schema, fill: Fill) -> T {
    let tree = fields::tree(&serde_json::from_str(schema.text()).expect("the round trips of the avro crate hold"));
    serde_json::from_value(record(&tree, fill, &mut Choices(1))).expect("the round trips of the avro crate hold")
}

fn plain<T: Wire>(fill: Fill) -> (Value, Vec<u8>) {
    let sample: T = generated(T::SCHEMA, fill);
    let bytes = Writer::new([(T::SCHEMA, ID)].into()).encode(&sample).expect("the round trips of the avro crate hold");
    (serde_json::to_value(&sample).expect("the round trips of the avro crate hold"), bytes)
}

fn of_domain<R: DeserializeOwned + Serialize>(
    domain: Domain,
    is_change: bool,
    data: fn(Box<R>) -> Data,
    fill: Fill,
) -> (Value, Vec<u8>) {
    if is_change {
        let half: Versioned<ChangeMeta, R> = generated(Schema::change(domain), fill);
        let change = Change { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
        let bytes = Writer::new([(Schema::change(domain), ID)].into())
            .encode_change(domain, &change)
            .expect("the round trips of the avro crate hold");
        (serde_json::to_value(&change).expect("the round trips of the avro crate hold"), bytes)
    } else {
        let half: Versioned<GoldenMeta, R> = generated(Schema::golden(domain), fill);
        let golden = Golden { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
        let bytes = Writer::new([(Schema::golden(domain), ID)].into())
            .encode_golden(domain, &golden)
            .expect("the round trips of the avro crate hold");
        (serde_json::to_value(&golden).expect("the round trips of the avro crate hold"), bytes)
    }
}

/// A sample of a schema as JSON and as framed bytes.
///
/// # Panics
/// When the generator and the model disagree, which the round trips of the `avro` crate exclude.
#[must_use]
pub fn sample(schema: Schema, fill: Fill) -> (Value, Vec<u8>) {
    match schema {
        Schema::CustomerChange => of_domain::<Customer>(Domain::Customer, true, Data::Customer, fill),
        Schema::ItemChange => of_domain::<Item>(Domain::Item, true, Data::Item, fill),
        Schema::WorkCenterChange => of_domain::<WorkCenter>(Domain::WorkCenter, true, Data::WorkCenter, fill),
        Schema::ReferenceChange => of_domain::<Reference>(Domain::Reference, true, Data::Reference, fill),
        Schema::CustomerGolden => of_domain::<Customer>(Domain::Customer, false, Data::Customer, fill),
        Schema::ItemGolden => of_domain::<Item>(Domain::Item, false, Data::Item, fill),
        Schema::WorkCenterGolden => of_domain::<WorkCenter>(Domain::WorkCenter, false, Data::WorkCenter, fill),
        Schema::ReferenceGolden => of_domain::<Reference>(Domain::Reference, false, Data::Reference, fill),
        Schema::Held => plain::<Held>(fill),
        Schema::FindingReport => plain::<FindingReport>(fill),
        Schema::Receipt => plain::<Receipt>(fill),
        Schema::Ledger => plain::<Ledger>(fill),
        Schema::DestinationStatus => plain::<DestinationStatus>(fill),
        Schema::SourceStatus => plain::<SourceStatus>(fill),
        Schema::Command => plain::<Command>(fill),
        Schema::DeadLetter => plain::<DeadLetter>(fill),
        Schema::LetterStatus => plain::<LetterStatus>(fill),
        Schema::Plan => plain::<Plan>(fill),
        Schema::Cursor => plain::<Cursor>(fill),
        Schema::AuditEntry => plain::<AuditEntry>(fill),
    }
}
