//! The data contract of one golden topic, Open Data Contract Standard 3.1.

use avro::fields::{Field, Kind};

use super::{
    catalogue::{Catalogue, Entry, GENERATION_DAYS},
    tree::Node,
};

/// The contract.
pub(super) fn contract(catalogue: &Catalogue, entry: &Entry) -> Node {
    let mut contract = Node::map([
        ("apiVersion", "v3.1.0".into()),
        ("kind", "DataContract".into()),
        ("id", entry.golden.name().replace(['.', '_'], "-").into()),
        ("name", entry.title().into()),
        ("version", entry.version().into()),
        ("status", "active".into()),
        ("domain", "master-data".into()),
        ("tags", Node::list([entry.golden.domain.name()])),
        ("description", description(entry)),
    ]);
    if let Some(first) = catalogue.brokers.first() {
        let server = Node::map([
            ("server", "kafka".into()),
            ("type", "kafka".into()),
            ("host", first.as_str().into()),
            ("format", "avro".into()),
        ]);
        contract.put("servers", Node::List(vec![server]));
    }
    contract.put("schema", Node::List(vec![schema(entry)]));
    contract.put("slaProperties", agreements(entry));
    let role = Node::map([
        ("role", "subscriber".into()),
        ("access", "read".into()),
        ("firstLevelApprovers", entry.office.as_str().into()),
    ]);
    contract.put("roles", Node::List(vec![role]));
    contract
}

fn description(entry: &Entry) -> Node {
    let title = entry.title().to_lowercase();
    Node::map([
        ("purpose", format!("One accepted record per key with its full current state: {title}, owned by {}.", entry.owner).into()),
        (
            "limitations",
            format!(
                "At least once. Intermediate revisions may be compacted away; the newest one of a key never is. A delete stays visible \
                 for {} days. Schemas change FULL_TRANSITIVE; a break is a new topic, both written for at least {GENERATION_DAYS} days.",
                entry.tombstone_days()
            )
            .into(),
        ),
        (
            "usage",
            "Read committed records from the beginning. Keep the highest meta.revision of each key, also of deleted ones, and ignore lower \
             ones. Treat data = null as a delete and a null value as clean-up."
                .into(),
        ),
    ])
}

fn schema(entry: &Entry) -> Node {
    let schema = serde_json::from_str(entry.golden.schema().text()).expect("embedded schemas are JSON");
    let meta = avro::fields::tree(&schema).into_iter().filter(|field| field.name == "meta");
    let mut properties: Vec<Node> = meta.map(|field| property(&field, None, "meta")).collect();
    for field in avro::fields::of(entry.golden.domain) {
        let pointer = format!("/{}", field.name);
        let mut node = property(field, entry.owner_of(&pointer), &format!("data.{}", field.name));
        let position = entry.golden.domain.key_fields().iter().position(|key| *key == field.name);
        if let Some(position) = position.and_then(|position| i64::try_from(position).ok()) {
            node.put("primaryKey", true);
            node.put("primaryKeyPosition", position + 1);
        }
        properties.push(node);
    }
    Node::map([
        ("name", entry.golden.domain.name().into()),
        ("physicalName", entry.golden.name().into()),
        ("physicalType", "topic".into()),
        ("logicalType", "object".into()),
        ("description", format!("Subject {}, record mdm.v1.{}.", entry.golden.subject(), entry.golden.schema().record()).into()),
        ("properties", Node::List(properties)),
    ])
}

fn property(field: &Field, owner: Option<&str>, place: &str) -> Node {
    let mut node = Node::map([("name", field.name.as_str().into()), ("physicalName", place.into())]);
    types(&mut node, &field.kind, place);
    node.put("description", field.doc.as_str());
    node.put("required", !field.nullable);
    if let Some(pii) = &field.pii {
        node.put("classification", "personal");
        node.put("tags", Node::list([format!("pii:{pii}")]));
    }
    let custom = |name: &str, value: &str| Node::map([("property", name.into()), ("value", value.into())]);
    let known: Vec<Node> =
        owner.map(|owner| custom("owner", owner)).into_iter().chain(field.unit.map(|unit| custom("unit", unit))).collect();
    if !known.is_empty() {
        node.put("customProperties", Node::List(known));
    }
    node
}

/// Logical and physical type, and what lies inside.
fn types(node: &mut Node, kind: &Kind, place: &str) {
    let logical = match kind {
        Kind::Text | Kind::Uuid | Kind::Bytes | Kind::Enum(_) => "string",
        Kind::Boolean => "boolean",
        Kind::Int | Kind::Long => "integer",
        Kind::Decimal { .. } => "number",
        Kind::Date => "date",
        Kind::Timestamp => "timestamp",
        Kind::Record(_) | Kind::Map(_) => "object",
        Kind::List(_) => "array",
    };
    node.put("logicalType", logical);
    node.put("physicalType", kind.name());
    match kind {
        Kind::Record(fields) => {
            let inner = fields.iter().map(|field| property(field, None, &format!("{place}.{}", field.name)));
            node.put("properties", Node::List(inner.collect()));
        }
        Kind::List(inner) => {
            let mut items = Node::map([("name", "element".into())]);
            types(&mut items, inner, &format!("{place}[]"));
            node.put("items", items);
        }
        Kind::Map(_) | Kind::Text | Kind::Uuid | Kind::Boolean | Kind::Int | Kind::Long | Kind::Decimal { .. } => {}
        Kind::Date | Kind::Timestamp | Kind::Bytes | Kind::Enum(_) => {}
    }
}

fn agreements(entry: &Entry) -> Node {
    let element = entry.golden.domain.name();
    let agreement = |name: &str, value: i64, unit: &str, what: &str| {
        Node::map([
            ("property", name.into()),
            ("value", value.into()),
            ("unit", unit.into()),
            ("element", element.into()),
            ("description", what.into()),
        ])
    };
    let latency = entry.deadline.and_then(|deadline| i64::try_from(deadline.as_secs()).ok());
    let mut list: Vec<Node> = Vec::new();
    list.extend(
        latency.map(|seconds| agreement("latency", seconds, "s", "from the commit at the source to the accepted record")),
    );
    list.push(agreement("retention", entry.tombstone_days(), "d", "how long a delete stays visible; current records stay"));
    list.push(agreement(
        "endOfSupport",
        GENERATION_DAYS,
        "d",
        "at least, from the announcement of a new generation of the topic",
    ));
    Node::List(list)
}
