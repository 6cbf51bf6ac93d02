//! What people, plants and time do to records: waive, reject, tombstone, confirmations, releases.

use avro::DecodeError;
use avro::TopicKind;
use kafka::{Fatal, Record};
use model::{
    Act, Command, Confirmation, Grave, HeldChange, LetterClass, Outcome, Outgoing, Reason, Receipt, ReceiptOutcome, SkipReason,
    Topical, Transient,
};
use policy::References;
use service::Span;
use telemetry::trace::TRACEPARENT;

use crate::{
    judge::{self, Batch, Incoming, Judged},
    letter::{self, Cause, Headers, Origin},
    overlay::{Current, Lookup},
};

/// A record of `command.validator`.
pub(crate) fn command(batch: &mut Batch<'_>, record: &Record) -> Result<Outcome, Fatal> {
    let command = match record.value.as_deref().map(|value| batch.shared.reader.decode::<Command>(value)) {
        Some(Ok(command)) => command,
        Some(Err(DecodeError::NeedSchema(id))) => return Ok(batch.wait(judge::unknown(id))),
        Some(Err(DecodeError::Unreadable { code, message })) => return unreadable(batch, record, code, message),
        None => return Ok(Outcome::Skip(SkipReason::OutOfScope)),
    };
    let (Some(domain), Some(key)) = (command.domain, command.key.clone()) else {
        return Ok(Outcome::Skip(SkipReason::OutOfScope));
    };
    let target = Topical::new(domain, key);
    if target.slot(batch.shared.slots()) != record.slot() {
        tracing::warn!(key = %target, partition = record.partition, "a command lies in the wrong partition");
        return Ok(Outcome::Skip(SkipReason::OutOfScope));
    }
    let mut outgoing = Vec::new();
    let before = batch.overlay.held(batch.state, batch.shared, &target);
    match command.act {
        Act::Waive => {
            for entry in meant(&before.waiting, &command) {
                if let Some(cause) = again(batch, &target, entry, true, &mut outgoing)? {
                    return Ok(batch.wait(cause));
                }
            }
        }
        Act::Reject => {
            for entry in meant(&before.waiting, &command) {
                if let Some(cause) = reject(batch, &target, entry, &command, &mut outgoing)? {
                    return Ok(batch.wait(cause));
                }
            }
        }
        Act::Tombstone => {
            if let Err(cause) = tombstone(batch, &target, &command, &mut outgoing) {
                return Ok(batch.wait(cause));
            }
        }
        Act::Replay
        | Act::Resend
        | Act::Discard
        | Act::Block
        | Act::Unblock
        | Act::Pause
        | Act::Resume
        | Act::Resync
        | Act::Capture
        | Act::Plan
        | Act::Run
        | Act::Cancel
        | Act::DiscardLetters
        | Act::Unknown => {}
    }
    batch.write_held(&target, &before, &mut outgoing)?;
    Ok(if outgoing.is_empty() { Outcome::Skip(SkipReason::OutOfScope) } else { Outcome::Forward(outgoing) })
}

/// A command or an answer whose bytes say nothing: somebody waits for what it would have done.
fn unreadable(batch: &mut Batch<'_>, record: &Record, code: &'static str, message: String) -> Result<Outcome, Fatal> {
    let Some(place) = record.key_text().and_then(|key| Topical::parse(key).ok()) else {
        let (topic, partition, offset) = (&*record.topic, record.partition, record.offset);
        tracing::error!(topic, partition, offset, code, message, "a record of nothing that is known is passed over");
        return Ok(Outcome::Skip(SkipReason::OutOfScope));
    };
    let cause = Cause::unreadable(LetterClass::Schema, code, message, batch.now);
    let kind = batch.shared.topics.kind(&record.topic);
    let system = kind.as_ref().and_then(TopicKind::system).unwrap_or_default();
    batch.refuse_unread(record, &Origin::of(system, place.domain, record), Some(&place.key), cause)
}

/// The quarantined changes that a steward's command names; without a source, all of the key.
fn meant<'a>(waiting: &'a [HeldChange], command: &'a Command) -> impl Iterator<Item = &'a HeldChange> {
    waiting.iter().filter(|entry| {
        entry.reason == Reason::Steward
            && command.source.as_ref().is_none_or(|source| *source == entry.source)
            && command.source_epoch.is_none_or(|epoch| epoch == entry.source_epoch)
            && command.source_sequence.is_none_or(|sequence| sequence == entry.source_sequence)
    })
}

