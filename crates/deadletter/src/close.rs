//! What closes a letter without a person: a receipt, the golden record, a newer letter, time (delivery.md 8).

use std::time::Duration;

use model::{DeadLetter, Fence, GoldenMeta, LetterState, LetterStatus, Receipt, ReceiptOutcome, Stage, Timestamp};

use crate::Move;

/// Letters whose bytes are gone: retention of `dlq.*`.
const BYTES_LIVE: Duration = Duration::from_secs(90 * 86_400);

/// How a letter ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub state: LetterState,
    /// A revision, a fence, another letter.
    pub closed_by: String,
}

impl Closing {
    fn new(state: LetterState, closed_by: impl Into<String>) -> Self {
        Self { state, closed_by: closed_by.into() }
    }

    /// The move that carries it out.
    #[must_use]
    pub fn of(self, status: &LetterStatus, by: &str) -> Move {
        Move { from: status.state, to: self.state, by: by.to_owned(), reason: None, plan: None, closed_by: Some(self.closed_by) }
    }
}

fn is_waiting(status: &LetterStatus) -> bool {
    matches!(status.state, LetterState::Open | LetterState::Replaying | LetterState::Expired)
}

/// What a destination's receipt does to one of its letters: accepted at the letter's revision resolves it, above it supersedes it.
/// A refusal is told by the letter that follows it.
#[must_use]
pub fn by_receipt(status: &LetterStatus, receipt: &Receipt) -> Option<Closing> {
    let is_about = is_waiting(status)
        && status.stage == Stage::Deliver
        && status.system == receipt.destination
        && status.domain == Some(receipt.domain)
        && status.key.as_ref() == Some(&receipt.key);
    if !is_about {
        return None;
    }
    let revision = status.revision?;
    let closed_by = format!("revision {}", receipt.revision);
    match receipt.outcome {
        ReceiptOutcome::Accepted | ReceiptOutcome::Unchanged if receipt.revision == revision => {
            Some(Closing::new(LetterState::Resolved, closed_by))
        }
        // The destination itself has something newer, or took something newer.
        ReceiptOutcome::Accepted | ReceiptOutcome::Unchanged | ReceiptOutcome::Superseded if receipt.revision > revision => {
            Some(Closing::new(LetterState::Superseded, closed_by))
        }
        ReceiptOutcome::Superseded if receipt.revision == revision => Some(Closing::new(LetterState::Superseded, closed_by)),
        ReceiptOutcome::Accepted
        | ReceiptOutcome::Unchanged
        | ReceiptOutcome::Superseded
        | ReceiptOutcome::Refused
        | ReceiptOutcome::Unknown => None,
    }
}

/// What the golden record of its key does to a letter of the validator or of a source. The caller compares the keys; a source's letter
/// may have none and is then known by the golden record's cause, which only a change of that very source may name: what a change names
/// as its cause is a claim.
#[must_use]
pub fn by_golden(status: &LetterStatus, golden: &GoldenMeta) -> Option<Closing> {
    if !is_waiting(status) {
        return None;
    }
    let closed_by = || format!("revision {}", golden.revision);
    match status.stage {
        Stage::Validate => {
            let own = Fence { epoch: status.source_epoch?, sequence: status.source_sequence? };
            let passed = golden.fence.get(status.source.as_deref()?)?;
            match passed.cmp(&own) {
                std::cmp::Ordering::Equal => Some(Closing::new(LetterState::Resolved, closed_by())),
                std::cmp::Ordering::Greater => Some(Closing::new(LetterState::Superseded, closed_by())),
                std::cmp::Ordering::Less => None,
            }
        }
        Stage::Capture
            if golden.causation_id.as_deref() == Some(status.id.0.as_str()) && golden.origin.last() == Some(&status.system) =>
        {
            let state = if status.state == LetterState::Replaying { LetterState::Resolved } else { LetterState::Superseded };
            Some(Closing::new(state, closed_by()))
        }
        Stage::Capture | Stage::Deliver | Stage::Unknown => None,
    }
}

