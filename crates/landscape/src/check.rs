//! The check: every problem of all files at once.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::HEXLOWER;
use model::Domain;
use sha2::{Digest, Sha256};

use crate::{
    Destination, Kafka, Landscape, Problem, Registry, Security, Source, cases, destinations,
    domains::{self, DomainFile},
    input::{Files, ROOT},
    mappings,
    node::Node,
    reader::{Fields, Reader},
    sources::{self, Known},
    stream, text,
};

/// What `millrace landscape check` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In order of file and line.
    pub problems: Vec<Problem>,
    pub files: usize,
    /// None when there are problems.
    pub policy_version: Option<String>,
}

/// Checks without keeping the landscape.
#[must_use]
pub fn check(files: &BTreeMap<String, String>) -> Report {
    match landscape(files) {
        Ok(landscape) => Report { problems: Vec::new(), files: files.len(), policy_version: Some(landscape.policy_version) },
        Err(problems) => Report { problems, files: files.len(), policy_version: None },
    }
}

pub(crate) fn landscape(files: &BTreeMap<String, String>) -> Result<Landscape, Vec<Problem>> {
    let mut problems = Vec::new();
    let sorted = Files::sort(files, &mut problems);
    let root = sorted.root.and_then(|text| with_reader(ROOT, text, &mut problems, root));
    let systems: Vec<&str> = sorted.sources.keys().copied().collect();
    let domains = read_domains(&sorted, &systems, &mut problems);
    let described: Vec<&str> = sorted.domains.keys().copied().collect();
    let names = sorted.mapping_names();
    let known = Known { mappings: &names, domains: &described };
    let sources = read_sources(&sorted, &known, &mut problems);
    let destinations = read_destinations(&sorted, &known, &domains, &mut problems);
    owners_publish(&domains, &sources, &sorted, &mut problems);
    let tables = mappings::tables(&sorted, &mut problems);
    let compiled = mappings::compile(&sorted, &tables, &mut problems);
    mappings::check(&sorted, &compiled, &tables, &sources, &destinations, &mut problems);
    let cases = cases::read(&sorted, &sources, &destinations, &mut problems);
    cases.iter().filter_map(|case| case.run(&compiled).err()).for_each(|error| {
        mappings::endless(&error, &mut problems);
    });
    match root {
        Some((version, kafka, registry)) if problems.is_empty() => Ok(Landscape {
            policy_version: format!("{version}-{}", digest(files)),
            version,
            kafka,
            registry,
            sets: domains.values().flat_map(|file| file.sets.iter().cloned()).collect(),
            domains: domains.into_iter().map(|(domain, file)| (domain, file.policy)).collect(),
            sources,
            destinations,
            mappings: compiled,
            cases,
        }),
        _ => {
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

/// The first 8 hex digits of SHA-256 over all paths and texts.
fn digest(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    HEXLOWER.encode(&hash.finalize()[..4])
}

/// Parses one file and reads it, collecting the problems of both.
pub(crate) fn with_reader<T>(
    path: &str,
    text: &str,
    problems: &mut Vec<Problem>,
    read: impl FnOnce(&mut Reader<'_>, &Node) -> Option<T>,
) -> Option<T> {
    let node = match Node::parse(path, text) {
        Ok(node) => node,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let mut reader = Reader::new(path);
    let found = read(&mut reader, &node);
    problems.append(&mut reader.problems);
    found
}

fn read_domains(files: &Files<'_>, systems: &[&str], problems: &mut Vec<Problem>) -> BTreeMap<Domain, DomainFile> {
    let mut found = BTreeMap::new();
    for (name, (path, text)) in &files.domains {
        let Ok(domain) = name.parse::<Domain>() else {
            let hint = text::did_you_mean(name, Domain::ALL.iter().map(|domain| domain.name()));
            problems.push(Problem::in_file(path, format!("{name:?} is not a domain of this build")).hinted(hint));
            continue;
        };
        if let Some(file) = with_reader(path, text, problems, |reader, node| domains::read(reader, node, domain, systems)) {
            found.insert(domain, file);
        }
    }
    found
}

fn read_sources(files: &Files<'_>, known: &Known<'_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Source> {
    let entries = files.sources.iter().filter_map(|(name, (path, text))| {
        let source = with_reader(path, text, problems, |reader, node| sources::read(reader, node, name, known))?;
        Some(((*name).to_owned(), source))
    });
    entries.collect()
}

fn read_destinations(
    files: &Files<'_>,
    known: &Known<'_>,
    domains: &BTreeMap<Domain, DomainFile>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Destination> {
    let deadlines: BTreeMap<Domain, Duration> =
        domains.iter().filter_map(|(domain, file)| Some((*domain, file.policy.deadline?))).collect();
    let entries = files.destinations.iter().filter_map(|(name, (path, text))| {
        let read = |reader: &mut Reader<'_>, node: &Node| destinations::read(reader, node, name, known, &deadlines);
        Some(((*name).to_owned(), with_reader(path, text, problems, read)?))
    });
    entries.collect()
}

/// A source that publishes a domain must own a part of it, and an owner must publish what it owns.
fn owners_publish(
    domains: &BTreeMap<Domain, DomainFile>,
    sources: &BTreeMap<String, Source>,
    files: &Files<'_>,
    problems: &mut Vec<Problem>,
) {
    for source in sources.values() {
        let path = files.sources.get(source.name.as_str()).map_or("", |(path, _)| path);
        for domain in source.domains() {
            if let Some(file) = domains.get(&domain).filter(|file| !file.policy.may_write(&source.name)) {
                let message =
                    format!("{} publishes {domain} but owns no field of it; the owner is {}", source.name, file.policy.owner);
                problems.push(Problem::in_file(path, message));
            }
        }
    }
    for (domain, file) in domains {
        let owner = &file.policy.owner;
        let is_reported =
            files.sources.get(owner.as_str()).is_some_and(|(path, _)| problems.iter().any(|problem| problem.file == *path));
        let streams = sources.get(owner).map(|source| &source.streams);
        let publishes = is_reported || streams.is_none_or(|streams| streams.iter().any(|stream| stream.domain == *domain));
        if !publishes {
            let path = files.domains.get(domain.name()).map_or("", |(path, _)| path);
            problems.push(Problem::in_file(path, format!("{owner} owns {domain} but has no stream of it")));
        }
    }
}

fn root(reader: &mut Reader<'_>, node: &Node) -> Option<(String, Kafka, Registry)> {
    let mut keys = reader.fields(node, "millrace.yaml")?;
    let version = keys.need(reader, "version", "the landscape").and_then(|node| reader.text(node, "version"));
    let kafka = keys.need(reader, "kafka", "the landscape").and_then(|node| kafka(reader, node));
    let registry = keys.get("registry").and_then(|node| registry(reader, node)).unwrap_or_default();
    keys.end(reader);
    Some((version?, kafka?, registry))
}

fn kafka(reader: &mut Reader<'_>, node: &Node) -> Option<Kafka> {
    let mut keys = reader.fields(node, "kafka")?;
    let brokers_node = keys.get("brokers");
    let brokers = reader.texts(brokers_node, "brokers");
    for broker in &brokers {
        if let (None, Some(node)) = (text::host_and_port(broker), brokers_node) {
            reader.problem(node, format!("brokers: {:?} is not host:port", text::without_login(broker)), None);
        }
    }
    let prefix = keys.get("topic_prefix");
    let topic_prefix = match prefix {
        Some(node) => reader.text(node, "topic_prefix").unwrap_or_default(),
        None => "mdm.".to_owned(),
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if let (Some(node), false) = (prefix, topic_prefix.chars().all(legal)) {
        reader.problem(node, format!("topic_prefix: {topic_prefix:?} has letters that a topic name may not have"), None);
    }
    let slots = reader.number(keys.get("slots"), "slots", 1..=10_000, 12);
    let replication = reader.number(keys.get("replication"), "replication", 1..=9, 3);
    let security = keys.get("security").and_then(|node| security(reader, node));
    keys.end(reader);
    Some(Kafka {
        brokers,
        topic_prefix,
        slots: u32::try_from(slots).unwrap_or(12),
        replication: i32::try_from(replication).unwrap_or(3),
        security,
    })
}

fn security(reader: &mut Reader<'_>, node: &Node) -> Option<Security> {
    let mut keys = reader.fields(node, "security")?;
    let protocols = ["ssl", "sasl_ssl", "sasl_plaintext"].map(|name| (name, name));
    let mechanisms = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"].map(|name| (name, name));
    let protocol = keys.need(reader, "protocol", "security").and_then(|node| reader.choice(node, "protocol", &protocols));
    let mechanism = keys.get("mechanism").and_then(|node| reader.choice(node, "mechanism", &mechanisms));
    no_password(reader, &mut keys);
    let security = Security {
        protocol: protocol.unwrap_or_default().to_owned(),
        mechanism: mechanism.map(ToOwned::to_owned),
        username: keys.text(reader, "username"),
        password_file: keys.text(reader, "password_file"),
        ca_file: keys.text(reader, "ca_file"),
        certificate_file: keys.text(reader, "certificate_file"),
        key_file: keys.text(reader, "key_file"),
    };
    keys.end(reader);
    protocol.map(|_| security)
}

/// Secrets never stand in a landscape.
fn no_password(reader: &mut Reader<'_>, keys: &mut Fields<'_>) {
    if let Some(node) = keys.get("password") {
        reader.problem(node, "a password may not stand here", Some("name a file with it: password_file".to_owned()));
    }
}

fn registry(reader: &mut Reader<'_>, node: &Node) -> Option<Registry> {
    let mut keys = reader.fields(node, "registry")?;
    let list = keys.get("urls");
    let urls = reader.list(list, "urls").iter().filter_map(|node| reader.url(node, "urls")).collect();
    no_password(reader, &mut keys);
    let registry = Registry {
        urls,
        username: keys.text(reader, "username"),
        password_file: keys.text(reader, "password_file"),
        ca_file: keys.text(reader, "ca_file"),
    };
    keys.end(reader);
    Some(registry)
}

/// The domain of a case's folder.
pub(crate) fn case_domain(path: &str, name: &str, problems: &mut Vec<Problem>) -> Option<Domain> {
    let mut reader = Reader::new(path);
    let found = stream::named_domain(&mut reader, (0, 0), name, &[name]);
    problems.append(&mut reader.problems);
    found
}
