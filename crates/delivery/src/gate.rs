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
            let state = meta.approval.as_ref().map_or(ApprovalState::Unknown, |approval| approval.state);
            let detail = match state {
                ApprovalState::Approved => return None,
                ApprovalState::Draft => "draft, not released by its owner",
                ApprovalState::Pending => "release requested, not decided",
                ApprovalState::Rejected => "release rejected by its owner",
                ApprovalState::Retired => "retired by its owner",
                ApprovalState::Unknown => "its owner states no release",
            };
            let detail = format!("{detail} ({})", meta.owner);
            Some(Closed { reason: gate.reason(), detail, until: None })
        }
    })
}
