//! Facts as the topics would bring them, short enough to read a story from.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    ApprovalState, Cause, ChangeId, ChangeMeta, Data, DeadLetter, DestinationState, DestinationStatus, Domain, Fence, Golden,
    GoldenMeta, Grave, Held, HeldChange, Item, Ledger, LedgerEntry, LedgerState, LetterClass, LetterId, LetterState,
    LetterStatus, Operation, Reason, Receipt, ReceiptOutcome, RecordKey, SourceState, SourceStatus, Stage, StreamStatus,
    Timestamp,
    ledger::{Accepted, Offered},
};
use tracker::{
    fact::{Fact, Located},
    fleet::{DestinationPart, Fleet, Owner, Served, SourcePart},
};

/// Seconds after an arbitrary morning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000 + seconds * 1_000_000)
}

/// One source, two plants: Ulm takes all items within a minute, Pune only those whose type is FINISHED.
pub(crate) fn fleet() -> Arc<Fleet> {
    let served = |scope: Option<&str>| Served {
        scope: scope.map(|text| mapping::Expression::compile(text).unwrap()),
        deadline: Some(Duration::from_secs(60)),
        waits_for_approval: false,
    };
    let part = |office: &str, scope| DestinationPart {
        office: office.to_owned(),
        rate: Some(10.0),
        attempts: 8,
        domains: BTreeMap::from([(Domain::Item, served(scope))]),
    };
    Arc::new(Fleet {
        topic_prefix: "mdm.".to_owned(),
        slots: 12,
        policy_version: "1-test".to_owned(),
        domains: BTreeMap::from([(
            Domain::Item,
            Owner { system: "erp".to_owned(), office: "item office".to_owned(), groups: Vec::new() },
        )]),
        sources: BTreeMap::from([(
            "erp".to_owned(),
            SourcePart { office: "item office".to_owned(), domains: vec![Domain::Item] },
        )]),
        destinations: BTreeMap::from([
            ("mes-pune".to_owned(), part("plant Pune", Some("item.item_type == 'FINISHED'"))),
            ("mes-ulm".to_owned(), part("plant Ulm", None)),
        ]),
    })
}

/// A log: facts of several topics, each with its own offsets.
#[derive(Default)]
pub(crate) struct Log {
    ends: BTreeMap<(String, i32), i64>,
    pub(crate) records: Vec<Located>,
}

pub(crate) fn key(item: &str) -> RecordKey {
    RecordKey::parse(Domain::Item, item).unwrap()
}

pub(crate) fn slot(item: &str) -> i32 {
    key(item).slot(Domain::Item, 12).0
}

fn change_id(revision: i64) -> ChangeId {
    format!("00000000-0000-7000-8000-{revision:012}").parse().unwrap()
}

impl Log {
    pub(crate) fn push(&mut self, topic: &str, partition: i32, key: &str, when: Timestamp, fact: Fact) -> i64 {
        let end = self.ends.entry((topic.to_owned(), partition)).or_default();
        let offset = *end;
        *end += 1;
        self.records.push(Located { topic: topic.to_owned(), partition, offset, timestamp: when, key: key.to_owned(), fact });
        offset
    }

