//! From a change to a verdict: fence, ownership, approval, merge, enrichment, rules, next revision (architecture.md 4).
//!
//! Block beats hold, hold beats quarantine; what was held is decided anew when it is released.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use model::{
    Change, ChangeMeta, Data, Fence, Finding, Golden, GoldenMeta, Grave, LetterClass, Operation, Reason, RecordKey, Severity,
    Timestamp, Topical,
};

use crate::{
    DomainPolicy, References, confirm,
    envelope::{self, Release},
    merge, ownership,
    rule::{self, Context, Found, Judged},
    rules::customer,
};

/// Everything a decision depends on.
pub struct Case<'a> {
    pub change: &'a Change,
    /// The key under which the change came, which is the key under which it would become golden.
    pub key: &'a RecordKey,
    pub current: Option<&'a Golden>,
    /// Revision and fence that outlived a tombstone.
    pub grave: Option<&'a Grave>,
    /// A steward accepted what would be quarantined.
    pub is_waived: bool,
    pub references: &'a dyn References,
    pub policy: &'a DomainPolicy,
    pub policy_version: &'a str,
    pub now: Timestamp,
}

/// What becomes of a change. Findings of every weight come along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept {
        golden: Box<Golden>,
        findings: Vec<Finding>,
    },
    /// At its source's fence with the same content: dropped, counted.
    Duplicate,
    /// Below its source's fence: dropped, counted, reported.
    Stale {
        findings: Vec<Finding>,
    },
    /// Waits for something named; decided anew when it is released. `hold_for` counts from when it first waited; none: no deadline.
    /// The first finding is the reason.
    Hold {
        reason: Reason,
        waits_for: String,
        hold_for: Option<Duration>,
        findings: Vec<Finding>,
    },
    Refuse {
        class: LetterClass,
        findings: Vec<Finding>,
    },
}

/// Decides about one change.
#[must_use]
pub fn decide(case: &Case<'_>) -> Verdict {
    let mut judged = match pass_fence(case) {
        Ok(judged) => judged,
        Err(verdict) => return verdict,
    };
    let trespasses = ownership::trespasses(case);
    if !case.policy.may_write(&case.change.meta.source) {
        return refuse(trespasses);
    }
    judged.extend(trespasses);
    judged.extend(envelope::change(case));
    let awaited = match envelope::approval(case) {
        Release::Passed(refused) => {
            judged.extend(refused);
            None
        }
        Release::Awaited(awaited) => Some(awaited),
    };
    if let Some(missing) = main_record_missing(case) {
        judged.push(missing);
        return weigh(case, judged, awaited, None);
    }
    if case.is_delete() {
        return weigh(case, judged, awaited, Some(None));
    }
    match assemble(case) {
        Ok((data, homeless)) => {
            judged.extend(homeless);
            judged.extend(rules(case, &data));
            weigh(case, judged, awaited, Some(Some(data)))
        }
        Err(unreadable) => {
            judged.push(Found::new("", unreadable.to_string()).judged("ENV-01", case));
            refuse(judged)
        }
    }
}

impl Case<'_> {
    fn is_main(&self) -> bool {
        self.change.meta.source == self.policy.owner
    }

    /// Only the main owner's delete deletes; another owner's empties its groups.
    fn is_delete(&self) -> bool {
        self.is_main() && self.change.data.is_none()
    }

    fn current_data(&self) -> Option<&Data> {
        self.current.and_then(|golden| golden.data.as_ref())
    }

    /// The last accepted (epoch, sequence) of every source.
    fn fences(&self) -> Option<&BTreeMap<String, Fence>> {
        self.current.map(|golden| &golden.meta.fence).or_else(|| self.grave.map(|grave| &grave.fence))
    }
}

/// Duplicates and stale changes end here. ENV-05 goes on as a finding.
fn pass_fence(case: &Case<'_>) -> Result<Vec<Judged>, Verdict> {
    let meta = &case.change.meta;
    let Some(last) = case.fences().and_then(|fences| fences.get(&meta.source)) else { return Ok(Vec::new()) };
    let fence = meta.fence();
    if fence < *last {
        let message = format!("{} already sent {last}, which is newer", meta.source);
        let found = Found::new("", message).observed(fence).judged("ENV-04", case);
        return Err(Verdict::Stale { findings: vec![found.finding] });
    }
    if fence > *last {
        return Ok(Vec::new());
    }
    if repeats(case) {
        return Err(Verdict::Duplicate);
    }
    let message = format!("{} already sent other content as {fence}", meta.source);
    let judged = Found::new("", message).observed(fence).judged("ENV-05", case);
    if judged.finding.severity < Severity::Quarantine {
        return Err(Verdict::Stale { findings: vec![judged.finding] });
    }
    Ok(vec![judged])
}

