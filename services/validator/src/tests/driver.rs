//! Drives the processor as the loop does, without a broker: records in, outcomes out, the clock moved by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use avro::{Reader, Schema, Topics, Writer};
use kafka::{Processor as _, Record};
use landscape::{Kafka, Landscape};
use model::{
    Act, Change, ChangeId, ChangeMeta, Command, Data, DeadLetter, Domain, Golden, Held, HeldChange, Operation, Outcome, Outgoing,
    Reason, Receipt, ReceiptOutcome, Slot, Timestamp, Topical, Transient,
};
use policy::{DomainPolicy, Group};
use registry::Registry;
use serde_json::{Value, json};
use service::Health;

use super::stub::Stub;
use crate::{processor::Validator, shared::Shared, view::View};

const SLOTS: u32 = 2;

/// What became of a record.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Accepted,
    Stale,
    Skipped,
    Held(Reason),
    Refused(Box<DeadLetter>),
}

/// A change in the making.
pub(super) struct Draft {
    record: Topical,
    source: &'static str,
    sequence: i64,
    data: Option<Value>,
    cause: Option<String>,
}

pub(super) fn customer(id: &str, sequence: i64) -> Draft {
    let data = json!({"customer_id": id, "name": "Mill & Sons", "status": "PROSPECT"});
    Draft::new(&format!("customer/{id}"), "crm", sequence, data)
}

pub(super) fn item(key: &str, sequence: i64) -> Draft {
    let (id, revision) = key.split_once('/').unwrap();
    Draft::new(&format!("item/{key}"), "erp", sequence, json!({"item_id": id, "revision": revision, "base_uom": "EA"}))
}

pub(super) fn unit(code: &str, sequence: i64) -> Draft {
    Draft::new(&format!("reference/uom/{code}"), "erp", sequence, json!({"set": "uom", "code": code, "status": "ACTIVE"}))
}

impl Draft {
    fn new(record: &str, source: &'static str, sequence: i64, data: Value) -> Self {
        Self { record: Topical::parse(record).unwrap(), source, sequence, data: Some(data), cause: None }
    }

    /// Adds fields.
    pub(super) fn data(mut self, more: Value) -> Self {
        let fields = self.data.as_mut().unwrap().as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        self
    }

