//! The records of the benches: items with two texts, three plant views and a conversion, about as large as real ones, and the same
//! for the same seed.

use anyhow::{Context, Result};
use avro::{Schema, Topics};
use devstack::Stack;
use kafka::Producer;
use model::{Change, ChangeId, ChangeMeta, Data, Domain, Fence, Golden, GoldenMeta, Operation, Outgoing, RecordKey, Timestamp};
use serde_json::json;

use crate::machine::wall_micros;

/// The one source of every change.
pub(crate) const SOURCE: &str = "erp";
/// The units that items name.
const UNITS: [&str; 3] = ["C62", "CT", "KGM"];
/// Records handed over before their deliveries are awaited.
const PORTION: usize = 5_000;

/// Writes changes and golden records, as a publisher and a validator would.
pub(crate) struct Records {
    producer: Producer,
    writer: avro::Writer,
    topics: Topics,
    slots: u32,
    seed: u64,
}

impl Records {
    /// # Errors
    /// When the registry does not know the schemas.
    pub(crate) async fn open(stack: &Stack, seed: u64) -> Result<Self> {
        let registry = registry::Registry::new(registry::Config::new(vec![stack.addresses.registry.clone()]))?;
        let topics = stack.topics.clone();
        let mut subjects = Vec::new();
        for domain in [Domain::Item, Domain::Reference] {
            subjects.push((Schema::change(domain), topics.change(SOURCE, domain)));
            subjects.push((Schema::golden(domain), topics.golden(domain)));
        }
        let writer = registry.writer(&subjects).await.context("asking for the schema ids")?;
        let producer = Producer::new(&stack.client("bench-producer"))?;
        Ok(Self { producer, writer, topics, slots: stack.landscape.kafka.slots, seed })
    }

    /// Item number `number` in its `version`.
    ///
    /// # Errors
    /// Never with the fields written here.
    pub(crate) fn item(&self, number: usize, version: i64) -> Result<Data> {
        let mixed = mix(self.seed ^ mix((number as u64) << 20 | version.unsigned_abs()));
        let plant = |plant: &str, turn: u32| {
            let lot = mixed.rotate_right(turn) % 900 + 10;
            json!({"plant": plant, "status": "ACTIVE", "procurement": "MAKE", "mrp_type": "PD", "lot_min": format!("{lot}.5"),
                "lot_round": "5", "safety_stock": format!("{}", lot / 2), "lead_time_days": lot % 60, "issue_uom": "C62"})
        };
        let item = json!({
            "item_id": item_id(number), "revision": "A",
            "descriptions": [
                {"lang": "en", "text": format!("housing {number} version {version}, cast, {mixed:016x}")},
                {"lang": "de", "text": format!("Gehäuse {number} Stand {version}, gegossen, {mixed:016x}")},
            ],
            "item_type": "COMPONENT", "lifecycle": "RELEASED", "make_or_buy": "MAKE", "base_uom": "C62",
            "item_group": format!("G{}", mixed % 40), "hierarchy": format!("10/{}/{}", mixed % 7, mixed % 13),
            "drawing_number": format!("D-{:06}", mixed % 1_000_000),
            "net_weight": {"value": format!("{}.{:03}", mixed % 90 + 1, mixed % 1000), "uom": "KGM"},
            "gross_weight": {"value": format!("{}.{:03}", mixed % 90 + 2, mixed % 1000), "uom": "KGM"},
            "batch_managed": mixed.is_multiple_of(3), "serialized": mixed.is_multiple_of(5),
            "uom_conversions": [{"alt_uom": "CT", "numerator": mixed % 90 + 2, "denominator": 1}],
            "plants": [plant("ULM", 7), plant("PUNE", 19), plant("MONTERREY", 31)],
        });
        Ok(Data::Item(Box::new(serde_json::from_value(item).context("building an item")?)))
    }

