//! A verdict becomes records: golden, held, finding, dead letter.
//!
//! Invariant: every way out of [`Batch::judge`] leaves the change golden, held, in a letter, or counted as duplicate, stale or
//! superseded.

use std::time::Duration;

use kafka::{Fatal, Record};
use model::{
    Change, DeadLetter, Finding, FindingOutcome, FindingReport, Golden, Held, HeldChange, LetterClass, Outcome, Outgoing, Reason,
    RecordKey, Rejection, Severity, Timestamp, Topical, Transient, abridged, clip,
};
use policy::{Case, Verdict, decide};
use telemetry::trace::{TraceContext, attribute};

use crate::{
    letter::{self, Cause, Origin},
    overlay::{Current, Lookup, Overlay},
    shared::Shared,
    state::State,
};

/// A golden record of a change leaves room for what is added to it later: confirmations, numbers of other systems.
const LARGEST_GOLDEN: usize = Outgoing::LARGEST - 32 * 1024;
/// How soon a slot that needs a schema looks again.
const AGAIN: Duration = Duration::from_secs(1);
/// Of a source's name, in what is written about a change that may come from anybody.
const SOURCE_BYTES: usize = 256;

/// A running batch over the committed state.
pub(crate) struct Batch<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) state: &'a State,
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) now: Timestamp,
}

/// A change with where it came from.
pub(crate) struct Incoming<'a> {
    pub(crate) record: Topical,
    pub(crate) change: Change,
    pub(crate) origin: Origin<'a>,
    /// Set when it comes out of `held`: when it first waited.
    pub(crate) held_since: Option<Timestamp>,
    pub(crate) is_waived: bool,
    /// The work on it, or its creation where that is not recorded.
    pub(crate) trace: TraceContext,
}

/// What became of a change.
pub(crate) enum Judged {
    Accepted,
    Duplicate,
    Stale,
    Superseded,
    Held(Reason),
    Refused(Box<DeadLetter>),
    /// Nothing was decided: a schema is not known yet.
    Waits(Transient),
}

impl Judged {
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Judged::Refused(letter) => Some(&letter.code),
            Judged::Accepted | Judged::Duplicate | Judged::Stale | Judged::Superseded | Judged::Held(_) | Judged::Waits(_) => {
                None
            }
        }
    }

    /// As metrics and spans name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Judged::Accepted => "ok",
            Judged::Duplicate => "duplicate",
            Judged::Stale => "stale",
            Judged::Superseded => "superseded",
            Judged::Held(_) => "held",
            Judged::Refused(_) => "dead_lettered",
            Judged::Waits(_) => "waits",
        }
    }
}

