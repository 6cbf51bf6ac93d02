//! The field tree of a domain's data record, read from the embedded schema: what a mapping may name, a field group may own, a
//! document shows and a screen masks.

use std::sync::LazyLock;

use model::Domain;
use serde_json::Value;

use crate::{Schema, unit};

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub doc: String,
    pub kind: Kind,
    /// May be null.
    pub nullable: bool,
    /// A key component, or the identity of an array's element: the only fields without a default.
    pub key: bool,
    /// What personal data it holds (`mdm.pii`).
    pub pii: Option<String>,
    /// What a number counts: [`crate::unit`].
    pub unit: Option<&'static str>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Text,
    Uuid,
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Date,
    Timestamp,
    Bytes,
    /// Its symbols, `UNKNOWN` first.
    Enum(Vec<String>),
    Record(Vec<Field>),
    List(Box<Kind>),
    Map(Box<Kind>),
}

impl Kind {
    /// The fields of a record, or of the records in a list or map.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match self {
            Kind::Record(fields) => fields,
            Kind::List(inner) | Kind::Map(inner) => inner.fields(),
            Kind::Text
            | Kind::Uuid
            | Kind::Boolean
            | Kind::Int
            | Kind::Long
            | Kind::Decimal { .. }
            | Kind::Date
            | Kind::Timestamp
            | Kind::Bytes
            | Kind::Enum(_) => &[],
        }
    }

    /// In words, for messages and documents: `decimal(28,9)`, `list of record`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Uuid => "uuid".to_owned(),
            Kind::Boolean => "boolean".to_owned(),
            Kind::Int => "int".to_owned(),
            Kind::Long => "long".to_owned(),
            Kind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Kind::Date => "date".to_owned(),
            Kind::Timestamp => "timestamp".to_owned(),
            Kind::Bytes => "bytes".to_owned(),
            Kind::Enum(symbols) => format!("one of {}", symbols.join(", ")),
            Kind::Record(_) => "record".to_owned(),
            Kind::List(inner) => format!("list of {}", inner.name()),
            Kind::Map(inner) => format!("map of {}", inner.name()),
        }
    }
}

static TREES: LazyLock<[Vec<Field>; 4]> = LazyLock::new(|| {
    Domain::ALL.map(|domain| {
        let schema: Value = serde_json::from_str(Schema::golden(domain).text()).expect("embedded schemas are JSON");
        tree(&schema).into_iter().find(|field| field.name == "data").map(|data| data.kind.fields().to_vec()).unwrap_or_default()
    })
});

/// The fields of a domain's data, in schema order.
#[must_use]
pub fn of(domain: Domain) -> &'static [Field] {
    &TREES[Domain::ALL.iter().position(|other| *other == domain).expect("ALL holds every domain")]
}

/// The field that an RFC 6901 pointer into data names. List positions may be a number or `*`; below a map any name is one.
#[must_use]
pub fn find(domain: Domain, pointer: &str) -> Option<&'static Field> {
    let mut parts = pointer.strip_prefix('/')?.split('/');
    let mut field = named(of(domain), parts.next()?)?;
    let mut kind = &field.kind;
    for part in parts {
        match kind {
            Kind::List(inner) if part == "*" || part.bytes().all(|byte| byte.is_ascii_digit()) => kind = inner,
            Kind::Map(inner) => kind = inner,
            Kind::Record(fields) => {
                field = named(fields, part)?;
                kind = &field.kind;
            }
            _ => return None,
        }
    }
    Some(field)
}

fn named<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

/// The fields of any schema's top record, for documents and tests.
#[must_use]
pub fn tree(schema: &Value) -> Vec<Field> {
    record(schema, &mut std::collections::HashMap::new())
}

type Named = std::collections::HashMap<String, Kind>;

fn record(schema: &Value, known: &mut Named) -> Vec<Field> {
    let text = |node: &Value, name: &str| node.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let owner = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    schema
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|node| {
            let (kind, nullable) = kind(&node["type"], known);
            Field {
                name: text(node, "name").unwrap_or_default(),
                doc: text(node, "doc").unwrap_or_default(),
                key: node.get("default").is_none() && !matches!(kind, Kind::Record(_)),
                pii: text(node, "mdm.pii"),
                unit: unit(owner, node.get("name").and_then(Value::as_str).unwrap_or_default()),
                kind,
                nullable,
            }
        })
        .collect()
}

fn kind(node: &Value, known: &mut Named) -> (Kind, bool) {
    match node {
        Value::Array(branches) => {
            let mut found = branches.iter().filter(|branch| branch.as_str() != Some("null"));
            let inner = found.next().map_or(Kind::Bytes, |branch| kind(branch, known).0);
            (inner, branches.iter().any(|branch| branch.as_str() == Some("null")))
        }
        Value::Object(object) => {
            let number = |name: &str| object.get(name).and_then(Value::as_u64).and_then(|value| u32::try_from(value).ok());
            let text = |name: &str| object.get(name).and_then(Value::as_str);
            let found = match (text("type").unwrap_or_default(), text("logicalType")) {
                ("record", _) => Kind::Record(record(node, known)),
                ("enum", _) => Kind::Enum(
                    object
                        .get("symbols")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(|symbol| symbol.as_str().map(ToOwned::to_owned))
                        .collect(),
                ),
                ("array", _) => Kind::List(Box::new(kind(&node["items"], known).0)),
                ("map", _) => Kind::Map(Box::new(kind(&node["values"], known).0)),
                (_, Some("decimal")) => Kind::Decimal {
                    precision: number("precision").unwrap_or_default(),
                    scale: number("scale").unwrap_or_default(),
                },
                (_, Some("date")) => Kind::Date,
                (_, Some("uuid")) => Kind::Uuid,
                (_, Some("timestamp-micros")) => Kind::Timestamp,
                (primitive, _) => plain(primitive),
            };
            if let Some(name) = text("name") {
                known.insert(name.to_owned(), found.clone());
            }
            (found, false)
        }
        Value::String(name) => (known.get(name).cloned().unwrap_or_else(|| plain(name)), false),
        Value::Null | Value::Bool(_) | Value::Number(_) => (Kind::Bytes, false),
    }
}

fn plain(name: &str) -> Kind {
    match name {
        "string" => Kind::Text,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        _ => Kind::Bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_fields() {
        for (domain, pointer, expected) in [
            (Domain::Item, "/base_uom", Some("text")),
            (Domain::Item, "/uom_conversions/*/numerator", Some("long")),
            (Domain::Item, "/uom_conversions/0/gross_weight", Some("decimal(20,6)")),
            (Domain::Item, "/plants/*/attributes/colour", Some("map of text")),
            (Domain::Item, "/net_weight/uom", Some("text")),
            (Domain::Customer, "/sales_areas", Some("list of record")),
            (Domain::Customer, "/sales_area", None),
            (Domain::Customer, "/name/first", None),
            (Domain::Customer, "name", None),
            (Domain::Customer, "", None),
        ] {
            assert_eq!(find(domain, pointer).map(|field| field.kind.name()).as_deref(), expected, "{domain} {pointer}");
        }
    }

    #[test]
    fn key_components_are_the_fields_without_default() {
        for domain in Domain::ALL {
            let keys: Vec<_> = of(domain).iter().filter(|field| field.key).map(|field| field.name.as_str()).collect();
            assert_eq!(keys, domain.key_fields(), "{domain}");
        }
    }
}
