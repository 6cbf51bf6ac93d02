//! `destinations/<system>.yaml`: what a system gets, how it is called, when it counts as down.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::Domain;

use crate::{
    Breaker, Delivery, Destination, DestinationConnector, Gate, OnDelete, Retry, answers,
    node::{Node, Value},
    reader::{Fields, Reader},
    sources::Known,
    stream,
    template::{self, Surroundings},
    text,
};

/// Reads one destination; None when nothing can be made of it. `deadlines` are those of the domains.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    name: &str,
    known: &Known<'_>,
    deadlines: &BTreeMap<Domain, Duration>,
) -> Option<Destination> {
    let mut keys = reader.fields(node, "a destination")?;
    let what = format!("destination {name}");
    let office = keys.need(reader, "office", &what).and_then(|node| reader.text(node, "office"));
    let connector = keys.need(reader, "connector", &what).and_then(|node| connector(reader, node));
    let concurrency = usize::try_from(reader.number(keys.get("concurrency"), "concurrency", 1..=1000, 16)).unwrap_or(16);
    let rate = keys.get("rate").and_then(|node| {
        let written = reader.text(node, "rate")?;
        let found = text::rate(&written);
        if found.is_none() {
            reader.problem(
                node,
                format!("rate: {written:?} is not a rate"),
                Some("write it as 50/s, 600/min or 1000/h".to_owned()),
            );
        }
        found
    });
    let confirms = reader.bool(keys.get("confirms"), "confirms");
    let breaker = breaker(reader, keys.get("breaker"));
    let retry = retry(reader, keys.get("retry"));
    let answers = keys.get("answers").and_then(|node| answers::read(reader, node));
    let domains = match keys.need(reader, "domains", &what).map(|node| (&node.value, node)) {
        Some((Value::Map(entries), _)) => {
            let served: Vec<Domain> = entries.iter().filter_map(|(key, _)| key.text.parse().ok()).collect();
            let entries = entries.iter().filter_map(|(key, node)| {
                let domain = stream::named_domain(reader, (key.line, key.column), &key.text, known.domains);
                let deadline = domain.and_then(|domain| deadlines.get(&domain).copied());
                let delivery = delivery(reader, node, known, domain, deadline, &served);
                Some((domain?, delivery?))
            });
            entries.collect()
        }
        Some((_, node)) => {
            reader.problem(node, format!("domains must be a mapping of domain names, not {}", node.kind()), None);
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    keys.end(reader);
    Some(Destination {
        name: name.to_owned(),
        office: office?,
        connector: connector?,
        concurrency,
        rate,
        confirms,
        breaker,
        retry,
        answers,
        domains,
    })
}

fn connector(reader: &mut Reader<'_>, node: &Node) -> Option<DestinationConnector> {
    let mut keys = reader.fields(node, "connector")?;
    keys.need(reader, "type", "the connector").and_then(|node| reader.choice(node, "type", &[("http", ())]))?;
    let connector = DestinationConnector::Http {
        url: keys.get("url").and_then(|node| reader.url(node, "url")),
        timeout: reader.duration(keys.get("timeout"), "timeout", Duration::from_secs(15)),
        authorization_file: keys.text(reader, "authorization_file"),
        etag_is_revision: keys.get("etag").and_then(|node| reader.choice(node, "etag", &[("revision", true)])).is_some(),
    };
    keys.end(reader);
    Some(connector)
}

fn count(reader: &mut Reader<'_>, keys: &mut Fields<'_>, key: &'static str, default: u32) -> u32 {
    u32::try_from(reader.number(keys.get(key), key, 1..=1000, default.into())).unwrap_or(default)
}

fn breaker(reader: &mut Reader<'_>, node: Option<&Node>) -> Breaker {
    let default = Breaker { failures: 5, probe_first: Duration::from_secs(1), probe_max: Duration::from_secs(60) };
    let Some(mut keys) = node.and_then(|node| reader.fields(node, "breaker")) else { return default };
    let breaker = Breaker {
        failures: count(reader, &mut keys, "failures", default.failures),
        probe_first: reader.duration(keys.get("probe_first"), "probe_first", default.probe_first),
        probe_max: reader.duration(keys.get("probe_max"), "probe_max", default.probe_max),
    };
    keys.end(reader);
    breaker
}

fn retry(reader: &mut Reader<'_>, node: Option<&Node>) -> Retry {
    let default = Retry { attempts: 8, first: Duration::from_secs(1), max: Duration::from_secs(60) };
    let Some(mut keys) = node.and_then(|node| reader.fields(node, "retry")) else { return default };
    let retry = Retry {
        attempts: count(reader, &mut keys, "attempts", default.attempts),
        first: reader.duration(keys.get("first"), "first", default.first),
        max: reader.duration(keys.get("max"), "max", default.max),
    };
    keys.end(reader);
    retry
}

/// A Jinja expression over the golden record.
fn scope(reader: &mut Reader<'_>, node: &Node, domain: Option<Domain>) -> Option<mapping::Expression> {
    let written = reader.text(node, "scope")?;
    let expression = match mapping::Expression::compile(&written) {
        Ok(expression) => expression,
        Err(problem) => {
            reader.problem(node, format!("scope: {}", problem.message), None);
            return None;
        }
    };
    let Some(domain) = domain else { return Some(expression) };
    let around =
        Surroundings { names: template::record_names(domain), tables: BTreeMap::new(), mappings: &BTreeSet::new(), writes: None };
    for finding in template::expression(&written, &around).findings {
        reader.problem(node, format!("scope: {}", finding.message), finding.hint);
    }
    Some(expression)
}

fn delivery(
    reader: &mut Reader<'_>,
    node: &Node,
    known: &Known<'_>,
    domain: Option<Domain>,
    deadline: Option<Duration>,
    served: &[Domain],
) -> Option<Delivery> {
    let mut keys = reader.fields(node, "a domain of a destination")?;
    let scope = keys.get("scope").and_then(|node| scope(reader, node, domain));
    let mapping = keys.need(reader, "mapping", "the domain").and_then(|node| stream::mapping(reader, node, known.mappings));
    let gates = reader
        .list(keys.get("gates"), "gates")
        .iter()
        .filter_map(|node| reader.choice(node, "gate", &[("approval", Gate::Approval)]))
        .collect();
    let words = [("delete", OnDelete::Delete), ("ignore", OnDelete::Ignore)];
    let on_delete = keys.get("on_delete").and_then(|node| reader.choice(node, "on_delete", &words)).unwrap_or(OnDelete::Delete);
    let absent = answers::absent(reader, keys.get("absent"), domain, served);
    let deadline = reader.duration(keys.get("deadline"), "deadline", deadline.unwrap_or(Duration::from_secs(60)));
    keys.end(reader);
    Some(Delivery { scope, mapping: mapping?, gates, on_delete, absent, deadline })
}
