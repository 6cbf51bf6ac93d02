//! Whether a subscriber's own schema reads what was written with ours: Avro's rules of resolution, walked so that an answer names the
//! path and what to write instead.
//!
//! Stricter than the rules in three places where they promise a value and deliver nonsense: a decimal read as text, a time stamp read
//! in another unit, and a null for which the reader has no place (a checker that answers "partly" lets it pass).

use serde_json::Value;

/// What reading data of one writer schema with a reader schema comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// None: every record can be read.
    pub mismatches: Vec<Mismatch>,
    /// Fields of the writer that the reader does not have, by path.
    pub ignored: Vec<String>,
    /// Enums without a default: a symbol that comes later could not be read.
    pub fragile: Vec<String>,
}

/// One reason why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mismatch {
    /// `data.plants[].lot_min`; empty for the record itself.
    pub path: String,
    pub what: String,
    /// What to write in the reader schema.
    pub fix: String,
}

/// Whether data of schema `writer` can be read with schema `reader`.
///
/// # Errors
/// Which of the texts is no Avro schema, and why.
pub fn can_read(writer: &str, reader: &str) -> Result<Reading, String> {
    let parse = |what: &str, text: &str| -> Result<Value, String> {
        apache_avro::Schema::parse_str(text).map_err(|error| format!("the {what} schema is no Avro schema: {error}"))?;
        serde_json::from_str(text).map_err(|error| format!("the {what} schema is not JSON: {error}"))
    };
    let (writer, reader) = (parse("writer's", writer)?, parse("reader's", reader)?);
    let mut walk = Walk { writer: Names::of(&writer), reader: Names::of(&reader), open: Vec::new(), reading: Reading::default() };
    walk.node(&writer, &reader, "");
    let mut reading = walk.reading;
    for list in [&mut reading.ignored, &mut reading.fragile] {
        let mut seen = std::collections::HashSet::new();
        list.retain(|path| seen.insert(path.clone()));
    }
    reading.mismatches.dedup();
    Ok(reading)
}

/// Definitions of named types by unqualified name: that is what resolution compares.
struct Names<'s>(std::collections::HashMap<String, &'s Value>);

impl<'s> Names<'s> {
    fn of(schema: &'s Value) -> Self {
        let mut names = Self(std::collections::HashMap::new());
        names.collect(schema);
        names
    }

