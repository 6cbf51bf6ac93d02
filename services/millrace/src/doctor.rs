//! `millrace doctor`: is everything there that a fleet stands on, and if not, what to type next.
//!
//! Looks and leaves nothing behind: it describes, fetches and asks under its own identity, and never writes. Rights of other
//! identities cannot be tried from here (the client library has no such call), so it says what the services report about theirs.

mod brokers;
mod fleet;
mod schemas;
mod services;
mod topics;

use serde_json::{Value, json};

use crate::{
    cluster::Addresses,
    exit::{Done, Outcome},
    options::Global,
    output::{Column, List, Sight, text},
    words,
};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  millrace doctor --strict        warnings count, too: exit code 6")]
pub(crate) struct Args {
    /// Warnings count as failures
    #[arg(long)]
    strict: bool,

    /// Where services have their probes, such as http://millrace-validator:8081: what is not ready there is told
    #[arg(long, env = "MILLRACE_DOCTOR_OPS", value_name = "URL,...", value_delimiter = ',')]
    ops: Vec<String>,

    #[command(flatten)]
    addresses: Addresses,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    level: Level,
    subject: &'static str,
    text: String,
    /// What to type or do next.
    next: Option<String>,
}

impl Line {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, text: text.into(), next: None }
    }

    fn warn(subject: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject, text: text.into(), next: Some(next.into()) }
    }

    fn fail(subject: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Fail, subject, text: text.into(), next: Some(next.into()) }
    }
}

const COLUMNS: &[Column] = &[
    Column::new("LEVEL", |row, _| text(row, "level")),
    Column::new("SUBJECT", |row, _| text(row, "subject")),
    Column::new("FINDING", |row, _| {
        let next = text(row, "next");
        if next.is_empty() { text(row, "text") } else { format!("{}; next: {next}", text(row, "text")) }
    }),
];

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let cluster = self.addresses.cluster(global)?;
        let mut lines = Vec::new();
        match cluster.kafka() {
            Ok(client) => {
                let answer = brokers::check(&client, &cluster).await;
                let reached = answer.iter().all(|line| line.level != Level::Fail);
                lines.extend(answer);
                // Brokers that do not answer were named once.
                if reached {
                    lines.extend(topics::check(&client, &cluster).await);
                }
            }
            Err(failure) => lines.push(Line::fail("brokers", failure.text(), "millrace doctor --brokers HOST:PORT")),
        }
        match cluster.registry() {
            Ok(registry) => lines.extend(schemas::check(&registry, &cluster).await),
            Err(failure) => lines.push(Line::fail("registry", failure.text(), "millrace doctor --registry URL")),
        }
        lines.extend(fleet::check(global, &cluster, !self.ops.is_empty()).await);
        lines.extend(services::check(&self.ops).await);
        let items: Vec<Value> = lines.iter().map(shown).collect();
        let mut out = global.output();
        out.headers = false;
        let sight = Sight { now: crate::options::now() };
        out.list(&List { items: &items, columns: COLUMNS, name: |row| text(row, "subject"), next: None, sight })?;
        let count = |level: Level| i64::try_from(lines.iter().filter(|line| line.level == level).count()).unwrap_or(i64::MAX);
        let (fails, warnings) = (count(Level::Fail), count(Level::Warn));
        if fails + warnings > 0 {
            out.hint(&format!("{}, {}.", words::count(fails, "failure"), words::count(warnings, "warning")));
        }
        Ok(if fails > 0 || self.strict && warnings > 0 { Done::No } else { Done::Yes })
    }
}

fn shown(line: &Line) -> Value {
    json!({ "level": line.level.name(), "subject": line.subject, "text": line.text, "next": line.next })
}

/// An error and its causes.
fn reason(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// Whether a reason names a missing grant: services say with it which command gives it.
fn is_about_rights(why: &str) -> bool {
    why.contains("kafka-acls")
}
