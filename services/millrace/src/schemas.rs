//! `millrace schemas`: this build's schemas against the registry, and a subscriber's own against a golden topic.

mod can_read;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    cluster::Addresses,
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{Column, List, Sight, text},
    words,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Whether the registry would take every schema, or whether yours reads a golden topic. Exit code 6: no
    Check(Check),
    /// Register every schema and its compatibility level; asking again changes nothing
    Register(Addresses),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  millrace schemas check                                                       ours, against the registry
  millrace schemas check my-reader.avsc --can-read mdm.golden.item --offline   a subscriber's own CI")]
pub(crate) struct Check {
    /// A subscriber's own schema, with --can-read
    #[arg(requires = "can_read", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Whether FILE reads every version of this golden topic's schema
    #[arg(long, requires = "file", value_name = "TOPIC")]
    can_read: Option<String>,

    /// Against the releases in a folder such as avro/released, or those of this program, instead of the registry
    #[arg(long, requires = "can_read", value_name = "DIR", num_args = 0..=1)]
    offline: Option<Option<PathBuf>>,

    #[command(flatten)]
    addresses: Addresses,
}

const COLUMNS: &[Column] = &[
    Column::new("SUBJECT", |row, _| text(row, "subject")),
    Column::new("STATE", |row, _| text(row, "state")),
    Column::new("ID", |row, _| text(row, "id")).right(),
    Column::new("COMPATIBILITY", |row, _| text(row, "compatibility")),
    Column::new("WHY", |row, _| text(row, "why")),
];

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let (addresses, register) = match self {
            Command::Check(Check { file: Some(file), can_read: Some(topic), offline, addresses }) => {
                return can_read::run(global, file, topic, offline.as_ref(), addresses).await;
            }
            Command::Check(check) => (&check.addresses, false),
            Command::Register(addresses) => (addresses, !global.dry_run),
        };
        let cluster = addresses.cluster(global)?;
        let registry = cluster.registry()?;
        let mut items = Vec::new();
        for spec in cluster.specs() {
            items.push(one(&registry, &spec, register).await?);
        }
        let sight = Sight { now: crate::options::now() };
        let out = global.output();
        out.list(&List { items: &items, columns: COLUMNS, name: |row| text(row, "subject"), next: None, sight })?;
        let bad = items.iter().filter(|item| text(item, "state") == "INCOMPATIBLE").count();
        if bad > 0 {
            out.hint(&format!("{} incompatible.", words::count(i64::try_from(bad).unwrap_or(i64::MAX), "subject")));
            return Ok(Done::No);
        }
        if !register && items.iter().any(|item| text(item, "state") == "new") {
            out.hint("Do it: millrace schemas register");
        }
        Ok(Done::Yes)
    }
}

async fn one(registry: &registry::Registry, spec: &avro::TopicSpec, register: bool) -> Result<Value, Failure> {
    let subject = avro::subject(&spec.name);
    let level = spec.compatibility.name();
    let row = |state: &str, id: Option<i32>, why: String| json!({ "subject": subject, "state": state, "id": id, "compatibility": level, "why": why });
    let known = match registry.id_of(&subject, spec.schema.text()).await {
        Ok(id) => Some(id),
        Err(registry::Error::NotFound { .. }) => None,
        Err(error) => return Err(failure(&error)),
    };
    if let Some(id) = known {
        if register {
            registry.set_compatibility(&subject, level).await.map_err(|error| failure(&error))?;
        }
        return Ok(row("registered", Some(id), String::new()));
    }
    let reasons = registry.check_compatibility(&subject, spec.schema.text()).await.map_err(|error| failure(&error))?;
    if !reasons.is_empty() {
        return Ok(row("INCOMPATIBLE", None, reasons.join("; ")));
    }
    if !register {
        return Ok(row("new", None, String::new()));
    }
    match registry.register(&subject, spec.schema.text()).await {
        Ok(id) => {
            registry.set_compatibility(&subject, level).await.map_err(|error| failure(&error))?;
            Ok(row("registered now", Some(id), String::new()))
        }
        Err(registry::Error::Incompatible { reasons, .. }) => Ok(row("INCOMPATIBLE", None, reasons.join("; "))),
        Err(error) => Err(failure(&error)),
    }
}

pub(crate) fn failure(error: &registry::Error) -> Failure {
    match error {
        registry::Error::Denied { .. } => Failure::denied(error.to_string()),
        error if error.is_transient() => Failure::unreachable(error.to_string()),
        error => Failure::failed(error.to_string()),
    }
}
