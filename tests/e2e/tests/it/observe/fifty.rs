//! Fifty destinations: how many series each process has, and whether every family stays within its budget (experience.md 9).
//!
//! Sinks are alike: a few of them are started, each must have as many series as the next, and fifty are as many times that. The bench
//! `fleet` starts them all and measures memory and scrapes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use devstack::{Stack, StackOptions, provision::copy_folder};
use millrace_e2e::{check, landscape, until};
use model::{LetterClass, Reason};
use telemetry::{CATALOGUE, Declared};

use crate::{
    telemetry::{Scrape, declared, parse},
    world::PATIENCE,
};

const DESTINATIONS: usize = 50;
/// Series of one family in one process: the largest is 8 domains × 50 destinations × 13.
const BUDGET: usize = 5_200;
/// Kinds of what needs a person.
const NEEDS: usize = 14;
const STARTED: [&str; 3] = ["plant-01", "plant-25", "plant-50"];

/// Sizes of the closed sets that labels are of.
struct Sizes {
    domains: usize,
    /// Destinations that the process speaks about, and none.
    destinations: usize,
}

/// As many series as a family can have in one process, if every label set occurs.
fn at_most(family: &Declared, sizes: &Sizes) -> usize {
    let size = |label: &&str| match (*label, family.name) {
        ("domain", _) => sizes.domains + 1,
        ("destination", _) => sizes.destinations,
        (
            "outcome",
            "millrace_destination_requests_total" | "millrace_destination_request_seconds" | "millrace_records_total",
        ) => 8,
        ("outcome", "millrace_registry_requests_total" | "millrace_registry_request_seconds") => 7,
        ("operation", "millrace_registry_requests_total" | "millrace_registry_request_seconds") => 7,
        ("outcome" | "how", _) => 3,
        ("operation", _) => 2,
        // A code has one class.
        ("class", "millrace_dead_letters_written_total") => 1,
        ("class", _) => LetterClass::SYMBOLS.len(),
        ("code" | "rule", _) => 60,
        // A rule has one severity.
        ("severity", _) => 1,
        ("reason", "millrace_propagation_waiting_records" | "millrace_held_records" | "millrace_held_oldest_seconds") => {
            Reason::SYMBOLS.len() + 1
        }
        ("stage", "millrace_stage_seconds") => 3,
        // The replayer reads letters and receipts of every destination.
        ("topic", _) => sizes.domains + 2 + 2 * sizes.destinations,
        ("state", _) => 5,
        ("kind", "millrace_needs_a_person") => NEEDS,
        // Sources, the validator and the tracker itself beside the destinations.
        ("system", _) => sizes.destinations + 4,
        ("kind" | "reason", _) => 3,
        // Of one source.
        ("stream", _) => 16,
        ("stage" | "source" | "group" | "component" | "policy_version" | "version" | "revision", _) => 1,
        (other, name) => unreachable!("label {other} of {name} has no size here"),
    };
    let sets: usize = family.labels.iter().map(size).product();
    sets * family.buckets.map_or(1, |buckets| buckets.len() + 3)
}

/// What a process says, once its group told of its lag.
async fn settled(stack: &Stack, process: &str, awaited: &str) -> Result<Scrape> {
    until(&format!("{process} to emit {awaited}"), PATIENCE, || async {
        let text = tokio::task::block_in_place(|| stack.fleet.metrics(process)).map_err(|error| format!("{error:#}"))?;
        let scrape = parse(&text).map_err(|error| format!("{error:#}"))?;
        if scrape.get(awaited).is_some_and(|family| !family.series.is_empty()) { Ok(scrape) } else { Err("not yet".to_owned()) }
    })
    .await
}

fn total(scrape: &Scrape) -> usize {
    scrape.values().map(|family| family.series.len()).sum()
}

