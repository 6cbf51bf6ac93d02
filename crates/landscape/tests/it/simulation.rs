//! A load without a fleet: every row is mapped and decided, what is held is tried again, what is accepted is mapped to every
//! destination in scope.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use mapping::Tables;
use model::{Change, ChangeId, ChangeMeta, Data, Domain, Golden, Operation, RecordKey, Timestamp};
use policy::{References, Verdict};
use serde_json::Value;

use crate::landscape::{Landscape, Stream};

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Golden records of each domain.
    pub(crate) golden: BTreeMap<&'static str, usize>,
    /// Changes that became a golden revision, by `source/stream`.
    pub(crate) accepted: BTreeMap<String, usize>,
    /// `source/stream/source key: code`.
    pub(crate) letters: BTreeSet<String>,
    /// Records in scope, by `destination domain`.
    pub(crate) delivered: BTreeMap<String, usize>,
    /// Findings of accepted changes by rule, with how many.
    pub(crate) warnings: BTreeMap<String, usize>,
}

/// One row and its place.
pub(crate) struct Input {
    pub(crate) source: String,
    pub(crate) stream: Stream,
    pub(crate) row: Value,
}

struct Accepted<'a> {
    records: HashMap<(Domain, RecordKey), Arc<Golden>>,
    landscape: &'a Landscape,
}

impl References for Accepted<'_> {
    fn golden(&self, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>> {
        self.records.get(&(domain, key.clone())).cloned()
    }

    fn has_set(&self, set: &str) -> bool {
        self.landscape.sets.contains(set)
    }
}

/// Runs until nothing is released any more; what is still held then becomes a letter.
pub(crate) fn run(landscape: &Landscape, inputs: Vec<Input>, tables: &HashMap<String, Tables>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut accepted = Accepted { records: HashMap::new(), landscape };
    let mut taken: HashMap<(String, Domain, RecordKey), String> = HashMap::new();
    let mut waiting = Vec::new();
    let none = Tables::default();
    for input in inputs {
        let Input { source, stream, row } = &input;
        let source_key = stream.key.iter().map(|column| row[column].as_str().unwrap_or_default()).collect::<Vec<_>>().join("/");
        let place = format!("{source}/{}/{source_key}", stream.name);
        let row = mapping::Row { row, source, tables: tables.get(&stream.name).unwrap_or(&none) };
        let data = match landscape.mappings.to_canonical_with(&stream.mapping, stream.domain, row) {
            Ok(data) => data,
            Err(error) => {
                outcome.letters.insert(format!("{place}: {} {}", error.code, error.message));
                continue;
            }
        };
        let key = data.key().unwrap();
        if taken.insert((source.clone(), stream.domain, key.clone()), source_key).is_some() {
            outcome.letters.insert(format!("{place}: KEY_TAKEN"));
            continue;
        }
        waiting.push((place, source.clone(), stream.clone(), key, data));
    }
    let mut turn = 0;
    loop {
        let before = waiting.len();
        let mut held = Vec::new();
        for (place, source, stream, key, data) in waiting {
            turn += 1;
            let change = change(&source, turn, data.clone());
            let current = accepted.golden(stream.domain, &key);
            let case = policy::Case {
                change: &change,
                key: &key,
                current: current.as_deref(),
                grave: None,
                is_waived: false,
                references: &accepted,
                policy: &landscape.domains[&stream.domain],
                policy_version: &landscape.policy_version,
                now: now(),
            };
            match policy::decide(&case) {
                Verdict::Accept { golden, findings } => {
                    for finding in findings {
                        *outcome.warnings.entry(finding.rule_id).or_default() += 1;
                    }
                    *outcome.accepted.entry(format!("{source}/{}", stream.name)).or_default() += 1;
                    accepted.records.insert((stream.domain, key), Arc::new(*golden));
                }
                Verdict::Hold { findings, .. } => held.push(((place, source, stream, key, data), findings)),
                Verdict::Refuse { findings, .. } => {
                    outcome.letters.insert(format!("{place}: {}", findings[0].rule_id));
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        if held.is_empty() || held.len() == before {
            outcome.letters.extend(held.iter().map(|((place, ..), findings)| format!("{place}: {}", findings[0].rule_id)));
            break;
        }
        waiting = held.into_iter().map(|(input, _)| input).collect();
    }
    deliver(landscape, &accepted, &mut outcome);
    outcome
}

fn deliver(landscape: &Landscape, accepted: &Accepted<'_>, outcome: &mut Outcome) {
    for ((domain, key), golden) in &accepted.records {
        *outcome.golden.entry(domain.name()).or_default() += 1;
        for destination in landscape.receivers(*domain) {
            let delivery = &destination.domains[domain];
            let in_scope = delivery.scope.as_ref().is_none_or(|scope| scope.matches(golden, *domain, key).unwrap());
            if in_scope {
                landscape
                    .mappings
                    .to_payload(&delivery.mapping, golden, *domain, key)
                    .unwrap_or_else(|error| panic!("{key}: {error}"));
                *outcome.delivered.entry(format!("{} {domain}", destination.name)).or_default() += 1;
            }
        }
    }
}

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn change(source: &str, turn: i64, data: Data) -> Change {
    let id = ChangeId(uuid::Uuid::from_u128(turn.unsigned_abs().into()));
    Change {
        meta: ChangeMeta {
            change_id: id,
            source: source.to_owned(),
            source_entity: String::new(),
            source_key: String::new(),
            source_version: String::new(),
            source_epoch: 1,
            source_sequence: turn,
            operation: Operation::Snapshot,
            occurred_at: now(),
            captured_at: now(),
            author: None,
            approval: None,
            correlation_id: id,
            causation_id: None,
            origin: Vec::new(),
        },
        data: Some(data),
    }
}
