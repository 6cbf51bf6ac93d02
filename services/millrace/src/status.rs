//! `millrace status`: domain × system in business words, and what needs a person.

use model::Timestamp;
use serde_json::Value;

use crate::{
    exit::{Done, Outcome},
    options::Global,
    output::{self, at, integer, seconds, text},
    server::Server,
    words,
};

pub(crate) async fn run(global: &Global) -> Outcome {
    let answer = Server::find(global)?.get("overview", &[]).await?;
    let out = global.output();
    let overview = &answer.body;
    if !out.is_text() {
        out.object(overview, "overview", String::new)?;
        return Ok(Done::Yes);
    }
    let wide = out.format == output::Format::Wide;
    output::write_text(&output::paint(&matrix(overview, answer.as_of, out.headers, wide)))?;
    let held = held(overview);
    if !held.is_empty() {
        output::write_text(&format!("\nHeld, not golden yet: {held}"))?;
    }
    let needs = at(overview, "needs_a_person").as_array().cloned().unwrap_or_default();
    let is_whole = at(overview, "caught_up") != &Value::Bool(false);
    match (needs.is_empty(), is_whole) {
        (true, true) => output::write_text("\nNothing needs a person.")?,
        (true, false) => output::write_text("\nNothing needs a person as far as the tracker has read.")?,
        (false, _) => output::write_text(&format!("\n{}", person(&needs)))?,
    }
    if !is_whole {
        out.hint("The tracker is still reading the topics; the numbers are rising.");
    }
    Ok(Done::Yes)
}

fn matrix(overview: &Value, now: Timestamp, headers: bool, wide: bool) -> String {
    let list = |path: &str| at(overview, path).as_array().cloned().unwrap_or_default();
    let systems = list("systems");
    let mut titles = vec![String::new()];
    titles.extend(systems.iter().map(|system| text(system, "name")));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let rows = list("domains").into_iter().map(|row| {
        let mut line = vec![text(&row, "domain")];
        line.extend(systems.iter().map(|system| {
            let cell = at(&row, "cells").get(text(system, "name")).unwrap_or(&Value::Null).clone();
            cell_text(&cell, system, now, wide)
        }));
        line
    });
    output::grid(headers.then_some(titles.as_slice()), &[], rows)
}

/// `2 of item (record), 1 of customer (approval)`.
fn held(overview: &Value) -> String {
    let rows = at(overview, "domains").as_array().cloned().unwrap_or_default();
    let parts = rows.iter().flat_map(|row| {
        let reasons = at(row, "held").as_object().cloned().unwrap_or_default();
        let domain = text(row, "domain");
        reasons.into_iter().map(move |(reason, count)| format!("{count} of {domain} ({reason})")).collect::<Vec<_>>()
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn cell_text(cell: &Value, system: &Value, now: Timestamp, wide: bool) -> String {
    if text(cell, "role") == "source" {
        let since = output::instant(cell, "since").map(|since| words::age_at(since, now)).unwrap_or_default();
        return match text(cell, "state").as_str() {
            "unavailable" => format!("source UNAVAILABLE {since}"),
            "silent" => "source SILENT".to_owned(),
            "unknown" => "source, not read yet".to_owned(),
            _ => "source".to_owned(),
        };
    }
    let since = output::instant(system, "since").map(|since| words::age_at(since, now)).unwrap_or_default();
    let waiting = integer(cell, "waiting") + integer(cell, "sent");
    let word = match text(cell, "state").as_str() {
        "" => return "-".to_owned(),
        "refused" => format!("{} REFUSED", words::thousands(integer(cell, "refused"))),
        "paused" => format!("PAUSED {since}"),
        "unavailable" => format!("UNAVAILABLE {since}"),
        "resyncing" => format!("RESYNCING {since}"),
        "late" => format!("LATE {}", words::age(seconds(cell, "oldest_waiting_seconds").unwrap_or_default())),
        "waiting" => format!("{} waiting", words::thousands(waiting)),
        _ => match seconds(cell, "p95_seconds") {
            Some(p95) if p95 < 10.0 => format!("ok {p95:.1}s"),
            Some(p95) => format!("ok {}", words::age(p95)),
            None => "ok".to_owned(),
        },
    };
    if wide { format!("{word} ({} accepted)", words::thousands(integer(cell, "accepted"))) } else { word }
}

fn person(needs: &[Value]) -> String {
    let count = needs.len();
    let verb = if count == 1 { "thing needs" } else { "things need" };
    let mut lines = vec![format!("{count} {verb} a person:")];
    for (index, need) in needs.iter().enumerate() {
        let oldest = words::age(seconds(need, "oldest_seconds").unwrap_or_default());
        lines.push(format!(
            "  {}  {}: {}   → {} ({oldest})",
            index + 1,
            text(need, "system"),
            text(need, "text"),
            text(need, "turn")
        ));
        let then = text(need, "then");
        if !then.is_empty() {
            lines.push(format!("     {then}"));
        }
    }
    lines.join("\n")
}