    /// The ERP changed an item, and the validator accepted it half a second later.
    pub(crate) fn golden(&mut self, item: &str, revision: i64, item_type: &str, seconds: i64) -> &mut Self {
        let data: Item = serde_json::from_value(serde_json::json!({
            "item_id": key(item).components()[0], "revision": key(item).components()[1], "item_type": item_type,
            "base_uom": if revision % 2 == 0 { "SET" } else { "C62" },
            "descriptions": [{ "lang": "en", "text": format!("Gear pump {item}") }],
        }))
        .unwrap();
        let data = Data::Item(Box::new(data));
        let meta = ChangeMeta {
            change_id: change_id(revision),
            source: "erp".to_owned(),
            source_entity: "MARA".to_owned(),
            source_key: item.to_owned(),
            source_version: String::new(),
            source_epoch: 1,
            source_sequence: revision,
            operation: Operation::Upsert,
            occurred_at: at(seconds),
            captured_at: at(seconds),
            author: Some("K.NOVAK".to_owned()),
            approval: None,
            correlation_id: change_id(revision),
            causation_id: None,
            origin: Vec::new(),
        };
        let golden_meta = GoldenMeta {
            revision,
            change_id: meta.change_id,
            operation: Operation::Upsert,
            policy_version: "1-test".to_owned(),
            owner: "erp".to_owned(),
            occurred_at: at(seconds),
            accepted_at: at(seconds),
            correlation_id: meta.correlation_id,
            causation_id: None,
            approval: None,
            valid_from: None,
            valid_to: None,
            fence: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            findings: Vec::new(),
            origin: vec!["erp".to_owned()],
        };
        let change = model::Change { meta, data: Some(data.clone()) };
        self.push("mdm.change.erp.item", slot(item), item, at(seconds), Fact::Change(Box::new(change)));
        let golden = Golden { meta: golden_meta, data: Some(data) };
        self.push("mdm.golden.item", slot(item), item, at(seconds), Fact::Golden(Domain::Item, Some(Box::new(golden))));
        self
    }

    pub(crate) fn deleted(&mut self, item: &str, revision: i64, seconds: i64) -> &mut Self {
        self.golden(item, revision, "FINISHED", seconds);
        let Some(Located { fact: Fact::Golden(_, Some(golden)), .. }) = self.records.last_mut() else { unreachable!() };
        golden.data = None;
        golden.meta.operation = Operation::Delete;
        self
    }

    pub(crate) fn awaiting_approval(&mut self, item: &str, revision: i64, seconds: i64) -> &mut Self {
        self.golden(item, revision, "FINISHED", seconds);
        let Some(Located { fact: Fact::Golden(_, Some(golden)), .. }) = self.records.last_mut() else { unreachable!() };
        golden.meta.approval = Some(model::Approval { state: ApprovalState::Pending, ..model::Approval::default() });
        self
    }

    /// The destination accepted a revision: the ledger's entry, then the receipt.
    pub(crate) fn accepted(&mut self, destination: &str, item: &str, revision: i64, occurred: i64, answered: i64) -> &mut Self {
        let entry = LedgerEntry {
            offered: Some(Offered { revision, change_id: change_id(revision), golden_offset: 0 }),
            accepted: Some(Accepted {
                revision,
                change_id: change_id(revision),
                payload_hash: String::new(),
                at: at(answered),
                external_id: None,
            }),
            state: LedgerState::Clear,
            ..LedgerEntry::default()
        };
        self.ledger(destination, item, entry, answered);
        self.receipt(destination, item, revision, ReceiptOutcome::Accepted, occurred, answered)
    }

    pub(crate) fn ledger(&mut self, destination: &str, item: &str, entry: LedgerEntry, seconds: i64) -> &mut Self {
        let fact = Fact::Ledger(destination.to_owned(), Some(Box::new(Ledger { entry: Some(entry), lease: None })));
        self.push(&format!("mdm.ledger.{destination}"), slot(item), &format!("item/{item}"), at(seconds), fact);
        self
    }

    pub(crate) fn receipt(
        &mut self,
        destination: &str,
        item: &str,
        revision: i64,
        outcome: ReceiptOutcome,
        occurred: i64,
        answered: i64,
    ) -> &mut Self {
        let topic = format!("mdm.receipt.{destination}");
        let seq = self.ends.get(&(topic.clone(), slot(item))).copied().unwrap_or_default() + 1;
        let receipt = Receipt {
            destination: destination.to_owned(),
            domain: Domain::Item,
            key: key(item),
            change_id: change_id(revision),
            revision,
            outcome,
            note: None,
            attempt: 1,
            connector: "http".to_owned(),
            reference: None,
            external_id: None,
            code: Some("200".to_owned()),
            text: None,
            occurred_at: at(occurred),
            offered_at: at(answered),
            answered_at: at(answered),
            cause: Cause::Normal,
            letter: None,
            seq,
            previous_hash: String::new(),
            hash: String::new(),
        };
        self.push(&topic, slot(item), &format!("item/{item}"), at(answered), Fact::Receipt(Box::new(receipt)));
        self
    }

