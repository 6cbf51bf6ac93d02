//! A source under change: items are written all the time, each with a text that says which writing it was; and the check that the
//! last one of each is what golden and the plants hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use avro::Topics;
use devstack::{Addresses, Systems};
use millrace_e2e::{Look, check};
use model::{Data, Domain, Golden, LedgerState};
use tokio::runtime::Runtime;

use crate::world::PREFIX;

/// Longer than the source waits for a file to stay as it is, so that every writing travels.
const PAUSE: Duration = Duration::from_millis(600);
/// Items changed by one writing.
const STEP: usize = 30;

/// Columns of the items' file.
const ITEM: usize = 0;
const REVISION: usize = 1;
const ENGLISH: usize = 4;
const GERMAN: usize = 5;

/// Writes until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Written>>,
}

/// What was written: the last text of each item by its key, and how many records in how many writings.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) records: usize,
    pub(crate) writings: usize,
}

impl Load {
    /// Changes only these items, by their keys.
    pub(crate) fn start(folder: &Path, name: &str, keys: BTreeSet<String>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, file, name) = (stop.clone(), folder.join("items.csv"), name.to_owned());
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || write(&file, &name, &keys, &seen))
            .context("starting the load")?;
        Ok(Self { stop, thread })
    }

    /// Stops writing; what was written.
    pub(crate) fn stop(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("writing the load: its thread has panicked"))?
    }
}

fn write(file: &PathBuf, name: &str, keys: &BTreeSet<String>, stop: &AtomicBool) -> Result<Written> {
    let mut written = Written::default();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let own = |line: &String| keys.contains(&key_of(line));
        let places: Vec<usize> = (1..lines.len()).filter(|place| own(&lines[*place])).collect();
        for place in places.iter().cycle().skip(next).take(STEP) {
            let mut fields: Vec<String> = lines[*place].split(';').map(str::to_owned).collect();
            let text = format!("{name} {}", written.records);
            fields[ENGLISH] = text.clone();
            fields[GERMAN] = text.clone();
            written.texts.insert(key_of(&lines[*place]), text);
            written.records += 1;
            lines[*place] = fields.join(";");
        }
        next = (next + STEP) % places.len().max(1);
        // As a source writes it: complete under another name, then renamed.
        let temporary = file.with_file_name(".items.csv.next");
        fs::write(&temporary, format!("{}\n", lines.join("\n"))).with_context(|| format!("writing {}", temporary.display()))?;
        fs::rename(&temporary, file).with_context(|| format!("naming {}", file.display()))?;
        written.writings += 1;
        std::thread::sleep(PAUSE);
    }
    Ok(written)
}

fn key_of(line: &str) -> String {
    let fields: Vec<&str> = line.split(';').collect();
    format!("{}/{}", fields.get(ITEM).unwrap_or(&""), fields.get(REVISION).unwrap_or(&""))
}

/// Golden and ledgers as a subscriber sees them.
pub(crate) struct Truth {
    look: Look,
    runtime: Runtime,
}

impl Truth {
    pub(crate) fn new(addresses: &Addresses) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // A Kafka client belongs to the runtime that it is made in.
        let look = runtime.block_on(async { Look::of(addresses, Topics::new(PREFIX)) })?;
        Ok(Self { look, runtime })
    }

    /// Keys of items that a destination has accepted, without their domain.
    pub(crate) fn accepted_items(&self, destination: &str) -> Result<BTreeSet<String>> {
        let ledger = self.runtime.block_on(self.look.ledger(destination))?;
        let is_settled = |state: LedgerState| state != LedgerState::Parked;
        let accepted = ledger.into_iter().filter(|(_, entry)| entry.accepted.is_some() && is_settled(entry.state));
        Ok(accepted.filter_map(|(key, _)| key.strip_prefix("item/").map(str::to_owned)).collect())
    }

    /// What is wrong with golden and the plants after this was written: an item whose last text is not golden's, a golden revision that a plant
    /// has not accepted, a revision that is missing or comes twice.
    pub(crate) fn problems(&self, systems: &Systems, plants: &[&str], written: &Written) -> Result<Vec<String>> {
        let seen = self.runtime.block_on(self.look.golden(Domain::Item))?;
        let mut problems = check::revisions_rise_once(&seen);
        let golden = check::newest(&seen);
        for (key, text) in &written.texts {
            let held = golden.get(&format!("item/{key}")).and_then(german);
            if held.as_ref() != Some(text) {
                problems.push(format!("golden: {key} has the text {held:?}, the source wrote {text:?}"));
            }
        }
        for name in plants {
            let plant = systems.plant(name)?;
            let ledger = self.runtime.block_on(self.look.ledger(name))?;
            let is_written =
                |golden: &Golden| key(golden).is_some_and(|key| written.texts.contains_key(&key)) && is_made_in(golden, name);
            let unequal = check::plant_equals_golden(name, plant, &ledger, &golden, is_written);
            // Parked before, for reasons of the sample.
            problems.extend(unequal.into_iter().filter(|problem| !problem.contains("is parked")));
            problems.extend(check::plant_saw_order(name, plant));
        }
        Ok(problems)
    }
}

fn german(golden: &Golden) -> Option<String> {
    let Some(Data::Item(item)) = &golden.data else { return None };
    item.descriptions.iter().find(|text| text.lang == "de").map(|text| text.text.clone())
}

fn key(golden: &Golden) -> Option<String> {
    let Some(Data::Item(item)) = &golden.data else { return None };
    Some(format!("{}/{}", item.item_id, item.revision))
}

/// A destination is called after its plant; Brno takes what Ulm takes.
fn is_made_in(golden: &Golden, destination: &str) -> bool {
    let Some(Data::Item(item)) = &golden.data else { return false };
    let plant = if destination == "mes-pune" { "pune" } else { "ulm" };
    item.plants.iter().any(|made| made.plant == plant)
}