    /// A change of the one source.
    ///
    /// # Errors
    /// When the data has no key or cannot be encoded.
    pub(crate) fn change(&self, data: Data, sequence: i64) -> Result<Outgoing> {
        let (domain, key, now) = (data.domain(), data.key()?, Timestamp::from_micros(wall_micros()));
        let id = ChangeId(uuid::Uuid::now_v7());
        let meta = ChangeMeta {
            change_id: id,
            source: SOURCE.to_owned(),
            source_entity: "items".to_owned(),
            source_key: key.to_string(),
            source_version: sequence.to_string(),
            source_epoch: 1,
            source_sequence: sequence,
            operation: Operation::Upsert,
            occurred_at: now,
            captured_at: now,
            author: None,
            approval: None,
            correlation_id: id,
            causation_id: None,
            origin: Vec::new(),
        };
        let change = Change { meta, data: Some(data) };
        let value = self.writer.encode_change(domain, &change).context("encoding a change")?;
        let headers = avro::headers::change(&change, domain, &key, avro::headers::created(&change.meta, false));
        Ok(self.outgoing(self.topics.change(SOURCE, domain), domain, &key, value, headers))
    }

    /// What a validator would have accepted.
    ///
    /// # Errors
    /// As [`Records::change`].
    pub(crate) fn golden(&self, data: Data, revision: i64) -> Result<Outgoing> {
        let (domain, key, now) = (data.domain(), data.key()?, Timestamp::from_micros(wall_micros()));
        let id = ChangeId(uuid::Uuid::now_v7());
        let meta = GoldenMeta {
            revision,
            change_id: id,
            operation: Operation::Upsert,
            policy_version: "bench".to_owned(),
            owner: "erp".to_owned(),
            occurred_at: now,
            accepted_at: now,
            correlation_id: id,
            causation_id: None,
            approval: None,
            valid_from: None,
            valid_to: None,
            fence: [("erp".to_owned(), Fence { epoch: 1, sequence: revision })].into(),
            confirmations: std::collections::BTreeMap::new(),
            findings: Vec::new(),
            origin: Vec::new(),
        };
        let golden = Golden { meta, data: Some(data) };
        let value = self.writer.encode_golden(domain, &golden).context("encoding a golden record")?;
        let headers = avro::headers::golden(&golden, domain, &key, avro::headers::correlated(&golden.meta));
        Ok(self.outgoing(self.topics.golden(domain), domain, &key, value, headers))
    }

    fn outgoing(
        &self,
        topic: String,
        domain: Domain,
        key: &RecordKey,
        value: Vec<u8>,
        headers: Vec<(String, Vec<u8>)>,
    ) -> Outgoing {
        Outgoing { topic, slot: key.slot(domain, self.slots), key: key.to_string(), value: Some(value), headers }
    }

    /// Makes the units golden, so that no item waits for one.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(crate) async fn units(&self) -> Result<()> {
        let unit = |code: &&str| {
            let unit = json!({"set": "uom", "code": code, "status": "ACTIVE", "names": [{"lang": "en", "text": code}]});
            self.golden(Data::Reference(Box::new(serde_json::from_value(unit).context("building a unit")?)), 1)
        };
        self.send_all(UNITS.iter().map(unit)).await
    }

    /// Writes all of them, each partition in this order.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(crate) async fn send_all(&self, records: impl Iterator<Item = Result<Outgoing>>) -> Result<()> {
        let mut open = Vec::with_capacity(PORTION);
        for record in records {
            open.push(self.producer.enqueue(&record?).await?);
            if open.len() == PORTION {
                for delivery in open.drain(..) {
                    delivery.await?;
                }
            }
        }
        for delivery in open {
            delivery.await?;
        }
        Ok(())
    }

    /// Hands one record over without waiting for the broker.
    ///
    /// # Errors
    /// When the producer cannot take it.
    pub(crate) async fn enqueue(&self, record: &Outgoing) -> Result<kafka::Delivery> {
        Ok(self.producer.enqueue(record).await?)
    }
}

/// What item number `number` is called.
pub(crate) fn item_id(number: usize) -> String {
    format!("B-{number:07}")
}

/// Splitmix64: spreads a seed over all bits.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
