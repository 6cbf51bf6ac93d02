//! What must be true before a record is offered to a destination (delivery.md 5.3). Each closed gate has a reason people can read.

use model::{ApprovalState, GoldenMeta, Reason, Timestamp};

/// A condition named in a destination's landscape. The manual block is no gate of this list: it is a command, kept in the ledger,
/// and comes before all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// The owner's release: opens with a newer golden revision.
    Approval,
}

impl Gate {
    pub const ALL: [Gate; 1] = [Gate::Approval];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Gate::Approval => "approval",
        }
    }

    /// The reason under which a key waits for this gate.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Gate::Approval => Reason::Approval,
        }
    }
}

/// A gate that is shut, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub reason: Reason,
    pub detail: String,
    pub until: Option<Timestamp>,
}

/// The first closed gate, in the order of [`Gate`].
#[must_use]
pub fn first_closed(gates: &[Gate], meta: &GoldenMeta) -> Option<Closed> {
    let mut ordered = gates.to_vec();
    ordered.sort_unstable();
    ordered.into_iter().find_map(|gate| match gate {
        Gate::Approval => {
            // An owner without a release workflow states nothing.
            let detail = match meta.approval.as_ref()?.state {
                ApprovalState::Approved => return None,
                ApprovalState::Draft => "draft, not released by its owner",
                ApprovalState::Pending => "release requested, not decided",
                ApprovalState::Rejected => "release rejected by its owner",
                ApprovalState::Retired => "retired by its owner",
                ApprovalState::Unknown => "in a release state that is not known here",
            };
            let detail = format!("{detail} ({})", meta.owner);
            Some(Closed { reason: gate.reason(), detail, until: None })
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Approval, ChangeId, Operation};

    use super::*;

    fn meta(approval: Option<ApprovalState>) -> GoldenMeta {
        GoldenMeta {
            revision: 1,
            change_id: ChangeId::default(),
            operation: Operation::Upsert,
            policy_version: String::new(),
            owner: "erp".to_owned(),
            occurred_at: Timestamp::default(),
            accepted_at: Timestamp::default(),
            correlation_id: ChangeId::default(),
            causation_id: None,
            approval: approval.map(|state| Approval { state, ..Approval::default() }),
            valid_from: None,
            valid_to: None,
            fence: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            findings: Vec::new(),
            origin: Vec::new(),
        }
    }

    #[test]
    fn only_a_release_or_the_absence_of_a_workflow_opens_the_approval_gate() {
        for (approval, is_open) in [
            (None, true),
            (Some(ApprovalState::Approved), true),
            (Some(ApprovalState::Draft), false),
            (Some(ApprovalState::Pending), false),
            (Some(ApprovalState::Rejected), false),
            (Some(ApprovalState::Retired), false),
            (Some(ApprovalState::Unknown), false),
        ] {
            let closed = first_closed(&[Gate::Approval], &meta(approval));
            assert_eq!(closed.is_none(), is_open, "{approval:?}: {closed:?}");
            assert_eq!(first_closed(&[], &meta(approval)), None, "no gate, no wait");
        }
    }
}