/// Whether a change at its source's fence says what golden already holds of that source.
fn repeats(case: &Case<'_>) -> bool {
    if case.current.is_some_and(|golden| golden.meta.change_id == case.change.meta.change_id) {
        return true;
    }
    match (case.current_data(), &case.change.data) {
        // The record is deleted: its other owners' old changes have nothing to add.
        (None, change) => change.is_none() || !case.is_main(),
        (Some(_), None) if case.is_main() => false,
        (Some(current), _) => assemble(case).is_ok_and(|(mut data, _)| {
            // Computed, not sent: the parent may have moved meanwhile.
            if let (Data::Customer(data), Data::Customer(current)) = (&mut data, current) {
                data.ultimate_parent_id.clone_from(&current.ultimate_parent_id);
            }
            data == *current
        }),
    }
}

/// The record exists from the main owner's first change on; what comes earlier waits for it.
fn main_record_missing(case: &Case<'_>) -> Option<Judged> {
    if case.is_main() || case.current_data().is_some() {
        return None;
    }
    let message = format!("{} has not sent this {} yet", case.policy.owner, case.policy.domain.name().replace('_', " "));
    let record = Topical::new(case.policy.domain, case.key.clone());
    Some(Found::new("", message).observed(case.key).waits_for(record).judged("ENV-02", case))
}

/// The record that would become golden, with a finding per element that has no place in it.
fn assemble(case: &Case<'_>) -> Result<(Data, Vec<Judged>), merge::Unreadable> {
    let source = &case.change.meta.source;
    let (mut data, homeless) = merge::merge(case.current_data(), case.change.data.as_ref(), source, case.policy)?;
    if let Some(current) = case.current {
        confirm::keep_external_ids(&mut data, &current.meta.confirmations);
    }
    if let Data::Customer(record) = &mut data {
        record.ultimate_parent_id = customer::ultimate_parent(record, case.references);
    }
    let homeless = homeless.into_iter().map(|path| {
        let message = format!("{} does not list this element, so nothing can be added to it", case.policy.owner);
        Found::new(path, message).at_most(Severity::Warn).judged("ENV-02", case)
    });
    Ok((data, homeless.collect()))
}

/// The rules' findings. One owner's old data never blocks another owner's change: what lies outside the change's own groups and was
/// there before travels on as a warning.
fn rules(case: &Case<'_>, data: &Data) -> Vec<Judged> {
    let previous = case.current_data();
    let mut judged = rule::judge(data, &Context { case, previous });
    let source = case.change.meta.source.as_str();
    let is_foreign = |judged: &Judged| ownership::owner_of(case.policy, &judged.finding.path) != source;
    let Some(previous) = previous else { return judged };
    if !judged.iter().any(|judged| judged.finding.severity >= Severity::Quarantine && is_foreign(judged)) {
        return judged;
    }
    let before = rule::judge(previous, &Context { case, previous: None });
    let what = |finding: &Finding| (finding.rule_id.clone(), finding.path.clone(), finding.observed.clone());
    let before: HashSet<_> = before.iter().map(|old| what(&old.finding)).collect();
    for judged in judged.iter_mut().filter(|judged| is_foreign(judged)) {
        if before.contains(&what(&judged.finding)) {
            judged.finding.severity = judged.finding.severity.min(Severity::Warn);
            judged.waits_for = None;
        }
    }
    judged
}

