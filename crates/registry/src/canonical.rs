//! When two schema texts are the same schema for us: names, types, order, logical types and defaults agree. Registries reorder
//! JSON, drop or wrap what they like (`"string"` as `{"type": "string"}`), and keep or lose docs.

use serde_json::{Map, Value, json};

/// The form that is compared. Field order counts (it is the encoding), key order does not.
///
/// # Errors
/// When the text is not JSON.
pub(crate) fn form(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("schema text is not JSON: {error}"))?;
    Ok(node(&value, ""))
}

const NAMED: [&str; 3] = ["record", "enum", "fixed"];
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

fn node(value: &Value, namespace: &str) -> Value {
    match value {
        Value::String(name) => json!(full_name(name, namespace)),
        Value::Array(branches) => Value::Array(branches.iter().map(|branch| node(branch, namespace)).collect()),
        Value::Object(object) => complex(object, namespace),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn complex(object: &Map<String, Value>, outer: &str) -> Value {
    let kind = object.get("type").cloned().unwrap_or_default();
    if let Some(logical) = object.get("logicalType") {
        let mut out = Map::from_iter([("type".to_owned(), node(&kind, outer)), ("logicalType".to_owned(), logical.clone())]);
        for attribute in ["precision", "scale", "size", "name"] {
            if let Some(value) = object.get(attribute) {
                out.insert(attribute.to_owned(), value.clone());
            }
        }
        return Value::Object(out);
    }
    let Some(word) = kind.as_str() else { return node(&kind, outer) };
    if PRIMITIVES.contains(&word) {
        return kind;
    }
    let mut out = Map::from_iter([("type".to_owned(), kind.clone())]);
    let mut namespace = outer.to_owned();
    if NAMED.contains(&word) {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(own) = object.get("namespace").and_then(Value::as_str) {
            own.clone_into(&mut namespace);
        }
        let full = full_name(name, &namespace);
        if let Some((space, _)) = full.rsplit_once('.') {
            space.clone_into(&mut namespace);
        }
        out.insert("name".to_owned(), json!(full));
    }
    for attribute in ["symbols", "size", "default"] {
        if let Some(value) = object.get(attribute) {
            out.insert(attribute.to_owned(), value.clone());
        }
    }
    for attribute in ["items", "values"] {
        if let Some(value) = object.get(attribute) {
            out.insert(attribute.to_owned(), node(value, &namespace));
        }
    }
    if let Some(Value::Array(fields)) = object.get("fields") {
        out.insert("fields".to_owned(), Value::Array(fields.iter().map(|field| one_field(field, &namespace)).collect()));
    }
    Value::Object(out)
}

fn one_field(field: &Value, namespace: &str) -> Value {
    let mut out = Map::from_iter([
        ("name".to_owned(), field.get("name").cloned().unwrap_or_default()),
        ("type".to_owned(), node(field.get("type").unwrap_or(&Value::Null), namespace)),
    ]);
    if let Some(default) = field.get("default") {
        out.insert("default".to_owned(), default.clone());
    }
    Value::Object(out)
}

fn full_name(name: &str, namespace: &str) -> String {
    if PRIMITIVES.contains(&name) || name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn what_registries_do_to_a_text_makes_no_other_schema() {
        let ours = r#"{"type":"record","namespace":"a","name":"R","doc":"d","fields":[
            {"name":"x","type":"string","default":"","doc":"why"},{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},
            {"name":"f","type":["null","E"],"default":null}]}"#;
        let theirs = r#"{"name":"a.R","type":"record","fields":[
            {"default":"","type":{"type":"string"},"name":"x"},{"type":{"symbols":["A"],"name":"E","namespace":"a","type":"enum"},"name":"e"},
            {"name":"f","type":[{"type":"null"},"a.E"],"default":null}]}"#;
        assert_eq!(form(ours).unwrap(), form(theirs).unwrap());
    }

    #[test]
    fn order_scale_defaults_and_symbols_do() {
        let base = r#"{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":6},"default":"a"},{"name":"y","type":"int"}]}"#;
        for other in [
            base.replace("\"scale\":6", "\"scale\":3"),
            base.replace("\"default\":\"a\"", "\"default\":\"b\""),
            base.replace("\"int\"", "\"long\""),
            r#"{"type":"record","name":"R","fields":[{"name":"y","type":"int"},{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":6},"default":"a"}]}"#.to_owned(),
        ] {
            assert_ne!(form(base).unwrap(), form(&other).unwrap(), "{other}");
        }
    }

    #[test]
    fn every_embedded_schema_equals_itself_minified() {
        for schema in avro::Schema::ALL {
            let minified = serde_json::from_str::<serde_json::Value>(schema.text()).unwrap().to_string();
            assert_eq!(form(schema.text()).unwrap(), form(&minified).unwrap(), "{schema:?}");
        }
    }
}