/// Decides about a held change again; or what it has to wait for before that.
pub(crate) fn again(
    batch: &mut Batch<'_>,
    record: &Topical,
    entry: &HeldChange,
    is_waived: bool,
    outgoing: &mut Vec<Outgoing>,
) -> Result<Option<Transient>, Fatal> {
    let incoming = match incoming(batch, record, entry, is_waived, outgoing)? {
        Ok(Some(incoming)) => incoming,
        Ok(None) => return Ok(None),
        Err(cause) => return Ok(Some(cause)),
    };
    match batch.judge(&incoming, outgoing)? {
        Judged::Waits(cause) => return Ok(Some(cause)),
        Judged::Held(reason) => tracing::debug!(key = %record, source = entry.source, reason = reason.name(), "still waits"),
        Judged::Accepted | Judged::Duplicate | Judged::Stale | Judged::Superseded | Judged::Refused(_) => {}
    }
    Ok(None)
}

/// A held change whose outcome no broker would take becomes a letter.
pub(crate) fn give_up_large(
    batch: &mut Batch<'_>,
    record: &Topical,
    entry: &HeldChange,
    outgoing: &mut Vec<Outgoing>,
) -> Result<(), Fatal> {
    if let Ok(Some(incoming)) = incoming(batch, record, entry, false, outgoing)? {
        let held = batch.overlay.held(batch.state, batch.shared, record);
        batch.too_large(&incoming, "what becomes of this change", Outgoing::LARGEST, held, outgoing)?;
    }
    Ok(())
}

fn reject(
    batch: &mut Batch<'_>,
    record: &Topical,
    entry: &HeldChange,
    command: &Command,
    outgoing: &mut Vec<Outgoing>,
) -> Result<Option<Transient>, Fatal> {
    let incoming = match incoming(batch, record, entry, false, outgoing)? {
        Ok(Some(incoming)) => incoming,
        Ok(None) => return Ok(None),
        Err(cause) => return Ok(Some(cause)),
    };
    let mut held = batch.overlay.held(batch.state, batch.shared, record);
    batch.release(&mut held, &incoming);
    let mut cause = Cause::findings(LetterClass::Data, entry.findings.clone(), entry.since);
    let reason = command.reason.as_deref().unwrap_or("no reason given");
    cause.message = format!("{}; rejected by {}: {reason}", cause.message, command.actor);
    batch.refuse(&incoming, cause, outgoing)?;
    Ok(None)
}

/// The held change, decoded. One that cannot be decoded any more becomes a letter and waits no longer.
fn incoming<'e>(
    batch: &mut Batch<'_>,
    record: &Topical,
    entry: &'e HeldChange,
    is_waived: bool,
    outgoing: &mut Vec<Outgoing>,
) -> Result<Result<Option<Incoming<'e>>, Transient>, Fatal> {
    let origin = Origin {
        source: &entry.source,
        domain: record.domain,
        topic: &entry.topic,
        partition: entry.partition,
        offset: entry.offset,
        timestamp: entry.since,
        headers: Headers::FromChange,
        bytes: &entry.change,
    };
    match batch.shared.reader.decode_change(record.domain, &entry.change) {
        Ok(change) => {
            // What waits keeps no headers.
            let trace = batch.shared.traces.arrived(None, || avro::headers::created(&change.meta, false));
            Ok(Ok(Some(Incoming { record: record.clone(), change, origin, held_since: Some(entry.since), is_waived, trace })))
        }
        Err(DecodeError::NeedSchema(id)) => Ok(Err(judge::unknown(id))),
        Err(DecodeError::Unreadable { code, message }) => {
            let mut held = batch.overlay.held(batch.state, batch.shared, record);
            held.waiting.retain(|other| other != entry);
            batch.overlay.set_held(record.clone(), held);
            let cause = Cause::unreadable(LetterClass::Schema, code, message, batch.now);
            let letter = letter::letter(batch.shared, &origin, Some(&record.key), None, cause, batch.now);
            batch.overlay.tally.letter(record.domain, letter.class, &letter.code);
            batch.overlay.tally.record(record.domain, "dead_lettered");
            outgoing.push(letter::outgoing(batch.shared, &letter, &origin, "")?);
            Ok(Ok(None))
        }
    }
}

/// Whether the record that an entry waits for is golden now.
pub(crate) fn is_there(references: &Lookup<'_>, entry: &HeldChange) -> bool {
    if entry.reason != Reason::Record {
        return false;
    }
    let Ok(awaited) = Topical::parse(&entry.waits_for) else { return false };
    references.golden(awaited.domain, &awaited.key).is_some_and(|golden| golden.data.is_some())
}

