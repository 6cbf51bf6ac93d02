//! What a confirming system says about a record becomes part of it.

use std::collections::BTreeMap;

use model::{ChangeId, Confirmation, Data, Domain, Golden, Timestamp, shared::ExternalId};

/// The golden revision after `system` confirmed the record `at` and gave it `external_id`; none when that is known already, or when
/// the record is deleted. `receipt` takes the place of the change that caused the revision; its own cause is the change before.
#[must_use]
pub fn confirm(
    golden: &Golden,
    system: &str,
    confirmation: Confirmation,
    receipt: ChangeId,
    policy_version: &str,
    now: Timestamp,
) -> Option<Golden> {
    let mut data = golden.data.clone()?;
    let is_known = golden
        .meta
        .confirmations
        .get(system)
        .is_some_and(|known| confirmation.external_id.is_none() || known.external_id == confirmation.external_id);
    if is_known {
        return None;
    }
    let mut meta = golden.meta.clone();
    meta.revision += 1;
    meta.causation_id = Some(meta.change_id.to_string());
    meta.change_id = receipt;
    meta.policy_version = policy_version.to_owned();
    meta.accepted_at = now;
    meta.confirmations.insert(system.to_owned(), confirmation);
    keep_external_ids(&mut data, &meta.confirmations);
    Some(Golden { meta, data: Some(data) })
}

/// The numbers that confirming systems gave: the main owner's next full state does not know them, so they are put back.
pub(crate) fn keep_external_ids(data: &mut Data, confirmations: &BTreeMap<String, Confirmation>) {
    let domain = data.domain();
    let (Data::Customer(_) | Data::Item(_) | Data::WorkCenter(_)) = data else { return };
    for (system, confirmation) in confirmations {
        let Some(id) = &confirmation.external_id else { continue };
        let external_ids = match data {
            Data::Customer(data) => &mut data.external_ids,
            Data::Item(data) => &mut data.external_ids,
            Data::WorkCenter(data) => &mut data.external_ids,
            Data::Reference(_) => return,
        };
        if !external_ids.iter().any(|known| known.system == *system && known.entity == domain.name()) {
            external_ids.push(number(system, domain, id));
        }
    }
}

fn number(system: &str, domain: Domain, id: &str) -> ExternalId {
    ExternalId { system: system.to_owned(), entity: domain.name().to_owned(), id: id.to_owned(), primary: false }
}