    /// The destination refused a revision: letter, parked ledger entry, receipt. The replayer opens the letter.
    pub(crate) fn refused(&mut self, destination: &str, item: &str, revision: i64, seconds: i64) -> LetterId {
        let id = LetterId(format!("{destination}/item/{}@{revision}", slot(item)));
        let letter = DeadLetter {
            id: id.clone(),
            stage: Stage::Deliver,
            system: destination.to_owned(),
            domain: Some(Domain::Item),
            key: Some(key(item)),
            revision: Some(revision),
            change_id: Some(change_id(revision).to_string()),
            source: Some("erp".to_owned()),
            source_key: None,
            source_epoch: None,
            source_sequence: None,
            topic: Some("mdm.golden.item".to_owned()),
            partition: Some(slot(item)),
            offset: Some(revision),
            timestamp: Some(at(seconds)),
            schema_id: None,
            class: LetterClass::Refused,
            code: "UNIT_UNKNOWN".to_owned(),
            field: Some("base_uom".to_owned()),
            observed: Some("SET".to_owned()),
            message: "unit \"SET\" unknown".to_owned(),
            owner: Some("item office".to_owned()),
            findings: Vec::new(),
            attempts: 1,
            first_failed_at: at(seconds),
            last_failed_at: at(seconds),
            service: "sink 0.1.0".to_owned(),
            policy_version: "1-test".to_owned(),
            replaces: None,
            headers: BTreeMap::new(),
            payload: b"{\"unit\":\"SET\"}".to_vec(),
            truncated: false,
            sent: None,
        };
        let name = format!("item/{item}");
        let status = self.status_of(&letter, LetterState::Open, seconds);
        self.push(&format!("mdm.dlq.{destination}"), slot(item), &name, at(seconds), Fact::Letter(Box::new(letter)));
        let entry = LedgerEntry {
            offered: Some(Offered { revision, change_id: change_id(revision), golden_offset: revision }),
            accepted: (revision > 1).then(|| Accepted {
                revision: revision - 1,
                change_id: change_id(revision - 1),
                payload_hash: String::new(),
                at: at(seconds - 1),
                external_id: None,
            }),
            state: LedgerState::Parked,
            reason: Reason::Refused,
            since: Some(at(seconds)),
            class: Some(LetterClass::Refused),
            code: Some("UNIT_UNKNOWN".to_owned()),
            attempts: 1,
            letter: Some(id.0.clone()),
            ..LedgerEntry::default()
        };
        self.ledger(destination, item, entry, seconds);
        self.receipt(destination, item, revision, ReceiptOutcome::Refused, seconds, seconds);
        self.letter(status);
        id
    }

    fn status_of(&self, letter: &DeadLetter, state: LetterState, seconds: i64) -> LetterStatus {
        LetterStatus {
            id: letter.id.clone(),
            state,
            stage: letter.stage,
            system: letter.system.clone(),
            domain: letter.domain,
            key: letter.key.clone(),
            revision: letter.revision,
            change_id: letter.change_id.clone(),
            source: letter.source.clone(),
            source_key: None,
            source_epoch: None,
            source_sequence: None,
            class: letter.class,
            code: letter.code.clone(),
            field: letter.field.clone(),
            message: letter.message.clone(),
            owner: letter.owner.clone(),
            letter_topic: String::new(),
            letter_partition: 0,
            letter_offset: 0,
            opened_at: letter.first_failed_at,
            changed_at: at(seconds),
            by: "replayer".to_owned(),
            reason: None,
            plan: None,
            hops: 0,
            closed_by: None,
        }
    }

    pub(crate) fn letter(&mut self, status: LetterStatus) -> &mut Self {
        let (id, when) = (status.id.0.clone(), status.changed_at);
        self.push("mdm.deadletter", 0, &id, when, Fact::LetterStatus(Some(Box::new(status))));
        self
    }

