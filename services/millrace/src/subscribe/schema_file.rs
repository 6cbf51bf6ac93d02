//! The `.avsc` of a golden topic as subscribers get it: the registered schema, with the owner and the unit of each field beside its
//! doc and its mark of personal data (`mdm.owner`, `mdm.unit`, `mdm.pii`). Readers ignore attributes they do not know.

use super::{catalogue::Entry, tree::Node};

/// The schema with everything that is known of its fields.
pub(super) fn schema(entry: &Entry) -> Node {
    let mut schema = parsed(entry.golden.schema().text());
    units(&mut schema);
    if let Some(data) = data_record(&mut schema) {
        for field in fields(data) {
            let name = field.text("name").unwrap_or_default().to_owned();
            field.put_some("mdm.owner", entry.owner_of(&format!("/{name}")));
        }
    }
    schema
}

/// An embedded schema as a tree.
pub(super) fn parsed(text: &str) -> Node {
    serde_json::from_str(text).expect("embedded schemas are JSON without fractions")
}

/// Gives every number its unit, in every record wherever it is defined.
fn units(node: &mut Node) {
    match node {
        Node::List(items) => items.iter_mut().for_each(units),
        Node::Map(_) => {
            let record = node.text("name").unwrap_or_default().to_owned();
            for field in fields(node) {
                let name = field.text("name").unwrap_or_default().to_owned();
                field.put_some("mdm.unit", avro::unit(&record, &name));
                field.get_mut("type").into_iter().for_each(units);
            }
            for part in ["items", "values", "type"] {
                node.get_mut(part).into_iter().for_each(units);
            }
        }
        Node::Null | Node::Truth(_) | Node::Number(_) | Node::Text(_) => {}
    }
}

fn fields(record: &mut Node) -> &mut [Node] {
    match record.get_mut("fields") {
        Some(Node::List(fields)) => fields,
        _ => &mut [],
    }
}

/// The record of the domain: the other branch of `data`, which may be null.
fn data_record(schema: &mut Node) -> Option<&mut Node> {
    let data = fields(schema).iter_mut().find(|field| field.text("name") == Some("data"))?;
    match data.get_mut("type") {
        Some(Node::List(branches)) => branches.iter_mut().find(|branch| branch.text("type") == Some("record")),
        _ => None,
    }
}
