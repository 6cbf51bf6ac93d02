//! One stream of a source: files or a path, how rows are cut, which mapping makes records of them.

use std::collections::BTreeSet;

use model::Domain;

use crate::{
    Content, Format, Input, Lookup, Quoting, SourceConnector, Stream,
    node::Node,
    reader::{Fields, Reader},
    sources::Known,
    text,
};

/// Encodings that the file connector reads, by their label in the encoding standard.
const ENCODINGS: [&str; 9] =
    ["utf-8", "utf-16le", "utf-16be", "windows-1250", "windows-1252", "iso-8859-1", "iso-8859-2", "iso-8859-15", "shift_jis"];

/// The file connector reads no wider table.
const MOST_COLUMNS: usize = 2_000;

pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    connector: Option<&SourceConnector>,
    known: &Known<'_>,
) -> Option<Stream> {
    let mut keys = reader.fields(node, "a stream")?;
    let name = keys.need(reader, "name", "the stream").and_then(|node| stream_name(reader, node));
    let domain = keys.need(reader, "domain", "the stream").and_then(|node| domain(reader, node, known.domains));
    let mapping = keys.need(reader, "mapping", "the stream").and_then(|node| self::mapping(reader, node, known.mappings));
    let words = [("full", Content::Full), ("delta", Content::Delta)];
    let content = keys.get("content").and_then(|node| reader.choice(node, "content", &words)).unwrap_or(Content::Delta);
    let key_node = keys.need(reader, "key", "the stream");
    let key = reader.texts(key_node, "key");
    if let (Some(node), true) = (key_node, key.is_empty()) {
        reader.problem(node, "key names no column", None);
    }
    let input = input(reader, &mut keys, node, connector);
    let lookups = lookups(reader, keys.get("lookups"), connector);
    let columns = [
        ("stamp", keys.get("stamp")),
        ("version", keys.get("version")),
        ("author", keys.get("author")),
        ("approval", keys.get("approval")),
    ]
    .map(|(name, node)| (node, node.and_then(|node| reader.text(node, name))));
    declared(reader, input.as_ref(), key_node, &key, &columns);
    let [(_, stamp), (_, version), (_, author), (_, approval)] = columns;
    let stamp_format = keys.text(reader, "stamp_format");
    keys.end(reader);
    Some(Stream {
        name: name?,
        domain: domain?,
        content,
        key,
        mapping: mapping?,
        input: input?,
        stamp,
        stamp_format,
        version,
        author,
        approval,
        lookups,
    })
}

fn stream_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let name = reader.text(node, "name")?;
    if name.contains('/') || name.contains(char::is_whitespace) {
        reader.problem(node, format!("name: {name:?} may not contain `/` or blanks"), None);
        return None;
    }
    Some(name)
}

/// A domain that the model has and the landscape describes.
pub(crate) fn domain(reader: &mut Reader<'_>, node: &Node, described: &[&str]) -> Option<Domain> {
    let name = reader.text(node, "domain")?;
    named_domain(reader, (node.line, node.column), &name, described)
}

pub(crate) fn named_domain(reader: &mut Reader<'_>, place: (usize, usize), name: &str, described: &[&str]) -> Option<Domain> {
    let Ok(domain) = name.parse::<Domain>() else {
        let hint = text::did_you_mean(name, Domain::ALL.iter().map(|domain| domain.name()))
            .or_else(|| Some("one of: customer, item, work_center, reference".to_owned()));
        reader.at(place.0, place.1, format!("{name:?} is not a domain"), hint);
        return None;
    };
    if !described.contains(&name) {
        reader.at(place.0, place.1, format!("domain {name} has no domains/{name}.yaml: nobody owns it"), None);
    }
    Some(domain)
}

/// A file below `mappings/`.
pub(crate) fn mapping(reader: &mut Reader<'_>, node: &Node, mappings: &BTreeSet<&str>) -> Option<String> {
    let name = reader.text(node, "mapping")?;
    if mappings.contains(name.as_str()) {
        return Some(name);
    }
    let stripped = name.strip_prefix("mappings/").filter(|rest| mappings.contains(rest));
    let hint =
        stripped.map(|rest| format!("did you mean {rest:?}?")).or_else(|| text::did_you_mean(&name, mappings.iter().copied()));
    reader.problem(node, format!("mapping: there is no mappings/{name}"), hint);
    None
}

fn input(reader: &mut Reader<'_>, keys: &mut Fields<'_>, stream: &Node, connector: Option<&SourceConnector>) -> Option<Input> {
    let files = keys.get("files");
    let path = keys.get("path");
    let format = keys.get("format");
    match (connector, files, path) {
        (None, _, _) => None,
        (Some(SourceConnector::File { .. }), Some(files), None) => {
            let pattern = pattern(reader, files)?;
            Some(Input::Files { pattern, format: format.map_or_else(Format::default, |node| self::format(reader, node)) })
        }
        (Some(SourceConnector::HttpPoll { .. }), None, Some(path)) => {
            if let Some(node) = format {
                reader.problem(node, "format is for files; an http-poll stream reads JSON", None);
            }
            Some(Input::Path { path: reader.text(path, "path")?.trim_matches('/').to_owned() })
        }
        (Some(SourceConnector::File { .. }), _, Some(path)) => {
            reader.problem(path, "path is for http-poll; a file connector reads `files`", None);
            None
        }
        (Some(SourceConnector::HttpPoll { .. }), Some(files), _) => {
            reader.problem(files, "files is for the file connector; http-poll reads `path`", None);
            None
        }
        (Some(SourceConnector::File { .. }), None, None) => {
            reader.problem(stream, "the stream has no `files`", None);
            None
        }
        (Some(SourceConnector::HttpPoll { .. }), None, None) => {
            reader.problem(stream, "the stream has no `path`", None);
            None
        }
    }
}

