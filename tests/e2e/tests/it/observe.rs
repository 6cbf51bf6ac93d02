//! A real Prometheus scrapes the running fleet through load, outage, refusal, replay and pause: every question that a dashboard or a
//! rule of the chart asks has an answer, and the answers are what the tracker's API and the topics say.

mod fifty;
mod questions;

use std::{collections::BTreeMap, fs, io::Write as _, path::Path, process::Stdio, time::SystemTime};

use anyhow::{Context, Result, ensure};
use devstack::{
    Mode,
    prometheus::{Prometheus, Sample, Target},
    provision::copy_folder,
};
use millrace_e2e::{check, landscape, until};
use model::Timestamp;
use serde_json::{Value, json};

use self::questions::{Questions, ask};
use crate::{
    telemetry::{FLEET, busy_day, letters_of},
    tracker::Tracker,
    world::{PATIENCE, World},
};

const ULM: &str = "mes-ulm";
const PUNE: &str = "mes-pune";
/// What the outage does to items.
const UNAVAILABLE: &str = r#"millrace_propagation_waiting_records{domain="item", destination="mes-pune", reason="unavailable"}"#;
const MISSED: &str = r#"millrace_propagation_deadlines_total{domain="item", destination="mes-pune", outcome="missed"}"#;
/// So that an outage of seconds misses some, and leaves a record waiting for three times as long.
const DEADLINE: &str = "deadline: 5s";

/// Landscape `load` with a promise for items that can be broken within a test.
fn impatient(folder: &Path) -> Result<()> {
    copy_folder(&landscape("load"), folder)?;
    let item = folder.join("domains/item.yaml");
    let text = fs::read_to_string(&item)?;
    ensure!(text.contains("deadline: 60s"), "landscape load promises its items within a minute");
    Ok(fs::write(item, text.replace("deadline: 60s", DEADLINE))?)
}

/// Each process of the fleet, under its service's name.
fn targets(world: &World) -> Result<Vec<Target>> {
    let target = |(process, service): &(&str, &str)| {
        let address = world.stack.fleet.ops(process)?.trim_start_matches("http://").to_owned();
        Ok(Target { job: (*service).to_owned(), address })
    };
    FLEET.iter().map(target).collect()
}

/// What `promtool check metrics` has to say about each process.
fn linted(world: &World) -> Result<()> {
    let promtool = devstack::prometheus::program("promtool")?;
    for (process, _) in FLEET {
        let text = tokio::task::block_in_place(|| world.stack.fleet.metrics(process))?;
        let mut child = std::process::Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("the input of promtool")?.write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success() && said.trim().is_empty(), "the metrics of {process}: {said}");
    }
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

type Cells = BTreeMap<[String; 3], f64>;

/// Of every destination's cell of the overview, what `take` finds in it: name and number.
fn cells(overview: &Value, take: impl Fn(&Value) -> Vec<(String, f64)>) -> Cells {
    let mut cells = Cells::new();
    for row in overview["domains"].as_array().into_iter().flatten() {
        let domain = row["domain"].as_str().unwrap_or_default();
        for (destination, cell) in row["cells"].as_object().into_iter().flatten() {
            if cell["role"] == "destination" {
                let rows = take(cell).into_iter().filter(|(_, number)| *number > 0.0);
                cells.extend(rows.map(|(name, number)| ([domain.to_owned(), destination.clone(), name], number)));
            }
        }
    }
    cells
}

fn accepted(cell: &Value) -> Vec<(String, f64)> {
    vec![(String::new(), cell["accepted"].as_f64().unwrap_or_default())]
}

/// By reason; the refused ones have one, too.
fn waiting(cell: &Value) -> Vec<(String, f64)> {
    let reasons = cell["reasons"].as_object().into_iter().flatten();
    let reasons = reasons.map(|(reason, count)| (reason.clone(), count.as_f64().unwrap_or_default()));
    reasons.chain([("refused".to_owned(), cell["refused"].as_f64().unwrap_or_default())]).collect()
}

/// What the topics say of every deadline: met where the ledger has the acceptance in time, missed where it passed. Every record has one
/// revision here. None while one is still open.
async fn deadlines(world: &World) -> Result<Option<Cells>> {
    let mut cells = Cells::new();
    let at = now();
    for (name, destination) in &world.stack.landscape.destinations {
        let ledger = world.look.ledger(name).await?;
        for (domain, delivery) in &destination.domains {
            for (key, golden) in check::newest(&world.look.golden(*domain).await?) {
                ensure!(golden.meta.revision == 1, "{key} was written once");
                let due = golden.meta.occurred_at.plus(delivery.deadline);
                let accepted = ledger.get(&key).and_then(|entry| entry.accepted.as_ref());
                let outcome = match accepted {
                    Some(accepted) if accepted.at <= due => "met",
                    _ if due < at => "missed",
                    _ => return Ok(None),
                };
                *cells.entry([domain.to_string(), name.clone(), outcome.to_owned()]).or_default() += 1.0;
            }
        }
    }
    Ok(Some(cells))
}