    /// The same letter in another state, later.
    pub(crate) fn moved(&mut self, id: &LetterId, state: LetterState, seconds: i64) -> &mut Self {
        let last = self.records.iter().rev().find_map(|located| match &located.fact {
            Fact::LetterStatus(Some(status)) if status.id == *id => Some((**status).clone()),
            _ => None,
        });
        let status = LetterStatus { state, changed_at: at(seconds), ..last.unwrap() };
        self.letter(status)
    }

    pub(crate) fn source(&mut self, name: &str, state: SourceState, seconds: i64) -> &mut Self {
        let status = SourceStatus {
            source: name.to_owned(),
            state,
            since: at(seconds),
            reason: (state == SourceState::Unavailable).then(|| "it answers 401: who are you?".to_owned()),
            next_at: (state == SourceState::Unavailable).then(|| at(seconds + 30)),
            read_at: Some(at(seconds)),
            streams: vec![StreamStatus { stream: "items".to_owned(), domain: "item".to_owned(), cursor: Some(at(seconds)) }],
            policy_version: "1-test".to_owned(),
            at: at(seconds),
        };
        self.push("mdm.source", 0, name, at(seconds), Fact::Source(Some(Box::new(status))));
        self
    }

    pub(crate) fn destination(&mut self, name: &str, state: DestinationState, seconds: i64) -> &mut Self {
        let status = DestinationStatus {
            destination: name.to_owned(),
            domains: vec!["item".to_owned()],
            state,
            since: at(seconds),
            reason: (state == DestinationState::Paused).then(|| "line 4 stop".to_owned()),
            code: None,
            next_at: None,
            by: (state == DestinationState::Paused).then(|| "local/j.rao".to_owned()),
            until: None,
            policy_version: "1-test".to_owned(),
            at: at(seconds),
        };
        self.push("mdm.destination", 0, name, at(seconds), Fact::Destination(Some(Box::new(status))));
        self
    }

    /// The change is held for a reason, without an end.
    pub(crate) fn held_for(&mut self, item: &str, reason: Reason, waits_for: &str, seconds: i64) -> &mut Self {
        self.held(item, waits_for, seconds);
        let Some(Located { fact: Fact::Held(Some(held)), .. }) = self.records.last_mut() else { unreachable!() };
        let [waiting] = held.waiting.as_mut_slice() else { unreachable!() };
        (waiting.reason, waiting.until) = (reason, None);
        waiting.findings = vec![
            serde_json::from_value(serde_json::json!({
                "rule_id": "ITM-07", "severity": "QUARANTINE", "path": "/gtins/0", "message": "GTIN 1 has a wrong check digit"
            }))
            .unwrap(),
        ];
        self
    }

    pub(crate) fn held(&mut self, item: &str, waits_for: &str, seconds: i64) -> &mut Self {
        let waiting = HeldChange {
            source: "erp".to_owned(),
            source_epoch: 1,
            source_sequence: 1,
            change: Vec::new(),
            reason: Reason::Record,
            waits_for: waits_for.to_owned(),
            findings: Vec::new(),
            since: at(seconds),
            until: Some(at(seconds + 10)),
            topic: "mdm.change.erp.item".to_owned(),
            partition: slot(item),
            offset: 0,
        };
        let fact = Fact::Held(Some(Box::new(Held { waiting: vec![waiting], grave: None })));
        self.push("mdm.held", slot(item), &format!("item/{item}"), at(seconds), fact);
        self
    }

    /// The tombstone of a deleted record: what is left is how far the ERP was judged.
    pub(crate) fn buried(&mut self, item: &str, sequence: i64, seconds: i64) -> &mut Self {
        let fence = BTreeMap::from([("erp".to_owned(), Fence { epoch: 1, sequence })]);
        let grave = Some(Grave { revision: sequence, fence });
        let fact = Fact::Held(Some(Box::new(Held { waiting: Vec::new(), grave })));
        self.push("mdm.held", slot(item), &format!("item/{item}"), at(seconds), fact);
        self
    }

    pub(crate) fn released(&mut self, item: &str, seconds: i64) -> &mut Self {
        self.push("mdm.held", slot(item), &format!("item/{item}"), at(seconds), Fact::Held(None));
        self
    }
}
