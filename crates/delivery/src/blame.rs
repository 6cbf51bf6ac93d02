//! Whose fault a call without success is. An answer blames the record or the destination; what happened to other keys in between
//! tells whether it is right.
//!
//! Invariant: a fault that an answer calls the destination's is the record's only where others were served between its failures and
//! did not fail alike, again and again, for half an hour. A refusal is the destination's where it refuses everybody alike; one that names
//! what is missing there never is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{Timestamp, Topical};

use crate::{Answer, AnswerClass};

/// So many other keys must have been accepted between two failures of a record before a failure is its own; so many that fail with
/// it, again and again, are no accident of theirs.
const WITNESSES: usize = 3;
/// So many failures of its own, over so long, prove it.
const FAILURES: u32 = 12;
const PERIOD: Duration = Duration::from_secs(30 * 60);
/// A destination that asks to slow down is believed so often before the record alone waits.
const OBEYED: u32 = 3;
/// So many keys that are refused alike, and nobody accepted, are the destination's problem.
const REFUSED_ALIKE: usize = 5;
/// Refusals that speak about the address that is called, whatever they say about it in words.
const OF_THE_ADDRESS: [&str; 4] = ["HTTP_404", "HTTP_405", "HTTP_410", "HTTP_415"];
/// Distinct keys that are remembered per kind of failure: enough to count witnesses beside the record itself.
const REMEMBERED: usize = 8;

/// What is remembered of a record that failed, until it is accepted or parked. It travels with the record's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The destination's count of answers at the first and at the last failure.
    first: u64,
    at: u64,
    /// Failures in all.
    pub(crate) failures: u32,
    /// Failures that were the record's own.
    own: u32,
    /// Waits that it alone was asked for, and that were kept.
    obeyed: u32,
    since: Timestamp,
}

impl Suspicion {
    fn new(at: u64, since: Timestamp) -> Self {
        Self { first: at, at, failures: 0, own: 0, obeyed: 0, since }
    }
}

/// Who is to blame for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As the class of the answer says.
    AsAnswered,
    /// The destination's, whatever the answer says: nobody is served, or everybody is refused alike.
    Destination,
    /// Not decided: others were served since the record failed first, so it waits by itself.
    Open,
    /// The record's, whatever the answer says. Where it is proven, the record is parked.
    Record { is_proven: bool },
}

/// What an answer means beyond its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// An attempt of the record counts: not while the destination was down, because then nobody was served.
    pub counts: bool,
    pub fault: Fault,
    /// What is to be remembered of the record.
    pub suspicion: Option<Suspicion>,
}

impl Verdict {
    /// Of an answer that tells everything by its class.
    #[must_use]
    pub const fn plain(counts: bool) -> Self {
        Self { counts, fault: Fault::AsAnswered, suspicion: None }
    }
}

/// What one destination said to whom, as far as it tells whose fault the next failure is.
#[derive(Debug, Default)]
pub struct Blame {
    answers: u64,
    /// Keys that were served last, each with the count of answers.
    served: Vec<(Topical, u64)>,
    /// Per kind of failure, the keys that had it last; true for a key that had not failed before.
    failed: BTreeMap<String, Vec<(Topical, u64, bool)>>,
    /// Keys that were refused alike, with nobody served in between.
    refused: Option<(String, BTreeSet<Topical>)>,
    has_served: bool,
}

impl Blame {
    /// The ledger knows of records that this destination accepted.
    pub fn has_served_before(&mut self) {
        self.has_served = true;
    }

    /// Takes an answer in and says whose fault it is.
    pub fn judge(
        &mut self,
        key: &Topical,
        answer: &Answer,
        before: Option<&Suspicion>,
        now: Timestamp,
    ) -> (Fault, Option<Suspicion>) {
        self.answers += 1;
        match answer.class {
            AnswerClass::Accepted | AnswerClass::HasNewer | AnswerClass::Delivered => {
                self.has_served = true;
                self.refused = None;
                remember(&mut self.served, (key.clone(), self.answers), |(of, _)| of == key);
                (Fault::AsAnswered, None)
            }
            AnswerClass::Retryable => (Fault::AsAnswered, before.cloned()),
            // Nothing was sent: no record can be the cause.
            AnswerClass::Destination if answer.code.is_none() => (Fault::Destination, before.cloned()),
            AnswerClass::Destination | AnswerClass::Throttled => self.failed(key, answer, before, now),
            AnswerClass::Permanent => self.refused(key, answer, before, now),
        }
    }