fn pattern(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let pattern = reader.text(node, "files")?;
    if pattern.contains('/') || pattern.contains("..") {
        reader.problem(
            node,
            format!("files: {pattern:?} must be a file name, with `*` for any text; the folder is the connector's"),
            None,
        );
        return None;
    }
    Some(pattern)
}

fn format(reader: &mut Reader<'_>, node: &Node) -> Format {
    let mut format = Format::default();
    let Some(mut keys) = reader.fields(node, "format") else { return format };
    if let Some(delimiter) = keys.get("delimiter").and_then(|node| separator(reader, node, "delimiter")) {
        format.delimiter = delimiter;
    }
    format.row_terminator = keys.get("row_terminator").and_then(|node| separator(reader, node, "row_terminator"));
    let words = [("standard", Quoting::Standard), ("none", Quoting::None)];
    format.quoting = keys.get("quoting").and_then(|node| reader.choice(node, "quoting", &words)).unwrap_or(Quoting::Standard);
    if let Some(node) = keys.get("encoding") {
        let words = ENCODINGS.map(|label| (label, label));
        format.encoding = reader.choice(node, "encoding", &words).unwrap_or("utf-8").to_owned();
    }
    let header = keys.get("header");
    if let Some(node) = keys.get("columns") {
        let columns = reader.texts(Some(node), "columns");
        let distinct: BTreeSet<&String> = columns.iter().collect();
        if distinct.len() < columns.len() {
            reader.problem(node, "columns names one column twice", None);
        }
        if columns.len() > MOST_COLUMNS {
            reader.problem(node, format!("columns names {} columns, a table may have {MOST_COLUMNS}", columns.len()), None);
        }
        format.columns = Some(columns);
        format.header = false;
    }
    if let Some(node) = header {
        format.header = reader.bool(Some(node), "header");
        if !format.header && format.columns.is_none() {
            reader.problem(node, "a file without header row needs its `columns` named here", None);
        }
    }
    keys.end(reader);
    format
}

/// A separator may be white space, so an ordinary text check would refuse it.
fn separator(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    match &node.value {
        crate::node::Value::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => {
            reader.problem(node, format!("{what}: {} is not a separator such as \";\" or \"\\t\"", node.shown()), None);
            None
        }
    }
}

fn lookups(reader: &mut Reader<'_>, node: Option<&Node>, connector: Option<&SourceConnector>) -> Vec<Lookup> {
    if let (Some(node), Some(SourceConnector::HttpPoll { .. })) = (node, connector) {
        reader.problem(node, "lookups are side files: only the file connector has them", None);
    }
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for node in reader.list(node, "lookups") {
        let Some(lookup) = lookup(reader, node) else { continue };
        if !names.insert(lookup.name.clone()) {
            reader.problem(node, format!("two lookups are called {:?}", lookup.name), None);
        }
        found.push(lookup);
    }
    found
}

fn lookup(reader: &mut Reader<'_>, node: &Node) -> Option<Lookup> {
    let mut keys = reader.fields(node, "a lookup")?;
    let name = keys.need(reader, "name", "the lookup").and_then(|node| reader.text(node, "name"));
    let files = keys.need(reader, "files", "the lookup").and_then(|node| pattern(reader, node));
    let format = keys.get("format").map_or_else(Format::default, |node| format(reader, node));
    let key_node = keys.need(reader, "key", "the lookup");
    let key = reader.texts(key_node, "key");
    if let (Some(node), Some(columns)) = (key_node, &format.columns) {
        unknown_columns(reader, node, &key, columns);
    }
    keys.end(reader);
    Some(Lookup { name: name?, files: files?, format, key })
}

/// Columns that the stream names must be among those it declares.
fn declared(
    reader: &mut Reader<'_>,
    input: Option<&Input>,
    key_node: Option<&Node>,
    key: &[String],
    others: &[(Option<&Node>, Option<String>)],
) {
    let Some(Input::Files { format: Format { columns: Some(columns), .. }, .. }) = input else { return };
    if let Some(node) = key_node {
        unknown_columns(reader, node, key, columns);
    }
    for (node, name) in others {
        if let (Some(node), Some(name)) = (node, name) {
            unknown_columns(reader, node, std::slice::from_ref(name), columns);
        }
    }
}

fn unknown_columns(reader: &mut Reader<'_>, node: &Node, names: &[String], columns: &[String]) {
    for name in names.iter().filter(|name| !columns.contains(name)) {
        let hint = text::did_you_mean(name, columns.iter().map(String::as_str));
        reader.problem(node, format!("{name:?} is not one of the declared columns"), hint);
    }
}
