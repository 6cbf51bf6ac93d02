//! `millrace destination`: list, pause, resume.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    exit::{Done, Failure, Outcome},
    options::{Global, now},
    output::{self, Column, List, Sight, instant, integer, seconds, text},
    server::Server,
    words,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// State, queue and errors of every destination
    List,
    /// Stop sending to a destination; what arrives waits
    #[command(after_help = "Example:\n  millrace destination pause mes-pune --until 14:00 --reason \"line 4 stop\"")]
    Pause {
        name: String,
        /// Why: goes into the audit log and in front of everybody
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Until then: 14:00 (UTC), 2h, or RFC 3339; without it until `resume`
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Send to a destination again
    Resume {
        name: String,
        /// For the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

const COLUMNS: &[Column] = &[
    Column::new("NAME", |row, _| text(row, "name")),
    Column::new("STATE", |row, _| text(row, "state")),
    Column::new("SINCE", |row, sight| instant(row, "since").map(|at| words::age_at(at, sight.now)).unwrap_or_default()),
    Column::new("QUEUED", |row, _| words::thousands(integer(row, "queued"))).right(),
    Column::new("OLDEST", |row, _| seconds(row, "oldest_waiting_seconds").map(words::age).unwrap_or_default()),
    Column::new("RATE", |row, _| format!("{:.1}/s", seconds(row, "accepted_per_second").unwrap_or_default())).right(),
    Column::new("REFUSED", |row, _| words::thousands(integer(row, "refused"))).right(),
    Column::new("ERRORS 1H", |row, _| words::thousands(integer(row, "refused_1h"))).right(),
    Column::new("NOTE", note),
    Column::new("OFFICE", |row, _| text(row, "office")).wide(),
];

fn note(row: &Value, sight: &Sight) -> String {
    let (by, reason) = (text(row, "by"), text(row, "reason"));
    // A destination that asks for a pause has no reason of its own, but an answer.
    let reason = if reason.is_empty() { text(row, "code") } else { reason };
    let until = instant(row, "until").map(|until| format!("until {} UTC", words::clock(until, sight.now)));
    let next = instant(row, "next_at").filter(|next| *next > sight.now);
    let next = next.map(|next| format!("asked again {} UTC", words::clock(next, sight.now)));
    let retrying = Some(integer(row, "retrying")).filter(|count| *count > 0).map(|count| format!("{count} tried again"));
    let parts = [by, reason, until.unwrap_or_default(), next.unwrap_or_default(), retrying.unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::List => list(global).await,
            Command::Pause { name, reason, until } => {
                if reason.is_none() {
                    return Err(Failure::usage("say why: --reason \"…\" goes into the audit log and in front of everybody"));
                }
                let until = until.as_deref().map(|text| words::instant(text, now(), true)).transpose().map_err(Failure::usage)?;
                act(global, name, "pause", json!({ "reason": reason, "until": until }), "pauses: what arrives waits").await
            }
            Command::Resume { name, reason } => {
                act(global, name, "resume", json!({ "reason": reason }), "resumes and drains").await
            }
        }
    }
}

async fn list(global: &Global) -> Outcome {
    let answer = Server::find(global)?.get("destinations", &[]).await?;
    global.output().list(&List {
        items: answer.items(),
        columns: COLUMNS,
        name: |row| text(row, "name"),
        next: None,
        sight: Sight { now: answer.as_of },
    })?;
    Ok(Done::Yes)
}

async fn act(global: &Global, name: &str, verb: &str, body: Value, sentence: &str) -> Outcome {
    let server = Server::find(global)?;
    if global.dry_run {
        server.get(&format!("destinations/{name}"), &[]).await?;
        output::write_text(&format!("{name} {sentence}. Nothing was done."))?;
        return Ok(Done::Yes);
    }
    let answer = server.post(&format!("destinations/{name}/{verb}"), &[], &body).await?;
    global.output().object(&answer.body, name, || format!("{name} {sentence}."))?;
    global.output().hint("See: millrace destination list");
    Ok(Done::Yes)
}
