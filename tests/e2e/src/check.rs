//! The promises as checks: lost, duplicate, regression, second effect. Each returns what is wrong, one line a finding.

use std::collections::BTreeMap;

use devstack::Mes;
use model::{Golden, LedgerEntry, LedgerState};

use crate::Seen;

/// The newest golden record of each key; deleted ones stay with `data` none, tombstoned ones are gone.
#[must_use]
pub fn newest(seen: &[Seen]) -> BTreeMap<String, Golden> {
    let mut newest = BTreeMap::new();
    for one in seen {
        match &one.golden {
            Some(golden) => newest.insert(format!("{}/{}", one.domain, one.key), golden.clone()),
            None => newest.remove(&format!("{}/{}", one.domain, one.key)),
        };
    }
    newest
}

/// A subscriber sees each revision of a key once, rising by one, and each key in one partition.
#[must_use]
pub fn revisions_rise_once(seen: &[Seen]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut last: BTreeMap<&str, (i64, i32)> = BTreeMap::new();
    for one in seen {
        let Some(golden) = &one.golden else { continue };
        let revision = golden.meta.revision;
        let place = format!("golden.{} {}@{}", one.domain, one.partition, one.offset);
        match last.get(one.key.as_str()) {
            Some((_, partition)) if *partition != one.partition => {
                problems.push(format!("{place}: key {} lay in partition {partition} before", one.key));
            }
            Some((before, _)) if *before == revision => {
                problems.push(format!("{place}: {} has revision {revision} twice", one.key))
            }
            Some((before, _)) if *before > revision => {
                problems.push(format!("{place}: {} goes back from revision {before} to {revision}", one.key));
            }
            Some((before, _)) if *before + 1 != revision => {
                problems.push(format!("{place}: {} jumps from revision {before} to {revision}: one is lost", one.key));
            }
            None if revision != 1 => {
                problems.push(format!("{place}: {} begins with revision {revision}: earlier ones are lost", one.key))
            }
            _ => {}
        }
        last.insert(one.key.as_str(), (revision, one.partition));
    }
    problems
}

/// The plant's own book: no lower revision after a higher one, no (key, revision) with two effects.
#[must_use]
pub fn plant_saw_order(name: &str, plant: &Mes) -> Vec<String> {
    let counts = plant.counts();
    let mut problems = Vec::new();
    if counts.regressions > 0 {
        problems.push(format!("{name}: {} call(s) offered a lower revision after a higher one", counts.regressions));
    }
    if counts.second_effects > 0 {
        problems.push(format!("{name}: {} revision(s) had a second effect", counts.second_effects));
    }
    if counts.conflicts > 0 {
        problems.push(format!("{name}: {} revision(s) came again with other content", counts.conflicts));
    }
    problems
}

/// Every golden key stands accepted in the ledger at golden's revision, and the plant holds exactly that revision.
///
/// `in_scope` says which records the destination takes.
#[must_use]
pub fn plant_equals_golden(
    name: &str,
    plant: &Mes,
    ledger: &BTreeMap<String, LedgerEntry>,
    golden: &BTreeMap<String, Golden>,
    in_scope: impl Fn(&Golden) -> bool,
) -> Vec<String> {
    let held: BTreeMap<String, (i64, bool)> = plant
        .records()
        .into_iter()
        .map(|stored| (format!("{}/{}", stored.domain, stored.key), (stored.revision, stored.body.is_some())))
        .collect();
    let mut problems = Vec::new();
    for (key, golden) in golden.iter().filter(|(_, golden)| in_scope(golden)) {
        let revision = golden.meta.revision;
        let accepted = ledger.get(key).and_then(|entry| entry.accepted.as_ref()).map(|accepted| accepted.revision);
        if accepted != Some(revision) {
            let state = ledger.get(key).map(|entry| (entry.state, entry.reason, entry.code.clone()));
            problems.push(format!("{name}: {key} golden revision {revision}, ledger accepted {accepted:?} ({state:?})"));
        }
        // An unchanged payload needs no call: the plant may hold an older revision only if the ledger says so for this one.
        match held.get(key) {
            Some((there, alive)) if *there <= revision && *alive == golden.data.is_some() => {}
            None if golden.data.is_none() => {}
            there => problems.push(format!("{name}: {key} golden revision {revision}, plant holds {there:?}")),
        }
    }
    for (key, entry) in ledger {
        if entry.state == LedgerState::Parked {
            problems.push(format!("{name}: {key} is parked ({:?})", entry.code));
        }
    }
    problems
}

/// Fails with all findings at once.
///
/// # Panics
/// When there are any.
pub fn assert_none(what: &str, problems: &[String]) {
    let shown: Vec<_> = problems.iter().take(20).map(String::as_str).collect();
    assert!(problems.is_empty(), "{what}: {} problem(s), the first:\n{}", problems.len(), shown.join("\n"));
}
