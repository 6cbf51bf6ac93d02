//! What `telemetry` declares is what the services emit: no more, no less, under these names and labels.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use millrace_e2e::{check, until};
use model::{LetterStatus, Stage};
use serde_json::{Value, json};
use telemetry::{CATALOGUE, Declared, Kind};

use crate::{
    tracker::Tracker,
    world::{PATIENCE, World},
};

/// Process → service.
pub(crate) const FLEET: [(&str, &str); 7] = [
    ("publisher-erp", "publisher"),
    ("publisher-crm", "publisher"),
    ("validator", "validator"),
    ("sink-mes-ulm", "sink"),
    ("sink-mes-pune", "sink"),
    ("replayer", "replayer"),
    ("tracker", "tracker"),
];

/// Families that wait for an event, and the processes where this run brings it about. Those of [`SILENT`] it does not.
const CAUSED: [(&str, &[&str]); 22] = [
    ("millrace_propagation_seconds", &["tracker"]),
    ("millrace_propagation_deadlines_total", &["tracker"]),
    ("millrace_propagation_waiting_records", &["tracker"]),
    ("millrace_needs_a_person", &["tracker"]),
    ("millrace_stage_seconds", &["publisher-erp", "publisher-crm", "validator", "sink-mes-ulm", "sink-mes-pune"]),
    ("millrace_records_total", &["publisher-erp", "publisher-crm", "validator", "sink-mes-ulm", "sink-mes-pune"]),
    ("millrace_findings_total", &["validator"]),
    ("millrace_destination_requests_total", &["sink-mes-ulm", "sink-mes-pune"]),
    ("millrace_destination_request_seconds", &["sink-mes-ulm", "sink-mes-pune"]),
    ("millrace_dead_letters_open", &["tracker"]),
    ("millrace_dead_letters_oldest_open_seconds", &["tracker"]),
    ("millrace_dead_letters_written_total", &["publisher-erp", "validator", "sink-mes-pune"]),
    ("millrace_dead_letters_closed_total", &["replayer"]),
    ("millrace_dead_letter_detect_seconds", &["tracker"]),
    ("millrace_dead_letter_resolve_seconds", &["tracker"]),
    ("millrace_corrections_total", &["tracker"]),
    ("millrace_replay_records_total", &["replayer"]),
    ("millrace_consumer_lag_records", &["validator", "sink-mes-ulm", "sink-mes-pune", "replayer"]),
    ("millrace_consumer_lag_seconds", &["validator", "sink-mes-ulm", "sink-mes-pune", "replayer", "tracker"]),
    ("millrace_consumer_rebalances_total", &["validator", "sink-mes-ulm", "sink-mes-pune", "replayer"]),
    // Steady, and with labels that only this run brings.
    ("millrace_parked_keys", &["sink-mes-ulm", "sink-mes-pune"]),
    ("millrace_replay_plans", &["replayer"]),
];

/// Trouble that this run has none of, and that shows no zeros; the cursor of a polled source, where the sources of this run drop files
/// (`publisher.rs` looks at it).
const SILENT: [&str; 2] = ["millrace_spans_dropped_total", "millrace_source_cursor_timestamp_seconds"];

/// A scraped family.
#[derive(Debug, Default)]
pub(crate) struct Family {
    help: String,
    kind: String,
    /// Labels → value of each series; of a histogram each of its buckets is one.
    pub(crate) series: Vec<(BTreeMap<String, String>, f64)>,
}

pub(crate) type Scrape = BTreeMap<String, Family>;

/// Reads the text format 0.0.4.
pub(crate) fn parse(text: &str) -> Result<Scrape> {
    let mut families = Scrape::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').context("a help text")?;
            help.clone_into(&mut families.entry(name.to_owned()).or_default().help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("a type")?;
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
        } else {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("a sample: {line}"))?;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = read_labels(labels.strip_suffix('}').with_context(|| format!("closed labels: {line}"))?)?;
            let family = family_of(&families, name).with_context(|| format!("{name} comes before its type"))?.to_owned();
            families.entry(family).or_default().series.push((labels, value.parse()?));
        }
    }
    Ok(families)
}

fn family_of<'a>(families: &Scrape, name: &'a str) -> Option<&'a str> {
    let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
    let mut histograms = parts.filter(|base| families.get(*base).is_some_and(|family| family.kind == "histogram"));
    histograms.next().or(families.contains_key(name).then_some(name))
}

fn read_labels(mut rest: &str) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let (mut value, mut end, mut is_escaped) = (String::new(), None, false);
        for (at, character) in quoted.char_indices() {
            match character {
                '"' if !is_escaped => {
                    end = Some(at);
                    break;
                }
                '\\' if !is_escaped => is_escaped = true,
                _ => {
                    value.push(character);
                    is_escaped = false;
                }
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = quoted.get(end.context("an open label value")? + 1..).unwrap_or_default();
    }
    ensure!(rest.is_empty(), "after the labels: {rest}");
    Ok(labels)
}