/// Landscape `load` with fifty plants, of one slot so that the broker has little to do.
async fn fifty_plants(folder: &std::path::Path) -> Result<Stack> {
    copy_folder(&landscape("load"), folder)?;
    let plant = fs::read_to_string(folder.join("destinations/mes-ulm.yaml"))?;
    for name in ["mes-ulm", "mes-pune"] {
        fs::remove_file(folder.join(format!("destinations/{name}.yaml")))?;
    }
    for number in 1..=DESTINATIONS {
        fs::write(folder.join(format!("destinations/plant-{number:02}.yaml")), &plant)?;
    }
    let root = folder.join("millrace.yaml");
    fs::write(&root, fs::read_to_string(&root)?.replace("slots: 6", "slots: 1"))?;
    let mut stack = Stack::start(StackOptions::new(folder)).await?;
    tokio::task::block_in_place(|| -> Result<()> {
        let store = stack.folder().join("tracker.sqlite");
        stack.fleet.tracker(&store)?;
        stack.fleet.replayer()?;
        stack.fleet.validator("validator")?;
        for destination in STARTED {
            stack.fleet.sink(destination, &stack.systems.plant(destination)?.url())?;
        }
        stack.fleet.publisher("erp", &stack.systems.source_endpoint("erp")?)?;
        stack.fleet.wait_ready(PATIENCE)
    })?;
    Ok(stack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_destinations_stay_within_the_budget_of_series() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = fifty_plants(folder.path()).await?;
    let domains = stack.landscape.domains.len();
    let (lag, oldest) = ("millrace_consumer_lag_records", "millrace_propagation_oldest_waiting_seconds");
    let mut fleet: BTreeMap<&str, Scrape> = BTreeMap::new();
    for (process, awaited) in
        [("tracker", oldest), ("validator", lag), ("replayer", lag), ("publisher-erp", "millrace_build_info")]
    {
        fleet.insert(process, settled(&stack, process, awaited).await?);
    }
    let mut sinks = Vec::new();
    for destination in STARTED {
        sinks.push(settled(&stack, &format!("sink-{destination}"), lag).await?);
    }

    // Each family of each process is within the budget, now and if everything happens that can.
    let mut over = Vec::new();
    for (process, scrape) in fleet.iter().map(|(name, scrape)| (*name, scrape)).chain([("sink", &sinks[0])]) {
        let service = process.split('-').next().unwrap_or_default();
        let destinations = if ["tracker", "replayer"].contains(&service) { DESTINATIONS + 2 } else { 1 };
        let sizes = Sizes { domains, destinations };
        for (name, family) in scrape.iter().filter(|(name, _)| name.starts_with("millrace_")) {
            let declared = declared(name).with_context(|| format!("{name} is not declared"))?;
            let (found, limit) = (family.series.len(), at_most(declared, &sizes));
            if found > limit || limit > BUDGET {
                over.push(format!("{process}: {name} has {found} series, can have {limit}, may have {BUDGET}"));
            }
        }
    }
    let unemitted = |family: &&Declared| !fleet.values().chain(&sinks).any(|scrape| scrape.contains_key(family.name));
    for family in CATALOGUE.iter().filter(unemitted) {
        let limit = at_most(family, &Sizes { domains, destinations: 1 });
        if limit > BUDGET {
            over.push(format!("{} can have {limit} series", family.name));
        }
    }
    check::assert_none("over the budget", &over);

    // What grows with destinations grows as it should, no more.
    let tracker = &fleet["tracker"];
    let cells = DESTINATIONS * domains;
    for (name, wanted) in [
        ("millrace_propagation_seconds", cells * 13),
        ("millrace_propagation_deadlines_total", cells * 2),
        ("millrace_propagation_deadline_seconds", cells),
        ("millrace_propagation_waiting_records", cells),
        ("millrace_propagation_oldest_waiting_seconds", cells),
    ] {
        assert_eq!(tracker[name].series.len(), wanted, "{name}");
    }
    let each: Vec<usize> = sinks.iter().map(total).collect();
    assert!(each.iter().all(|count| *count == each[0]), "sinks are alike: {each:?}");
    let others: Vec<(&str, usize)> = fleet.iter().map(|(process, scrape)| (*process, total(scrape))).collect();
    let all = each[0] * DESTINATIONS + others.iter().map(|(_, count)| count).sum::<usize>();
    let most = |service: &str, destinations: usize| -> usize {
        let families = CATALOGUE.iter().filter(|family| family.services.contains(&service));
        families.map(|family| at_most(family, &Sizes { domains, destinations })).sum()
    };
    let (sink, tracker) = (most("sink", 1), most("tracker", DESTINATIONS + 2));
    println!(
        "series, if everything happens that can: each sink {sink}, the tracker {tracker}, the validator {}",
        most("validator", 1)
    );
    println!("series, idle: each sink {}, {others:?}; {DESTINATIONS} sinks and one of each other: {all}", each[0]);
    assert!(each[0] < 200, "an idle sink has {} series", each[0]);
    Ok(())
}