/// Golden's null, once every destination accepted the delete; only if the delete is still the newest revision.
fn tombstone(batch: &mut Batch<'_>, record: &Topical, command: &Command, outgoing: &mut Vec<Outgoing>) -> Result<(), Transient> {
    let golden = match batch.current(record) {
        Current::Known(golden) => golden,
        Current::None => return Ok(()),
        Current::NeedSchema(id) => return Err(judge::unknown(id)),
        Current::Unreadable(why) => {
            // Asked for again every hour; the letter is that of the next change.
            tracing::error!(key = %record, error = why, "a golden record cannot be read, so it gets no tombstone");
            return Ok(());
        }
    };
    if golden.data.is_some() || command.revision != Some(golden.meta.revision) {
        return Ok(());
    }
    let mut held = batch.overlay.held(batch.state, batch.shared, record);
    held.grave = Some(Grave { revision: golden.meta.revision, fence: golden.meta.fence.clone() });
    batch.overlay.set_held(record.clone(), held);
    batch.overlay.bury(record.clone());
    outgoing.push(batch.shared.golden(record, None, Vec::new()));
    Ok(())
}

/// A confirming destination's answer becomes part of the golden record.
pub(crate) fn receipt(batch: &mut Batch<'_>, destination: &str, record: &Record) -> Result<Outcome, Fatal> {
    let receipt = match record.value.as_deref().map(|value| batch.shared.reader.decode::<Receipt>(value)) {
        Some(Ok(receipt)) => receipt,
        Some(Err(DecodeError::NeedSchema(id))) => return Ok(batch.wait(judge::unknown(id))),
        Some(Err(DecodeError::Unreadable { code, message })) => return unreadable(batch, record, code, message),
        None => return Ok(Outcome::Skip(SkipReason::OutOfScope)),
    };
    if receipt.destination != destination {
        // Its letter is the replayer's, which reads the receipts of all destinations.
        let (claimed, topic) = (&receipt.destination, &*record.topic);
        tracing::warn!(
            destination,
            claimed,
            topic,
            partition = record.partition,
            offset = record.offset,
            "a receipt names another destination than its topic's"
        );
        return Ok(Outcome::Skip(SkipReason::OutOfScope));
    }
    let target = Topical::new(receipt.domain, receipt.key.clone());
    let applied = matches!(receipt.outcome, ReceiptOutcome::Accepted | ReceiptOutcome::Unchanged);
    if !applied || target.slot(batch.shared.slots()) != record.slot() {
        return Ok(Outcome::Skip(SkipReason::OutOfScope));
    }
    let golden = match batch.current(&target) {
        Current::Known(golden) => golden,
        Current::None => return Ok(Outcome::Skip(SkipReason::OutOfScope)),
        Current::NeedSchema(id) => return Ok(batch.wait(judge::unknown(id))),
        Current::Unreadable(why) => {
            let message = format!("the golden record of {target} cannot be read, so it cannot be confirmed: {why}");
            let cause = Cause::unreadable(LetterClass::Internal, letter::code::STATE, message, batch.now);
            return batch.refuse_unread(record, &Origin::of(destination, target.domain, record), Some(&target.key), cause);
        }
    };
    let confirmation = Confirmation { at: receipt.answered_at, external_id: receipt.external_id };
    let version = &batch.shared.landscape.policy_version;
    let Some(confirmed) = policy::confirm(&golden, destination, confirmation, own_id(batch), version, batch.now) else {
        return Ok(Outcome::Skip(SkipReason::Duplicate));
    };
    let mut outgoing = Vec::new();
    let (traces, read) = (&batch.shared.traces, batch.shared.read(record));
    let creation = traces.arrived(record.header(TRACEPARENT), || avro::headers::correlated(&confirmed.meta));
    let span = traces.process(creation, &read);
    let cause = span.as_ref().map_or(creation, Span::context);
    let made = batch.golden(&target, confirmed, cause)?;
    batch.write_golden(&target, made, cause, &mut outgoing);
    if let Some(span) = span {
        batch.overlay.worked(span, target.domain, "confirmed", None);
    }
    batch.overlay.tally.record(target.domain, "ok");
    Ok(Outcome::Forward(outgoing))
}

/// The id of a revision that no change causes; the transaction makes it the only one.
pub(crate) fn own_id(batch: &Batch<'_>) -> model::ChangeId {
    let millis = u64::try_from(batch.now.millis()).unwrap_or_default();
    let (seconds, nanos) = (millis / 1000, u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000);
    model::ChangeId(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
}
