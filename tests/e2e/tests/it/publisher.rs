//! A publisher alone, on the sample company: what it writes, and that no crash makes it write anything twice or not at all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use devstack::{RestMode, Stack, StackOptions};
use millrace_e2e::{Look, sample_data, sample_landscape, until};
use model::{Act, Change, Command, DeadLetter, Operation, Outgoing, Slot, SourceState, Stage, Timestamp};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const PATIENCE: Duration = Duration::from_secs(240);
const ERP: &str = "publisher-erp";
/// Rows of deploy/sample/erp.
const ERP_ROWS: usize = 300 + 2 + 20 + 20;
const CUSTOMERS: usize = 40;

struct Alone {
    stack: Stack,
    look: Look,
}

impl Alone {
    async fn start() -> Result<Self> {
        Self::start_with(sample_landscape()).await
    }

    async fn start_with(landscape: PathBuf) -> Result<Self> {
        let mut options = StackOptions::new(landscape);
        options.sample = Some(sample_data());
        let stack = Stack::start(options).await?;
        let look = Look::at(&stack)?;
        Ok(Self { stack, look })
    }

    fn publish(&mut self, source: &str) -> Result<()> {
        let endpoint = self.stack.systems.source_endpoint(source)?;
        self.stack.fleet.publisher(source, &endpoint)
    }

    fn ready(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.stack.fleet.wait_ready(PATIENCE))
    }

    /// Every change of a source, in the order of each partition.
    async fn changes(&self, source: &str) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for (_, domain) in self.stack.landscape.captures().filter(|(name, _)| *name == source) {
            changes.extend(self.look.changes(source, domain).await?);
        }
        Ok(changes)
    }

    async fn until_changes(&self, source: &str, count: usize) -> Result<Vec<Change>> {
        until("changes", PATIENCE, || async {
            let changes = self.changes(source).await.map_err(|error| format!("{error:#}"))?;
            if changes.len() >= count {
                return Ok(changes);
            }
            let letters = self.look.letters(source).await.map_err(|error| format!("{error:#}"))?;
            let first = letters.first().map(|letter| (&letter.code, &letter.message));
            Err(format!("{} of {count} changes, {} letters, e.g. {first:?}", changes.len(), letters.len()))
        })
        .await
    }

    async fn until_letters(&self, source: &str, count: usize) -> Result<Vec<DeadLetter>> {
        until("letters", PATIENCE, || async {
            let letters = self.look.letters(source).await.map_err(|error| format!("{error:#}"))?;
            if letters.len() >= count { Ok(letters) } else { Err(format!("{} of {count} letters", letters.len())) }
        })
        .await
    }

    /// The publisher has said this of its source.
    async fn until_said(&self, source: &str, state: SourceState, reason: &str) -> Result<()> {
        until("the publisher to say how its source is", PATIENCE, || async {
            let said = self.look.sources().await.map_err(|error| format!("{error:#}"))?;
            let is_said = said
                .get(source)
                .is_some_and(|status| status.state == state && status.reason.as_deref().unwrap_or_default().contains(reason));
            if is_said { Ok(()) } else { Err(format!("{said:?}")) }
        })
        .await
    }

    fn items_file(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(self.stack.systems.source_endpoint("erp")?).join("items.csv"))
    }

    /// Replaces the file as a careful writer does.
    fn write_items(&self, text: &str) -> Result<()> {
        let path = self.items_file()?;
        let unfinished = path.with_extension("csv.tmp");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(unfinished, path).context("putting the file in its place")
    }

    /// The publisher counted a whole pass that began after this call.
    async fn one_more_pass(&self, name: &str) -> Result<()> {
        let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64() + 1.0;
        until("a pass", PATIENCE, || async {
            let metrics = self.stack.fleet.metrics(name).map_err(|error| format!("{error:#}"))?;
            let last = metrics
                .lines()
                .find(|line| line.starts_with("millrace_source_last_success_timestamp_seconds"))
                .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            if last > Some(begun) { Ok(()) } else { Err(format!("last success at {last:?}")) }
        })
        .await
    }
}