impl Batch<'_> {
    /// Decides and writes into the overlay; `outgoing` gets what must become durable. Of `held` only the overlay changes: the
    /// caller writes the record once, when it is done with the key.
    pub(crate) fn judge(&mut self, incoming: &Incoming<'_>, outgoing: &mut Vec<Outgoing>) -> Result<Judged, Fatal> {
        let record = &incoming.record;
        let Some(policy) = self.shared.landscape.domains.get(&record.domain) else {
            let message = format!("nobody owns the domain {} in this landscape", record.domain);
            return self.refuse(incoming, Cause::unreadable(LetterClass::Data, "ENV-02", message, self.now), outgoing);
        };
        let mut held = self.overlay.held(self.state, self.shared, record);
        let current = match self.overlay.current(self.state, self.shared, record) {
            Current::None => None,
            Current::Known(golden) => Some(golden),
            Current::NeedSchema(id) => return Ok(Judged::Waits(unknown(id))),
            Current::Unreadable(why) => {
                // Waiting heals nothing, and would make this letter again at every turn.
                self.release(&mut held, incoming);
                let message = format!("the golden record of {record} cannot be read: {why}");
                return self.refuse(
                    incoming,
                    Cause::unreadable(LetterClass::Internal, letter::code::STATE, message, self.now),
                    outgoing,
                );
            }
        };
        if incoming.held_since.is_none()
            && let Some((repeated, outcome)) = waits_already(&held, &incoming.change)
        {
            self.overlay.tally.record(record.domain, outcome);
            return Ok(repeated);
        }
        let verdict = {
            let references = Lookup { overlay: self.overlay, state: self.state, shared: self.shared };
            decide(&Case {
                change: &incoming.change,
                key: &record.key,
                current: current.as_deref(),
                grave: held.grave.as_ref(),
                is_waived: incoming.is_waived,
                references: &references,
                policy,
                policy_version: &self.shared.landscape.policy_version,
                now: self.now,
            })
        };
        match verdict {
            Verdict::Accept { golden, findings } => {
                let made = self.golden(record, *golden, incoming.trace)?;
                let size = made.written.size();
                if size > LARGEST_GOLDEN {
                    self.report(incoming, FindingOutcome::Refused, &findings, outgoing)?;
                    return self.too_large(incoming, "the golden record", size, held, outgoing);
                }
                self.accept(incoming, made, &findings, held, outgoing)?;
                Ok(Judged::Accepted)
            }
            Verdict::Duplicate => {
                self.overlay.tally.record(record.domain, "duplicate");
                self.release(&mut held, incoming);
                Ok(Judged::Duplicate)
            }
            Verdict::Stale { findings } => {
                self.overlay.tally.record(record.domain, "stale");
                self.report(incoming, FindingOutcome::Stale, &findings, outgoing)?;
                self.release(&mut held, incoming);
                Ok(Judged::Stale)
            }
            Verdict::Hold { reason, waits_for, hold_for, findings } => {
                let since = incoming.held_since.unwrap_or(self.now);
                let until = hold_for.map(|hold| since.plus(hold));
                if until.is_some_and(|until| until <= self.now) {
                    return self.give_up(incoming, &waits_for, since, findings, held, outgoing);
                }
                let entry = entry(incoming, reason, waits_for, &findings, since, until);
                self.hold(incoming, entry, &findings, held, outgoing)
            }
            Verdict::Refuse { class, findings } => {
                self.report(incoming, FindingOutcome::Refused, &findings, outgoing)?;
                self.release(&mut held, incoming);
                self.refuse(incoming, Cause::findings(class, findings, self.now), outgoing)
            }
        }
    }

    /// Writes the held record of a key if it differs from the committed one.
    pub(crate) fn write_held(&mut self, record: &Topical, before: &Held, outgoing: &mut Vec<Outgoing>) -> Result<(), Fatal> {
        let held = self.overlay.held(self.state, self.shared, record);
        if held == *before {
            return Ok(());
        }
        let is_empty = held.waiting.is_empty() && held.grave.is_none();
        let value = if is_empty { None } else { Some(self.shared.writer.encode(&held).map_err(Fatal::new)?) };
        outgoing.push(self.shared.held(record, value));
        Ok(())
    }

    fn accept(
        &mut self,
        incoming: &Incoming<'_>,
        made: Made,
        findings: &[Finding],
        mut held: Held,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<(), Fatal> {
        let record = &incoming.record;
        let before = held.clone();
        let own = &incoming.change.meta;
        held.grave = None;
        // What its source has overtaken waits no more.
        held.waiting.retain(|entry| {
            let fence = model::Fence { epoch: entry.source_epoch, sequence: entry.source_sequence };
            let is_past = made.golden.meta.fence.get(&entry.source).is_some_and(|last| fence <= *last);
            let is_this = entry.source == own.source && fence == own.fence();
            if is_past && !is_this {
                self.overlay.tally.record(record.domain, "superseded");
            }
            !is_past
        });
        if held != before {
            self.overlay.set_held(record.clone(), held);
        }
        self.write_golden(record, made, incoming.trace, outgoing);
        self.report(incoming, FindingOutcome::Golden, findings, outgoing)?;
        let tally = &mut self.overlay.tally;
        tally.record(record.domain, "ok");
        match incoming.held_since {
            Some(since) => tally.stage(record.domain, "wait", self.now.since(since)),
            None => tally.stage(record.domain, "validate", self.now.since(incoming.origin.timestamp)),
        }
        Ok(())
    }

    /// A golden record, encoded; nothing is decided by it.
    pub(crate) fn golden(&self, record: &Topical, golden: Golden, cause: TraceContext) -> Result<Made, Fatal> {
        let bytes = self.shared.writer.encode_golden(record.domain, &golden).map_err(Fatal::new)?;
        let trace = avro::headers::accepted(&golden.meta, cause);
        let headers = avro::headers::golden(&golden, record.domain, &record.key, trace);
        let written = self.shared.golden(record, Some(bytes), headers);
        Ok(Made { golden, written, trace })
    }

    pub(crate) fn write_golden(&mut self, record: &Topical, made: Made, cause: TraceContext, outgoing: &mut Vec<Outgoing>) {
        let Made { golden, written, trace } = made;
        if let Some(mut span) = self.shared.traces.send(trace, Some(cause), &written.topic, written.slot.0, &written.key) {
            span.set(attribute::DOMAIN, record.domain.name());
            span.set(attribute::REVISION, golden.meta.revision);
            self.overlay.spans.push(span);
        }
        self.overlay.accept(record.clone(), golden, written.value.clone().unwrap_or_default());
        outgoing.push(written);
    }

    fn hold(
        &mut self,
        incoming: &Incoming<'_>,
        entry: HeldChange,
        findings: &[Finding],
        mut held: Held,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<Judged, Fatal> {
        let record = &incoming.record;
        let reason = entry.reason;
        let before = held.clone();
        let old = held.waiting.iter().position(|old| old.source == entry.source).map(|index| held.waiting.remove(index));
        if old.as_ref() == Some(&entry) {
            return Ok(Judged::Held(reason));
        }
        held.waiting.push(entry.clone());
        held.waiting.sort_by(|one, other| one.source.cmp(&other.source));
        let bytes = self.shared.writer.encode(&held).map_err(Fatal::new)?;
        let written = self.shared.held(record, Some(bytes));
        if !written.fits() {
            self.report(incoming, FindingOutcome::Refused, findings, outgoing)?;
            return self.too_large(incoming, "what waits for this record", written.size(), before, outgoing);
        }
        let is_first_time = incoming.held_since.is_none();
        if is_first_time && old.is_some() {
            self.overlay.tally.record(record.domain, "superseded");
        }
        let is_news =
            old.as_ref().is_none_or(|old| is_first_time || old.reason != entry.reason || old.waits_for != entry.waits_for);
        if is_news {
            self.overlay.tally.record(record.domain, "held");
            self.report(incoming, FindingOutcome::Held, findings, outgoing)?;
        }
        self.overlay.set_held(record.clone(), held);
        Ok(Judged::Held(reason))
    }

    /// What would be written about the change is larger than a record may be: the change is refused, whatever it would have become.
    pub(crate) fn too_large(
        &mut self,
        incoming: &Incoming<'_>,
        what: &str,
        size: usize,
        mut held: Held,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<Judged, Fatal> {
        self.release(&mut held, incoming);
        let kib = |bytes: usize| bytes.div_ceil(1024);
        let message = format!("{what} would have {} KiB, at most {} KiB can be written", kib(size), kib(LARGEST_GOLDEN));
        let since = incoming.held_since.unwrap_or(self.now);
        let cause = Cause::unreadable(LetterClass::Data, letter::code::LARGE, message, since);
        self.refuse(incoming, cause, outgoing)
    }

    /// The deadline passed and what it waits for is still missing.
    fn give_up(
        &mut self,
        incoming: &Incoming<'_>,
        waits_for: &str,
        since: Timestamp,
        findings: Vec<Finding>,
        mut held: Held,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<Judged, Fatal> {
        self.report(incoming, FindingOutcome::Refused, &findings, outgoing)?;
        self.release(&mut held, incoming);
        let mut cause = Cause::findings(LetterClass::Reference, findings, since);
        let waited = self.now.since(since).as_secs();
        cause.message = format!("{}; waited {waited} s for {waits_for}", cause.message);
        self.refuse(incoming, cause, outgoing)
    }

    pub(crate) fn refuse(
        &mut self,
        incoming: &Incoming<'_>,
        cause: Cause,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<Judged, Fatal> {
        let letter =
            letter::letter(self.shared, &incoming.origin, Some(&incoming.record.key), Some(&incoming.change), cause, self.now);
        let domain = incoming.record.domain;
        self.overlay.tally.letter(domain, letter.class, &letter.code);
        self.overlay.tally.record(domain, "dead_lettered");
        outgoing.push(letter::outgoing(self.shared, &letter, &incoming.origin, "")?);
        Ok(Judged::Refused(Box::new(letter)))
    }

    /// Takes a change that came out of `held` from there.
    pub(crate) fn release(&mut self, held: &mut Held, incoming: &Incoming<'_>) {
        if incoming.held_since.is_some() {
            let meta = &incoming.change.meta;
            held.waiting.retain(|entry| {
                entry.source != meta.source
                    || entry.source_sequence != meta.source_sequence
                    || entry.source_epoch != meta.source_epoch
            });
            self.overlay.set_held(incoming.record.clone(), std::mem::take(held));
        }
    }

    /// One report a change; what is merely counted (info) makes none.
    fn report(
        &mut self,
        incoming: &Incoming<'_>,
        outcome: FindingOutcome,
        findings: &[Finding],
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<(), Fatal> {
        let record = &incoming.record;
        self.overlay.tally.findings(record.domain, findings);
        if findings.iter().all(|finding| finding.severity < Severity::Warn) {
            return Ok(());
        }
        let meta = &incoming.change.meta;
        let report = FindingReport {
            domain: record.domain,
            key: record.key.clone(),
            change_id: meta.change_id,
            source: clip(&meta.source, SOURCE_BYTES),
            source_epoch: meta.source_epoch,
            source_sequence: meta.source_sequence,
            outcome,
            policy_version: self.shared.landscape.policy_version.clone(),
            at: self.now,
            findings: abridged(findings),
        };
        outgoing.push(self.shared.finding(record, self.shared.writer.encode(&report).map_err(Fatal::new)?));
        Ok(())
    }

    /// A record that says nothing that could be decided about: its letter.
    pub(crate) fn refuse_unread(
        &mut self,
        record: &Record,
        origin: &Origin<'_>,
        key: Option<&RecordKey>,
        cause: Cause,
    ) -> Result<Outcome, Fatal> {
        let letter = letter::letter(self.shared, origin, key, None, cause, self.now);
        self.overlay.tally.letter(origin.domain, letter.class, &letter.code);
        self.overlay.tally.record(origin.domain, "dead_lettered");
        let raw = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let also = vec![letter::outgoing(self.shared, &letter, origin, &raw)?];
        Ok(Outcome::Reject(Box::new(Rejection { letter, also })))
    }

    /// The slot waits, with everything that came for it.
    pub(crate) fn wait(&self, cause: Transient) -> Outcome {
        Outcome::Pause { until: self.now.plus(AGAIN), cause }
    }

    /// What golden holds of a key now.
    pub(crate) fn current(&self, record: &Topical) -> Current {
        self.overlay.current(self.state, self.shared, record)
    }
}

/// A golden record that may be written.
pub(crate) struct Made {
    pub(crate) golden: Golden,
    pub(crate) written: Outgoing,
    trace: TraceContext,
}

/// Somebody waits for this schema.
pub(crate) fn unknown(id: i32) -> Transient {
    Transient { what: "registry", detail: format!("schema {id} is not known yet") }
}

/// A change of a source that is not newer than its waiting one: the same one again, or one that it has overtaken.
fn waits_already(held: &Held, change: &Change) -> Option<(Judged, &'static str)> {
    let meta = &change.meta;
    let entry = held.waiting.iter().find(|entry| entry.source == meta.source)?;
    let waiting = model::Fence { epoch: entry.source_epoch, sequence: entry.source_sequence };
    match meta.fence().cmp(&waiting) {
        std::cmp::Ordering::Less => Some((Judged::Superseded, "superseded")),
        std::cmp::Ordering::Equal => Some((Judged::Duplicate, "duplicate")),
        std::cmp::Ordering::Greater => None,
    }
}

fn entry(
    incoming: &Incoming<'_>,
    reason: Reason,
    waits_for: String,
    findings: &[Finding],
    since: Timestamp,
    until: Option<Timestamp>,
) -> HeldChange {
    let meta = &incoming.change.meta;
    HeldChange {
        source: meta.source.clone(),
        source_epoch: meta.source_epoch,
        source_sequence: meta.source_sequence,
        change: incoming.origin.bytes.to_vec(),
        reason,
        waits_for,
        findings: abridged(findings),
        since,
        until,
        topic: incoming.origin.topic.to_owned(),
        partition: incoming.origin.partition,
        offset: incoming.origin.offset,
    }
}
