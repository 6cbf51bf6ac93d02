//! Planning: which letters, whether the wish is acceptable, and what a replay of one letter would come to.

use std::time::Duration;

use model::{Fence, LetterState, LetterStatus, PlanFilter, Stage};

/// Replays of one letter before a person has to say "again".
pub const HOP_LIMIT: i32 = 5;
/// Letters of one plan unless the filter raises it.
pub const DEFAULT_LIMIT: i32 = 1000;
/// Letters a second and system unless the filter says otherwise.
pub const DEFAULT_RATE: i32 = 10;
/// A preview is believed for so long.
pub const PLAN_VALID_FOR: Duration = Duration::from_secs(30 * 60);

/// Why a wish is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this would {verb} all {letters} open letters of {systems} systems; name a filter or pass --all")]
    NoFilter { verb: &'static str, letters: usize, systems: usize },
    #[error("{matching} letters match, at most {limit} are allowed; narrow the filter or raise the limit")]
    TooMany { matching: usize, limit: usize },
    #[error("no open letter matches")]
    Nothing,
}

/// Whether the filter says anything; the empty one is refused, and so is one that matches too many letters.
///
/// # Errors
/// The reason, in words for a person.
pub fn check_filter(
    filter: &PlanFilter,
    verb: &'static str,
    matching: usize,
    open: usize,
    systems: usize,
) -> Result<(), Refusal> {
    let is_empty = filter.ids.is_empty()
        && filter.system.is_none()
        && filter.domain.is_none()
        && filter.key.is_none()
        && filter.code.is_none()
        && filter.class.is_none()
        && filter.since.is_none();
    if is_empty && !filter.all {
        return Err(Refusal::NoFilter { verb, letters: open, systems });
    }
    if matching == 0 {
        return Err(Refusal::Nothing);
    }
    if matching > limit(filter) {
        return Err(Refusal::TooMany { matching, limit: limit(filter) });
    }
    Ok(())
}

/// At most so many letters.
#[must_use]
pub fn limit(filter: &PlanFilter) -> usize {
    usize::try_from(if filter.limit > 0 { filter.limit } else { DEFAULT_LIMIT }).unwrap_or(usize::MAX)
}

/// Letters a second and system.
#[must_use]
pub fn rate(filter: &PlanFilter) -> f64 {
    f64::from(if filter.rate > 0 { filter.rate } else { DEFAULT_RATE })
}

/// Whether a letter is one of the filter's: it waits for somebody, and every set field matches. A discarded one only where its id, or
/// the discarded ones, are asked for.
#[must_use]
pub fn matches(filter: &PlanFilter, status: &LetterStatus) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == found);
    let is_meant = match status.state {
        LetterState::Open | LetterState::Expired => !filter.discarded,
        LetterState::Discarded => filter.discarded || filter.ids.contains(&status.id.0),
        LetterState::Replaying | LetterState::Resolved | LetterState::Superseded | LetterState::Unknown => false,
    };
    is_meant
        && (filter.ids.is_empty() || filter.ids.contains(&status.id.0))
        && is(&filter.system, Some(&status.system))
        && is(&filter.domain, status.domain.map(model::Domain::name))
        && is(&filter.key, status.key.as_ref().map(model::RecordKey::as_str))
        && is(&filter.code, Some(&status.code))
        && is(&filter.class, Some(status.class.name()))
        && filter.since.is_none_or(|since| status.opened_at >= since)
}

/// What a replay of one letter would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    WouldApply,
    /// Its record has moved on: closed, not sent.
    Superseded,
    StillFailing,
    /// Its bytes, or the record to send, cannot be read.
    Unreadable,
    /// Replayed [`HOP_LIMIT`] times already.
    Exhausted,
}

/// A verdict and why, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub why: String,
}

impl Judgement {
    #[must_use]
    pub fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        Self { verdict, why: why.into() }
    }
}

/// What is known about a letter's record today.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Newest golden revision of the key; none: there is no golden record.
    pub golden: Option<i64>,
    /// The golden record's fence for the letter's source.
    pub fence: Option<Fence>,
    /// Deliver: the newest revision that the destination accepted.
    pub accepted: Option<i64>,
    /// What judging the record again came to (the policy, a mapping); none: nothing can be said without sending it.
    pub again: Option<Result<(), String>>,
    /// Why the bytes, or the record to send, cannot be read.
    pub unreadable: Option<String>,
}