    fn failed(
        &mut self,
        key: &Topical,
        answer: &Answer,
        before: Option<&Suspicion>,
        now: Timestamp,
    ) -> (Fault, Option<Suspicion>) {
        let served = before.map_or(0, |before| self.served_since(key, before.at));
        let kind = self.failed.entry(kind(answer)).or_default();
        let since = |of: &&(Topical, u64, bool)| of.0 != *key && before.is_some_and(|before| of.1 > before.at);
        let alike = kind.iter().filter(since).count();
        // A key that fails again and again is perhaps as guilty as this one: one or two such do not excuse each other.
        let is_alike = alike >= WITNESSES || kind.iter().filter(since).any(|of| of.2);
        let is_own = served >= WITNESSES && !is_alike;
        let is_first = served < WITNESSES;
        remember(kind, (key.clone(), self.answers, is_first), |of| of.0 == *key);
        let mut suspicion = before.cloned().unwrap_or(Suspicion::new(self.answers, now));
        suspicion.at = self.answers;
        suspicion.failures = suspicion.failures.saturating_add(1);
        if is_alike {
            suspicion.obeyed = 0;
        }
        let is_believed = answer.class == AnswerClass::Throttled && suspicion.obeyed < OBEYED;
        let fault = if is_own && is_believed {
            suspicion.obeyed += 1;
            Fault::Open
        } else if is_own {
            suspicion.own += 1;
            Fault::Record { is_proven: suspicion.own >= FAILURES && now.since(suspicion.since) >= PERIOD }
        } else if self.served_since(key, suspicion.first) > 0 {
            Fault::Open
        } else {
            Fault::Destination
        };
        (fault, Some(suspicion))
    }

    fn refused(
        &mut self,
        key: &Topical,
        answer: &Answer,
        before: Option<&Suspicion>,
        now: Timestamp,
    ) -> (Fault, Option<Suspicion>) {
        // It names what is missing there: the destination looked at this record, and everything that waits for one thing says the same.
        if answer.absence.is_some() {
            self.refused = None;
            return (Fault::AsAnswered, None);
        }
        // It was held back before, and others were accepted since: it is this record after all.
        if before.is_some_and(|before| self.served_since(key, before.at) > 0) {
            return (Fault::AsAnswered, None);
        }
        let code = kind(answer);
        let is_of_the_address = OF_THE_ADDRESS.contains(&code.as_str());
        let sign = if is_of_the_address { code } else { format!("{code} {}", answer.text.as_deref().unwrap_or_default()) };
        match &mut self.refused {
            Some((same, keys)) if *same == sign => {
                if keys.len() < REFUSED_ALIKE {
                    keys.insert(key.clone());
                }
            }
            other => *other = Some((sign, BTreeSet::from([key.clone()]))),
        }
        let keys = self.refused.as_ref().map_or(0, |(_, keys)| keys.len());
        let is_wrong_address = is_of_the_address && !self.has_served;
        if keys < REFUSED_ALIKE && !is_wrong_address {
            return (Fault::AsAnswered, None);
        }
        let before = before.cloned().unwrap_or(Suspicion::new(self.answers, now));
        (Fault::Destination, Some(Suspicion { at: self.answers, failures: before.failures.saturating_add(1), ..before }))
    }

    /// How many other keys were served since, as far as anybody needs to know.
    fn served_since(&self, key: &Topical, at: u64) -> usize {
        self.served.iter().filter(|(of, when)| of != key && *when > at).count()
    }
}

/// Failures are alike that have one code.
fn kind(answer: &Answer) -> String {
    let code = answer.problem.as_ref().map(|problem| problem.code.clone());
    code.or_else(|| answer.code.clone()).unwrap_or_default()
}

/// The newest of each key, and only so many keys.
fn remember<T>(kept: &mut Vec<T>, new: T, is_same: impl Fn(&T) -> bool) {
    kept.retain(|one| !is_same(one));
    if kept.len() == REMEMBERED {
        kept.remove(0);
    }
    kept.push(new);
}
