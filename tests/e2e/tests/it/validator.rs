//! The validator alone on a real Kafka: changes written by hand, whatever they look like, and kills while something waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use avro::Schema;
use devstack::{
    Stack, StackOptions,
    provision::{copy_folder, provision, read_landscape},
};
use kafka::Producer;
use millrace_e2e::{Look, check, landscape, until};
use model::{
    Change, ChangeId, ChangeMeta, Data, Domain, Operation, Outgoing, Receipt, ReceiptOutcome, RecordKey, Slot, Timestamp,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

use crate::world::PATIENCE;

struct Alone {
    stack: Stack,
    look: Look,
    producer: Producer,
    writer: avro::Writer,
    slots: u32,
    sequence: i64,
}

/// The main owner, in the landscape of this test.
fn source_of(domain: Domain) -> &'static str {
    if domain == Domain::Customer { "crm" } else { "erp" }
}

impl Alone {
    async fn start() -> Result<Self> {
        Self::of(&landscape("load"), &["validator"]).await
    }

    async fn of(landscape: &Path, validators: &[&str]) -> Result<Self> {
        let mut options = StackOptions::new(landscape);
        options.session_timeout = Some(Duration::from_secs(6));
        let mut stack = Stack::start(options).await?;
        tokio::task::block_in_place(|| {
            for name in validators {
                stack.fleet.start(name, "millrace-validator", &["--unknown-schema-after", "3"])?;
            }
            stack.fleet.wait_ready(PATIENCE)
        })?;
        let look = Look::at(&stack)?;
        let registry = registry::Registry::new(stack.registry())?;
        let subjects: Vec<_> = [Domain::Customer, Domain::Item, Domain::Reference]
            .into_iter()
            .map(|domain| (Schema::change(domain), stack.topics.change(source_of(domain), domain)))
            .collect();
        let writer = registry.writer(&subjects).await.context("the ids of the change schemas")?;
        let producer = Producer::new(&stack.client("publisher-by-hand"))?;
        let slots = stack.landscape.kafka.slots;
        Ok(Self { stack, look, producer, writer, slots, sequence: 0 })
    }

    /// A change as its owner's publisher would write it.
    fn change(&mut self, domain: Domain, data: Value) -> Result<Outgoing> {
        self.change_of(source_of(domain), domain, data)
    }

