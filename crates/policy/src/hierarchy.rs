//! Where a customer stands below others, kept true when something above it moves.

use model::{ChangeId, Data, Golden, RecordKey, Timestamp};

use crate::{References, rules::customer};

/// The customer above this one.
#[must_use]
pub fn parent(golden: &Golden) -> Option<RecordKey> {
    match &golden.data {
        Some(Data::Customer(customer)) => customer::parent_key(customer),
        Some(Data::Item(_) | Data::WorkCenter(_) | Data::Reference(_)) | None => None,
    }
}

/// The golden revision of a customer whose top is another one by now; none where it is right, or for a deleted record. `id` takes the
/// place of a change: no source sent one, and no fence moves. Its cause is the change before.
#[must_use]
pub fn below_new_top(
    golden: &Golden,
    references: &dyn References,
    id: ChangeId,
    policy_version: &str,
    now: Timestamp,
) -> Option<Golden> {
    let Some(Data::Customer(customer)) = &golden.data else { return None };
    let top = customer::ultimate_parent(customer, references);
    if top == customer.ultimate_parent_id {
        return None;
    }
    let mut moved = customer.clone();
    moved.ultimate_parent_id = top;
    let mut meta = golden.meta.clone();
    meta.revision += 1;
    meta.causation_id = Some(meta.change_id.to_string());
    meta.change_id = id;
    meta.policy_version = policy_version.to_owned();
    meta.accepted_at = now;
    Some(Golden { meta, data: Some(Data::Customer(moved)) })
}
