//! One record from the groups of several owners.
//!
//! Invariant: the result holds the change's value in every group of its source, and the current value in every other group.

use std::collections::HashMap;

use model::{Customer, Data, Domain, Item, Reference, WorkCenter};
use serde_json::{Map, Value};

use crate::{DomainPolicy, Pointer, ownership};

/// A record that does not survive the way through its text form: a time outside the calendar, for example.
#[derive(Debug, thiserror::Error)]
#[error("merging a {domain}: {message}")]
pub(crate) struct Unreadable {
    domain: Domain,
    message: String,
}

/// The record after `source` replaced its own groups in `current` by those of `change`. None in `change` empties them.
///
/// Elements of a list that only `change` names have no place when their list belongs to another owner; they are in the second
/// part of the result.
pub(crate) fn merge(
    current: Option<&Data>,
    change: Option<&Data>,
    source: &str,
    policy: &DomainPolicy,
) -> Result<(Data, Vec<String>), Unreadable> {
    let is_main = source == policy.owner;
    match (current, change) {
        (None, Some(change)) => return Ok((change.clone(), Vec::new())),
        (Some(current), Some(change)) if is_main && !ownership::others_hold(current, policy, source) => {
            return Ok((change.clone(), Vec::new()));
        }
        _ => {}
    }
    let current = current.map(text).transpose()?.unwrap_or_default();
    let change = change.map(text).transpose()?.unwrap_or_default();
    let (mut result, from) = if is_main { (change, current) } else { (current, change) };
    let mut homeless = Vec::new();
    if is_main {
        for group in policy.groups.iter().filter(|group| group.owner != source) {
            for field in &group.fields {
                take(&mut result, &from, field, policy.domain);
            }
        }
    } else {
        for field in ownership::pointers(policy, source) {
            take(&mut result, &from, field, policy.domain);
            homeless.extend(without_place(&result, &from, field, policy.domain));
        }
    }
    Ok((typed(policy.domain, Value::Object(result))?, homeless))
}

/// The value of `field` in `result` becomes that of `from`; absent there, it becomes the default.
fn take(result: &mut Map<String, Value>, from: &Map<String, Value>, field: &Pointer, domain: Domain) {
    match field.segments() {
        [name] => put(result, name, from.get(name)),
        [list, star, rest @ ..] if star == "*" => {
            let empty = Vec::new();
            let sources = by_identity(from.get(list).and_then(Value::as_array).unwrap_or(&empty), domain, list);
            let Some(elements) = result.get_mut(list).and_then(Value::as_array_mut) else { return };
            for element in elements {
                let twin = sources.get(&identity(element, domain, list)).and_then(|twin| twin.as_object());
                if let Some(element) = element.as_object_mut() {
                    descend(element, twin, rest);
                }
            }
        }
        [name, rest @ ..] => {
            let twin = from.get(name).and_then(Value::as_object);
            // A record that is null holds no group: it comes into being with the first field of it.
            if result.get(name).is_none_or(Value::is_null) && twin.is_some() {
                result.insert(name.clone(), Value::Object(Map::new()));
            }
            if let Some(inner) = result.get_mut(name).and_then(Value::as_object_mut) {
                descend(inner, twin, rest);
            }
        }
        [] => {}
    }
}

fn descend(target: &mut Map<String, Value>, twin: Option<&Map<String, Value>>, rest: &[String]) {
    match rest {
        [name] => put(target, name, twin.and_then(|twin| twin.get(name))),
        [name, rest @ ..] => {
            let inner_twin = twin.and_then(|twin| twin.get(name)).and_then(Value::as_object);
            if target.get(name).is_none_or(Value::is_null) && inner_twin.is_some() {
                target.insert(name.clone(), Value::Object(Map::new()));
            }
            if let Some(inner) = target.get_mut(name).and_then(Value::as_object_mut) {
                descend(inner, inner_twin, rest);
            }
        }
        [] => {}
    }
}

fn put(target: &mut Map<String, Value>, name: &str, value: Option<&Value>) {
    match value {
        Some(value) => {
            target.insert(name.to_owned(), value.clone());
        }
        // Absent is the schema's default.
        None => {
            target.remove(name);
        }
    }
}

/// The first element of each identity: a list may be long, and each of it is looked up.
fn by_identity<'v>(elements: &'v [Value], domain: Domain, list: &str) -> HashMap<Vec<Option<&'v Value>>, &'v Value> {
    let mut found = HashMap::new();
    for element in elements {
        found.entry(identity(element, domain, list)).or_insert(element);
    }
    found
}

fn identity<'v>(element: &'v Value, domain: Domain, list: &str) -> Vec<Option<&'v Value>> {
    ownership::identity(domain, list).iter().map(|field| element.get(field)).collect()
}

/// Elements that the change names and the list's owner does not.
fn without_place(result: &Map<String, Value>, from: &Map<String, Value>, field: &Pointer, domain: Domain) -> Vec<String> {
    let [list, star, ..] = field.segments() else { return Vec::new() };
    if star != "*" {
        return Vec::new();
    }
    let empty = Vec::new();
    let elements = result.get(list).and_then(Value::as_array).unwrap_or(&empty);
    let sources = from.get(list).and_then(Value::as_array).unwrap_or(&empty);
    let elements = by_identity(elements, domain, list);
    sources
        .iter()
        .enumerate()
        .filter(|(_, source)| !elements.contains_key(&identity(source, domain, list)))
        .map(|(index, _)| format!("/{list}/{index}"))
        .collect()
}

fn text(data: &Data) -> Result<Map<String, Value>, Unreadable> {
    match serde_json::to_value(data) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Unreadable { domain: data.domain(), message: "the record is no object".to_owned() }),
        Err(error) => Err(Unreadable { domain: data.domain(), message: error.to_string() }),
    }
}

fn typed(domain: Domain, value: Value) -> Result<Data, Unreadable> {
    let read = match domain {
        Domain::Customer => serde_json::from_value::<Customer>(value).map(|data| Data::Customer(Box::new(data))),
        Domain::Item => serde_json::from_value::<Item>(value).map(|data| Data::Item(Box::new(data))),
        Domain::WorkCenter => serde_json::from_value::<WorkCenter>(value).map(|data| Data::WorkCenter(Box::new(data))),
        Domain::Reference => serde_json::from_value::<Reference>(value).map(|data| Data::Reference(Box::new(data))),
    };
    read.map_err(|error| Unreadable { domain, message: error.to_string() })
}