/// What a newer letter does to an older one: it replaces the one it names, and a destination's letter replaces those of older
/// revisions of its key.
#[must_use]
pub fn by_newer_letter(status: &LetterStatus, newer: &DeadLetter) -> Option<Closing> {
    if !is_waiting(status) || status.id == newer.id {
        return None;
    }
    // A source's letter ends in the validator's about the change that its row became; no other writer ends another one's.
    let may_name = status.system == newer.system
        || (newer.stage == Stage::Validate
            && status.stage == Stage::Capture
            && newer.source.as_deref() == Some(status.system.as_str()));
    let is_named = may_name && newer.replaces.as_ref() == Some(&status.id);
    let same_key = status.key.is_some() && status.domain == newer.domain && status.key == newer.key;
    let is_later = status.stage == newer.stage
        && status.system == newer.system
        && same_key
        && match newer.stage {
            Stage::Deliver => newer.revision > status.revision,
            Stage::Validate => {
                status.source == newer.source
                    && (newer.source_epoch, newer.source_sequence) > (status.source_epoch, status.source_sequence)
            }
            Stage::Capture | Stage::Unknown => false,
        };
    let is_same_row = newer.stage == Stage::Capture
        && status.stage == Stage::Capture
        && status.system == newer.system
        && status.domain == newer.domain
        && status.source_key.is_some()
        && status.source_key == newer.source_key;
    (is_named || is_later || is_same_row).then(|| Closing::new(LetterState::Superseded, newer.id.0.clone()))
}

