//! The life of a letter: which state follows which, and what moves along.

use model::{DeadLetter, LetterState, LetterStatus, Timestamp};

/// The state of a letter that appeared at this place of its `dlq.<stage>`.
#[must_use]
pub fn opened(letter: &DeadLetter, topic: &str, partition: i32, offset: i64, now: Timestamp) -> LetterStatus {
    LetterStatus {
        id: letter.id.clone(),
        state: LetterState::Open,
        stage: letter.stage,
        system: letter.system.clone(),
        domain: letter.domain,
        key: letter.key.clone(),
        revision: letter.revision,
        change_id: letter.change_id.clone(),
        source: letter.source.clone(),
        source_key: letter.source_key.clone(),
        source_epoch: letter.source_epoch,
        source_sequence: letter.source_sequence,
        class: letter.class,
        code: letter.code.clone(),
        field: letter.field.clone(),
        message: letter.message.clone(),
        owner: letter.owner.clone(),
        letter_topic: topic.to_owned(),
        letter_partition: partition,
        letter_offset: offset,
        opened_at: letter.first_failed_at,
        changed_at: now,
        by: letter.system.clone(),
        reason: None,
        plan: None,
        hops: 0,
        closed_by: None,
    }
}

/// The state of a letter that appeared again: refused once more after a replay, or written twice around a crash. Its history
/// (hops, plan, when it was first opened) stays. None: this very record was taken in before.
#[must_use]
pub fn reopened(
    status: &LetterStatus,
    letter: &DeadLetter,
    topic: &str,
    partition: i32,
    offset: i64,
    now: Timestamp,
) -> Option<LetterStatus> {
    if status.letter_topic == topic && status.letter_partition == partition && status.letter_offset >= offset {
        return None;
    }
    let again = opened(letter, topic, partition, offset, now);
    Some(LetterStatus { opened_at: status.opened_at.min(again.opened_at), plan: status.plan.clone(), hops: status.hops, ..again })
}

/// A move that somebody asks for, with the state in which they saw the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: LetterState,
    pub to: LetterState,
    /// Who or what moves it.
    pub by: String,
    pub reason: Option<String>,
    /// Replaying: the plan that sends it.
    pub plan: Option<String>,
    /// What closed it: a revision, another letter.
    pub closed_by: Option<String>,
}

/// The letter after its move.
pub type Moved = LetterStatus;

/// Why a letter was not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMoved {
    #[error("letter is {}, not {} any more", .found.name(), .expected.name())]
    Elsewhere { expected: LetterState, found: LetterState },
    #[error("a letter that is {} cannot become {}", .from.name(), .to.name())]
    NoSuchMove { from: LetterState, to: LetterState },
}

/// Whether a letter may go from one state to another. A discard can be taken back by sending the letter again; what arrived stays
/// closed, and opens again only through its record.
#[must_use]
pub const fn may_move(from: LetterState, to: LetterState) -> bool {
    use LetterState::{Discarded, Expired, Open, Replaying, Resolved, Superseded, Unknown};
    match from {
        Open => matches!(to, Replaying | Resolved | Superseded | Discarded | Expired),
        Replaying => matches!(to, Open | Resolved | Superseded | Discarded),
        // Its bytes are gone; the newest state can still be sent.
        Expired => matches!(to, Replaying | Resolved | Superseded | Discarded),
        Discarded => matches!(to, Replaying | Resolved | Superseded),
        Resolved | Superseded | Unknown => false,
    }
}

