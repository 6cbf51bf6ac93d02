//! Who may write which field (ENV-02).

use model::{Data, Domain};

use crate::{
    Case, DomainPolicy, Pointer,
    rule::{Found, Judged},
    walk::{self, Leaf, Step},
};

/// Fields that tell the elements of a list apart; they play the part of key components inside the list.
pub(crate) const fn identity(domain: Domain, list: &str) -> &'static [&'static str] {
    match (domain, list.as_bytes()) {
        (Domain::Customer, b"tax_ids") => &["type", "country"],
        (Domain::Customer, b"identifiers") => &["scheme", "value"],
        (Domain::Customer, b"addresses") => &["address_id"],
        (Domain::Customer, b"contacts") => &["contact_id"],
        (Domain::Customer, b"bank_accounts") => &["account_id"],
        (Domain::Customer, b"sales_areas") => &["sales_org", "channel", "division"],
        (Domain::Item, b"descriptions") | (Domain::Reference, b"names") => &["lang"],
        (Domain::Item, b"uom_conversions") => &["alt_uom"],
        (Domain::Item, b"costs") => &["type", "plant", "valid_from"],
        (Domain::Item, b"plants") => &["plant"],
        (Domain::WorkCenter, b"capabilities") => &["name"],
        (Domain::Customer | Domain::Item | Domain::WorkCenter, b"external_ids") => &["system", "entity"],
        (Domain::Customer | Domain::Item | Domain::WorkCenter | Domain::Reference, _) => &[],
    }
}

/// The groups' pointers that `source` owns. The main owner's fields are those that no pointer covers.
pub(crate) fn pointers<'p>(policy: &'p DomainPolicy, source: &'p str) -> impl Iterator<Item = &'p Pointer> {
    policy.groups.iter().filter(move |group| group.owner == source).flat_map(|group| &group.fields)
}

/// The owner of the field at `path`.
pub(crate) fn owner<'p>(policy: &'p DomainPolicy, path: &[Step]) -> &'p str {
    let covering = policy.groups.iter().find(|group| group.fields.iter().any(|field| walk::is_below(path, field.segments())));
    covering.map_or(&policy.owner, |group| &group.owner)
}

/// The owner of the field that a finding's pointer names.
pub(crate) fn owner_of<'p>(policy: &'p DomainPolicy, pointer: &str) -> &'p str {
    if policy.groups.is_empty() {
        return &policy.owner;
    }
    let steps: Vec<Step> = pointer
        .split('/')
        .skip(1)
        .map(|segment| match segment.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(segment.replace("~1", "/").replace("~0", "~")),
        })
        .collect();
    owner(policy, &steps)
}

/// ENV-02: the fields that the change fills and its source does not own. A default value means "not mine".
pub(crate) fn trespasses(case: &Case<'_>) -> Vec<Judged> {
    let (policy, source) = (case.policy, case.change.meta.source.as_str());
    if !policy.may_write(source) {
        let message = format!("{source} owns nothing of a {}; {} does", policy.domain, policy.owner);
        return vec![Found::new("", message).observed(source).judged("ENV-02", case)];
    }
    let (Some(data), false) = (&case.change.data, policy.groups.is_empty()) else {
        return Vec::new();
    };
    let mut judged = Vec::new();
    walk::leaves(data, &mut |path, leaf| {
        if matches!(leaf, Leaf::Empty | Leaf::Other { is_default: true }) {
            return;
        }
        let owner = owner(policy, path);
        if owner == source || is_identity(policy, source, path) {
            return;
        }
        let message = format!("{source} writes a field that {owner} owns");
        let mut found = Found::new(walk::pointer(path), message);
        if let Leaf::Text(text) = leaf {
            found = found.observed(text);
        }
        judged.push(found.judged("ENV-02", case));
    });
    judged
}

/// Key components, and the identity of elements in which `source` owns a field.
fn is_identity(policy: &DomainPolicy, source: &str, path: &[Step]) -> bool {
    match path {
        [Step::Field(name)] => policy.owner != source && policy.domain.key_fields().contains(name),
        [Step::Field(list), Step::Index(_), Step::Field(name)] => {
            identity(policy.domain, list).contains(name)
                && pointers(policy, source)
                    .any(|pointer| matches!(pointer.segments(), [first, star, ..] if first == list && star == "*"))
        }
        _ => false,
    }
}

/// Whether an owner other than `source` holds anything in `data`: if not, nothing needs to be merged.
pub(crate) fn others_hold(data: &Data, policy: &DomainPolicy, source: &str) -> bool {
    let mut others = false;
    walk::leaves(data, &mut |path, leaf| {
        others |= !matches!(leaf, Leaf::Empty | Leaf::Other { is_default: true }) && owner(policy, path) != source;
    });
    others
}