/// Scrapes one process as Prometheus does.
async fn scrape(world: &World, process: &str) -> Result<Scrape> {
    let answer = reqwest::get(format!("{}/metrics", world.stack.fleet.ops(process)?)).await?;
    let content_type = answer.headers().get("content-type").context("a content type")?.to_str()?.to_owned();
    ensure!(content_type == "text/plain; version=0.0.4", "{process}: content type {content_type:?}");
    parse(&answer.text().await?).with_context(|| format!("the metrics of {process}"))
}

pub(crate) fn declared(name: &str) -> Option<&'static Declared> {
    CATALOGUE.iter().find(|family| family.name == name)
}

/// What is emitted but not declared so.
fn undeclared(process: &str, service: &str, scrape: &Scrape) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, family) in scrape.iter().filter(|(name, _)| name.starts_with("millrace_")) {
        let Some(declared) = declared(name) else {
            wrong.push(format!("{process} emits {name}, which is not declared"));
            continue;
        };
        if !declared.services.contains(&service) {
            wrong.push(format!("{process} emits {name}, declared by {:?}", declared.services));
        }
        let kind = match declared.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        if (family.kind.as_str(), family.help.as_str()) != (kind, declared.help) {
            wrong.push(format!("{process}: {name} is a {}: {}", family.kind, family.help));
        }
        let wanted: BTreeSet<&str> = declared.labels.iter().copied().collect();
        for (labels, _) in &family.series {
            let names: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            if names != wanted {
                wrong.push(format!("{process}: {name} has labels {names:?}, declared {wanted:?}"));
            }
        }
    }
    wrong
}

/// What is declared, or was brought about, but not emitted.
fn unemitted(process: &str, service: &str, scrape: &Scrape) -> Vec<String> {
    let is_there = |name: &str| scrape.get(name).is_some_and(|family| !family.series.is_empty());
    let steady = CATALOGUE.iter().filter(|family| family.steady && family.services.contains(&service)).map(|family| family.name);
    let caused = CAUSED.iter().filter(|(_, processes)| processes.contains(&process)).map(|(name, _)| *name);
    steady.chain(caused).filter(|name| !is_there(name)).map(|name| format!("{process} does not emit {name}")).collect()
}

/// Sum of a family's series that have this label.
fn sum(scrape: &Scrape, name: &str, label: (&str, &str)) -> f64 {
    let series = scrape.get(name).into_iter().flat_map(|family| &family.series);
    series.filter(|(labels, _)| labels.get(label.0).is_some_and(|value| value == label.1)).map(|(_, value)| value).sum()
}

/// Open letters by stage, destination, domain and class, as the API lists them.
async fn open_letters(tracker: &Tracker) -> Result<BTreeMap<[String; 4], u64>> {
    let list = tracker.get("dead-letters", &[("limit", "500")]).await?;
    let mut groups = BTreeMap::new();
    for item in list["items"].as_array().context("a list of letters")? {
        let status: LetterStatus = serde_json::from_value(item.clone())?;
        let destination = if status.stage == Stage::Deliver { status.system } else { String::new() };
        let domain = status.domain.map(|domain| domain.name().to_owned()).unwrap_or_default();
        let group = [status.stage.name().to_owned(), destination, domain, status.class.name().to_owned()];
        *groups.entry(group).or_insert(0) += 1;
    }
    Ok(groups)
}

/// The same from the metrics; what is 0 is not open.
fn open_letters_of(scrape: &Scrape) -> BTreeMap<[String; 4], u64> {
    let series = scrape.get("millrace_dead_letters_open").into_iter().flat_map(|family| &family.series);
    series
        .filter(|(_, value)| *value > 0.0)
        .map(|(labels, value)| {
            let group = ["stage", "destination", "domain", "class"].map(|label| labels.get(label).cloned().unwrap_or_default());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
            (group, *value as u64)
        })
        .collect()
}

/// The letters of one system, once there are so many.
pub(crate) async fn letters_of(tracker: &Tracker, system: &str, count: usize) -> Result<Vec<Value>> {
    until(&format!("{count} open letters of {system}"), PATIENCE, || async {
        let query = [("system", system)];
        let list = tracker.get("dead-letters", &query).await.map_err(|error| format!("{error:#}"))?;
        let letters = list["items"].as_array().cloned().unwrap_or_default();
        if letters.len() == count { Ok(letters) } else { Err(list.to_string()) }
    })
    .await
}