/// Sorts one letter. `exact` sends the stored bytes instead of the newest state, `again` ignores the hop limit.
#[must_use]
pub fn judge(status: &LetterStatus, filter: &PlanFilter, facts: &Facts) -> Judgement {
    let superseded = match status.stage {
        Stage::Deliver => match (facts.accepted, status.revision, facts.golden) {
            (Some(accepted), Some(revision), _) if accepted > revision => {
                Some(format!("revision {accepted} is already accepted there"))
            }
            (Some(accepted), Some(revision), _) if accepted == revision => Some(format!("revision {accepted} is accepted there")),
            (_, _, None) if !filter.exact => Some("the golden record is gone".to_owned()),
            _ => None,
        },
        Stage::Validate => match (facts.fence, status.source_epoch, status.source_sequence) {
            (Some(fence), Some(epoch), Some(sequence)) if fence >= (Fence { epoch, sequence }) => {
                Some(format!("the source's change {fence} is already golden"))
            }
            _ => None,
        },
        Stage::Capture | Stage::Unknown => None,
    };
    if let Some(why) = superseded {
        return Judgement::new(Verdict::Superseded, why);
    }
    if status.hops >= HOP_LIMIT && !filter.again {
        return Judgement::new(Verdict::Exhausted, format!("replayed {} times; replaying has not helped", status.hops));
    }
    // The newest state needs no stored bytes; a validator's letter and an exact replay do.
    let needs_bytes = filter.exact || status.stage == Stage::Validate;
    if needs_bytes && status.state == LetterState::Expired {
        return Judgement::new(Verdict::Unreadable, "its bytes are older than 90 days and gone");
    }
    if let Some(why) = &facts.unreadable {
        return Judgement::new(Verdict::Unreadable, why.clone());
    }
    match &facts.again {
        Some(Err(why)) => Judgement::new(Verdict::StillFailing, why.clone()),
        Some(Ok(())) | None => Judgement::new(Verdict::WouldApply, "would be sent"),
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::state::tests::{NOW, status};

    #[test]
    fn the_empty_filter_is_refused_unless_all_is_said() {
        let refusal = check_filter(&PlanFilter::default(), "replay", 412, 412, 6).unwrap_err();
        assert_eq!(refusal.to_string(), "this would replay all 412 open letters of 6 systems; name a filter or pass --all");
        let all = PlanFilter { all: true, ..PlanFilter::default() };
        assert_eq!(check_filter(&all, "replay", 412, 412, 6), Ok(()));
        // Options are no filter.
        let options = PlanFilter { again: true, exact: true, queue: true, limit: 9, rate: 9, ..PlanFilter::default() };
        assert!(matches!(check_filter(&options, "replay", 1, 1, 1), Err(Refusal::NoFilter { .. })));
    }

    #[test]
    fn a_plan_has_a_limit_that_can_be_raised() {
        let code = |limit| PlanFilter { code: Some("X".into()), limit, ..PlanFilter::default() };
        assert_eq!(check_filter(&code(0), "replay", 1000, 2000, 2), Ok(()));
        assert_eq!(check_filter(&code(0), "replay", 1001, 2000, 2), Err(Refusal::TooMany { matching: 1001, limit: 1000 }));
        assert_eq!(check_filter(&code(5000), "replay", 1001, 2000, 2), Ok(()));
        assert_eq!(check_filter(&code(0), "replay", 0, 2000, 2), Err(Refusal::Nothing));
    }

    #[test]
    fn every_set_field_of_a_filter_must_match() {
        let status = status("mes-ulm/item/3@1851");
        let some = |text: &str| Some(text.to_owned());
        let base = PlanFilter::default();
        for (filter, expected) in [
            (base.clone(), true),
            (PlanFilter { ids: vec!["mes-ulm/item/3@1851".into()], ..base.clone() }, true),
            (PlanFilter { ids: vec!["other".into()], ..base.clone() }, false),
            (PlanFilter { system: some("mes-ulm"), code: some("UNIT_UNKNOWN"), class: some("refused"), ..base.clone() }, true),
            (PlanFilter { system: some("mes-ulm"), code: some("OTHER"), ..base.clone() }, false),
            (PlanFilter { system: some("mes-pune"), ..base.clone() }, false),
            (PlanFilter { domain: some("item"), key: some("4711/C"), ..base.clone() }, true),
            (PlanFilter { key: some("4711/D"), ..base.clone() }, false),
            (PlanFilter { since: Some(NOW), ..base.clone() }, true),
            (PlanFilter { since: Some(Timestamp::from_micros(NOW.micros() + 1)), ..base }, false),
        ] {
            assert_eq!(matches(&filter, &status), expected, "{filter:?}");
        }
        let discarded = LetterStatus { state: LetterState::Discarded, ..status.clone() };
        for (filter, of_open, of_discarded) in [
            (PlanFilter { ids: vec![status.id.0.clone()], ..PlanFilter::default() }, true, true),
            (PlanFilter { all: true, ..PlanFilter::default() }, true, false),
            (PlanFilter { discarded: true, ..PlanFilter::default() }, false, true),
            (PlanFilter { discarded: true, code: some("OTHER"), ..PlanFilter::default() }, false, false),
        ] {
            assert_eq!((matches(&filter, &status), matches(&filter, &discarded)), (of_open, of_discarded), "{filter:?}");
        }
        for state in [LetterState::Replaying, LetterState::Resolved, LetterState::Superseded, LetterState::Discarded] {
            assert!(!matches(&PlanFilter { all: true, ..PlanFilter::default() }, &LetterStatus { state, ..status.clone() }));
        }
    }

    #[test]
    fn a_sinks_letter_is_sorted_by_ledger_golden_and_hops() {
        let check = |accepted, golden, hops, filter: PlanFilter, expected: Verdict| {
            let facts = Facts { accepted, golden, ..Facts::default() };
            let judged = judge(&LetterStatus { hops, ..status("a") }, &filter, &facts);
            assert_eq!(judged.verdict, expected, "{accepted:?} {golden:?} {hops}: {}", judged.why);
        };
        let none = PlanFilter::default;
        check(Some(17), Some(18), 0, none(), Verdict::WouldApply);
        check(None, Some(19), 0, none(), Verdict::WouldApply);
        check(Some(18), Some(18), 0, none(), Verdict::Superseded);
        check(Some(19), Some(19), 0, none(), Verdict::Superseded);
        check(Some(17), None, 0, none(), Verdict::Superseded);
        check(Some(17), None, 0, PlanFilter { exact: true, ..none() }, Verdict::WouldApply);
        check(Some(17), Some(18), 4, none(), Verdict::WouldApply);
        check(Some(17), Some(18), 5, none(), Verdict::Exhausted);
        check(Some(17), Some(18), 5, PlanFilter { again: true, ..none() }, Verdict::WouldApply);
    }

    #[test]
    fn a_validators_letter_is_sorted_by_fence_and_policy() {
        let letter = LetterStatus { stage: Stage::Validate, system: "validator".into(), ..status("a") };
        let check = |facts: Facts, state, expected: Verdict| {
            let judged = judge(&LetterStatus { state, ..letter.clone() }, &PlanFilter::default(), &facts);
            assert_eq!(judged.verdict, expected, "{facts:?}: {}", judged.why);
        };
        let fence = |sequence| Some(Fence { epoch: 1, sequence });
        let open = LetterState::Open;
        check(Facts::default(), open, Verdict::WouldApply);
        check(Facts { fence: fence(6), again: Some(Ok(())), ..Facts::default() }, open, Verdict::WouldApply);
        check(Facts { fence: fence(7), ..Facts::default() }, open, Verdict::Superseded);
        check(Facts { fence: fence(8), ..Facts::default() }, open, Verdict::Superseded);
        check(Facts { again: Some(Err("ITM-02".into())), ..Facts::default() }, open, Verdict::StillFailing);
        check(Facts { unreadable: Some("schema 412".into()), ..Facts::default() }, open, Verdict::Unreadable);
        check(Facts::default(), LetterState::Expired, Verdict::Unreadable);
    }
}
