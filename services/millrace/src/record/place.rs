//! `millrace record where`: is it there? If not, why, and whose turn is it?

use model::Timestamp;
use serde_json::Value;

use super::Record;
use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{self, at, integer, seconds, text},
    server::Server,
    words,
};

/// A change is judged sooner than this.
const JUDGED: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    record: Record,

    /// Only this destination
    #[arg(long, short, value_name = "NAME")]
    destination: Option<String>,
}

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let (domain, key) = self.record.parse()?;
        let server = Server::find(global)?;
        let mut answer = server.get(&format!("records/{domain}/status"), &[("key", Some(key.as_str()))]).await?;
        if let Some(name) = &self.destination {
            let all = at(&answer.body, "destinations").as_array().cloned().unwrap_or_default();
            let golden = !at(&answer.body, "revision").is_null();
            let one: Vec<Value> = all.iter().filter(|place| text(place, "destination") == *name).cloned().collect();
            if one.is_empty() && golden {
                let names: Vec<String> = all.iter().map(|place| text(place, "destination")).collect();
                let near = words::nearest(name, names.iter().map(String::as_str));
                let hint = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
                return Err(Failure::not_found(format!("`{name}` gets no records of domain {domain}{hint}")));
            }
            answer.body["destinations"] = Value::Array(one);
        }
        let status = &answer.body;
        let places = at(status, "destinations").as_array().cloned().unwrap_or_default();
        global.output().object(status, key.as_str(), || render(status, &places, answer.as_of))?;
        let there = places.iter().all(|place| matches!(text(place, "state").as_str(), "accepted" | "not_needed"));
        let golden = !at(status, "revision").is_null();
        let newer_waits = at(status, "held").as_array().is_some_and(|held| !held.is_empty()) || !at(status, "unjudged").is_null();
        Ok(if there && golden && !newer_waits { Done::Yes } else { Done::No })
    }
}

fn render(status: &Value, places: &[Value], now: Timestamp) -> String {
    let mut lines = vec![head(status, now)];
    let unjudged = at(status, "unjudged");
    if let Some(captured) = output::instant(unjudged, "captured_at") {
        let overdue = now.since(captured) > JUDGED;
        let asks = if overdue { "; does the validator run?   (millrace doctor)" } else { "" };
        let (source, captured) = (text(unjudged, "source"), words::clock(captured, now));
        lines.push(format!("captured {source}: {captured} UTC, not judged yet{asks}"));
    }
    for held in at(status, "held").as_array().into_iter().flatten() {
        let until = output::instant(held, "until").map(|until| format!(", at most until {} UTC", words::clock(until, now)));
        let since = output::instant(held, "since").map(|since| format!(", since {} UTC", words::clock(since, now)));
        let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
        let source = text(held, "source");
        lines.push(format!("held     {source}: {}{since}{until}", text(held, "sentence")));
        lines.extend(findings(held));
        let turn = text(held, "turn");
        if !turn.is_empty() {
            lines.push(format!("         whose turn: {turn}"));
        }
        if text(held, "reason") == "steward" {
            lines.push(format!("         then:       correct it in {source}; its next change replaces this one"));
        }
    }
    for letter in at(status, "letters").as_array().into_iter().flatten() {
        lines.push(format!("refused  {}: {}", text(letter, "system"), text(letter, "message")));
        lines.push(format!("         whose turn: {}   (dead letter {})", text(letter, "owner"), text(letter, "id")));
    }
    let width = places.iter().map(|place| text(place, "destination").len()).max().unwrap_or_default();
    for place in places {
        lines.extend(standpoint(place, width, &text(status, "domain"), &text(status, "key"), now));
    }
    lines.join("\n")
}

fn head(status: &Value, now: Timestamp) -> String {
    let name = format!("{} {}", text(status, "domain"), text(status, "key"));
    let Some(accepted) = output::instant(status, "accepted_at") else { return format!("{name}   not golden yet") };
    let effective = text(status, "valid_from");
    let effective = if effective.is_empty() { String::new() } else { format!(", effective {effective}") };
    let deleted = if at(status, "deleted") == &Value::Bool(true) { ", deleted" } else { "" };
    let revision = integer(status, "revision");
    format!("{name}   golden revision {revision}{deleted}, accepted {} UTC{effective}", words::clock(accepted, now))
}