/// A little of everything: good records, a row that cannot be mapped, a missing unit, a missing parent, a refusal and its replay.
pub(crate) async fn busy_day(world: &mut World, tracker: &Tracker) -> Result<()> {
    let header = "item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\n";
    world.stack.systems.plant("mes-pune")?.refuse("L-00001/A");
    world.stack.systems.plant("mes-pune")?.refuse("L-00002/A");
    world.write_items(0..30)?;
    world.drop("items", &format!("{header}X-1;A;a weight in words;C62;heavy;CT;2\nX-2;A;an unknown unit;SET;1.5;CT;2\n"))?;
    world.drop("customers", "id;name;parent\nK-1;mill;\nK-2;branch;K-9\n")?;
    until("the validator to tell that a customer waits", PATIENCE, || async {
        let scrape = scrape(world, "validator").await.map_err(|error| format!("{error:#}"))?;
        let held = sum(&scrape, "millrace_held_records", ("domain", "customer"));
        if held > 0.0 { Ok(()) } else { Err(format!("{held}")) }
    })
    .await?;
    // Its parent, before it becomes a letter.
    world.drop("customers", "id;name;parent\nK-9;holding;\n")?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    letters_of(tracker, "erp", 1).await?;
    letters_of(tracker, "validator", 1).await?;

    let refused = letters_of(tracker, "mes-pune", 2).await?;
    world.stack.systems.plant("mes-pune")?.accept("L-00001/A");
    let first = refused.iter().find(|letter| letter["key"] == "L-00001/A").context("the letter of L-00001/A")?;
    let plan = json!({"filter": {"ids": [first["id"]]}, "reason": "the plant takes it now"});
    let made = tracker.post("replay-plans", &[], &plan).await?;
    let plan = format!("replay-plans/{}", made["id"].as_str().context("the plan's id")?);
    until("the plan to be made", PATIENCE, || async {
        tracker.get(&plan, &[]).await.map(drop).map_err(|error| format!("{error:#}"))
    })
    .await?;
    tracker.post(&format!("{plan}/run"), &[], &json!({})).await?;
    letters_of(tracker, "mes-pune", 1).await?;
    Ok(())
}

#[test]
fn every_family_that_waits_for_an_event_is_brought_about_or_named_as_trouble() {
    let known: BTreeSet<&str> = CAUSED.iter().map(|(name, _)| *name).chain(SILENT).collect();
    let forgotten: Vec<_> =
        CATALOGUE.iter().filter(|family| !family.steady && !known.contains(family.name)).map(|family| family.name).collect();
    assert_eq!(forgotten, [""; 0], "add them to the run or say why they stay silent");
    let gone: Vec<_> = known.iter().filter(|name| declared(name).is_none()).collect();
    assert!(gone.is_empty(), "{gone:?} are not declared");
    for (name, processes) in CAUSED {
        for (process, service) in FLEET.iter().filter(|(process, _)| processes.contains(process)) {
            let declared = declared(name).map_or(&[][..], |family| family.services);
            assert!(declared.contains(service), "{process} is to emit {name}, declared by {declared:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_is_emitted_and_what_is_emitted_is_declared() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let tracker = Tracker::of(&world.stack)?;
    busy_day(&mut world, &tracker).await?;

    until("every process to emit what it declares", PATIENCE, || async {
        let mut missing = Vec::new();
        for (process, service) in FLEET {
            let scrape = scrape(&world, process).await.map_err(|error| format!("{error:#}"))?;
            missing.extend(unemitted(process, service, &scrape));
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    })
    .await?;
    let (mut scrapes, mut wrong) = (BTreeMap::new(), Vec::new());
    for (process, service) in FLEET {
        let scrape = scrape(&world, process).await?;
        wrong.extend(undeclared(process, service, &scrape));
        scrapes.insert(process, scrape);
    }
    check::assert_none("declared otherwise", &wrong);

    // The figures are those of what happened.
    let counted = |process: &str, name: &str, label| scrapes.get(process).map_or(-1.0, |scrape| sum(scrape, name, label));
    for (process, name, label, count) in [
        ("publisher-erp", "millrace_records_total", ("outcome", "dead_lettered"), 1.0_f64),
        ("publisher-erp", "millrace_dead_letters_written_total", ("stage", "capture"), 1.0),
        ("validator", "millrace_dead_letters_written_total", ("stage", "validate"), 1.0),
        ("validator", "millrace_records_total", ("outcome", "dead_lettered"), 1.0),
        ("sink-mes-pune", "millrace_dead_letters_written_total", ("stage", "deliver"), 2.0),
        ("sink-mes-pune", "millrace_parked_keys", ("domain", "item"), 1.0),
        ("sink-mes-ulm", "millrace_parked_keys", ("domain", "item"), 0.0),
        ("replayer", "millrace_dead_letters_closed_total", ("how", "accepted"), 1.0),
        ("replayer", "millrace_replay_records_total", ("outcome", "accepted"), 1.0),
        ("tracker", "millrace_corrections_total", ("kind", "replay"), 1.0),
    ] {
        let found = counted(process, name, label);
        if found.to_bits() != count.to_bits() {
            wrong.push(format!("{process}: {name} with {label:?} is {found}, wanted {count}"));
        }
    }
    check::assert_none("counted otherwise", &wrong);

    until("the gauge of open letters to equal the API's list", PATIENCE, || async {
        let listed = open_letters(&tracker).await.map_err(|error| format!("{error:#}"))?;
        let shown = open_letters_of(&scrape(&world, "tracker").await.map_err(|error| format!("{error:#}"))?);
        if listed == shown && listed.len() == 3 { Ok(()) } else { Err(format!("the API: {listed:?}; the gauge: {shown:?}")) }
    })
    .await
}
