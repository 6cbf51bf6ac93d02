//! `millrace dlq replay`: a plan first, then the run. Replay goes to the one place that failed; the plan says what would happen.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{self, Column, List, Sight, at, instant, integer, text},
    server::Server,
    words,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  millrace dlq replay mes-ulm/item/3@1851                         plan and run, one letter
  millrace dlq replay --destination mes-ulm --code HTTP_500 -n    only the plan
  millrace dlq replay --discarded --destination mes-ulm           what was given up, after all
  millrace dlq replay --plan p-7f31                               run a plan
  millrace dlq replay --plans                                     plans and their progress";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Letters, as `dlq list` shows them
    ids: Vec<String>,

    #[command(flatten)]
    filter: super::Filter,

    /// Every open letter that the filter leaves
    #[arg(long)]
    all: bool,

    /// Run this plan
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["ids", "all"])]
    plan: Option<String>,

    /// List plans
    #[arg(long, conflicts_with_all = ["ids", "all", "plan"])]
    plans: bool,

    /// Stop this plan; what was sent stays sent
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["ids", "all", "plan", "plans"])]
    cancel: Option<String>,

    /// Send the stored bytes instead of the current record
    #[arg(long)]
    exact: bool,

    /// The discarded letters instead of the open ones
    #[arg(long)]
    discarded: bool,

    /// Also letters that five replays have not helped
    #[arg(long)]
    again: bool,

    /// Also to a destination that is paused or unavailable: the letters wait there
    #[arg(long)]
    queue: bool,

    /// Letters a second and destination [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    rate: Option<i32>,

    /// At most so many letters [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    limit: Option<i32>,

    /// For the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::new("PLAN", |plan, _| text(plan, "id")),
    Column::new("STATE", |plan, _| text(plan, "state").to_lowercase()),
    Column::new("FILTER", |plan, _| filter_text(at(plan, "filter"))),
    Column::new("SENT", |plan, _| text(plan, "sent")).right(),
    Column::new("OF", |plan, _| text(plan, "would_apply")).right(),
    Column::new("ACCEPTED", |plan, _| text(plan, "accepted")).right(),
    Column::new("REFUSED", |plan, _| text(plan, "refused")).right(),
    Column::new("AGE", |plan, sight| instant(plan, "made_at").map(|at| words::age_at(at, sight.now)).unwrap_or_default()),
    Column::new("BY", |plan, _| text(plan, "actor")),
    Column::new("NOTE", |plan, _| text(plan, "error")),
];

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let server = Server::find(global)?;
        if self.plans {
            return plans(global, &server).await;
        }
        if let Some(id) = &self.cancel {
            server.post(&format!("replay-plans/{id}/cancel"), &[], &json!({ "reason": self.reason })).await?;
            global.output().object(&json!({ "id": id }), id, || format!("Plan {id} stops; what was sent stays sent."))?;
            return Ok(Done::Yes);
        }
        if let Some(id) = &self.plan {
            let plan = server.get(&format!("replay-plans/{id}"), &[]).await?.body;
            if global.dry_run {
                global.output().object(&plan, id, || preview(&plan))?;
                return Ok(Done::Yes);
            }
            return self.execute(global, &server, &plan).await;
        }
        let plan = self.make(&server).await?;
        let id = text(&plan, "id");
        let out = global.output();
        if global.dry_run {
            out.object(&plan, &id, || preview(&plan))?;
            out.hint(&format!("Nothing was sent. Run it: millrace dlq replay --plan {id}"));
            return Ok(Done::Yes);
        }
        if out.is_text() {
            output::write_text(&preview(&plan))?;
        }
        if integer(&plan, "would_apply") == 0 {
            out.hint("Nothing to send.");
            return Ok(Done::No);
        }
        confirmed(global, &plan)?;
        self.execute(global, &server, &plan).await
    }

    /// Asks for a plan and waits until the replayer has made it.
    async fn make(&self, server: &Server) -> Result<Value, Failure> {
        let mut filter = self.filter.plan(&self.ids, self.all)?;
        filter.exact = self.exact;
        filter.again = self.again;
        filter.discarded = self.discarded;
        filter.queue = self.queue;
        filter.rate = self.rate.unwrap_or_default();
        filter.limit = self.limit.unwrap_or_default();
        let asked = server.post("replay-plans", &[], &json!({ "filter": filter, "reason": self.reason })).await?;
        let id = text(&asked.body, "id");
        loop {
            match server.get(&format!("replay-plans/{id}"), &[]).await {
                Ok(answer) => return refused(answer.body),
                Err(failure) if failure.is_not_found() => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn execute(&self, global: &Global, server: &Server, plan: &Value) -> Outcome {
        let id = text(plan, "id");
        server.post(&format!("replay-plans/{id}/run"), &[], &json!({ "reason": self.reason })).await?;
        let start = Instant::now();
        let ended = follow(global, server, &id).await?;
        let (accepted, again) = (integer(&ended, "accepted"), integer(&ended, "refused"));
        let error = text(&ended, "error");
        if !error.is_empty() && integer(&ended, "sent") == 0 {
            return Err(Failure::usage(error));
        }
        global.output().object(&ended, &id, || {
            let mut parts = vec![format!("{accepted} accepted")];
            if again > 0 {
                parts.push(format!("{again} refused again"));
            }
            let waiting = integer(&ended, "sent") - accepted - again;
            if waiting > 0 {
                parts.push(format!("{waiting} without an answer yet"));
            }
            if !error.is_empty() {
                parts.push(error.clone());
            }
            let word = if text(&ended, "state") == "CANCELLED" { "Cancelled after" } else { "Done in" };
            format!("{word} {}: {}. There is no undo.", words::took(start.elapsed().as_secs_f64()), parts.join(", "))
        })?;
        if again > 0 {
            global.output().hint("Look closer: millrace dlq list --state open");
        }
        let whole = text(&ended, "state") == "DONE" && again == 0 && error.is_empty() && accepted == integer(&ended, "sent");
        Ok(if whole { Done::Yes } else { Done::Partly })
    }
}

/// A plan that the replayer made only to say no.
fn refused(plan: Value) -> Result<Value, Failure> {
    let error = text(&plan, "error");
    if error.is_empty() { Ok(plan) } else { Err(Failure::usage(error)) }
}

/// Asked only where a person sits, and only when it is more than a letter.
fn confirmed(global: &Global, plan: &Value) -> Result<(), Failure> {
    let attended = output::is_attended() && std::io::IsTerminal::is_terminal(&std::io::stdin());
    if global.yes || !attended || integer(plan, "would_apply") <= 1 {
        return Ok(());
    }
    if global.no_input {
        return Err(Failure::usage(format!("not asked, not run; run it: millrace dlq replay --plan {}", text(plan, "id"))));
    }
    output::note("Run it? There is no undo. [y/N]");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::failed(format!("reading the answer: {error}")))?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::usage("not run")) }
}

