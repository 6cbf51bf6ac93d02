//! Golden records in memory, and changes written as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Approval, ApprovalState, Change, ChangeId, ChangeMeta, Data, Domain, Finding, Golden, Grave, Operation, RecordKey, Severity,
    Timestamp,
};
use policy::{Case, DomainPolicy, References, Verdict, decide};
use serde_json::{Value, json};

pub(crate) const VERSION: &str = "test-1";

pub(crate) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// All golden records there are.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) golden: BTreeMap<(Domain, RecordKey), Arc<Golden>>,
    sets: BTreeSet<&'static str>,
}

impl References for World {
    fn golden(&self, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>> {
        self.golden.get(&(domain, key.clone())).cloned()
    }

    fn has_set(&self, set: &str) -> bool {
        self.sets.contains(set)
    }
}

impl World {
    /// The units that the vectors use, with the factors of UN/ECE Rec 20.
    pub(crate) fn with_units() -> Self {
        let mut world = Self { sets: BTreeSet::from(["uom"]), ..Self::default() };
        for (code, dimension, base, num, den, exp, is_exact) in [
            ("EA", "", "", 0, 0, 0, true),
            ("BX", "", "", 0, 0, 0, true),
            ("KGM", "mass", "KGM", 1, 1, 0, true),
            ("GRM", "mass", "KGM", 1, 1, -3, true),
            ("TNE", "mass", "KGM", 1, 1, 3, true),
            ("LBR", "mass", "KGM", 45_359_237, 1, -8, true),
            ("ONZ", "mass", "KGM", 2_834_952, 1, -8, false),
            ("MTR", "length", "MTR", 1, 1, 0, true),
            ("CMT", "length", "MTR", 1, 1, -2, true),
            ("INH", "length", "MTR", 254, 1, -4, true),
        ] {
            let mut unit =
                json!({"set": "uom", "code": code, "status": "ACTIVE", "factor_exact": is_exact, "edition": "rec20-rev17"});
            if num > 0 {
                unit["dimension"] = json!(dimension);
                unit["base_code"] = json!(base);
                unit["factor_num"] = json!(num);
                unit["factor_den"] = json!(den);
                unit["factor_exp"] = json!(exp);
            }
            world.put(Domain::Reference, unit);
        }
        world.put(Domain::Reference, json!({"set": "uom", "code": "OLD", "status": "DELETED"}));
        world.put(Domain::Reference, json!({"set": "uom", "code": "DEP", "status": "DEPRECATED"}));
        world
    }

    /// A golden record that was accepted from its owner.
    pub(crate) fn put(&mut self, domain: Domain, data: Value) -> Arc<Golden> {
        let data = typed(domain, data);
        let key = data.key().unwrap();
        let mut change = change(domain, "owner", 1, None);
        change.data = Some(data);
        let golden = Arc::new(accepted(&change));
        self.golden.insert((domain, key), Arc::clone(&golden));
        golden
    }

    /// What becomes of a change under `policy`; an accepted one changes the world.
    pub(crate) fn feed(&mut self, policy: &DomainPolicy, key: &str, change: &Change) -> Verdict {
        let verdict = self.judge(policy, key, change, false);
        if let Verdict::Accept { golden, .. } = &verdict {
            let key = RecordKey::parse(policy.domain, key).unwrap();
            self.golden.insert((policy.domain, key), Arc::new((**golden).clone()));
        }
        verdict
    }

    pub(crate) fn judge(&self, policy: &DomainPolicy, key: &str, change: &Change, is_waived: bool) -> Verdict {
        let key = RecordKey::parse(policy.domain, key).unwrap();
        let current = self.golden(policy.domain, &key);
        self.judge_over(policy, &key, change, current.as_deref(), None, is_waived)
    }

    pub(crate) fn judge_over(
        &self,
        policy: &DomainPolicy,
        key: &RecordKey,
        change: &Change,
        current: Option<&Golden>,
        grave: Option<&Grave>,
        is_waived: bool,
    ) -> Verdict {
        decide(&Case { change, key, current, grave, is_waived, references: self, policy, policy_version: VERSION, now: now() })
    }
}

pub(crate) fn typed(domain: Domain, data: Value) -> Data {
    match domain {
        Domain::Customer => Data::Customer(serde_json::from_value(data).unwrap()),
        Domain::Item => Data::Item(serde_json::from_value(data).unwrap()),
        Domain::WorkCenter => Data::WorkCenter(serde_json::from_value(data).unwrap()),
        Domain::Reference => Data::Reference(serde_json::from_value(data).unwrap()),
    }
}

/// A change of `source`; no data is a delete.
pub(crate) fn change(domain: Domain, source: &str, sequence: i64, data: Option<Value>) -> Change {
    let data = data.map(|data| typed(domain, data));
    let id = uuid::Uuid::from_u128(source.bytes().fold(u128::try_from(sequence).unwrap(), |id, byte| id << 8 | u128::from(byte)));
    Change {
        meta: ChangeMeta {
            change_id: ChangeId(id),
            source: source.to_owned(),
            source_entity: "row".to_owned(),
            source_key: "1".to_owned(),
            source_version: sequence.to_string(),
            source_epoch: 1,
            source_sequence: sequence,
            operation: if data.is_some() { Operation::Upsert } else { Operation::Delete },
            occurred_at: now(),
            captured_at: now(),
            author: None,
            approval: None,
            correlation_id: ChangeId(id),
            causation_id: None,
            origin: Vec::new(),
        },
        data,
    }
}

pub(crate) fn approval(state: ApprovalState, by: Option<&str>) -> Option<Approval> {
    Some(Approval { state, by: by.map(str::to_owned), at: None, request: None })
}

fn accepted(change: &Change) -> Golden {
    let policy = DomainPolicy::new(change.data.as_ref().unwrap().domain(), "owner");
    let key = change.data.as_ref().unwrap().key().unwrap();
    let world = World::default();
    match world.judge_over(&policy, &key, change, None, None, true) {
        Verdict::Accept { golden, .. } => *golden,
        other => panic!("{other:?}"),
    }
}

/// Findings of a verdict, whatever it is.
pub(crate) fn findings(verdict: &Verdict) -> &[Finding] {
    match verdict {
        Verdict::Accept { findings, .. }
        | Verdict::Stale { findings }
        | Verdict::Hold { findings, .. }
        | Verdict::Refuse { findings, .. } => findings,
        Verdict::Duplicate => &[],
    }
}

/// `(rule, path, observed)` of the findings at or above a severity.
pub(crate) fn rows(verdict: &Verdict, least: Severity) -> Vec<(&str, &str, &str)> {
    findings(verdict)
        .iter()
        .filter(|finding| finding.severity >= least)
        .map(|finding| (finding.rule_id.as_str(), finding.path.as_str(), finding.observed.as_deref().unwrap_or("")))
        .collect()
}

/// `accept`, `duplicate`, `stale`, `hold`, `refuse`.
pub(crate) fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accept { .. } => "accept",
        Verdict::Duplicate => "duplicate",
        Verdict::Stale { .. } => "stale",
        Verdict::Hold { .. } => "hold",
        Verdict::Refuse { .. } => "refuse",
    }
}