    fn collect(&mut self, node: &'s Value) {
        match node {
            Value::Array(branches) => branches.iter().for_each(|branch| self.collect(branch)),
            Value::Object(object) => {
                if let Some(name) = object.get("name").and_then(Value::as_str).filter(|_| object.contains_key("type")) {
                    self.0.entry(unqualified(name).to_owned()).or_insert(node);
                }
                for part in ["type", "items", "values"] {
                    object.get(part).into_iter().for_each(|part| self.collect(part));
                }
                for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
                    field.get("type").into_iter().for_each(|kind| self.collect(kind));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// A node with references and wrappings such as `{"type": {"type": ...}}` looked through.
    fn resolve(&self, node: &'s Value) -> &'s Value {
        match node {
            Value::String(name) if !is_primitive(name) => self.0.get(unqualified(name)).copied().unwrap_or(node),
            Value::Object(object) if !object.get("type").is_some_and(Value::is_string) => {
                object.get("type").map_or(node, |inner| self.resolve(inner))
            }
            Value::Object(object) => match object.get("type").and_then(Value::as_str) {
                Some(name) if !is_primitive(name) && !is_complex(name) => self.0.get(unqualified(name)).copied().unwrap_or(node),
                _ => node,
            },
            _ => node,
        }
    }
}

fn unqualified(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_primitive(name: &str) -> bool {
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"].contains(&name)
}

fn is_complex(name: &str) -> bool {
    ["record", "error", "enum", "array", "map", "fixed"].contains(&name)
}

/// The word before the braces: `record`, `int`.
fn kind(node: &Value) -> &str {
    node.as_str().or_else(|| text(node, "type")).unwrap_or_default()
}

fn text<'a>(node: &'a Value, name: &str) -> Option<&'a str> {
    node.get(name).and_then(Value::as_str)
}

/// `decimal(28,9)`, `timestamp-micros`, `record Quantity`, `int`: for people.
fn shown(node: &Value) -> String {
    let number = |name: &str| node.get(name).and_then(Value::as_u64).unwrap_or_default();
    match (kind(node), text(node, "logicalType")) {
        _ if node.is_array() => {
            let branches: Vec<String> = node.as_array().into_iter().flatten().map(shown).collect();
            branches.join(" or ")
        }
        (_, Some("decimal")) => format!("decimal({},{})", number("precision"), number("scale")),
        (_, Some(logical)) => logical.to_owned(),
        (word @ ("record" | "enum" | "fixed"), None) => format!("{word} {}", unqualified(text(node, "name").unwrap_or_default())),
        (word, None) => word.to_owned(),
    }
}

struct Walk<'s> {
    writer: Names<'s>,
    reader: Names<'s>,
    /// Records being compared, outermost first: a record may hold itself.
    open: Vec<(*const Value, *const Value)>,
    reading: Reading,
}

impl<'s> Walk<'s> {
    fn mismatch(&mut self, path: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.reading.mismatches.push(Mismatch { path: path.to_owned(), what: what.into(), fix: fix.into() });
    }

    fn node(&mut self, writer: &'s Value, reader: &'s Value, path: &str) {
        let (writer, reader) = (self.writer.resolve(writer), self.reader.resolve(reader));
        if let Value::Array(branches) = writer {
            for branch in branches {
                self.branch(branch, reader, path);
            }
            return;
        }
        if reader.is_array() {
            self.branch(writer, reader, path);
            return;
        }
        self.pair(writer, reader, path);
    }

    /// One thing that may be written, against all that may be read.
    fn branch(&mut self, writer: &'s Value, reader: &'s Value, path: &str) {
        let Value::Array(choices) = reader else {
            if kind(self.writer.resolve(writer)) == "null" && kind(reader) != "null" {
                let fix = format!("[\"null\", {}] with \"default\": null", written(reader));
                self.mismatch(path, "may be null, and the reader has no place for null", fix);
            } else {
                self.node(writer, reader, path);
            }
            return;
        };
        let mut nearest: Option<(Reading, bool)> = None;
        for choice in choices {
            let before = std::mem::take(&mut self.reading);
            self.node(writer, choice, path);
            let tried = std::mem::replace(&mut self.reading, before);
            if tried.mismatches.is_empty() {
                self.reading.ignored.extend(tried.ignored);
                self.reading.fragile.extend(tried.fragile);
                return;
            }
            // Of branches that all fail, the one of the same kind says most.
            let alike = kind(self.writer.resolve(writer)) == kind(self.reader.resolve(choice));
            if nearest.as_ref().is_none_or(|(_, was)| alike && !was) {
                nearest = Some((tried, alike));
            }
        }
        match nearest {
            Some((tried, true)) => self.reading.mismatches.extend(tried.mismatches),
            Some((_, false)) | None => {
                let (there, here) = (shown(self.writer.resolve(writer)), shown(reader));
                self.mismatch(path, format!("may be {there}, the reader takes {here}"), format!("add {there} to the union"));
            }
        }
    }

    fn pair(&mut self, writer: &'s Value, reader: &'s Value, path: &str) {
        match (kind(writer), kind(reader)) {
            ("record", "record") => self.record(writer, reader, path),
            ("enum", "enum") => self.symbols(writer, reader, path),
            ("array", "array") => self.inner(writer, reader, "items", &format!("{path}[]")),
            ("map", "map") => self.inner(writer, reader, "values", &format!("{path}{{}}")),
            ("fixed", "fixed") if self.is_named_alike(writer, reader, path) => {
                if writer.get("size") != reader.get("size") {
                    self.mismatch(path, "has another size", format!("\"size\": {}", writer["size"]));
                }
            }
            ("fixed", "fixed") => {}
            (there, here) => self.primitive(writer, reader, there, here, path),
        }
    }

    fn inner(&mut self, writer: &'s Value, reader: &'s Value, part: &str, path: &str) {
        if let (Some(writer), Some(reader)) = (writer.get(part), reader.get(part)) {
            self.node(writer, reader, path);
        }
    }

    fn is_named_alike(&mut self, writer: &'s Value, reader: &'s Value, path: &str) -> bool {
        let name = text(writer, "name").map(unqualified).unwrap_or_default();
        let aliases = reader.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let alike = text(reader, "name").into_iter().chain(aliases).any(|own| unqualified(own) == name);
        if !alike {
            let own = text(reader, "name").map(unqualified).unwrap_or_default();
            let fix = format!("\"name\": \"{name}\", or \"aliases\": [\"mdm.v1.{name}\"]");
            self.mismatch(path, format!("is {} {name}, the reader calls it {own}", kind(writer)), fix);
        }
        alike
    }

    fn record(&mut self, writer: &'s Value, reader: &'s Value, path: &str) {
        let pair = (std::ptr::from_ref(writer), std::ptr::from_ref(reader));
        if self.open.contains(&pair) || !self.is_named_alike(writer, reader, path) {
            return;
        }
        self.open.push(pair);
        let fields = |node: &'s Value| node.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let mut read = Vec::new();
        for field in fields(reader) {
            let own = text(field, "name").unwrap_or_default();
            let aliases = field.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let found = std::iter::once(own)
                .chain(aliases)
                .find_map(|name| fields(writer).iter().find(|there| text(there, "name") == Some(name)));
            match found {
                Some(there) => {
                    read.push(text(there, "name").unwrap_or_default());
                    if let (Some(there), Some(here)) = (there.get("type"), field.get("type")) {
                        self.node(there, here, &at(own));
                    }
                }
                None if field.get("default").is_none() => {
                    let reader = field.get("type").map(|kind| self.reader.resolve(kind)).unwrap_or(&Value::Null);
                    let takes_null =
                        reader.as_array().is_some_and(|branches| branches.iter().any(|branch| kind(branch) == "null"));
                    let fix = match takes_null {
                        true => "\"default\": null".to_owned(),
                        false => format!("[\"null\", {}] with \"default\": null", written(reader)),
                    };
                    self.mismatch(&at(own), "is not in what was written, and has no default", fix);
                }
                None => {}
            }
        }
        for field in fields(writer).iter().filter_map(|field| text(field, "name")).filter(|name| !read.contains(name)) {
            self.reading.ignored.push(at(field));
        }
        self.open.pop();
    }

    fn symbols(&mut self, writer: &'s Value, reader: &'s Value, path: &str) {
        if !self.is_named_alike(writer, reader, path) {
            return;
        }
        if reader.get("default").is_some() {
            return;
        }
        let of = |node: &'s Value| node.get("symbols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let missing: Vec<&str> = of(writer).filter(|symbol| !of(reader).any(|own| own == *symbol)).collect();
        if missing.is_empty() {
            self.reading.fragile.push(path.to_owned());
        } else {
            let what = format!("may be {}, and the reader's enum has no default", missing.join(", "));
            self.mismatch(path, what, "add UNKNOWN to \"symbols\" and \"default\": \"UNKNOWN\" to the enum");
        }
    }

    fn primitive(&mut self, writer: &'s Value, reader: &'s Value, there: &str, here: &str, path: &str) {
        let (logical, own) = (text(writer, "logicalType"), text(reader, "logicalType"));
        let promoted = matches!(
            (there, here),
            ("int", "long" | "float" | "double")
                | ("long", "float" | "double")
                | ("float", "double")
                | ("bytes", "string")
                | ("string", "bytes")
        );
        let sound = match (logical, own) {
            (Some("decimal"), Some("decimal")) => {
                writer.get("precision") == reader.get("precision") && writer.get("scale") == reader.get("scale")
            }
            (Some("decimal"), _) => here != "string",
            (Some(logical), Some(own)) => logical == own || !is_time(logical) && !is_time(own),
            (_, _) => true,
        };
        if !(there == here || promoted) || !sound {
            let what = format!("is {}, the reader takes {}", shown(writer), shown(reader));
            self.mismatch(path, what, format!("\"type\": {}", written(writer)));
        }
    }
}

fn is_time(logical: &str) -> bool {
    logical == "date" || logical.starts_with("time") || logical.starts_with("local-time")
}

/// A type as a fix shows it: short ones whole, long ones by their name.
fn written(node: &Value) -> String {
    match node {
        Value::String(name) => format!("\"{name}\""),
        Value::Object(object) if object.contains_key("logicalType") => node.to_string(),
        _ => "…".to_owned(),
    }
}
