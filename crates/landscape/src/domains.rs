//! `domains/<domain>.yaml`: who owns what, what is demanded, how heavy a violation is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use avro::fields;
use model::{Domain, Severity};
use policy::{ApprovalDemand, DomainPolicy, Group, Pointer, RuleSetting};

use crate::{
    node::{Node, Value},
    reader::{Fields, Reader},
    text,
};

/// A domain's file as it is meant.
pub(crate) struct DomainFile {
    pub(crate) policy: DomainPolicy,
    pub(crate) sets: BTreeSet<String>,
}

const SEVERITIES: [(&str, Severity); 4] =
    [("info", Severity::Info), ("warn", Severity::Warn), ("quarantine", Severity::Quarantine), ("block", Severity::Block)];

/// Reads one domain; None when nothing can be made of it.
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, domain: Domain, systems: &[&str]) -> Option<DomainFile> {
    let mut keys = reader.fields(node, "a domain")?;
    let owner = keys.need(reader, "owner", &format!("domain {domain}")).and_then(|node| system(reader, node, "owner", systems));
    let mut policy = DomainPolicy::new(domain, owner.as_deref().unwrap_or_default());
    policy.office = keys.text(reader, "office");
    let groups = keys.get("groups");
    policy.groups = reader.list(groups, "groups").iter().filter_map(|node| group(reader, node, domain, systems)).collect();
    overlapping(reader, groups, &policy.groups);
    if let Some(node) = keys.get("approval") {
        let words = [("none", ApprovalDemand::None), ("required", ApprovalDemand::Required)];
        policy.approval = reader.choice(node, "approval", &words).unwrap_or_default();
    }
    policy.mandatory = mandatory(reader, keys.get("mandatory"), domain, &policy.groups);
    policy.rules = rules(reader, keys.get("rules"), &policy);
    policy.deadline = keys.get("deadline").and_then(|node| reader.duration_of(node, "deadline"));
    let sets =
        if domain == Domain::Reference { reader.texts(keys.get("sets"), "sets").into_iter().collect() } else { BTreeSet::new() };
    keys.end(reader);
    owner.map(|_| DomainFile { policy, sets })
}

/// A system that publishes.
pub(crate) fn system(reader: &mut Reader<'_>, node: &Node, what: &str, systems: &[&str]) -> Option<String> {
    let name = reader.text(node, what)?;
    if systems.contains(&name.as_str()) {
        return Some(name);
    }
    let hint = text::did_you_mean(&name, systems.iter().copied()).or_else(|| Some(format!("there is no sources/{name}.yaml")));
    reader.problem(node, format!("{what}: {name:?} is not a source"), hint);
    None
}

fn group(reader: &mut Reader<'_>, node: &Node, domain: Domain, systems: &[&str]) -> Option<Group> {
    let mut keys = reader.fields(node, "a field group")?;
    let owner = keys.need(reader, "owner", "the field group").and_then(|node| system(reader, node, "owner", systems));
    let list = keys.need(reader, "fields", "the field group");
    let fields: Vec<Pointer> = reader.list(list, "fields").iter().filter_map(|node| pointer(reader, node, domain)).collect();
    for (node, field) in reader.list(list, "fields").iter().zip(&fields) {
        if field.segments().len() == 1 && domain.key_fields().contains(&field.segments()[0].as_str()) {
            reader.problem(node, format!("{field} is part of the key: it belongs to every owner"), None);
        }
    }
    keys.end(reader);
    owner.map(|owner| Group { owner, fields })
}

fn pointer(reader: &mut Reader<'_>, node: &Node, domain: Domain) -> Option<Pointer> {
    let written = reader.text(node, "field")?;
    let pointer: Pointer = match written.parse() {
        Ok(pointer) => pointer,
        Err(message) => {
            let slashed = format!("/{written}");
            let hint = fields::find(domain, &slashed).map(|_| format!("did you mean {slashed:?}?"));
            reader.problem(node, message, hint);
            return None;
        }
    };
    if fields::find(domain, &written).is_none() {
        reader.problem(node, format!("{written} is not a field of {domain}"), near_field(domain, &written));
        return None;
    }
    Some(pointer)
}

