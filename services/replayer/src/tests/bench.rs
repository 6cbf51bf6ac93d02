//! A replayer without a broker. What it writes can be read, and fed back as its state.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use avro::{Reader, Schema, TopicKind, Topics, Writer};
use kafka::{Followed, Processor as _, Record};
use landscape::Landscape;
use model::{
    Act, AuditEntry, Change, ChangeId, Command, DeadLetter, Domain, Fence, Golden, GoldenMeta, Ledger, LedgerEntry, LedgerState,
    LetterClass, LetterId, LetterState, LetterStatus, Operation, Outcome, Outgoing, Plan, PlanFilter, Receipt, ReceiptOutcome,
    RecordKey, Slot, Stage, Timestamp, Topical,
};
use registry::Registry;
use service::Health;
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    Config,
    archive::Archive,
    desk,
    execute::{Replayer, Views},
};

pub(super) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

pub(super) struct Bench {
    pub(super) replayer: Replayer,
    pub(super) now: Timestamp,
    pub(super) topics: Topics,
    writer: Writer,
    reader: Arc<Reader>,
    golden: mpsc::Sender<Followed>,
    ledgers: mpsc::Sender<Followed>,
    next: HashMap<(String, i32), i64>,
    /// Everything the replayer wrote to its own topics, for a restart.
    own: Vec<Outgoing>,
    _runtime: Runtime,
}

/// What the replayer wrote, decoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wrote {
    Letter(Box<LetterStatus>),
    Plan(Box<Plan>),
    Audit(Box<AuditEntry>),
    Command(String, Slot, Box<Command>),
    Change(String, Slot, Box<Change>),
    Tombstone(String),
}