/// `outcome`: the data that would become golden (none: deleted); none when there is nothing to accept.
fn weigh(case: &Case<'_>, mut judged: Vec<Judged>, awaited: Option<Judged>, outcome: Option<Option<Data>>) -> Verdict {
    if case.is_waived {
        for judged in judged.iter_mut().filter(|judged| judged.finding.severity == Severity::Quarantine) {
            judged.finding.severity = Severity::Warn;
            judged.waits_for = None;
        }
    }
    if judged.iter().any(|judged| judged.finding.severity >= Severity::Block && judged.waits_for.is_none()) {
        judged.extend(awaited);
        return refuse(judged);
    }
    if let Some(position) = judged.iter().position(|judged| judged.waits_for.is_some()) {
        let waiting = judged.remove(position);
        let (record, hold) = waiting.waits_for.clone().expect("it was found by what it waits for");
        return Verdict::Hold {
            reason: Reason::Record,
            waits_for: record.to_string(),
            hold_for: Some(hold),
            findings: titled_by(waiting, judged.into_iter().chain(awaited)),
        };
    }
    if let Some(awaited) = awaited {
        if awaited.finding.severity >= Severity::Quarantine {
            let waits_for = case.change.meta.source.clone();
            return Verdict::Hold { reason: Reason::Approval, waits_for, hold_for: None, findings: titled_by(awaited, judged) };
        }
        judged.push(awaited);
    }
    let is_quarantined = judged.iter().any(|judged| judged.finding.severity >= Severity::Quarantine);
    match outcome {
        Some(data) if !is_quarantined => {
            let findings = heaviest_first(judged);
            Verdict::Accept { golden: Box::new(golden(case, data, &findings)), findings }
        }
        Some(_) => {
            let waits_for = case.policy.turn().to_owned();
            Verdict::Hold { reason: Reason::Steward, waits_for, hold_for: None, findings: heaviest_first(judged) }
        }
        // The main owner's record is missing and the landscape does not wait for it.
        None => refuse(judged),
    }
}

fn refuse(judged: Vec<Judged>) -> Verdict {
    Verdict::Refuse { class: LetterClass::Data, findings: heaviest_first(judged) }
}

/// What it waits for comes first, whatever else was found.
fn titled_by(title: Judged, others: impl IntoIterator<Item = Judged>) -> Vec<Finding> {
    let mut findings = vec![title.finding];
    findings.extend(heaviest_first(others));
    findings
}

/// A letter, and a wait, is titled by its first finding.
fn heaviest_first(judged: impl IntoIterator<Item = Judged>) -> Vec<Finding> {
    let mut judged: Vec<Judged> = judged.into_iter().collect();
    judged.sort_by_key(|judged| std::cmp::Reverse(judged.finding.severity));
    judged.into_iter().map(|judged| judged.finding).collect()
}

/// The next revision. Revisions grow over deletes and over tombstones.
fn golden(case: &Case<'_>, data: Option<Data>, findings: &[Finding]) -> Golden {
    let meta = &case.change.meta;
    let current = case.current.map(|golden| &golden.meta);
    let last = current.map_or(0, |meta| meta.revision).max(case.grave.map_or(0, |grave| grave.revision));
    let mut fence = case.fences().cloned().unwrap_or_default();
    fence.insert(meta.source.clone(), meta.fence());
    let (valid_from, valid_to) = data.as_ref().map_or((None, None), Data::validity);
    // The release is the main owner's: another owner's change says nothing about it.
    let approval = if case.is_main() { meta.approval.clone() } else { current.and_then(|current| current.approval.clone()) };
    // Whoever confirmed the record confirmed one that is gone.
    let confirmations =
        if data.is_none() { BTreeMap::new() } else { current.map(|meta| meta.confirmations.clone()).unwrap_or_default() };
    let operation = match (&data, meta.operation) {
        (None, _) => Operation::Delete,
        (Some(_), Operation::Snapshot) => Operation::Snapshot,
        (Some(_), _) => Operation::Upsert,
    };
    Golden {
        meta: GoldenMeta {
            revision: last + 1,
            change_id: meta.change_id,
            operation,
            policy_version: case.policy_version.to_owned(),
            owner: case.policy.owner.clone(),
            occurred_at: meta.occurred_at,
            accepted_at: case.now,
            correlation_id: meta.correlation_id,
            causation_id: meta.causation_id.clone(),
            approval,
            valid_from,
            valid_to,
            fence,
            confirmations,
            findings: warnings(findings),
            origin: passed_through(meta),
        },
        data,
    }
}

/// The findings that travel along, as many as a record carries.
fn warnings(findings: &[Finding]) -> Vec<Finding> {
    let travelling: Vec<Finding> = findings.iter().filter(|finding| finding.severity >= Severity::Warn).cloned().collect();
    model::abridged(&travelling)
}

/// The systems that a record has passed through, its source last: what the loop guard of the next one looks at.
fn passed_through(meta: &ChangeMeta) -> Vec<String> {
    let mut origin = meta.origin.clone();
    if origin.last() != Some(&meta.source) {
        origin.push(meta.source.clone());
    }
    origin
}
