//! `sources/<system>.yaml`: how a system of record is read.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    AfterPickup, MaxDeletes, Source, SourceConnector,
    node::{Node, Value},
    reader::{Fields, Reader},
    stream, text,
};

/// What a stream may refer to.
pub(crate) struct Known<'a> {
    pub(crate) mappings: &'a BTreeSet<&'a str>,
    pub(crate) domains: &'a [&'a str],
}

/// Reads one source; None when nothing can be made of it.
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, name: &str, known: &Known<'_>) -> Option<Source> {
    let mut keys = reader.fields(node, "a source")?;
    let epoch = reader.number(keys.get("epoch"), "epoch", 1..=i64::MAX, 1);
    let office = keys.need(reader, "office", &format!("source {name}")).and_then(|node| reader.text(node, "office"));
    let max_deletes = max_deletes(reader, keys.get("max_deletes"));
    let connector = keys.need(reader, "connector", &format!("source {name}")).and_then(|node| connector(reader, node));
    let list = keys.need(reader, "streams", &format!("source {name}"));
    let nodes = reader.list(list, "streams");
    let streams: Vec<_> = nodes.iter().filter_map(|node| stream::read(reader, node, connector.as_ref(), known)).collect();
    let mut names = BTreeSet::new();
    for (node, stream) in nodes.iter().zip(&streams) {
        if !names.insert(stream.name.as_str()) {
            reader.problem(node, format!("two streams are called {:?}", stream.name), None);
        }
    }
    keys.end(reader);
    Some(Source { name: name.to_owned(), epoch, office: office?, max_deletes, connector: connector?, streams })
}

fn max_deletes(reader: &mut Reader<'_>, node: Option<&Node>) -> MaxDeletes {
    let mut limit = MaxDeletes { percent: 10, at_least: 5 };
    let Some(node) = node else { return limit };
    let mut percent = |reader: &mut Reader<'_>, node: &Node| match &node.value {
        Value::Text(written) if text::percent(written).is_some() => {
            limit.percent = text::percent(written).unwrap_or(limit.percent)
        }
        _ => reader.problem(node, format!("max_deletes: {} is not a share such as 10%", node.shown()), None),
    };
    if !matches!(node.value, Value::Map(_)) {
        percent(reader, node);
        return limit;
    }
    let Some(mut keys) = reader.fields(node, "max_deletes") else { return limit };
    if let Some(node) = keys.get("share") {
        percent(reader, node);
    }
    let at_least = reader.number(keys.get("at_least"), "at_least", 0..=1_000_000, 5);
    limit.at_least = usize::try_from(at_least).unwrap_or(5);
    keys.end(reader);
    limit
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    HttpPoll,
}

fn connector(reader: &mut Reader<'_>, node: &Node) -> Option<SourceConnector> {
    let mut keys = reader.fields(node, "connector")?;
    let words = [("file", Kind::File), ("http-poll", Kind::HttpPoll)];
    let kind = keys.need(reader, "type", "the connector").and_then(|node| reader.choice(node, "type", &words))?;
    let connector = match kind {
        Kind::File => file(reader, &mut keys),
        Kind::HttpPoll => http_poll(reader, &mut keys),
    };
    keys.end(reader);
    Some(connector)
}

fn file(reader: &mut Reader<'_>, keys: &mut Fields<'_>) -> SourceConnector {
    let words = [("keep", AfterPickup::Keep), ("done", AfterPickup::Done)];
    SourceConnector::File {
        folder: keys.text(reader, "folder"),
        after: keys.get("after").and_then(|node| reader.choice(node, "after", &words)).unwrap_or(AfterPickup::Done),
        settle: reader.duration(keys.get("settle"), "settle", Duration::from_secs(10)),
    }
}

fn http_poll(reader: &mut Reader<'_>, keys: &mut Fields<'_>) -> SourceConnector {
    let number = |reader: &mut Reader<'_>, node, what, default| {
        u32::try_from(reader.number(node, what, 1..=1_000_000, default)).unwrap_or(u32::MAX)
    };
    SourceConnector::HttpPoll {
        url: keys.get("url").and_then(|node| reader.url(node, "url")),
        interval: reader.duration(keys.get("interval"), "interval", Duration::from_secs(5)),
        overlap: reader.duration(keys.get("overlap"), "overlap", Duration::from_secs(10)),
        page_size: number(reader, keys.get("page_size"), "page_size", 500),
        timeout: reader.duration(keys.get("timeout"), "timeout", Duration::from_secs(15)),
        max_pages: number(reader, keys.get("max_pages"), "max_pages", 10_000),
        sweep: keys.get("sweep").and_then(|node| reader.duration_of(node, "sweep")),
        authorization_file: keys.text(reader, "authorization_file"),
    }
}