    pub(super) fn only(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    pub(super) fn from(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    pub(super) fn delete(mut self) -> Self {
        self.data = None;
        self
    }

    pub(super) fn caused_by(mut self, letter: &str) -> Self {
        self.cause = Some(letter.to_owned());
        self
    }

    fn change(&self, now: Timestamp) -> Change {
        let data = self.data.clone().map(|data| match self.record.domain {
            Domain::Customer => Data::Customer(serde_json::from_value(data).unwrap()),
            Domain::Item => Data::Item(serde_json::from_value(data).unwrap()),
            Domain::WorkCenter => Data::WorkCenter(serde_json::from_value(data).unwrap()),
            Domain::Reference => Data::Reference(serde_json::from_value(data).unwrap()),
        });
        Change {
            meta: ChangeMeta {
                change_id: change_id(self.sequence),
                source: self.source.to_owned(),
                source_entity: "row".to_owned(),
                source_key: self.record.key.to_string(),
                source_version: self.sequence.to_string(),
                source_epoch: 1,
                source_sequence: self.sequence,
                operation: if data.is_some() { Operation::Upsert } else { Operation::Delete },
                occurred_at: now,
                captured_at: now,
                author: None,
                approval: None,
                correlation_id: change_id(self.sequence),
                causation_id: self.cause.clone(),
                origin: Vec::new(),
            },
            data,
        }
    }
}

fn change_id(sequence: i64) -> ChangeId {
    ChangeId(uuid::Uuid::from_u128(u128::try_from(sequence).unwrap()))
}

/// One worker that owns all slots, and the topics it wrote. It knows the schemas that it writes, and asks for others.
pub(super) struct Driver {
    // What `prepare` blocks on, as in a worker thread.
    runtime: tokio::runtime::Runtime,
    registry: Stub,
    shared: Arc<Shared>,
    /// Reads what any process of the test wrote.
    reader: Reader,
    validator: Validator,
    now: Timestamp,
    offset: i64,
    log: Vec<Outgoing>,
    aborts_next: bool,
}

impl Driver {
    pub(super) fn new() -> Self {
        let registry = Stub::start();
        let shared = Arc::new(shared(&registry, 0));
        let reader = Reader::default();
        (0..3).for_each(|process| Writer::new(ids(process).collect()).teach(&reader));
        let mut validator = Validator::new(Arc::clone(&shared), 0);
        for slot in 0..2 {
            validator.assigned(Slot(slot));
            validator.restored(Slot(slot));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        Self { runtime, registry, shared, reader, validator, now, offset: 0, log: Vec::new(), aborts_next: false }
    }

    pub(super) fn send(&mut self, draft: Draft) -> Told {
        self.send_all(vec![draft]).pop().unwrap()
    }

    pub(super) fn send_all(&mut self, drafts: Vec<Draft>) -> Vec<Told> {
        let records = drafts.into_iter().map(|draft| self.record(draft)).collect();
        self.step(records)
    }

    /// The draft as a record of its change topic.
    pub(super) fn record(&mut self, draft: Draft) -> Record {
        let source = draft.source;
        self.record_in(source, draft)
    }

    /// The draft as a record of another source's topic.
    pub(super) fn record_in(&mut self, source: &str, draft: Draft) -> Record {
        let record = &draft.record;
        let bytes = self.shared.writer.encode_change(record.domain, &draft.change(self.now)).unwrap();
        self.raw(&self.shared.topics.change(source, record.domain), record, record.key.as_str(), bytes)
    }

    /// Bytes in any topic.
    pub(super) fn raw_record(&mut self, topic: &str, record: &str, value: Vec<u8>) -> Record {
        self.raw(&format!("mdm.{topic}"), &Topical::parse(record).unwrap(), record, value)
    }

    fn raw(&mut self, topic: &str, record: &Topical, key: &str, value: Vec<u8>) -> Record {
        self.offset += 1;
        Record {
            topic: topic.into(),
            partition: record.slot(SLOTS).0,
            offset: self.offset,
            timestamp: self.now,
            key: Some(key.into()),
            value: Some(value),
            headers: Vec::new(),
        }
    }

    /// One turn of the loop with a batch.
    pub(super) fn step(&mut self, records: Vec<Record>) -> Vec<Told> {
        // As the loop does, which lets a slot wait until its schemas are answered for.
        let is_ready = (0..100).any(|_| self.prepare(&records).is_empty());
        assert!(is_ready, "waits for ever");
        let entered = self.runtime.enter();
        let woken = self.validator.wake(self.now).unwrap();
        drop(entered);
        let outcomes = self.validator.process(&records, self.now).unwrap();
        assert_eq!(outcomes.len(), records.len(), "one outcome per record");
        let mut written: Vec<Outgoing> = woken.into_iter().flat_map(|(_, outgoing)| outgoing).collect();
        let mut told = Vec::new();
        for (record, outcome) in records.iter().zip(outcomes) {
            let (what, outgoing) = match outcome {
                Outcome::Forward(outgoing) if outgoing.iter().any(|out| out.topic.starts_with("mdm.golden")) => {
                    (Told::Accepted, outgoing)
                }
                Outcome::Forward(outgoing) => (Told::Stale, outgoing),
                Outcome::Skip(_) => (Told::Skipped, Vec::new()),
                Outcome::Hold(reason, outgoing) => (Told::Held(reason), outgoing),
                Outcome::Reject(rejection) => (Told::Refused(Box::new(rejection.letter)), rejection.also),
                Outcome::Pause { cause, .. } => panic!("{cause}"),
            };
            assert!(outgoing.iter().all(|out| out.slot.0 == record.partition), "outputs stay in the slot of their input");
            written.extend(outgoing);
            told.push(what);
        }
        for out in &written {
            assert!(out.fits(), "{} bytes for {}", out.size(), out.topic);
            let mut reread = out.value.iter();
            assert!(out.topic.contains("golden") || reread.all(|value| avro::schema_id(value).is_ok()));
        }
        if std::mem::take(&mut self.aborts_next) {
            self.validator.aborted();
        } else {
            self.log.extend(written);
            self.validator.committed();
        }
        told
    }

    /// One turn without a batch.
    pub(super) fn turn(&mut self) {
        self.step(Vec::new());
    }

    pub(super) fn prepare(&mut self, records: &[Record]) -> BTreeMap<Slot, Transient> {
        let _entered = self.runtime.enter();
        self.validator.prepare(records)
    }

    /// What `/readyz` names of the worker.
    pub(super) fn named_on_readyz(&self) -> Option<String> {
        self.shared.health.missing().get("worker 0").cloned()
    }

    pub(super) fn abort_next(&mut self) {
        self.aborts_next = true;
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
    }

    pub(super) fn command(&mut self, record: &str, act: Act, revision: Option<i64>) -> Told {
        let target = Topical::parse(record).unwrap();
        let command = Command {
            command_id: "c-1".to_owned(),
            act,
            stage: model::Stage::Validate,
            domain: Some(target.domain),
            key: Some(target.key.clone()),
            actor: "anna".to_owned(),
            reason: Some("checked".to_owned()),
            until: None,
            at: self.now,
            plan: None,
            letter: None,
            source_key: None,
            revision,
            source: None,
            source_epoch: None,
            source_sequence: None,
            exact_offset: None,
            filter: None,
        };
        let value = self.shared.writer.encode(&command).unwrap();
        let topic = self.shared.topics.command("validator");
        let record = self.raw(&topic, &target, record, value);
        self.step(vec![record]).pop().unwrap()
    }

    pub(super) fn receipt(&mut self, record: &str, revision: i64, outcome: ReceiptOutcome, external_id: Option<&str>) -> Told {
        self.receipt_of("ledger", record, revision, outcome, external_id)
    }

    /// A receipt in the ledger's topic, whatever it says of itself.
    pub(super) fn receipt_of(
        &mut self,
        destination: &str,
        record: &str,
        revision: i64,
        outcome: ReceiptOutcome,
        external_id: Option<&str>,
    ) -> Told {
        let target = Topical::parse(record).unwrap();
        let receipt = Receipt {
            destination: destination.to_owned(),
            domain: target.domain,
            key: target.key.clone(),
            change_id: change_id(1),
            revision,
            outcome,
            note: None,
            attempt: 1,
            connector: "http".to_owned(),
            reference: None,
            external_id: external_id.map(str::to_owned),
            code: None,
            text: None,
            occurred_at: self.now,
            offered_at: self.now,
            answered_at: self.now,
            cause: model::Cause::Normal,
            letter: None,
            seq: 1,
            previous_hash: String::new(),
            hash: String::new(),
        };
        let value = self.shared.writer.encode(&receipt).unwrap();
        let topic = self.shared.topics.receipt("ledger");
        let record = self.raw(&topic, &target, record, value);
        self.step(vec![record]).pop().unwrap()
    }

    /// A golden record of a slot that somebody else owns arrives in the view.
    pub(super) fn followed(&mut self, draft: Draft) {
        let change = draft.change(self.now);
        let meta = &change.meta;
        let golden = Golden {
            meta: model::GoldenMeta {
                revision: 1,
                change_id: meta.change_id,
                operation: meta.operation,
                policy_version: "test".to_owned(),
                owner: meta.source.clone(),
                occurred_at: self.now,
                accepted_at: self.now,
                correlation_id: meta.correlation_id,
                causation_id: None,
                approval: None,
                valid_from: None,
                valid_to: None,
                fence: BTreeMap::from([(meta.source.clone(), meta.fence())]),
                confirmations: BTreeMap::new(),
                findings: Vec::new(),
                origin: Vec::new(),
            },
            data: change.data.clone(),
        };
        let bytes = self.shared.writer.encode_golden(draft.record.domain, &golden).unwrap();
        // In the state too: this driver's worker owns every slot.
        let record =
            self.raw(&self.shared.topics.golden(draft.record.domain), &draft.record, draft.record.key.as_str(), bytes.clone());
        self.log.push(Outgoing {
            topic: record.topic.to_string(),
            slot: record.slot(),
            key: draft.record.key.to_string(),
            value: Some(bytes.clone()),
            headers: Vec::new(),
        });
        self.validator.restore(record.slot(), record);
        self.shared.view.put(&self.shared.reader, draft.record, Some(&bytes));
    }

    /// A new process whose schemas have other ids, so that it knows none of what lies in the topics.
    pub(super) fn restart_with_other_ids(&mut self) {
        self.shared = Arc::new(shared(&self.registry, 1));
        self.restart();
    }

    pub(super) fn registry(&self) -> &Stub {
        &self.registry
    }

    /// As the loop does with what no broker takes.
    pub(super) fn hand_back(&mut self, outgoing: &Outgoing, cause: Option<&Record>) {
        self.validator.unwritable(outgoing, cause);
    }

    /// Puts a record into the topics as if somebody else had written it.
    pub(super) fn find(&mut self, topic: &str, record: &str, value: Vec<u8>) {
        let place = Topical::parse(record).unwrap();
        let topic = format!("mdm.{topic}");
        let key = if topic.contains("golden") { place.key.to_string() } else { place.to_string() };
        self.log.push(Outgoing { topic, slot: place.slot(SLOTS), key, value: Some(value), headers: Vec::new() });
    }

    /// A new process: nothing but the topics.
    pub(super) fn restart(&mut self) {
        self.validator = Validator::new(Arc::clone(&self.shared), 0);
        let state: BTreeSet<String> =
            Domain::ALL.iter().map(|domain| self.shared.topics.golden(*domain)).chain([self.shared.topics.held()]).collect();
        for slot in [Slot(0), Slot(1)] {
            self.validator.assigned(slot);
            for (offset, out) in (0..).zip(self.log.iter().filter(|out| out.slot == slot && state.contains(&out.topic))) {
                let record = Record {
                    topic: out.topic.as_str().into(),
                    partition: slot.0,
                    offset,
                    timestamp: self.now,
                    key: Some(out.key.clone().into_bytes()),
                    value: out.value.clone(),
                    headers: Vec::new(),
                };
                self.validator.restore(slot, record);
            }
            self.validator.restored(slot);
        }
    }

    fn last(&self, topic: &str, key: &str) -> Option<&[u8]> {
        self.log.iter().rfind(|out| out.topic == topic && out.key == key)?.value.as_deref()
    }

    pub(super) fn golden(&self, record: &str) -> Option<Golden> {
        let record = Topical::parse(record).unwrap();
        let bytes = self.last(&self.shared.topics.golden(record.domain), record.key.as_str())?;
        Some(self.reader.decode_golden(record.domain, bytes).unwrap())
    }

    pub(super) fn held(&self, record: &str) -> Vec<HeldChange> {
        let held = self.last(&self.shared.topics.held(), record).map(|bytes| self.reader.decode::<Held>(bytes).unwrap());
        held.unwrap_or_default().waiting
    }

    /// How many changes wait in the worker's state.
    pub(super) fn waiting(&self) -> i64 {
        self.validator.waiting()
    }

    pub(super) fn letters(&self) -> Vec<DeadLetter> {
        let letters = self.log.iter().filter(|out| out.topic == self.shared.topics.dlq("validator"));
        letters.map(|out| self.reader.decode(out.value.as_deref().unwrap()).unwrap()).collect()
    }

    /// How often a topic (without its domain) got a record of this key.
    pub(super) fn writes_of(&self, topic: &str, record: &str) -> usize {
        let key = record.split_once('/').unwrap().1;
        self.log
            .iter()
            .filter(|out| out.topic.starts_with(&format!("mdm.{topic}")) && (out.key == record || out.key == key))
            .count()
    }

    pub(super) fn change_id_of(&self, sequence: i64) -> ChangeId {
        change_id(sequence)
    }
}

/// The ids of a process.
fn ids(process: i32) -> impl Iterator<Item = (Schema, i32)> {
    Schema::ALL.iter().copied().zip(process * 100 + 1..)
}

fn shared(stub: &Stub, process: i32) -> Shared {
    let mut registry = registry::Config::new(vec![stub.url.clone()]);
    registry.retry_for = std::time::Duration::ZERO;
    registry.unknown_after = std::time::Duration::ZERO;
    let mut domains = BTreeMap::new();
    for (domain, owner) in [(Domain::Customer, "crm"), (Domain::Item, "erp"), (Domain::Reference, "erp")] {
        domains.insert(domain, DomainPolicy::new(domain, owner));
    }
    let item = domains.get_mut(&Domain::Item).unwrap();
    item.office = Some("item office".to_owned());
    let customer = domains.get_mut(&Domain::Customer).unwrap();
    customer.groups = vec![Group { owner: "erp".to_owned(), fields: vec!["/bank_accounts".parse().unwrap()] }];
    let landscape = Landscape {
        version: "test".to_owned(),
        policy_version: "test-00000000".to_owned(),
        kafka: Kafka { brokers: Vec::new(), topic_prefix: "mdm.".to_owned(), slots: SLOTS, replication: 1, security: None },
        registry: landscape::Registry { urls: Vec::new(), username: None, password_file: None, ca_file: None },
        domains,
        sets: BTreeSet::from(["uom".to_owned()]),
        sources: BTreeMap::new(),
        destinations: BTreeMap::new(),
        mappings: mapping::Mappings::compile(&BTreeMap::new(), &mapping::Tables::default()).unwrap(),
        cases: Vec::new(),
    };
    Shared::new(
        Arc::new(landscape),
        Topics::new("mdm."),
        Arc::new(Reader::default()),
        Writer::new(ids(process).collect()),
        Registry::new(registry).unwrap(),
        Arc::new(View::default()),
        Health::default(),
    )
}