/// Waits until a query of Prometheus says what `wanted` says.
async fn agrees<F: Future<Output = Result<Option<Cells>>>>(
    prometheus: &Prometheus,
    what: &str,
    expr: &str,
    labels: [&str; 3],
    wanted: impl Fn() -> F,
) -> Result<()> {
    until(&format!("Prometheus to agree about {what}"), PATIENCE, || async {
        let wanted = wanted().await.map_err(|error| format!("{error:#}"))?;
        let answer = ask(prometheus, expr).map_err(|error| format!("{error:#}"))?;
        let label = |sample: &Sample, name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let found: Cells = answer.iter().map(|sample| (labels.map(|name| label(sample, name)), sample.value)).collect();
        let found: Cells = found.into_iter().filter(|(_, number)| *number > 0.0).collect();
        if wanted.as_ref() == Some(&found) && !found.is_empty() { Ok(()) } else { Err(format!("{wanted:?}\nagainst {found:?}")) }
    })
    .await
}

/// The tracker's own words, and what the topics add up to.
async fn compare(world: &World, tracker: &Tracker, prometheus: &Prometheus) -> Result<()> {
    let overview = || async { tracker.get("overview", &[]).await };
    let place = ["domain", "destination", "none"];
    let propagated = "max by (domain, destination) (millrace_propagation_seconds_count)";
    agrees(prometheus, "acceptances", propagated, place, || async { Ok(Some(cells(&overview().await?, accepted))) }).await?;
    let reasons = "max by (domain, destination, reason) (millrace_propagation_waiting_records)";
    let place = ["domain", "destination", "reason"];
    agrees(prometheus, "what waits", reasons, place, || async { Ok(Some(cells(&overview().await?, waiting))) }).await?;
    let outcomes = "max by (domain, destination, outcome) (millrace_propagation_deadlines_total)";
    let place = ["domain", "destination", "outcome"];
    agrees(prometheus, "deadlines", outcomes, place, || deadlines(world)).await?;
    let open = "sum(max by (stage, destination, domain, class) (millrace_dead_letters_open))";
    agrees(prometheus, "open letters", open, ["none"; 3], || async {
        let open = overview().await?["dead_letters"]["open"].as_f64().unwrap_or_default();
        Ok(Some(Cells::from([(["", "", ""].map(str::to_owned), open)])))
    })
    .await
}

/// A plant that is away long enough for promises to break.
async fn outage(world: &mut World, tracker: &Tracker, prometheus: &Prometheus, questions: &mut Questions) -> Result<()> {
    world.stack.systems.plant(PUNE)?.set_mode(Mode::Down)?;
    world.write_items(100..130)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete(ULM, &golden, PATIENCE).await?;
    for alert in ["MillraceDestinationUnavailable", "MillracePropagationStalled"] {
        questions.answered(prometheus, alert).await?;
    }
    compare(world, tracker, prometheus).await?;
    // What was compared was not nothing.
    let says = |expr: &str| Ok::<_, anyhow::Error>(ask(prometheus, expr)?.iter().map(|sample| sample.value).sum::<f64>());
    let (waits, missed) = (says(UNAVAILABLE)?, says(MISSED)?);
    ensure!(waits > 29.5 && missed > 29.5, "thirty items wait, and all of them too long: {waits}, {missed}");
    questions.ask_all(prometheus)?;
    world.stack.systems.plant(PUNE)?.set_mode(Mode::Up)?;
    until("the plant to have what waited", PATIENCE, || async {
        let overview = tracker.get("overview", &[]).await.map_err(|error| format!("{error:#}"))?;
        let waits = cells(&overview, waiting).into_iter().filter(|([_, _, reason], _)| reason != "refused").collect::<Cells>();
        if waits.is_empty() { Ok(()) } else { Err(format!("{waits:?}")) }
    })
    .await
}

/// A plant that says no to a large share, and one that is paused.
async fn refusals(world: &mut World, tracker: &Tracker, prometheus: &Prometheus, questions: &mut Questions) -> Result<()> {
    for item in 200..230 {
        world.stack.systems.plant(PUNE)?.refuse(&format!("L-{item:05}/A"));
    }
    world.write_items(200..230)?;
    letters_of(tracker, PUNE, 31).await?;
    questions.answered(prometheus, "MillraceDeadLetterFlood").await?;
    tracker.post(&format!("destinations/{ULM}/pause"), &[], &json!({"reason": "line 4 stop"})).await?;
    questions.answered(prometheus, "MillraceDestinationPausedTooLong").await?;
    tracker.post(&format!("destinations/{ULM}/resume"), &[], &json!({"reason": "line 4 runs"})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_of_dashboards_and_rules_has_an_answer_and_it_is_the_trackers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    impatient(folder.path())?;
    let mut world = World::start(|options| options.landscape = folder.path().to_owned()).await?;
    let tracker = Tracker::of(&world.stack)?;
    let (targets, rules) = (targets(&world)?, chart::monitoring::rule_files()?);
    let prometheus = tokio::task::block_in_place(|| Prometheus::start(&targets, &rules))?;
    let mut questions = Questions::of_the_chart()?;

    busy_day(&mut world, &tracker).await?;
    // A row that is too short cannot be read at all.
    world.drop("items", "item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\nX-3;A\n")?;
    letters_of(&tracker, "erp", 2).await?;
    questions.answered(&prometheus, "MillraceSchemaUnreadable").await?;
    questions.ask_all(&prometheus)?;
    outage(&mut world, &tracker, &prometheus, &mut questions).await?;
    refusals(&mut world, &tracker, &prometheus, &mut questions).await?;
    compare(&world, &tracker, &prometheus).await?;
    until("every question to be answered", PATIENCE, || async {
        let mut questions = questions.clone();
        questions.ask_all(&prometheus).map_err(|error| format!("{error:#}"))?;
        let open = questions.open();
        if open.is_empty() { Ok(()) } else { Err(open.join("\n")) }
    })
    .await?;
    linted(&world)
}