    fn change_of(&mut self, source: &str, domain: Domain, data: Value) -> Result<Outgoing> {
        self.sequence += 1;
        let data = match domain {
            Domain::Customer => Data::Customer(serde_json::from_value(data)?),
            Domain::Item => Data::Item(serde_json::from_value(data)?),
            Domain::WorkCenter => Data::WorkCenter(serde_json::from_value(data)?),
            Domain::Reference => Data::Reference(serde_json::from_value(data)?),
        };
        let key = data.key()?;
        let now = Timestamp::from_millis(i64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis(),
        )?);
        let change = Change {
            meta: ChangeMeta {
                change_id: ChangeId(uuid::Uuid::now_v7()),
                source: source.to_owned(),
                source_entity: "row".to_owned(),
                source_key: key.to_string(),
                source_version: String::new(),
                source_epoch: 1,
                source_sequence: self.sequence,
                operation: Operation::Upsert,
                occurred_at: now,
                captured_at: now,
                author: None,
                approval: None,
                correlation_id: ChangeId(uuid::Uuid::now_v7()),
                causation_id: None,
                origin: Vec::new(),
            },
            data: Some(data),
        };
        Ok(Outgoing {
            topic: self.stack.topics.change(source, domain),
            slot: key.slot(domain, self.slots),
            key: key.to_string(),
            value: Some(self.writer.encode_change(domain, &change)?),
            headers: Vec::new(),
        })
    }

    fn item(&mut self, id: &str) -> Result<Outgoing> {
        self.change(
            Domain::Item,
            json!({"item_id": id, "revision": "A", "descriptions": [{"lang": "en", "text": "pump"}],
            "item_type": "FINISHED", "lifecycle": "RELEASED", "base_uom": "PCE"}),
        )
    }

    fn unit(&mut self) -> Result<Outgoing> {
        self.change(Domain::Reference, json!({"set": "uom", "code": "PCE", "status": "ACTIVE"}))
    }

    fn customer(&mut self, id: usize, parent: Option<usize>) -> Result<Outgoing> {
        let parent = parent.map(|parent| format!("C-{parent}"));
        self.change(
            Domain::Customer,
            json!({"customer_id": format!("C-{id}"), "name": "Mill", "status": "PROSPECT", "parent_customer_id": parent}),
        )
    }

    /// Until every customer is at `revision`.
    async fn golden_at(&self, count: usize, revision: i64) -> Result<Vec<millrace_e2e::Seen>> {
        until("golden revisions", PATIENCE, || async {
            let seen = self.look.golden(Domain::Customer).await.map_err(|error| format!("{error:#}"))?;
            let at = |seen: &millrace_e2e::Seen| seen.golden.as_ref().is_some_and(|golden| golden.meta.revision == revision);
            let reached = seen.iter().filter(|seen| at(seen)).count();
            if reached == count { Ok(seen) } else { Err(format!("{reached} of {count} customers at revision {revision}")) }
        })
        .await
    }

    async fn golden_keys(&self, domain: Domain, count: usize) -> Result<Vec<millrace_e2e::Seen>> {
        until("golden records", PATIENCE, || async {
            let seen = self.look.golden(domain).await.map_err(|error| format!("{error:#}"))?;
            let newest = check::newest(&seen);
            if newest.len() == count { Ok(seen) } else { Err(format!("{} of {count} keys", newest.len())) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_becomes_a_letter_that_names_the_exact_record_and_the_others_pass() -> Result<()> {
    let mut alone = Alone::start().await?;
    // There first: whatever waits for it longer than the landscape allows is a letter, and this test reads letters.
    let unit = alone.unit()?;
    alone.producer.send(&unit).await?;
    alone.golden_keys(Domain::Reference, 1).await?;
    let mut changes = Vec::new();
    let mut expected: BTreeMap<&str, Outgoing> = BTreeMap::new();
    let mut wrong = |code, outgoing: Outgoing| expected.insert(code, outgoing);

    let mut trailing = alone.item("TRAILING")?;
    trailing.value.as_mut().context("a value")?.push(0);
    wrong("RECORD_UNREADABLE", trailing);
    let mut magic = alone.item("MAGIC")?;
    magic.value.as_mut().context("a value")?[0] = 1;
    wrong("RECORD_FRAMING", magic);
    let mut unknown = alone.item("UNKNOWN")?;
    unknown.value.as_mut().context("a value")?[1..5].copy_from_slice(&9_999_999_i32.to_be_bytes());
    wrong("SCHEMA_UNKNOWN", unknown);
    let empty = Outgoing { value: None, ..alone.item("EMPTY")? };
    wrong("RECORD_EMPTY", empty);
    let key = Outgoing { key: "no-revision".to_owned(), ..alone.item("KEY")? };
    wrong("RECORD_KEY", key);

    // What is written about this one would be several times as large as a record may be.
    let conversions: Vec<Value> = (0..15_000).map(|_| json!({"alt_uom": "PCE", "numerator": 0, "denominator": 0})).collect();
    let large = json!({"item_id": "FINDINGS", "revision": "A", "descriptions": [{"lang": "en", "text": "pump"}],
        "item_type": "FINISHED", "lifecycle": "RELEASED", "base_uom": "PCE", "uom_conversions": conversions});
    wrong("ITM-02", alone.change(Domain::Item, large)?);

    changes.extend(expected.values().cloned());
    for id in 0..50 {
        changes.push(alone.item(&format!("GOOD-{id}"))?);
    }
    for outgoing in &changes {
        alone.producer.send(outgoing).await?;
    }
    let letters = until("a letter each", PATIENCE, || async {
        let letters = alone.look.letters("validator").await.map_err(|error| format!("{error:#}"))?;
        if letters.len() >= expected.len() { Ok(letters) } else { Err(format!("{} letters", letters.len())) }
    })
    .await?;
    alone.golden_keys(Domain::Item, 50).await?;

    let records =
        kafka::read_all(&alone.stack.client("checker"), "checker", &alone.stack.topics.change("erp", Domain::Item), None).await?;
    assert_eq!(letters.len(), expected.len());
    for letter in letters {
        let sent =
            expected.get(letter.code.as_str()).with_context(|| format!("unexpected letter {} {}", letter.id, letter.code))?;
        let source = records
            .iter()
            .find(|record| Some(record.partition) == letter.partition && Some(record.offset) == letter.offset)
            .with_context(|| format!("{} names no record", letter.id))?;
        assert_eq!(source.key_text(), Some(sent.key.as_str()), "{}", letter.code);
        assert_eq!((&source.value, Slot(source.partition)), (&sent.value, sent.slot), "{}", letter.code);
        assert_eq!(letter.payload, sent.value.clone().unwrap_or_default(), "{}", letter.code);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_released_once_whatever_is_killed_meanwhile() -> Result<()> {
    const CUSTOMERS: usize = 2000;
    const KILLS: usize = 6;
    let seed: u64 =
        std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("seed {seed} (MILLRACE_SEED={seed} repeats the choices)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut alone = Alone::start().await?;
    // A tree, its branches before its trunk: most children wait, and are released one after the other.
    let mut ids: Vec<usize> = (0..CUSTOMERS).collect();
    ids.shuffle(&mut random);
    for round in ids.chunks(CUSTOMERS / KILLS) {
        for id in round {
            let outgoing = alone.customer(*id, id.checked_sub(1).map(|parent| parent / 3))?;
            drop(alone.producer.enqueue(&outgoing).await?);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..800))).await;
        tokio::task::block_in_place(|| {
            alone.stack.fleet.kill("validator")?;
            alone.stack.fleet.start_again("validator")
        })?;
    }
    let seen = alone.golden_keys(Domain::Customer, CUSTOMERS).await?;
    check::assert_none("golden.customer", &check::revisions_rise_once(&seen));
    assert_eq!(seen.len(), CUSTOMERS, "every customer once, at revision 1");
    for record in &seen {
        let golden = record.golden.as_ref().context("a golden record")?;
        assert_eq!((golden.meta.revision, record.partition), (1, record.key.slot(Domain::Customer, alone.slots).0));
        let Some(Data::Customer(customer)) = &golden.data else { anyhow::bail!("not a customer") };
        let top = RecordKey::new(Domain::Customer, &["C-0"])?;
        let expected = (record.key != top).then(|| top.to_string());
        assert_eq!(customer.ultimate_parent_id, expected, "{}", record.key);
    }
    assert_eq!(alone.look.held().await?.len(), 0, "nothing waits any more");
    assert_eq!(alone.look.letters("validator").await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_comes_right_after_a_start_is_a_revision() -> Result<()> {
    let folder = tempfile::tempdir()?;
    crate::rights::with_a_neighbour(folder.path())?;
    // Items are followed by nobody here, so that a process that just started has met none of their schemas.
    let mes = folder.path().join("destinations/mes.yaml");
    fs::write(&mes, fs::read_to_string(&mes)?.replace("customer: {mapping: plant/customer.j2", "item: {mapping: plant/item.j2"))?;
    let mut alone = Alone::of(folder.path(), &["validator"]).await?;
    for outgoing in [alone.unit()?, alone.item("P-1")?] {
        alone.producer.send(&outgoing).await?;
    }
    let seen = alone.golden_keys(Domain::Item, 1).await?;
    let golden = seen[0].golden.clone().context("a golden record")?;
    tokio::task::block_in_place(|| {
        alone.stack.fleet.kill("validator")?;
        alone.stack.fleet.start_again("validator")?;
        alone.stack.fleet.wait_ready(PATIENCE)
    })?;
    let receipt = Receipt {
        destination: "mes".to_owned(),
        domain: Domain::Item,
        key: seen[0].key.clone(),
        change_id: golden.meta.change_id,
        revision: golden.meta.revision,
        outcome: ReceiptOutcome::Accepted,
        note: None,
        attempt: 1,
        connector: "http".to_owned(),
        reference: None,
        external_id: Some("100045".to_owned()),
        code: None,
        text: None,
        occurred_at: golden.meta.occurred_at,
        offered_at: golden.meta.accepted_at,
        answered_at: golden.meta.accepted_at,
        cause: model::Cause::Normal,
        letter: None,
        seq: 1,
        previous_hash: String::new(),
        hash: String::new(),
    };
    let topic = alone.stack.topics.receipt("mes");
    let registry = registry::Registry::new(alone.stack.registry())?;
    let writer = registry.writer(&[(Schema::Receipt, topic.clone())]).await?;
    let place = model::Topical::new(Domain::Item, receipt.key.clone());
    let value = Some(writer.encode(&receipt)?);
    let outgoing = Outgoing { topic, slot: place.slot(alone.slots), key: place.to_string(), value, headers: Vec::new() };
    alone.producer.send(&outgoing).await?;
    until("the confirmed revision", PATIENCE, || async {
        let seen = alone.look.golden(Domain::Item).await.map_err(|error| format!("{error:#}"))?;
        let confirmed = seen.iter().filter_map(|seen| seen.golden.as_ref()).find(|golden| golden.meta.revision == 2);
        let number = confirmed.and_then(|golden| golden.meta.confirmations.get("mes")).and_then(|by| by.external_id.clone());
        if number.as_deref() == Some("100045") { Ok(()) } else { Err(format!("{} revisions", seen.len())) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_moves_takes_all_below_it_along_whoever_owns_their_slots() -> Result<()> {
    const DEEP: usize = 12;
    let mut alone = Alone::start().await?;
    for id in 0..DEEP {
        let outgoing = alone.customer(id, id.checked_sub(1))?;
        alone.producer.send(&outgoing).await?;
    }
    alone.golden_keys(Domain::Customer, DEEP).await?;
    for (id, parent) in [(100, None), (0, Some(100))] {
        let outgoing = alone.customer(id, parent)?;
        alone.producer.send(&outgoing).await?;
    }
    until("every top", PATIENCE, || async {
        let seen = alone.look.golden(Domain::Customer).await.map_err(|error| format!("{error:#}"))?;
        let newest = check::newest(&seen);
        let is_below = |golden: &&model::Golden| match &golden.data {
            Some(Data::Customer(customer)) => customer.ultimate_parent_id.as_deref() == Some("C-100"),
            _ => false,
        };
        let below = newest.values().filter(is_below).count();
        if below == DEEP { Ok(()) } else { Err(format!("{below} of {DEEP} customers")) }
    })
    .await?;
    let seen = alone.look.golden(Domain::Customer).await?;
    check::assert_none("golden.customer", &check::revisions_rise_once(&seen));
    Ok(())
}

/// A source of bank accounts beside the CRM.
fn with_another_source(folder: &Path) -> Result<()> {
    let customer = folder.join("domains/customer.yaml");
    let with_group = format!("{}groups:\n  - {{owner: treasury, fields: [/bank_accounts]}}\n", fs::read_to_string(&customer)?);
    fs::write(customer, with_group)?;
    fs::create_dir_all(folder.join("mappings/treasury"))?;
    let account = "{\"customer_id\": {{ row.id }}, \"bank_accounts\": [{\"account_id\": {{ row.account }}}]}\n";
    fs::write(folder.join("mappings/treasury/account.j2"), account)?;
    let source = "office: treasury
connector: {type: file, after: done}
streams:
  - {name: accounts, domain: customer, files: 'accounts*.csv', content: delta, key: [id], mapping: treasury/account.j2}
";
    Ok(fs::write(folder.join("sources/treasury.yaml"), source)?)
}

/// Each validator of the fleet ends in order and comes back with what the landscape's folder says now.
fn roll(alone: &mut Alone, validators: &[&str]) -> Result<()> {
    tokio::task::block_in_place(|| {
        for name in validators {
            alone.stack.fleet.stop(name)?;
            alone.stack.fleet.start_again(name)?;
            alone.stack.fleet.wait_ready(PATIENCE)?;
        }
        Ok(())
    })
}

/// Static members come back to their old assignment, whatever they subscribe to now: the group does not rebalance by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_that_adds_a_source_and_one_that_takes_it_away_leave_every_slot_whole() -> Result<()> {
    const CUSTOMERS: usize = 60;
    const VALIDATORS: [&str; 2] = ["validator-a", "validator-b"];
    let folder = tempfile::tempdir()?;
    let (narrow, live) = (landscape("load"), folder.path().join("landscape"));
    copy_folder(&narrow, &live)?;
    let mut alone = Alone::of(&live, &VALIDATORS).await?;
    for id in 0..CUSTOMERS {
        let outgoing = alone.customer(id, None)?;
        alone.producer.send(&outgoing).await?;
    }
    let seen = alone.golden_keys(Domain::Customer, CUSTOMERS).await?;
    let slots: BTreeSet<i32> = seen.iter().map(|seen| seen.partition).collect();
    assert_eq!(slots.len(), alone.slots as usize, "the customers lie in every slot");

    with_another_source(&live)?;
    let wider = read_landscape(&live)?;
    provision(&wider, &alone.stack.topics, &alone.stack.addresses.brokers, &alone.stack.addresses.registry).await?;
    roll(&mut alone, &VALIDATORS)?;
    // What the new source says, and what the old one says now, of a customer in every slot.
    for id in 0..CUSTOMERS {
        let data = json!({"customer_id": format!("C-{id}"), "bank_accounts": [{"account_id": "1"}]});
        let outgoing = alone.change_of("treasury", Domain::Customer, data)?;
        alone.producer.send(&outgoing).await?;
    }
    alone.golden_at(CUSTOMERS, 2).await?;

    fs::remove_dir_all(&live)?;
    copy_folder(&narrow, &live)?;
    roll(&mut alone, &VALIDATORS)?;
    for id in 0..CUSTOMERS {
        let outgoing = alone.customer(id, None)?;
        alone.producer.send(&outgoing).await?;
    }
    let seen = alone.golden_at(CUSTOMERS, 3).await?;
    check::assert_none("golden.customer", &check::revisions_rise_once(&seen));
    Ok(())
}
