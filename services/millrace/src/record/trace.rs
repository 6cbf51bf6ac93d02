//! `millrace record trace`: from the source to every destination, with times.

use model::Timestamp;
use serde_json::Value;

use super::Record;
use crate::{
    exit::{Done, Outcome},
    options::Global,
    output::{self, at, integer, seconds, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    record: Record,
}

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let (domain, key) = self.record.parse()?;
        let server = Server::find(global)?;
        let answer = server.get(&format!("records/{domain}/lineage"), &[("key", Some(key.as_str()))]).await?;
        global.output().object(&answer.body, key.as_str(), || render(&answer.body, answer.as_of))?;
        Ok(Done::Yes)
    }
}

fn render(lineage: &Value, now: Timestamp) -> String {
    let status = at(lineage, "status");
    let mut lines = vec![format!("{} {}   times in UTC", text(status, "domain"), text(status, "key"))];
    let golden = at(lineage, "golden");
    let start = output::instant(golden, "meta.occurred_at");
    let mut step = |at: Option<Timestamp>, word: &str, rest: String| {
        let (Some(at), Some(start)) = (at, start) else { return };
        let since = at.since(start).as_secs_f64();
        lines.push(format!("  {}  {word:10}  {rest:60}  +{since:.1} s", words::precise(at, now)));
    };
    let change = at(lineage, "change");
    if !change.is_null() {
        step(output::instant(change, "meta.occurred_at"), "committed", committed(change));
        step(output::instant(change, "meta.captured_at"), "captured", captured(change));
    }
    if !golden.is_null() {
        let findings = at(lineage, "findings").as_array().map_or(0, Vec::len);
        let found = if findings == 0 {
            String::new()
        } else {
            format!(", {}", words::count(i64::try_from(findings).unwrap_or(0), "finding"))
        };
        let policy = text(golden, "meta.policy_version");
        step(output::instant(golden, "meta.accepted_at"), "validated", format!("policy {policy}{found}"));
        let place = format!("{} {}@{}", text(golden, "topic"), integer(golden, "partition"), integer(golden, "offset"));
        step(output::instant(golden, "appended_at"), "golden", format!("{place}, revision {}", integer(golden, "meta.revision")));
    }
    for event in at(lineage, "events").as_array().into_iter().flatten() {
        let what = format!("{}, {}", text(event, "system"), text(event, "text"));
        step(output::instant(event, "at"), &text(event, "what"), what);
    }
    for held in at(status, "held").as_array().into_iter().flatten() {
        lines.push(format!("  held      {}: {}", text(held, "source"), text(held, "sentence")));
    }
    for letter in at(status, "letters").as_array().into_iter().flatten() {
        lines.push(format!(
            "  refused   {}: {}   (dead letter {})",
            text(letter, "system"),
            text(letter, "message"),
            text(letter, "id")
        ));
    }
    let places = at(status, "destinations").as_array().cloned().unwrap_or_default();
    let width = places.iter().map(|place| text(place, "destination").len()).max().unwrap_or_default().max(9);
    lines.extend(places.iter().map(|place| destination(place, width, now)));
    let trace = text(golden, "meta.correlation_id").replace('-', "");
    if !trace.is_empty() {
        lines.push(format!("trace {trace}"));
    }
    lines.join("\n")
}

fn committed(change: &Value) -> String {
    let author = text(change, "meta.author");
    let by = if author.is_empty() { String::new() } else { format!(" by {author}") };
    format!("at {}, {} {}{by}", text(change, "meta.source"), text(change, "meta.source_entity"), text(change, "meta.source_key"))
}

fn captured(change: &Value) -> String {
    format!(
        "{}, sequence {}.{}",
        text(change, "meta.source"),
        integer(change, "meta.source_epoch"),
        integer(change, "meta.source_sequence")
    )
}

fn destination(place: &Value, width: usize, now: Timestamp) -> String {
    let name = text(place, "destination");
    let clock = |path: &str| output::instant(place, path).map(|at| words::clock(at, now)).unwrap_or_default();
    let line = match text(place, "state").as_str() {
        "accepted" => {
            let took = seconds(place, "took_seconds").map(words::took).unwrap_or_default();
            let revision = integer(place, "accepted_revision");
            format!("  {name:width$}  accepted  revision {revision}  {}  {took}", clock("accepted_at"))
        }
        "refused" => {
            let tries = words::count(integer(place, "attempts").max(1), "try").replace("trys", "tries");
            let message = text(place, "message");
            format!("  {name:width$}  refused   {}  {} {message}, {tries}, parked", clock("at"), text(place, "code"))
        }
        "not_needed" | "given_up" => format!("  {name:width$}  {}", text(place, "why")),
        state => format!("  {name:width$}  {state:8}  {}", text(place, "why")),
    };
    let block = at(place, "blocked");
    if block.is_null() || text(place, "reason") == "blocked" {
        return line;
    }
    format!("{line}; blocked {}", super::place::blocked(block, now))
}