/// An open letter whose bytes are gone.
#[must_use]
pub fn is_expired(status: &LetterStatus, now: Timestamp) -> bool {
    status.state == LetterState::Open && now.since(status.opened_at) >= BYTES_LIVE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Cause, ChangeId, Domain, LetterId, Operation, RecordKey};

    use super::*;
    use crate::state::tests::{NOW, letter, status};

    fn receipt(revision: i64, outcome: ReceiptOutcome) -> Receipt {
        Receipt {
            destination: "mes-ulm".into(),
            domain: Domain::Item,
            key: RecordKey::new(Domain::Item, &["4711", "C"]).unwrap(),
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
            occurred_at: NOW,
            offered_at: NOW,
            answered_at: NOW,
            cause: Cause::Normal,
            letter: None,
            seq: 1,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }

    fn golden(epoch: i64, sequence: i64, cause: Option<&str>) -> GoldenMeta {
        GoldenMeta {
            revision: 19,
            change_id: ChangeId::default(),
            operation: Operation::Upsert,
            policy_version: "1".into(),
            owner: "erp".into(),
            occurred_at: NOW,
            accepted_at: NOW,
            correlation_id: ChangeId::default(),
            causation_id: cause.map(ToOwned::to_owned),
            approval: None,
            valid_from: None,
            valid_to: None,
            fence: BTreeMap::from([("erp".to_owned(), Fence { epoch, sequence })]),
            confirmations: BTreeMap::new(),
            findings: Vec::new(),
            origin: vec!["erp".into()],
        }
    }

    fn states(closing: Option<Closing>) -> Option<LetterState> {
        closing.map(|closing| closing.state)
    }

    #[test]
    fn a_receipt_at_the_letters_revision_resolves_and_above_it_supersedes() {
        use LetterState::{Resolved, Superseded};
        use ReceiptOutcome as Said;
        for (revision, outcome, expected) in [
            (18, Said::Accepted, Some(Resolved)),
            (18, Said::Unchanged, Some(Resolved)),
            (19, Said::Accepted, Some(Superseded)),
            (19, Said::Superseded, Some(Superseded)),
            (18, Said::Superseded, Some(Superseded)),
            (17, Said::Accepted, None),
            (17, Said::Superseded, None),
            (18, Said::Refused, None),
            (19, Said::Refused, None),
        ] {
            assert_eq!(states(by_receipt(&status("a"), &receipt(revision, outcome))), expected, "{revision} {outcome:?}");
        }
    }

    #[test]
    fn a_receipt_of_another_place_or_key_says_nothing() {
        let about = receipt(19, ReceiptOutcome::Accepted);
        let other_key = Receipt { key: RecordKey::new(Domain::Item, &["4711", "D"]).unwrap(), ..about.clone() };
        let other_place = Receipt { destination: "mes-pune".into(), ..about.clone() };
        for other in [other_key, other_place] {
            assert_eq!(by_receipt(&status("a"), &other), None);
        }
        for state in [LetterState::Resolved, LetterState::Superseded, LetterState::Discarded] {
            assert_eq!(by_receipt(&LetterStatus { state, ..status("a") }, &about), None, "{state:?}");
        }
    }

    #[test]
    fn goldens_fence_closes_the_validators_letter() {
        let validator = LetterStatus { stage: Stage::Validate, system: "validator".into(), ..status("validator/erp/item/3@9") };
        for (epoch, sequence, expected) in [
            (1, 7, Some(LetterState::Resolved)),
            (1, 8, Some(LetterState::Superseded)),
            (2, 1, Some(LetterState::Superseded)),
            (1, 6, None),
            (0, 99, None),
        ] {
            assert_eq!(states(by_golden(&validator, &golden(epoch, sequence, None))), expected, "{epoch}.{sequence}");
        }
        assert_eq!(
            by_golden(&LetterStatus { source: Some("crm".into()), ..validator }, &golden(9, 9, None)),
            None,
            "another source's fence"
        );
    }

    #[test]
    fn golden_closes_a_sources_letter_that_it_names_as_its_cause() {
        let open = LetterStatus { stage: Stage::Capture, system: "erp".into(), key: None, ..status("erp/item/ab") };
        assert_eq!(by_golden(&open, &golden(1, 7, None)), None);
        let others = GoldenMeta { origin: vec!["erp".into(), "crm".into()], ..golden(1, 7, Some("erp/item/ab")) };
        assert_eq!(by_golden(&open, &others), None, "another source's change names it");
        assert_eq!(states(by_golden(&open, &golden(1, 7, Some("erp/item/ab")))), Some(LetterState::Superseded));
        let sent = LetterStatus { state: LetterState::Replaying, ..open };
        assert_eq!(states(by_golden(&sent, &golden(1, 7, Some("erp/item/ab")))), Some(LetterState::Resolved));
    }

    #[test]
    fn a_newer_letter_replaces_what_it_names_and_older_revisions_of_its_key() {
        let newer = |revision| DeadLetter { revision: Some(revision), ..letter("mes-ulm/item/3@99") };
        assert_eq!(states(by_newer_letter(&status("a"), &newer(19))), Some(LetterState::Superseded));
        assert_eq!(by_newer_letter(&status("a"), &newer(17)), None);
        assert_eq!(by_newer_letter(&status("a"), &DeadLetter { system: "mes-pune".into(), ..newer(19) }), None);
        let naming = |stage, system: &str, source: &str| DeadLetter {
            stage,
            system: system.into(),
            source: Some(source.into()),
            replaces: Some(LetterId("a".into())),
            ..newer(1)
        };
        let row = LetterStatus { stage: Stage::Capture, system: "erp".into(), key: None, ..status("a") };
        for (older, newer, expected) in [
            (&row, naming(Stage::Validate, "validator", "erp"), Some(LetterState::Superseded)),
            (&row, naming(Stage::Validate, "validator", "crm"), None),
            (&row, naming(Stage::Capture, "crm", "crm"), None),
            (&row, naming(Stage::Capture, "erp", "erp"), Some(LetterState::Superseded)),
            (&status("a"), naming(Stage::Deliver, "mes-ulm", "erp"), Some(LetterState::Superseded)),
            (&status("a"), naming(Stage::Deliver, "mes-pune", "erp"), None),
            (&status("a"), naming(Stage::Validate, "validator", "mes-ulm"), None),
        ] {
            assert_eq!(states(by_newer_letter(older, &newer)), expected, "{} {:?}", newer.system, newer.source);
        }
        assert_eq!(by_newer_letter(&status("mes-ulm/item/3@99"), &newer(19)), None, "not itself");
    }

    #[test]
    fn ninety_days_open_is_expired() {
        let days = |days: u64| NOW.plus(Duration::from_secs(days * 86_400));
        assert!(!is_expired(&status("a"), days(89)));
        assert!(is_expired(&status("a"), days(90)));
        assert!(!is_expired(&LetterStatus { state: LetterState::Replaying, ..status("a") }, days(91)));
    }
}
