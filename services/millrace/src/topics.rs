//! `millrace topics`: the cluster's topics against the one list.

mod rights;

use std::time::Duration;

use clap::Subcommand;
use kafka::topics::{Obstacle, TopicChange};
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
    /// What would change. Exit code 6: something that only a person can change
    Plan(Addresses),
    /// Create what is missing and set what differs; a partition count is never changed
    Apply(Addresses),
    /// Who may do what on Kafka: the fleet's identities and exactly what each needs
    Rights(rights::Args),
}

/// How long brokers may take to answer at all; a plan itself may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

const COLUMNS: &[Column] = &[
    Column::new("", |row, _| text(row, "sign")),
    Column::new("TOPIC", |row, _| text(row, "topic")),
    Column::new("CHANGE", |row, _| text(row, "change")),
];

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let (addresses, apply) = match self {
            Command::Plan(addresses) => (addresses, false),
            Command::Apply(addresses) => (addresses, !global.dry_run),
            Command::Rights(rights) => return rights.run(global),
        };
        let cluster = addresses.cluster(global)?;
        let client = cluster.kafka()?;
        let specs = cluster.specs();
        kafka::topics::probe(&client, PATIENCE).await.map_err(unreachable)?;
        let changes = kafka::topics::plan(&client, &specs).await.map_err(unreachable)?;
        let items: Vec<Value> = changes.iter().flat_map(describe).collect();
        let mut out = global.output();
        out.headers = false;
        if !items.is_empty() || !out.is_text() {
            let sight = Sight { now: crate::options::now() };
            out.list(&List { items: &items, columns: COLUMNS, name: |row| text(row, "topic"), next: None, sight })?;
        }
        let obstacles: Vec<Obstacle> = changes.iter().filter_map(obstacle).collect();
        if !obstacles.is_empty() {
            out.hint("Nothing was changed, not even what could be.");
            let is_count = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Partitions { .. });
            if obstacles.iter().any(is_count) {
                out.hint(COUNT);
            }
            if !obstacles.iter().all(is_count) {
                out.hint(COPIES);
            }
            return Ok(Done::No);
        }
        let count = words::count(i64::try_from(specs.len()).unwrap_or(i64::MAX), "topic");
        if changes.is_empty() {
            out.hint(&format!("{count} as listed."));
        } else if apply {
            kafka::topics::apply(&client, &changes).await.map_err(unreachable)?;
            out.hint(&format!("Done: {count} as listed."));
        } else {
            out.hint("Do it: millrace topics apply");
        }
        Ok(Done::Yes)
    }
}

/// Why another partition count is refused, and what to do.
const COUNT: &str = "Another partition count moves keys: old and new records of one key would lie in two partitions, and nothing would \
keep their order. Put kafka.slots in millrace.yaml back to the present count, or begin a new generation of topics: docs/topics.md";
const COPIES: &str = "More copies are made by the brokers: kafka-reassign-partitions, then plan again";

fn obstacle(change: &TopicChange) -> Option<Obstacle> {
    match change {
        TopicChange::Impossible { what, .. } => Some(*what),
        TopicChange::Create(_) | TopicChange::Configure { .. } => None,
    }
}

fn describe(change: &TopicChange) -> Vec<Value> {
    match change {
        TopicChange::Create(topic) => {
            let policy = topic.config.get("cleanup.policy").map(String::as_str).unwrap_or("delete");
            let partitions = words::count(topic.partitions.into(), "partition");
            vec![json!({ "sign": "+", "topic": topic.name, "change": format!("create, {partitions}, {policy}") })]
        }
        TopicChange::Configure { topic, settings } => settings
            .iter()
            .map(|(name, (now, wanted))| {
                let now = now.as_deref().unwrap_or("not set");
                json!({ "sign": "~", "topic": topic, "change": format!("{name} {now} → {wanted}") })
            })
            .collect(),
        TopicChange::Impossible { topic, what } => {
            vec![json!({ "sign": "!", "topic": topic, "change": format!("{what}: refused") })]
        }
    }
}

fn unreachable(error: kafka::Error) -> Failure {
    let (transient, refused) = (error.is_transient(), matches!(error, kafka::Error::Refused(_)));
    let text = format!("{:#}", anyhow::Error::new(error));
    match (refused, transient) {
        (true, _) => Failure::denied(text),
        (false, true) => Failure::unreachable(text),
        (false, false) => Failure::failed(text),
    }
}
