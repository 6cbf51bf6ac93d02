//! `millrace subscribe`: what a downstream team gets from us. Documents, samples, a consumer to start from, and the rights to ask for.
//!
//! Only golden topics are a promise; every other topic is refused by name. All of it is generated from `avro/`, the releases and the
//! landscape, and the same input gives the same bytes: the documents can be kept in a repository and reviewed as a difference.

pub(crate) mod acl;
mod asyncapi;
mod catalogue;
mod changelog;
mod consumers;
mod docs;
mod odcs;
mod sample;
mod schema_file;
mod tree;

use std::{fs, path::Path};

use avro::{Schema, TopicKind, Topics};
use clap::Subcommand;
use model::Domain;

use crate::{
    exit::{Failure, Outcome},
    options::Global,
    words,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write AsyncAPI, data contracts, schemas and changelogs of the golden topics
    Docs(docs::Args),
    /// Sample records of a topic, decoded and as bytes, and a consumer to start from
    Sample(sample::Args),
    /// The rights that a team needs, for Strimzi and for kafka-acls
    Acl(acl::Args),
}

impl Command {
    pub(crate) fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::Docs(args) => args.run(global),
            Command::Sample(args) => args.run(global),
            Command::Acl(args) => args.run(global),
        }
    }
}

/// A golden topic by its full name.
#[derive(Clone, Debug)]
pub(crate) struct Golden {
    pub(crate) topics: Topics,
    pub(crate) domain: Domain,
}

impl Golden {
    /// The topic of this name, under whatever prefix: a subscriber has no landscape to tell it.
    pub(crate) fn named(topic: &str) -> Result<Self, Failure> {
        let mut prefixes = std::iter::once(0).chain(topic.match_indices('.').map(|(at, _)| at + 1)).map(|at| &topic[..at]);
        match prefixes.find_map(|prefix| Some((prefix, Topics::new(prefix).kind(topic)?))) {
            Some((prefix, TopicKind::Golden(domain))) => return Ok(Self { topics: Topics::new(prefix), domain }),
            Some((prefix, kind)) => {
                return Err(Failure::usage(format!(
                    "{topic} is internal and carries no promise: its shape and content change without notice, and nobody outside of \
                     Millrace is granted it. {}",
                    instead(prefix, &kind)
                )));
            }
            None => {}
        }
        let known = golden_names("mdm.");
        let near = words::nearest(topic, known.iter().map(String::as_str)).map(|near| format!(", did you mean {near}?"));
        let near = near.unwrap_or_else(|| format!(": golden topics are {}", known.join(", ")));
        Err(Failure::not_found(format!("there is no golden topic `{topic}`{near}")))
    }

    pub(crate) fn name(&self) -> String {
        self.topics.golden(self.domain)
    }

    pub(crate) fn subject(&self) -> String {
        avro::subject(&self.name())
    }

    pub(crate) fn schema(&self) -> Schema {
        Schema::golden(self.domain)
    }
}

/// The golden topic that was probably meant, or all.
fn instead(prefix: &str, kind: &TopicKind) -> String {
    match kind {
        TopicKind::Change { domain, .. } => format!("Did you mean {}?", Topics::new(prefix).golden(*domain)),
        _ => format!("Golden topics are {}", golden_names(prefix).join(", ")),
    }
}

fn golden_names(prefix: &str) -> Vec<String> {
    let topics = Topics::new(prefix);
    Domain::ALL.iter().map(|domain| topics.golden(*domain)).collect()
}

/// A file to write, by its path below the folder that was asked for.
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    /// What it is, for the list on the screen.
    pub(crate) what: String,
}

impl Written {
    pub(crate) fn new(path: impl Into<String>, bytes: impl Into<Vec<u8>>, what: impl Into<String>) -> Self {
        Self { path: path.into(), bytes: bytes.into(), what: what.into() }
    }
}

/// Writes all files; what lies there under other names stays.
pub(crate) fn write(folder: &Path, files: &[Written]) -> Result<(), Failure> {
    for file in files {
        let path = folder.join(&file.path);
        let wrong = |error: std::io::Error| Failure::failed(format!("writing {}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(wrong)?;
        }
        fs::write(&path, &file.bytes).map_err(wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_topics_are_found_under_any_prefix_and_everything_else_is_refused_with_a_reason() {
        for (topic, prefix) in [("mdm.golden.item", "mdm."), ("golden.item", ""), ("acme.prod.golden.item", "acme.prod.")] {
            let golden = Golden::named(topic).unwrap();
            assert_eq!((golden.topics.prefix(), golden.domain, golden.name().as_str()), (prefix, Domain::Item, topic));
        }
        for internal in ["mdm.change.erp.item", "mdm.dlq.validator", "mdm.held", "mdm.audit", "x.y.ledger.mes-ulm"] {
            let text = Golden::named(internal).unwrap_err().text().to_owned();
            assert!(text.contains("is internal and carries no promise"), "{text}");
        }
        for (unknown, near) in [("mdm.golden.itm", "did you mean mdm.golden.item?"), ("orders", "mdm.golden.work_center")] {
            let failure = Golden::named(unknown).unwrap_err();
            assert!(failure.is_not_found() && failure.text().contains(near), "{}", failure.text());
        }
    }
}
