//! Rules about any record: mandatory fields, control characters, approval, loops, times, keys.

use std::time::Duration;

use model::{ApprovalState, Data, Operation};

use crate::{
    ApprovalDemand, Case,
    rule::{Context, Found, Judged},
    walk::{self, Leaf},
};

const SKEW: Duration = Duration::from_secs(5 * 60);
const OLD: Duration = Duration::from_secs(90 * 24 * 3600);

/// ENV-01.
pub(crate) fn mandatory(data: &Data, context: &Context<'_>, found: &mut Vec<Found>) {
    let mandatory = &context.case.policy.mandatory;
    if mandatory.is_empty() {
        return;
    }
    walk::leaves(data, &mut |path, leaf| {
        let is_missing = leaf == Leaf::Empty
            && mandatory.iter().any(|pointer| {
                // `/addresses` wants a list, `/credit_limit` an amount: what lies deeper is their own affair.
                pointer.segments().len() == path.len() && walk::is_below(path, pointer.segments())
            });
        if is_missing {
            let pointer = walk::pointer(path);
            let name = pointer.rsplit('/').next().unwrap_or_default().replace('_', " ");
            found.push(Found::new(pointer, format!("{name} is missing; this company makes it mandatory")));
        }
    });
}

/// ENV-11.
pub(crate) fn control_characters(data: &Data, _: &Context<'_>, found: &mut Vec<Found>) {
    walk::leaves(data, &mut |path, leaf| {
        if let Leaf::Text(text) = leaf
            && let Some(character) = text.chars().find(|character| character.is_control())
        {
            let message = format!("the text holds the control character U+{:04X}", u32::from(character));
            found.push(Found::new(walk::pointer(path), message).observed(text.escape_debug()));
        }
    });
}

/// ENV-07 to ENV-10: what the change says about itself. ENV-06 is `approval`.
pub(crate) fn change(case: &Case<'_>) -> Vec<Judged> {
    let meta = &case.change.meta;
    let mut judged = Vec::new();
    if let Some(approval) = meta.approval.as_ref().filter(|approval| approval.state == ApprovalState::Approved) {
        if let (Some(by), Some(author)) = (&approval.by, &meta.author)
            && by == author
        {
            let found = Found::new("", "author and approver are the same person").observed(by);
            judged.push(found.judged("ENV-07", case));
        }
        if let Some(at) = approval.at.filter(|at| *at > meta.occurred_at.plus(SKEW)) {
            let message = format!("approved at {at}, after the change itself ({})", meta.occurred_at);
            judged.push(Found::new("", message).observed(at).judged("ENV-07", case));
        }
    }
    if meta.origin.contains(&meta.source) {
        let message = format!("the change passed through {} before and comes from there again", meta.source);
        judged.push(Found::new("", message).observed(meta.origin.join(", ")).judged("ENV-08", case));
    }
    if meta.occurred_at > case.now.plus(SKEW) {
        let found = Found::new("", "happened more than five minutes in the future").observed(meta.occurred_at);
        judged.push(found.judged("ENV-09", case));
    } else if case.now.since(meta.occurred_at) > OLD && meta.operation != Operation::Snapshot {
        let found = Found::new("", "happened more than 90 days ago and is no snapshot").observed(meta.occurred_at);
        judged.push(found.judged("ENV-09", case));
    }
    if let Some(data) = &case.change.data {
        match data.key() {
            Ok(key) if key == *case.key => {}
            Ok(key) => {
                let message = format!("came under key {}, but its data gives {key}", case.key);
                judged.push(Found::new("", message).observed(key).judged("ENV-10", case));
            }
            Err(error) => judged.push(Found::new("", error.to_string()).observed(case.key).judged("ENV-10", case)),
        }
    }
    judged
}

/// What the owner's release workflow says (ENV-06).
pub(crate) enum Release {
    Passed(Option<Judged>),
    /// The source will send the approved state.
    Awaited(Judged),
}

/// ENV-06. Only the main owner's upserts need approval: a delete releases nothing.
pub(crate) fn approval(case: &Case<'_>) -> Release {
    let meta = &case.change.meta;
    let is_asked =
        case.policy.approval == ApprovalDemand::Required && meta.source == case.policy.owner && case.change.data.is_some();
    if !is_asked {
        return Release::Passed(None);
    }
    let state = meta.approval.as_ref().map_or(ApprovalState::Unknown, |approval| approval.state);
    let found = |message: &str, observed: &str| Found::new("", message).observed(observed).judged("ENV-06", case);
    match state {
        ApprovalState::Approved => Release::Passed(None),
        ApprovalState::Rejected => Release::Passed(Some(found("its owner rejected it", "REJECTED"))),
        ApprovalState::Retired => Release::Passed(Some(found("its owner retired it", "RETIRED"))),
        ApprovalState::Draft => Release::Awaited(found("still a draft at its owner", "DRAFT")),
        ApprovalState::Pending => Release::Awaited(found("not yet approved by its owner", "PENDING")),
        ApprovalState::Unknown => Release::Awaited(found("comes without its owner's approval", "")),
    }
}