/// Each source key was sent once: nothing twice, nothing left out.
fn assert_once(changes: &[Change], count: usize) {
    let mut sent: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for change in changes {
        *sent.entry((&change.meta.source_entity, &change.meta.source_key)).or_default() += 1;
    }
    let twice: Vec<_> = sent.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    assert_eq!(sent.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sources_arrive_and_a_restart_sends_nothing_again() -> Result<()> {
    let mut alone = Alone::start().await?;
    alone.publish("erp")?;
    alone.publish("crm")?;
    alone.ready()?;
    assert_once(&alone.until_changes("erp", ERP_ROWS).await?, ERP_ROWS);
    let customers = alone.until_changes("crm", CUSTOMERS).await?;
    assert_once(&customers, CUSTOMERS);
    assert!(customers.iter().all(|change| change.meta.operation == Operation::Snapshot));
    assert!(customers.iter().all(|change| change.meta.source_sequence == change.meta.occurred_at.micros()));
    for name in [ERP, "publisher-crm"] {
        assert!(tokio::task::block_in_place(|| alone.stack.fleet.stop(name))?.success(), "{name} drains");
        alone.stack.fleet.start_again(name)?;
    }
    alone.ready()?;
    for name in [ERP, "publisher-crm"] {
        alone.one_more_pass(name).await?;
    }
    assert_once(&alone.changes("erp").await?, ERP_ROWS);
    assert_once(&alone.changes("crm").await?, CUSTOMERS);
    assert!(alone.look.letters("erp").await?.is_empty());

    // A person edits the file: the change is out within a second on a machine with nothing else to do.
    let sample = std::fs::read_to_string(alone.items_file()?)?;
    let begun = Instant::now();
    alone.write_items(&sample.replacen("Submersible pump DN 150", "Submersible pump DN 151", 1))?;
    let changes = alone.until_changes("erp", ERP_ROWS + 1).await?;
    let newest = changes.iter().max_by_key(|change| change.meta.captured_at).context("there are changes")?;
    let captured = newest.meta.captured_at.since(newest.meta.occurred_at);
    println!("from the file to its capture {captured:?}, to a reader of `change` {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landscape_with_a_lower_epoch_than_the_memory_does_not_start() -> Result<()> {
    let raised = tempfile::tempdir()?;
    copy(&sample_landscape(), raised.path())?;
    let source = raised.path().join("sources/erp.yaml");
    std::fs::write(&source, std::fs::read_to_string(&source)?.replacen("epoch: 1", "epoch: 2", 1))?;
    let mut alone = Alone::start_with(raised.path().to_owned()).await?;
    alone.publish("erp")?;
    alone.ready()?;
    let changes = alone.until_changes("erp", ERP_ROWS).await?;
    assert!(changes.iter().all(|change| change.meta.source_epoch == 2));
    assert!(tokio::task::block_in_place(|| alone.stack.fleet.stop(ERP))?.success());
    std::fs::write(&source, std::fs::read_to_string(&source)?.replacen("epoch: 2", "epoch: 1", 1))?;
    alone.stack.fleet.start_again(ERP)?;
    let status = until("the publisher to end", PATIENCE, || {
        let ended = alone.stack.fleet.ended(ERP).map_err(|error| format!("{error:#}"));
        std::future::ready(ended.and_then(|ended| ended.ok_or_else(|| "it runs".to_owned())))
    })
    .await?;
    assert_eq!(status.code(), Some(78));
    assert!(alone.stack.fleet.log(ERP)?.contains("captured under epoch 2, the landscape says 1"));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("an entry has a name")?);
        if path.is_dir() { copy(&path, &target)? } else { _ = std::fs::copy(&path, &target)? }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_nothing_and_sends_nothing_twice() -> Result<()> {
    let seed: u64 =
        std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("seed: MILLRACE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut alone = Alone::start().await?;
    let sample = std::fs::read_to_string(alone.items_file()?)?;
    let (header, rows) = sample.split_once('\n').context("the sample has a header")?;
    let row = rows.lines().next().context("the sample has rows")?;
    let (_, rest) = row.split_once(';').context("the item is the first column")?;
    let many: String = (0..20_000).map(|number| format!("K-{number:05};{rest}\n")).collect();
    alone.write_items(&format!("{header}\n{many}"))?;
    alone.publish("erp")?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1_500))).await;
        alone.stack.fleet.kill(ERP)?;
        alone.stack.fleet.start_again(ERP)?;
    }
    let count = ERP_ROWS - 300 + 20_000;
    alone.until_changes("erp", count).await?;
    alone.one_more_pass(ERP).await?;
    assert_once(&alone.changes("erp").await?, count);
    let resident = alone.stack.fleet.resident_memory(ERP)?;
    println!("resident with {count} keys: {} MiB", resident / 1024 / 1024);
    assert!(resident < 100 * 1024 * 1024, "{resident}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_become_letters_deletes_are_found_and_good_rows_close_letters() -> Result<()> {
    let mut alone = Alone::start().await?;
    alone.publish("erp")?;
    alone.ready()?;
    alone.until_changes("erp", ERP_ROWS).await?;
    let sample = std::fs::read_to_string(alone.items_file()?)?;
    let lines: Vec<&str> = sample.lines().collect();

    // One row unmappable, one broken, the others as they were.
    let mut bad: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    bad[1] = bad[1].replacen(";A;2024-01-01;", ";A;2024-02-31;", 1);
    bad[2] = bad[2].replacen("Spare part kit", "\"Spare part kit", 1);
    alone.write_items(&(bad.join("\n") + "\n"))?;
    let letters = alone.until_letters("erp", 3).await?;
    let codes: Vec<_> = letters.iter().map(|letter| letter.code.as_str()).collect();
    // The broken row shows no key: its item is missing, and nothing says that it is gone.
    for code in ["ROW_BROKEN", "MAPPING_VALUE", "DELETES_WITHHELD"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    let unmapped = letters.iter().find(|letter| letter.code == "MAPPING_VALUE").context("found above")?;
    assert_eq!((unmapped.stage, unmapped.headers["line"].as_str()), (Stage::Capture, "2"));
    assert_eq!(unmapped.owner.as_deref(), Some("ERP operations"));

    // Corrected at the source, and one item gone: two changes, and a row once more for the third letter.
    let good: Vec<&str> = lines.iter().enumerate().filter(|(index, _)| *index != 5).map(|(_, line)| *line).collect();
    alone.write_items(&(good.join("\n") + "\n"))?;
    let changes = alone.until_changes("erp", ERP_ROWS + 3).await?;
    alone.one_more_pass(ERP).await?;
    let caused: Vec<_> = changes.iter().filter_map(|change| change.meta.causation_id.clone()).collect();
    assert!(letters.iter().all(|letter| caused.contains(&letter.id.0)), "{caused:?} close {letters:#?}");
    let deletes: Vec<_> = changes.iter().filter(|change| change.data.is_none()).collect();
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0].meta.operation, Operation::Delete);

    // Most items gone: nothing is deleted, one letter says so.
    alone.write_items(&(lines[..20].join("\n") + "\n"))?;
    let letters = alone.until_letters("erp", 4).await?;
    assert!(letters.iter().any(|letter| letter.code == "MASS_DELETE"));
    alone.one_more_pass(ERP).await?;
    assert_eq!(alone.changes("erp").await?.iter().filter(|change| change.data.is_none()).count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letters_row_is_captured_again_on_command_and_tells_when_it_fails_again() -> Result<()> {
    let mut alone = Alone::start().await?;
    let sample = std::fs::read_to_string(alone.items_file()?)?;
    let lines: Vec<String> = sample.lines().map(ToOwned::to_owned).collect();
    let mut bad = lines.clone();
    bad[1] = bad[1].replacen(";A;2024-01-01;", ";A;2024-02-31;", 1);
    alone.write_items(&(bad.join("\n") + "\n"))?;
    alone.publish("erp")?;
    alone.ready()?;
    let letter = alone.until_letters("erp", 1).await?.remove(0);
    let source_key = letter.source_key.clone().context("the letter of a row with a key")?;

    let registry = registry::Registry::new(alone.stack.registry())?;
    let topic = alone.stack.topics.command("erp");
    let writer = registry.writer(&[(avro::Schema::Command, topic.clone())]).await?;
    let key = format!("item/{source_key}");
    let command: Command = serde_json::from_value(serde_json::json!({
        "command_id": "1", "act": Act::Capture, "stage": Stage::Capture, "domain": "item", "actor": "test", "at": Timestamp::default(),
        "letter": letter.id, "source_key": source_key,
    }))?;
    let slots = alone.stack.landscape.kafka.slots;
    let record = Outgoing { topic, slot: Slot::of(&key, slots), key, value: Some(writer.encode(&command)?), headers: Vec::new() };
    let producer = kafka::Producer::new(&alone.stack.client("test"))?;
    producer.send(&record).await?;

    // Nothing was corrected: the same letter comes again, under its own name.
    let dlq = alone.stack.topics.dlq("erp");
    until("the letter to come again", PATIENCE, || async {
        let records = alone.look.records(&dlq).await.map_err(|error| format!("{error:#}"))?;
        if records.len() == 2 { Ok(()) } else { Err(format!("{} letters", records.len())) }
    })
    .await?;
    assert_eq!(alone.look.letters("erp").await?.len(), 1);

    // The command is done: a restart does not repeat it.
    assert!(tokio::task::block_in_place(|| alone.stack.fleet.stop(ERP))?.success());
    alone.stack.fleet.start_again(ERP)?;
    alone.ready()?;
    alone.one_more_pass(ERP).await?;
    assert_eq!(alone.look.records(&dlq).await?.len(), 2);

    alone.write_items(&(lines.join("\n") + "\n"))?;
    let changes = alone.until_changes("erp", ERP_ROWS).await?;
    assert!(changes.iter().any(|change| change.meta.causation_id.as_ref() == Some(&letter.id.0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_answers_nonsense_is_waited_for_and_then_caught_up_with() -> Result<()> {
    let mut alone = Alone::start().await?;
    alone.publish("crm")?;
    alone.ready()?;
    alone.until_changes("crm", CUSTOMERS).await?;
    for (mode, told) in [
        (RestMode::Html, "answers no JSON (text/html"),
        (RestMode::Error, "answers 500"),
        (RestMode::HalfJson, "answers no JSON (application/json"),
        (RestMode::Endless, "pages in a circle"),
        (RestMode::Down, "does not take connections"),
    ] {
        alone.stack.systems.rest["crm"].set_mode(mode)?;
        until("the source to be named on /readyz", PATIENCE, || {
            let missing = tokio::task::block_in_place(|| alone.stack.fleet.not_ready());
            let is_told = missing.iter().any(|(_, why)| why.starts_with("source (source: ") && why.contains(told));
            std::future::ready(if is_told { Ok(()) } else { Err(format!("{mode:?}: {missing:?}")) })
        })
        .await?;
        alone.until_said("crm", SourceState::Unavailable, told).await?;
    }
    // Meanwhile one customer changed and one went away.
    let customers: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&std::fs::read_to_string(sample_data().join("crm/customers.json"))?)?;
    let mut changed = customers[0].clone();
    changed.insert("name".into(), "Another name".into());
    changed.remove("changed_at");
    let crm = &alone.stack.systems.rest["crm"];
    crm.upsert("customers", changed)?;
    let gone = customers[1]["id"].as_str().context("a customer has an id")?.to_owned();
    assert!(crm.delete("customers", &gone)?);
    crm.set_mode(RestMode::Normal)?;
    alone.ready()?;
    alone.until_said("crm", SourceState::Ok, "").await?;
    let changes = alone.until_changes("crm", CUSTOMERS + 2).await?;
    let deleted: Vec<_> = changes.iter().filter(|change| change.data.is_none()).map(|change| &change.meta.source_key).collect();
    assert_eq!(deleted, [&gone]);
    assert!(alone.look.letters("crm").await?.is_empty(), "trouble of the source is nobody's letter");
    assert!(!alone.stack.fleet.log("publisher-crm")?.contains("panicked"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_from_the_future_freezes_nothing_and_a_raised_epoch_sends_everything_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy(&sample_landscape(), folder.path())?;
    let mut alone = Alone::start_with(folder.path().to_owned()).await?;
    let customers: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&std::fs::read_to_string(sample_data().join("crm/customers.json"))?)?;
    let named = |index: usize, id: &str, stamp: Option<&str>| {
        let mut customer = customers[index].clone();
        customer.insert("id".into(), id.into());
        customer.remove("changed_at");
        customer.extend(stamp.map(|stamp| ("changed_at".to_owned(), stamp.into())));
        customer
    };
    alone.publish("crm")?;
    alone.ready()?;
    alone.until_changes("crm", CUSTOMERS).await?;
    alone.stack.systems.rest["crm"].upsert("customers", named(0, "C-2031", Some("2131-01-01T00:00:00Z")))?;
    let letter = alone.until_letters("crm", 1).await?.remove(0);
    assert_eq!((letter.code.as_str(), letter.source_key.as_deref()), ("STAMP_FUTURE", Some("C-2031")));
    alone.one_more_pass("publisher-crm").await?;

    alone.stack.systems.rest["crm"].upsert("customers", named(1, "C-NEW", None))?;
    let changes = alone.until_changes("crm", CUSTOMERS + 1).await?;
    assert!(changes.iter().any(|change| change.meta.source_key == "C-NEW"), "today's rows are still read");
    let metrics = alone.stack.fleet.metrics("publisher-crm")?;
    let cursor = crate::world::total(&metrics, "millrace_source_cursor_timestamp_seconds", r#"stream="customers""#);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    assert!(cursor > 0.0 && cursor <= now, "{cursor}");

    assert!(tokio::task::block_in_place(|| alone.stack.fleet.stop("publisher-crm"))?.success());
    let source = folder.path().join("sources/crm.yaml");
    std::fs::write(&source, std::fs::read_to_string(&source)?.replacen("epoch: 1", "epoch: 2", 1))?;
    alone.stack.fleet.start_again("publisher-crm")?;
    let changes = alone.until_changes("crm", 2 * (CUSTOMERS + 1)).await?;
    let raised = changes.iter().filter(|change| change.meta.source_epoch == 2).count();
    assert_eq!(raised, CUSTOMERS + 1, "each once more, under the new epoch");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_publishers_of_one_source_one_ends_and_nothing_is_sent_twice() -> Result<()> {
    let mut alone = Alone::start().await?;
    alone.publish("erp")?;
    alone.ready()?;
    alone.until_changes("erp", ERP_ROWS).await?;
    let endpoint = alone.stack.systems.source_endpoint("erp")?;
    alone.stack.fleet.start("second", "millrace-publisher", &["--source", "erp", "--endpoint", &endpoint])?;
    alone.ready()?;
    let sample = std::fs::read_to_string(alone.items_file()?)?;
    alone.write_items(&sample.replacen("Submersible pump DN 150", "Submersible pump DN 151", 1))?;
    let status = until("one publisher to end", PATIENCE, || {
        let ended = [ERP, "second"].map(|name| alone.stack.fleet.ended(name));
        async move {
            for ended in ended {
                if let Some(status) = ended.map_err(|error| format!("{error:#}"))? {
                    return Ok(status);
                }
            }
            Err("both run".to_owned())
        }
    })
    .await?;
    assert_eq!(status.code(), Some(75));
    let changes = alone.until_changes("erp", ERP_ROWS + 1).await?;
    assert_eq!(changes.len(), ERP_ROWS + 1);
    Ok(())
}