/// The pointer that was probably meant: the first segment that does not exist is replaced by the nearest that does.
fn near_field(domain: Domain, written: &str) -> Option<String> {
    let segments: Vec<&str> = written.trim_start_matches('/').split('/').collect();
    for end in 1..=segments.len() {
        let reached = format!("/{}", segments[..end].join("/"));
        if segments[end - 1] == "*" || fields::find(domain, &reached).is_some() {
            continue;
        }
        let parent = segments[..end - 1].join("/");
        let names: Vec<&str> = match parent.is_empty() {
            true => fields::of(domain).iter().map(|field| field.name.as_str()).collect(),
            false => fields::find(domain, &format!("/{parent}"))?.kind.fields().iter().map(|field| field.name.as_str()).collect(),
        };
        let meant = text::nearest(segments[end - 1], names)?;
        let mut repaired = segments.clone();
        repaired[end - 1] = meant;
        return Some(format!("did you mean \"/{}\"?", repaired.join("/")));
    }
    None
}

fn overlapping(reader: &mut Reader<'_>, node: Option<&Node>, groups: &[Group]) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for group in groups {
        for field in &group.fields {
            let text = field.to_string();
            let clash = seen.iter().find(|(other, _)| covers(other, &text) || covers(&text, other));
            if let (Some((other, owner)), Some(node)) = (clash, node) {
                let message = format!("{text} of {} and {other} of {owner} cover one field: a field has one owner", group.owner);
                reader.problem(node, message, None);
            }
            seen.insert(text, &group.owner);
        }
    }
}

/// Whether `outer` is `inner` or lies above it.
fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn mandatory(reader: &mut Reader<'_>, node: Option<&Node>, domain: Domain, groups: &[Group]) -> Vec<Pointer> {
    let mut found = Vec::new();
    for node in reader.list(node, "mandatory") {
        let Some(field) = pointer(reader, node, domain) else { continue };
        let text = field.to_string();
        let other = groups.iter().find(|group| group.fields.iter().any(|owned| covers(&owned.to_string(), &text)));
        if let Some(group) = other {
            let message = format!("{text} is a field of {}, only fields of the main group can be mandatory", group.owner);
            reader.problem(node, message, None);
        }
        found.push(field);
    }
    found
}

fn rules(reader: &mut Reader<'_>, node: Option<&Node>, policy: &DomainPolicy) -> BTreeMap<String, RuleSetting> {
    let Some(node) = node else { return BTreeMap::new() };
    let Value::Map(entries) = &node.value else {
        reader.problem(node, format!("rules must be a mapping of rule ids, not {}", node.kind()), None);
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (id, node) in entries {
        let setting = setting(reader, node);
        if policy::rule(&id.text).is_none() {
            let hint = text::did_you_mean(&id.text, policy::RULES.iter().map(|rule| rule.id));
            reader.at(id.line, id.column, format!("rule {:?} does not exist", id.text), hint);
            continue;
        }
        let Some(setting) = setting else { continue };
        if let Err(message) = policy.check_setting(&id.text, &setting) {
            reader.at(id.line, id.column, message, None);
        }
        found.insert(id.text.clone(), setting);
    }
    found
}

fn setting(reader: &mut Reader<'_>, node: &Node) -> Option<RuleSetting> {
    if !matches!(node.value, Value::Map(_)) {
        let severity = reader.choice(node, "severity", &SEVERITIES)?;
        return Some(RuleSetting { severity: Some(severity), ..RuleSetting::default() });
    }
    let mut keys: Fields<'_> = reader.fields(node, "a rule")?;
    let severity = keys.get("severity").and_then(|node| reader.choice(node, "severity", &SEVERITIES));
    let hold: Option<Duration> = keys.get("hold").and_then(|node| reader.duration_of(node, "hold"));
    let until = keys.get("until").and_then(|node| {
        let written = reader.text(node, "until")?;
        written.parse().map_err(|message| reader.problem(node, format!("until: {message}"), None)).ok()
    });
    let raise = reader.bool(keys.get("raise"), "raise");
    keys.end(reader);
    Some(RuleSetting { severity, hold, until, raise })
}