/// Moves a letter if it is where the asker saw it.
///
/// # Errors
/// When it moved on meanwhile, or the table has no such move.
pub fn apply(status: &LetterStatus, wanted: Move, now: Timestamp) -> Result<Moved, NotMoved> {
    if status.state != wanted.from {
        return Err(NotMoved::Elsewhere { expected: wanted.from, found: status.state });
    }
    if !may_move(wanted.from, wanted.to) {
        return Err(NotMoved::NoSuchMove { from: wanted.from, to: wanted.to });
    }
    let is_sent = wanted.to == LetterState::Replaying;
    Ok(LetterStatus {
        state: wanted.to,
        changed_at: now,
        by: wanted.by,
        reason: wanted.reason,
        plan: wanted.plan.or_else(|| status.plan.clone()),
        hops: status.hops + i32::from(is_sent),
        closed_by: wanted.closed_by,
        ..status.clone()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use model::{Domain, LetterClass, LetterId, RecordKey, Stage};
    use proptest::prelude::*;

    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    pub(crate) fn letter(id: &str) -> DeadLetter {
        DeadLetter {
            id: LetterId(id.into()),
            stage: Stage::Deliver,
            system: "mes-ulm".into(),
            domain: Some(Domain::Item),
            key: Some(RecordKey::new(Domain::Item, &["4711", "C"]).unwrap()),
            revision: Some(18),
            change_id: None,
            source: Some("erp".into()),
            source_key: None,
            source_epoch: Some(1),
            source_sequence: Some(7),
            topic: None,
            partition: None,
            offset: None,
            timestamp: None,
            schema_id: None,
            class: LetterClass::Refused,
            code: "UNIT_UNKNOWN".into(),
            field: Some("unit".into()),
            observed: None,
            message: "unit \"SET\" unknown".into(),
            owner: None,
            findings: Vec::new(),
            attempts: 1,
            first_failed_at: NOW,
            last_failed_at: NOW,
            service: "sink".into(),
            policy_version: "1".into(),
            replaces: None,
            headers: BTreeMap::new(),
            payload: Vec::new(),
            truncated: false,
            sent: None,
        }
    }

    pub(crate) fn status(id: &str) -> LetterStatus {
        opened(&letter(id), "mdm.dlq.mes-ulm", 3, 10, NOW)
    }

    fn wanted(from: LetterState, to: LetterState) -> Move {
        Move { from, to, by: "replayer".into(), reason: None, plan: Some("p-1".into()), closed_by: None }
    }

    #[test]
    fn the_table_of_moves() {
        use LetterState::{Discarded, Expired, Open, Replaying, Resolved, Superseded};
        for (from, allowed) in [
            (Open, &[Replaying, Resolved, Superseded, Discarded, Expired][..]),
            (Replaying, &[Open, Resolved, Superseded, Discarded]),
            (Expired, &[Replaying, Resolved, Superseded, Discarded]),
            (Resolved, &[]),
            (Superseded, &[]),
            (Discarded, &[Replaying, Resolved, Superseded]),
        ] {
            for to in LetterState::SYMBOLS {
                assert_eq!(may_move(from, *to), allowed.contains(to), "{} → {}", from.name(), to.name());
            }
        }
    }

    #[test]
    fn the_same_record_twice_is_one_letter_and_a_later_one_reopens_it_with_its_history() {
        let sent = apply(&status("a"), wanted(LetterState::Open, LetterState::Replaying), NOW).unwrap();
        assert_eq!((sent.hops, sent.plan.as_deref()), (1, Some("p-1")));
        assert_eq!(reopened(&sent, &letter("a"), "mdm.dlq.mes-ulm", 3, 10, NOW), None);
        let again = reopened(&sent, &letter("a"), "mdm.dlq.mes-ulm", 3, 11, NOW).unwrap();
        assert_eq!(
            (again.state, again.hops, again.plan.as_deref(), again.letter_offset),
            (LetterState::Open, 1, Some("p-1"), 11)
        );
    }

    fn state() -> impl Strategy<Value = LetterState> {
        proptest::sample::select(LetterState::SYMBOLS)
    }

    proptest! {
        #[test]
        fn two_askers_who_saw_the_same_state_never_both_win(start in state(), first in state(), second in state()) {
            let before = LetterStatus { state: start, ..status("a") };
            if let Ok(after) = apply(&before, wanted(start, first), NOW) {
                let late = apply(&after, wanted(start, second), NOW);
                let is_elsewhere = matches!(late, Err(NotMoved::Elsewhere { .. }));
                prop_assert!(is_elsewhere, "{late:?}");
            }
        }

        #[test]
        fn however_moves_follow_each_other_hops_count_sends_and_what_arrived_stays_closed(moves in proptest::collection::vec(state(), 0..30)) {
            let mut now = status("a");
            let mut sends = 0;
            for to in moves {
                let was_closed = matches!(now.state, LetterState::Resolved | LetterState::Superseded);
                if let Ok(next) = apply(&now, wanted(now.state, to), NOW) {
                    prop_assert!(!was_closed);
                    sends += i32::from(to == LetterState::Replaying);
                    now = next;
                }
            }
            prop_assert_eq!(now.hops, sends);
        }
    }
}