/// Shows progress until the plan has ended: a bar on a terminal, else a line every ten seconds.
async fn follow(global: &Global, server: &Server, id: &str) -> Result<Value, Failure> {
    let attended = output::is_attended() && global.output().is_text() && !global.output().quiet;
    let bar = if attended { ProgressBar::no_length() } else { ProgressBar::hidden() };
    let style =
        ProgressStyle::with_template("Replay {prefix} {bar:20} {pos}/{len}   {msg}").expect("a template that is written here");
    bar.set_style(style);
    bar.set_prefix(id.to_owned());
    let mut told = Instant::now();
    loop {
        let plan = server.get(&format!("replay-plans/{id}"), &[]).await?.body;
        let state = text(&plan, "state");
        let (sent, all) = (integer(&plan, "sent"), integer(&plan, "would_apply"));
        bar.set_length(u64::try_from(all).unwrap_or_default());
        bar.set_position(u64::try_from(sent).unwrap_or_default());
        bar.set_message(format!("{} accepted   {} refused again", integer(&plan, "accepted"), integer(&plan, "refused")));
        if state == "DONE" || state == "CANCELLED" {
            bar.finish_and_clear();
            return Ok(plan);
        }
        if !attended && told.elapsed() >= Duration::from_secs(10) {
            global.output().hint(&format!("Replay {id}: {sent} of {all} sent"));
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

fn preview(plan: &Value) -> String {
    let filter = at(plan, "filter");
    let what = if at(filter, "exact") == &Value::Bool(true) { "the stored bytes" } else { "the current record" };
    let place = text(filter, "system");
    let place = if place.is_empty() { "the place that failed".to_owned() } else { place };
    let mut lines = vec![format!("Plan {} (valid 30 min): {what}, to {place} only", text(plan, "id"))];
    let rate = match integer(filter, "rate") {
        0 => 10,
        rate => rate,
    };
    let apply = integer(plan, "would_apply");
    let seconds = (apply + rate - 1) / rate.max(1);
    lines.push(format!("{apply:>6}  would be sent, one at a time per key, {rate}/s, about {} s", seconds.max(1)));
    for (field, sentence) in [
        ("superseded", "superseded: a newer revision is already accepted there"),
        ("still_failing", "would fail again under today's policy"),
        ("unreadable", "unreadable: their bytes cannot be decoded"),
        ("exhausted", "replayed five times without success (--again to insist)"),
    ] {
        let count = integer(plan, field);
        if count > 0 {
            lines.push(format!("{count:>6}  {sentence}"));
        }
    }
    let not_ready: Vec<String> =
        at(plan, "not_ready").as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if !not_ready.is_empty() {
        lines.push(format!("Not ready: {} (--queue lets the letters wait there)", not_ready.join(", ")));
    }
    lines.join("\n")
}

fn filter_text(filter: &Value) -> String {
    let ids = at(filter, "ids").as_array().cloned().unwrap_or_default();
    let mut parts: Vec<String> = match ids.as_slice() {
        [] => Vec::new(),
        [one] => vec![one.as_str().unwrap_or_default().to_owned()],
        more => vec![format!("{} letters", more.len())],
    };
    for name in ["system", "domain", "key", "code", "class", "since"] {
        let value = text(filter, name);
        if !value.is_empty() {
            parts.push(format!("{name}={value}"));
        }
    }
    for name in ["all", "exact", "again", "discarded", "queue"] {
        if at(filter, name) == &Value::Bool(true) {
            parts.push(name.to_owned());
        }
    }
    parts.join(" ")
}

async fn plans(global: &Global, server: &Server) -> Outcome {
    let answer = server.get("replay-plans", &[]).await?;
    if answer.items().is_empty() && global.output().is_text() {
        global.output().hint("No plans yet.");
        return Ok(Done::Yes);
    }
    global.output().list(&List {
        items: answer.items(),
        columns: COLUMNS,
        name: |plan| text(plan, "id"),
        next: None,
        sight: Sight { now: answer.as_of },
    })?;
    Ok(Done::Yes)
}