fn findings(held: &Value) -> Vec<String> {
    let all = at(held, "findings").as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|finding| format!("         {} {}: {}", text(finding, "rule_id"), text(finding, "path"), text(finding, "message")))
        .collect()
}

fn standpoint(place: &Value, width: usize, domain: &str, key: &str, now: Timestamp) -> Vec<String> {
    let name = text(place, "destination");
    let accepted = at(place, "accepted_revision").as_i64();
    let since = output::instant(place, "accepted_at").map(|at| words::clock(at, now)).unwrap_or_default();
    let line = |word: &str, rest: String| format!("{name:width$}  {word:3}  {rest}");
    let indent = " ".repeat(width + 7);
    match text(place, "state").as_str() {
        "accepted" => {
            let took = seconds(place, "took_seconds").map(|took| format!(", {} after the source", words::took(took)));
            let external = text(place, "external_id");
            let external = if external.is_empty() { String::new() } else { format!(", its number there {external}") };
            let revision = accepted.unwrap_or_default();
            let has = line("YES", format!("has revision {revision} since {since} UTC{}{external}", took.unwrap_or_default()));
            [has].into_iter().chain(held_back(place, &indent, now)).collect()
        }
        "not_needed" => [line("-", text(place, "why"))].into_iter().chain(held_back(place, &indent, now)).collect(),
        state => {
            let has = match accepted {
                Some(revision) => format!("has revision {revision} since {since} UTC"),
                None => "has nothing of it".to_owned(),
            };
            let mut lines = vec![line("NO", has)];
            let letter = text(place, "letter");
            let letter_hint =
                if letter.is_empty() || state != "refused" { String::new() } else { format!("   (dead letter {letter})") };
            lines.push(format!("{indent}why:        {}{letter_hint}", why(place)));
            let waits = if matches!(state, "refused" | "given_up") { "at" } else { "waiting_since" };
            if let Some(since) = output::instant(place, waits) {
                let age = words::age_at(since, now);
                lines.push(format!("{indent}since:      {} UTC, {age} ago", words::clock(since, now)));
            }
            if text(place, "reason") != "blocked" {
                lines.extend(held_back(place, &indent, now));
            }
            let turn = text(place, "turn");
            if !turn.is_empty() {
                lines.push(format!("{indent}whose turn: {turn}"));
            }
            if state == "refused" {
                lines.push(format!("{indent}then:       millrace record resend {domain} {key} --destination {name}"));
            } else if state == "given_up" && !letter.is_empty() {
                lines.push(format!("{indent}then:       millrace dlq replay {letter}"));
            } else if at(place, "late") == &Value::Bool(true) {
                let due = output::instant(place, "deadline").map(|due| format!("was due {} UTC", words::clock(due, now)));
                lines.push(format!("{indent}late:       {}", due.unwrap_or_else(|| "the deadline has passed".to_owned())));
            }
            lines
        }
    }
}

/// A block that is not the reason, because what is golden now arrived before it.
fn held_back(place: &Value, indent: &str, now: Timestamp) -> Option<String> {
    let block = at(place, "blocked");
    (!block.is_null()).then(|| format!("{indent}blocked:    {}; newer revisions wait", blocked(block, now)))
}

/// `by j.rao: line 4 stop, since 11:20:00 UTC until 14:00:00 UTC`.
pub(super) fn blocked(block: &Value, now: Timestamp) -> String {
    let clock = |path: &str| output::instant(block, path).map(|at| words::clock(at, now));
    let since = clock("since").map(|since| format!(", since {since} UTC")).unwrap_or_default();
    let until = clock("until").map(|until| format!(" until {until} UTC")).unwrap_or_default();
    format!("{}{since}{until}", text(block, "text"))
}

fn why(place: &Value) -> String {
    let message = text(place, "message");
    if text(place, "state") == "refused" && !message.is_empty() {
        return format!("refused, {}: {message}", text(place, "code"));
    }
    text(place, "why")
}