pub(super) fn landscape() -> Arc<Landscape> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/landscape");
    Arc::new(Landscape::parse(&service::landscape_files(&folder).unwrap()).unwrap())
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::restarted(&[])
    }

    /// A replayer that restores what another one wrote.
    pub(super) fn restarted(own: &[Outgoing]) -> Self {
        let runtime = Runtime::new().unwrap();
        let topics = Topics::new("mdm.");
        let ids: HashMap<Schema, i32> = Schema::ALL.iter().zip(1..).map(|(schema, id)| (*schema, id)).collect();
        let writer = Writer::new(ids.clone());
        let reader = Arc::new(Reader::default());
        for (schema, id) in ids {
            reader.learn(id, schema.text());
        }
        let mut nobody = registry::Config::new(vec!["http://127.0.0.1:1".to_owned()]);
        nobody.retry_for = Duration::from_millis(1);
        let (golden, golden_facts) = mpsc::channel(10_000);
        let (ledgers, ledger_facts) = mpsc::channel(10_000);
        let replayer = Replayer::new(
            Config::new(landscape(), topics.clone()),
            writer.clone(),
            Arc::clone(&reader),
            Registry::new(nobody).unwrap(),
            runtime.handle().clone(),
            Archive::Memory(HashMap::new()),
            Views { golden: golden_facts, ledgers: ledger_facts },
            Health::default(),
        );
        let next = HashMap::new();
        let mut bench =
            Self { replayer, now: START, topics, writer, reader, golden, ledgers, next, own: own.to_vec(), _runtime: runtime };
        bench.restore(own);
        bench
    }

    pub(super) fn restore(&mut self, own: &[Outgoing]) {
        self.replayer.assigned(Slot(0));
        for outgoing in own {
            let record = self.record(&outgoing.topic, outgoing.slot.0, &outgoing.key, outgoing.value.clone());
            self.replayer.restore(Slot(0), record);
        }
        self.replayer.restored(Slot(0));
    }

    pub(super) fn own(&self) -> Vec<Outgoing> {
        self.own.clone()
    }

    fn record(&mut self, topic: &str, partition: i32, key: &str, value: Option<Vec<u8>>) -> Record {
        let next = self.next.entry((topic.to_owned(), partition)).or_insert(0);
        let offset = *next;
        *next += 1;
        Record {
            topic: topic.into(),
            partition,
            offset,
            timestamp: self.now,
            key: Some(key.as_bytes().to_vec()),
            value,
            headers: Vec::new(),
        }
    }

    fn keep(&mut self, record: &Record) {
        let Archive::Memory(records) = &mut self.replayer.archive else { panic!("tests have no log") };
        records.insert((record.topic.to_string(), record.partition, record.offset), record.clone());
    }

    pub(super) fn caught_up(&mut self) {
        self.golden.try_send(Followed::CaughtUp).unwrap();
        self.ledgers.try_send(Followed::CaughtUp).unwrap();
    }

    /// A golden record, followed; `data` none is a delete.
    pub(super) fn golden(&mut self, domain: Domain, key: &RecordKey, golden: &Golden) {
        let value = self.writer.encode_golden(domain, golden).unwrap();
        let record = self.record(&self.topics.golden(domain), key.slot(domain, 12).0, key.as_str(), Some(value));
        self.keep(&record);
        self.golden.try_send(Followed::Record(record)).unwrap();
    }

    pub(super) fn ledger(&mut self, destination: &str, place: &Topical, state: LedgerState, accepted: Option<i64>) {
        let entry = LedgerEntry {
            state,
            accepted: accepted.map(|revision| model::ledger::Accepted {
                revision,
                change_id: ChangeId::default(),
                payload_hash: String::new(),
                at: self.now,
                external_id: None,
            }),
            ..LedgerEntry::default()
        };
        self.entry(destination, place, entry);
    }

    /// A delete that its sink had nothing to do for.
    pub(super) fn passed_over(&mut self, destination: &str, place: &Topical, revision: i64) {
        let offered = model::ledger::Offered { revision, change_id: ChangeId::default(), golden_offset: 0 };
        let entry = LedgerEntry { state: LedgerState::Deleted, offered: Some(offered), ..LedgerEntry::default() };
        self.entry(destination, place, entry);
    }

    fn entry(&mut self, destination: &str, place: &Topical, entry: LedgerEntry) {
        let value = self.writer.encode(&Ledger { entry: Some(entry), lease: None }).unwrap();
        let record = self.record(&self.topics.ledger(destination), place.slot(12).0, &place.to_string(), Some(value));
        self.ledgers.try_send(Followed::Record(record)).unwrap();
    }

    pub(super) fn destination(&mut self, status: &model::DestinationStatus) {
        self.destination_under(&status.destination, status);
    }

    pub(super) fn destination_under(&mut self, key: &str, status: &model::DestinationStatus) {
        let value = self.writer.encode(status).unwrap();
        let record = self.record(&self.topics.destination(), 0, key, Some(value));
        self.golden.try_send(Followed::Record(record)).unwrap();
    }

    /// A letter in its `dlq.<stage>`, processed and committed.
    pub(super) fn letter(&mut self, letter: &DeadLetter) -> Vec<Wrote> {
        self.letter_in(&letter.system, letter)
    }

    /// A letter in the `dlq` of somebody, whatever it says of itself.
    pub(super) fn letter_in(&mut self, stage: &str, letter: &DeadLetter) -> Vec<Wrote> {
        let value = self.writer.encode(letter).unwrap();
        let slot = match (letter.domain, &letter.key) {
            (Some(domain), Some(key)) => key.slot(domain, 12).0,
            _ => 0,
        };
        let record = self.record(&self.topics.dlq(stage), slot, "key", Some(value));
        self.keep(&record);
        self.commit(&record)
    }

    pub(super) fn receipt(&mut self, receipt: &Receipt) -> Vec<Wrote> {
        self.receipt_in(&receipt.destination, receipt)
    }

    /// A receipt in the topic of somebody, whatever it says of itself.
    pub(super) fn receipt_in(&mut self, destination: &str, receipt: &Receipt) -> Vec<Wrote> {
        let value = self.writer.encode(receipt).unwrap();
        let record = self.record(&self.topics.receipt(destination), 0, "key", Some(value));
        self.commit(&record)
    }

    pub(super) fn command(&mut self, command: &Command) -> Vec<Wrote> {
        let record = self.command_record(command);
        self.commit(&record)
    }

    pub(super) fn command_record(&mut self, command: &Command) -> Record {
        let value = self.writer.encode(command).unwrap();
        self.record(&self.topics.command("replayer"), 0, "key", Some(value))
    }

    pub(super) fn commit(&mut self, record: &Record) -> Vec<Wrote> {
        let wrote = self.process(record);
        self.replayer.committed();
        wrote
    }

    /// One record through the processor, without the end of its transaction.
    pub(super) fn process(&mut self, record: &Record) -> Vec<Wrote> {
        let batch = std::slice::from_ref(record);
        assert_eq!(self.replayer.prepare(batch), BTreeMap::new());
        let outcomes = self.replayer.process(batch, self.now).unwrap();
        assert_eq!(outcomes.len(), 1, "one outcome per record");
        match outcomes.into_iter().next().unwrap() {
            Outcome::Forward(outgoing) => self.took(outgoing),
            Outcome::Skip(_) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// One turn of the loop without a record.
    pub(super) fn turn(&mut self) -> Vec<Wrote> {
        let outgoing = self.replayer.wake(self.now).unwrap();
        let wrote = outgoing.into_iter().flat_map(|(_, outgoing)| self.took(outgoing)).collect();
        self.replayer.committed();
        wrote
    }

    /// Turns until `time` has passed, in steps of 50 ms.
    pub(super) fn run_for(&mut self, time: Duration) -> Vec<Wrote> {
        let end = self.now.plus(time);
        let mut wrote = Vec::new();
        while self.now < end {
            wrote.extend(self.turn());
            self.now = self.now.plus(Duration::from_millis(50));
        }
        wrote
    }

    fn took(&mut self, outgoing: Vec<Outgoing>) -> Vec<Wrote> {
        outgoing.into_iter().map(|outgoing| self.wrote(outgoing)).collect()
    }

    fn wrote(&mut self, outgoing: Outgoing) -> Wrote {
        let kind = self.topics.kind(&outgoing.topic).unwrap();
        if matches!(kind, TopicKind::Deadletter | TopicKind::Plan | TopicKind::Audit) {
            assert_eq!(outgoing.slot, Slot(0));
            self.own.push(outgoing.clone());
        }
        let Some(value) = outgoing.value else { return Wrote::Tombstone(outgoing.key) };
        match kind {
            TopicKind::Deadletter => Wrote::Letter(Box::new(self.reader.decode(&value).unwrap())),
            TopicKind::Plan => Wrote::Plan(Box::new(self.reader.decode(&value).unwrap())),
            TopicKind::Audit => Wrote::Audit(Box::new(self.reader.decode(&value).unwrap())),
            TopicKind::Command(stage) => Wrote::Command(stage, outgoing.slot, Box::new(self.reader.decode(&value).unwrap())),
            TopicKind::Change { domain, .. } => {
                Wrote::Change(outgoing.topic, outgoing.slot, Box::new(self.reader.decode_change(domain, &value).unwrap()))
            }
            other => panic!("the replayer writes no {other:?}"),
        }
    }

    pub(super) fn encode_change(&self, domain: Domain, change: &Change) -> Vec<u8> {
        self.writer.encode_change(domain, change).unwrap()
    }

    pub(super) fn status(&self, id: &str) -> LetterStatus {
        self.replayer.book.letter(&LetterId(id.to_owned())).unwrap().clone()
    }

    pub(super) fn plan(&self, id: &str) -> Plan {
        self.replayer.book.plan(id).unwrap().clone()
    }

    /// Makes a plan and answers it.
    pub(super) fn planned(&mut self, id: &str, filter: PlanFilter) -> Plan {
        let mut command = wish(Act::Plan, id);
        command.filter = Some(filter);
        self.command(&command);
        self.plan(id)
    }
}

pub(super) fn wish(act: Act, plan: &str) -> Command {
    let mut command = desk::command(act, Stage::Unknown, "local/anna", START);
    command.plan = Some(plan.to_owned());
    command.reason = Some("because".to_owned());
    command
}

pub(super) fn item(number: u32) -> RecordKey {
    RecordKey::new(Domain::Item, &[&format!("P-{number}"), "A"]).unwrap()
}

pub(super) fn place(number: u32) -> Topical {
    Topical::new(Domain::Item, item(number))
}

/// A destination's letter: `mes-ulm` refused a revision of an item.
pub(super) fn refused(id: &str, number: u32, revision: i64) -> DeadLetter {
    DeadLetter {
        id: LetterId(id.to_owned()),
        stage: Stage::Deliver,
        system: "mes-ulm".into(),
        domain: Some(Domain::Item),
        key: Some(item(number)),
        revision: Some(revision),
        change_id: None,
        source: None,
        source_key: None,
        source_epoch: None,
        source_sequence: None,
        topic: Some("mdm.golden.item".into()),
        partition: Some(0),
        offset: Some(1),
        timestamp: Some(START),
        schema_id: None,
        class: LetterClass::Refused,
        code: "UNIT_UNKNOWN".into(),
        field: Some("unit".into()),
        observed: Some("SET".into()),
        message: "unit SET unknown".into(),
        owner: None,
        findings: Vec::new(),
        attempts: 1,
        first_failed_at: START,
        last_failed_at: START,
        service: "sink".into(),
        policy_version: "1".into(),
        replaces: None,
        headers: std::collections::BTreeMap::new(),
        payload: Vec::new(),
        truncated: false,
        sent: None,
    }
}

pub(super) fn golden_meta(revision: i64, fence: &[(&str, i64)]) -> GoldenMeta {
    GoldenMeta {
        revision,
        change_id: ChangeId::default(),
        operation: Operation::Upsert,
        policy_version: "1".into(),
        owner: "erp".into(),
        occurred_at: START,
        accepted_at: START,
        correlation_id: ChangeId::default(),
        causation_id: None,
        approval: None,
        valid_from: None,
        valid_to: None,
        fence: fence.iter().map(|(source, sequence)| ((*source).to_owned(), Fence { epoch: 1, sequence: *sequence })).collect(),
        confirmations: std::collections::BTreeMap::new(),
        findings: Vec::new(),
        origin: Vec::new(),
    }
}

pub(super) fn receipt(number: u32, revision: i64, outcome: ReceiptOutcome) -> Receipt {
    Receipt {
        destination: "mes-ulm".into(),
        domain: Domain::Item,
        key: item(number),
        change_id: ChangeId::default(),
        revision,
        outcome,
        note: None,
        attempt: 1,
        connector: "http".into(),
        reference: None,
        external_id: None,
        code: None,
        text: None,
        occurred_at: START,
        offered_at: START,
        answered_at: START,
        cause: model::Cause::Replay,
        letter: None,
        seq: 1,
        previous_hash: String::new(),
        hash: String::new(),
    }
}

pub(super) fn commands(wrote: &[Wrote]) -> Vec<(&str, &Command)> {
    wrote
        .iter()
        .filter_map(|wrote| match wrote {
            Wrote::Command(stage, _, command) => Some((stage.as_str(), &**command)),
            _ => None,
        })
        .collect()
}

pub(super) fn audits(wrote: &[Wrote]) -> Vec<&AuditEntry> {
    wrote
        .iter()
        .filter_map(|wrote| match wrote {
            Wrote::Audit(entry) => Some(&**entry),
            _ => None,
        })
        .collect()
}

pub(super) fn states(wrote: &[Wrote]) -> Vec<(&str, LetterState)> {
    wrote
        .iter()
        .filter_map(|wrote| match wrote {
            Wrote::Letter(status) => Some((status.id.0.as_str(), status.state)),
            _ => None,
        })
        .collect()
}

pub(super) fn code(code: &str) -> PlanFilter {
    PlanFilter { code: Some(code.to_owned()), ..PlanFilter::default() }
}
