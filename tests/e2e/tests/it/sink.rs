//! A sink alone: golden records are written by hand, the plant only counts and does not mend.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use avro::{Schema, subject};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::put,
};
use devstack::{
    Mes, Stack, StackOptions,
    mes::{Counts, Manners, MesOptions},
};
use kafka::Producer;
use millrace_e2e::{Look, landscape, until};
use model::{
    Act, Approval, ApprovalState, ChangeId, Command, Data, Domain, Golden, GoldenMeta, LedgerState, LetterId, Operation,
    Outgoing, ReceiptOutcome, RecordKey, Slot, Stage, Timestamp, command::ALL_KEY,
};
use serde_json::json;

const PLANT: &str = "plant";
const SLOTS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    stack: Stack,
    look: Look,
    producer: Producer,
    writer: avro::Writer,
    /// In place of the stack's.
    own_plant: Option<Mes>,
    revisions: BTreeMap<String, i64>,
    commands: u32,
}

impl World {
    async fn start() -> Result<Self> {
        let mut world = Self::prepare().await?;
        world.serve()?;
        Ok(world)
    }

    /// Everything but the sink.
    async fn prepare() -> Result<Self> {
        Self::prepare_with(StackOptions::new(landscape("sink"))).await
    }

    async fn prepare_with(options: StackOptions) -> Result<Self> {
        let stack = Stack::start(StackOptions {
            // It takes whatever comes: a regression or a second effect is counted, not prevented.
            manners: Manners { honours_repeats: true, fences: false },
            session_timeout: Some(Duration::from_secs(6)),
            ..options
        })
        .await?;
        let look = Look::at(&stack)?;
        let registry = registry::Registry::new(stack.registry())?;
        let subjects = [
            (Schema::golden(Domain::Item), stack.topics.golden(Domain::Item)),
            (Schema::golden(Domain::Reference), stack.topics.golden(Domain::Reference)),
            (Schema::Command, stack.topics.command(PLANT)),
        ];
        let writer = registry.writer(&subjects).await.with_context(|| subject(&stack.topics.command(PLANT)))?;
        let producer = Producer::new(&stack.client("validator-by-hand"))?;
        Ok(Self { stack, look, producer, writer, own_plant: None, revisions: BTreeMap::new(), commands: 0 })
    }

    fn serve(&mut self) -> Result<()> {
        let url = self.plant()?.url();
        self.stack.fleet.sink(PLANT, &url)?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        self.stack.fleet.wait_ready(PATIENCE)
    }

    fn plant(&self) -> Result<&Mes> {
        if let Some(plant) = &self.own_plant {
            return Ok(plant);
        }
        self.stack.systems.plant(PLANT)
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.plant()?.counts())
    }

    async fn item(&mut self, id: &str, text: &str, lifecycle: &str) -> Result<i64> {
        let approval = if lifecycle == "DRAFT" { ApprovalState::Draft } else { ApprovalState::Approved };
        let lifecycle = if lifecycle == "DRAFT" { "RELEASED" } else { lifecycle };
        let item = json!({"item_id": id, "revision": "A", "descriptions": [{"lang": "en", "text": text}],
            "item_type": "COMPONENT", "lifecycle": lifecycle, "base_uom": "PCE"});
        let data = Data::Item(Box::new(serde_json::from_value(item)?));
        self.golden(Domain::Item, &data.key()?, Some(data), Some(approval)).await
    }

    async fn golden(
        &mut self,
        domain: Domain,
        key: &RecordKey,
        data: Option<Data>,
        approval: Option<ApprovalState>,
    ) -> Result<i64> {
        let revision = self.revisions.entry(key.to_string()).or_insert(0);
        *revision += 1;
        let golden = Golden {
            meta: GoldenMeta {
                revision: *revision,
                change_id: ChangeId(uuid::Uuid::now_v7()),
                operation: if data.is_some() { Operation::Upsert } else { Operation::Delete },
                policy_version: "test".to_owned(),
                owner: "erp".to_owned(),
                occurred_at: Timestamp::from_millis(0),
                accepted_at: Timestamp::from_millis(0),
                correlation_id: ChangeId::default(),
                causation_id: None,
                approval: approval.map(|state| Approval { state, ..Approval::default() }),
                valid_from: None,
                valid_to: None,
                fence: BTreeMap::new(),
                confirmations: BTreeMap::new(),
                findings: Vec::new(),
                origin: Vec::new(),
            },
            data,
        };
        let value = self.writer.encode_golden(domain, &golden)?;
        let topic = self.stack.topics.golden(domain);
        let slot = key.slot(domain, SLOTS);
        let outgoing = Outgoing { topic, slot, key: key.to_string(), value: Some(value), headers: Vec::new() };
        drop(self.producer.enqueue(&outgoing).await?);
        Ok(golden.meta.revision)
    }

    async fn command(&mut self, act: Act, item: Option<&str>, letter: Option<LetterId>) -> Result<()> {
        self.commands += 1;
        let key = item.map(|id| RecordKey::new(Domain::Item, &[id, "A"])).transpose()?;
        let command = Command {
            command_id: format!("c-{}", self.commands),
            act,
            stage: Stage::Deliver,
            domain: key.as_ref().map(|_| Domain::Item),
            key: key.clone(),
            actor: "local/test".to_owned(),
            reason: Some("test".to_owned()),
            until: None,
            at: Timestamp::from_millis(0),
            plan: None,
            letter,
            source_key: None,
            revision: None,
            source: None,
            source_epoch: None,
            source_sequence: None,
            exact_offset: None,
            filter: None,
        };
        let value = Some(self.writer.encode(&command)?);
        let topic = self.stack.topics.command(PLANT);
        let (name, slots) = match &key {
            Some(key) => (format!("item/{key}"), vec![key.slot(Domain::Item, SLOTS)]),
            None => (ALL_KEY.to_owned(), (0..4).map(Slot).collect()),
        };
        for slot in slots {
            let outgoing = Outgoing { topic: topic.clone(), slot, key: name.clone(), value: value.clone(), headers: Vec::new() };
            self.producer.send(&outgoing).await?;
        }
        Ok(())
    }

    /// The plant holds every item at its newest revision.
    async fn delivered(&self) -> Result<()> {
        until("the plant to hold the newest revision of everything", PATIENCE, || async {
            for (key, revision) in &self.revisions {
                let there = self.plant().ok().and_then(|plant| plant.record("item", key)).map(|stored| stored.revision);
                if there != Some(*revision) {
                    return Err(format!("{key} {there:?}, wanted {revision}"));
                }
            }
            Ok(())
        })
        .await
    }

    async fn ledger_state(&self, id: &str, state: LedgerState) -> Result<()> {
        let key = format!("item/{id}/A");
        until("the ledger to say so", PATIENCE, || async {
            let ledger = self.look.ledger(PLANT).await.map_err(|error| error.to_string())?;
            match ledger.get(&key) {
                Some(entry) if entry.state == state => Ok(()),
                other => Err(format!("{key}: {other:?}, wanted {state:?}")),
            }
        })
        .await
    }

    /// What must hold whatever happened.
    async fn promises(&self) -> Result<()> {
        let counts = self.counts()?;
        ensure!(counts.regressions == 0, "a lower revision after a higher one: {counts:?}");
        ensure!(counts.second_effects == 0, "a second effect of one revision: {counts:?}");
        let mut slots: BTreeMap<Slot, Vec<model::Receipt>> = BTreeMap::new();
        for receipt in self.look.receipts(PLANT).await? {
            slots.entry(receipt.key.slot(receipt.domain, SLOTS)).or_default().push(receipt);
        }
        for (slot, receipts) in &slots {
            delivery::chain::verify(receipts).with_context(|| format!("the receipts of slot {slot}"))?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_killed_at_random_moments_turns_nothing_back_and_doubles_nothing() -> Result<()> {
    let mut world = World::start().await?;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    for round in 0..10 {
        let before = world.counts()?.calls;
        let wanted = before + rand::RngExt::random_range(&mut random, 20..400);
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut turn = 0;
        while world.counts()?.calls < wanted {
            ensure!(std::time::Instant::now() < deadline, "the sink made no {wanted} calls");
            for id in 0..150 {
                world.item(&format!("i{id}"), &format!("{round}.{turn}"), "RELEASED").await?;
            }
            turn += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.stack.fleet.kill("sink-plant")?;
        world.stack.fleet.start_again("sink-plant")?;
    }
    world.ready()?;
    world.delivered().await?;
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_is_parked_and_closed_while_others_flow() -> Result<()> {
    let mut world = World::start().await?;
    world.plant()?.refuse("item/bad/A");
    world.item("bad", "one", "RELEASED").await?;
    world.item("good", "one", "RELEASED").await?;
    world.ledger_state("bad", LedgerState::Parked).await?;
    world.ledger_state("good", LedgerState::Clear).await?;
    let letters = world.look.letters(PLANT).await?;
    ensure!(letters.len() == 1 && letters[0].code == "REFUSED_BY_PLANT", "{letters:?}");
    ensure!(letters[0].sent.as_deref().is_some_and(|sent| sent.contains("\"one\"")), "{:?}", letters[0].sent);

    // A newer revision is tried at once; refused again, its letter replaces the first.
    world.item("bad", "two", "RELEASED").await?;
    until("a second letter", PATIENCE, || async {
        let letters = world.look.letters(PLANT).await.map_err(|error| error.to_string())?;
        let newer = letters.iter().find(|letter| letter.revision == Some(2)).ok_or("none yet")?;
        if newer.replaces.as_ref() == Some(&letters[0].id) { Ok(()) } else { Err(format!("{:?}", newer.replaces)) }
    })
    .await?;

    world.plant()?.accept("item/bad/A");
    let letter = world.look.letters(PLANT).await?.into_iter().find(|letter| letter.revision == Some(2)).map(|letter| letter.id);
    world.command(Act::Replay, Some("bad"), letter.clone()).await?;
    world.delivered().await?;
    until("the receipt that closes the letter", PATIENCE, || async {
        let receipts = world.look.receipts(PLANT).await.map_err(|error| error.to_string())?;
        let closed = receipts.iter().any(|receipt| {
            receipt.outcome == ReceiptOutcome::Accepted
                && receipt.letter.as_deref() == letter.as_ref().map(|letter| letter.0.as_str())
        });
        if closed { Ok(()) } else { Err("none yet".to_owned()) }
    })
    .await?;
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_and_block_survive_a_restart_and_a_closed_gate_waits_in_the_ledger() -> Result<()> {
    let mut world = World::start().await?;
    world.item("blocked", "one", "RELEASED").await?;
    world.item("draft", "one", "DRAFT").await?;
    world.ledger_state("blocked", LedgerState::Clear).await?;
    world.ledger_state("draft", LedgerState::Waiting).await?;
    world.command(Act::Block, Some("blocked"), None).await?;
    world.ledger_state("blocked", LedgerState::Blocked).await?;
    world.command(Act::Pause, None, None).await?;
    until("the sink to say that it is paused", PATIENCE, || async {
        let metrics = world.stack.fleet.metrics("sink-plant").map_err(|error| error.to_string())?;
        let is_paused = metrics.contains("millrace_destination_state{destination=\"plant\",state=\"paused\"} 1");
        if is_paused { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    let before = world.counts()?.calls;
    world.item("other", "one", "RELEASED").await?;
    world.item("blocked", "two", "RELEASED").await?;

    let status = world.stack.fleet.stop("sink-plant")?;
    ensure!(status.success(), "{status}");
    world.stack.fleet.start_again("sink-plant")?;
    world.ready()?;
    until("the blocked key's newer revision to be known", PATIENCE, || async {
        let ledger = world.look.ledger(PLANT).await.map_err(|error| error.to_string())?;
        let offered = ledger.get("item/blocked/A").and_then(|entry| entry.offered.as_ref()).map(|offered| offered.revision);
        if offered == Some(2) { Ok(()) } else { Err(format!("{offered:?}")) }
    })
    .await?;
    ensure!(world.counts()?.calls == before, "a paused sink called: {:?}", world.counts()?);

    world.command(Act::Resume, None, None).await?;
    world.ledger_state("other", LedgerState::Clear).await?;
    world.ledger_state("blocked", LedgerState::Blocked).await?;
    world.command(Act::Unblock, Some("blocked"), None).await?;
    world.item("draft", "two", "RELEASED").await?;
    world.delivered().await?;
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_the_scope_or_golden_leaves_the_plant() -> Result<()> {
    let mut world = World::start().await?;
    world.item("left", "one", "RELEASED").await?;
    world.item("deleted", "one", "RELEASED").await?;
    world.item("never", "one", "DESIGN").await?;
    world.ledger_state("left", LedgerState::Clear).await?;
    world.ledger_state("deleted", LedgerState::Clear).await?;
    world.item("left", "two", "DESIGN").await?;
    let key = RecordKey::new(Domain::Item, &["deleted", "A"])?;
    world.golden(Domain::Item, &key, None, None).await?;
    for id in ["left", "deleted"] {
        world.ledger_state(id, LedgerState::Deleted).await?;
        let stored = world.plant()?.record("item", &format!("{id}/A")).context("it was there")?;
        ensure!(stored.body.is_none() && stored.revision == 2, "{stored:?}");
    }
    world.item("left", "three", "RELEASED").await?;
    world.ledger_state("left", LedgerState::Clear).await?;
    ensure!(world.plant()?.record("item", "never/A").is_none(), "out of scope from the start");
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_was_frozen_beyond_its_session_calls_nothing_from_before() -> Result<()> {
    // Slow enough to be frozen with calls on their way, fast enough to be answered.
    let manners = Manners { honours_repeats: true, fences: false };
    let latency = Duration::from_millis(500);
    let mes = Mes::start(MesOptions { name: PLANT.to_owned(), manners, latency, ..MesOptions::default() })?;
    let mut world = World::prepare().await?;
    world.own_plant = Some(mes);
    world.serve()?;
    for id in 0..50 {
        world.item(&format!("i{id}"), "one", "RELEASED").await?;
    }
    world.delivered().await?;
    let before = world.counts()?.calls;
    for id in 0..50 {
        world.item(&format!("i{id}"), "two", "RELEASED").await?;
    }
    until("calls on their way", PATIENCE, || async {
        let calls = world.counts().map_err(|error| error.to_string())?.calls;
        if calls > before { Ok(()) } else { Err(format!("{calls} calls")) }
    })
    .await?;
    world.stack.fleet.freeze("sink-plant")?;
    let url = world.plant()?.url();
    world.stack.fleet.sink_named("sink-plant-2", PLANT, &url)?;
    for id in 0..50 {
        world.item(&format!("i{id}"), "three", "RELEASED").await?;
    }
    world.delivered().await?;
    world.stack.fleet.thaw("sink-plant")?;
    for id in 0..50 {
        world.item(&format!("i{id}"), "four", "RELEASED").await?;
    }
    world.delivered().await?;
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_becomes_a_letter_and_stops_nobody() -> Result<()> {
    let mut world = World::start().await?;
    world.item("before", "one", "RELEASED").await?;
    world.ledger_state("before", LedgerState::Clear).await?;
    let topic = world.stack.topics.golden(Domain::Item);
    let good = kafka::read_all(&world.stack.client("look"), world.look.topics.prefix(), &topic, None).await?;
    let good = good.first().and_then(|record| record.value.clone()).context("the record that was written")?;
    let trailing = [good.as_slice(), b"and more"].concat();
    let wrong_magic = [b"\x07", &good[1..]].concat();
    let cut = good[..good.len() / 2].to_vec();
    let cases = [
        ("trailing/A", trailing, "RECORD_UNREADABLE"),
        ("magic/A", wrong_magic, "RECORD_FRAMING"),
        ("cut/A", cut, "RECORD_UNREADABLE"),
        ("empty/A", Vec::new(), "RECORD_FRAMING"),
        ("no-key-of-an-item", good, "RECORD_KEY"),
    ];
    for (key, value, _) in &cases {
        let slot = Slot::of(key.split('/').next().unwrap_or(key), SLOTS);
        let outgoing =
            Outgoing { topic: topic.clone(), slot, key: (*key).to_owned(), value: Some(value.clone()), headers: Vec::new() };
        world.producer.send(&outgoing).await?;
    }
    world.item("after", "one", "RELEASED").await?;
    world.ledger_state("after", LedgerState::Clear).await?;
    let letters = until("a letter for each", PATIENCE, || async {
        let letters = world.look.letters(PLANT).await.map_err(|error| error.to_string())?;
        if letters.len() == cases.len() { Ok(letters) } else { Err(format!("{} letters", letters.len())) }
    })
    .await?;
    for (key, value, code) in &cases {
        let letter = letters.iter().find(|letter| letter.payload == *value && letter.code == *code);
        let letter = letter.with_context(|| format!("a letter {code} for {key} in {letters:?}"))?;
        ensure!(letter.topic.as_deref() == Some(topic.as_str()) && letter.offset.is_some(), "the exact record: {letter:?}");
    }
    world.delivered().await?;
    world.promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_comes_back_after_a_lost_answer_and_a_kill_is_called_again() -> Result<()> {
    let gateway = Arc::new(Gateway::default());
    let url = serve(&gateway).await?;
    let mut world = World::prepare().await?;
    world.stack.fleet.sink(PLANT, &url)?;
    world.ready()?;
    world.item("back", "one", "RELEASED").await?;
    world.ledger_state("back", LedgerState::Clear).await?;
    gateway.loses_answers.store(true, Ordering::Relaxed);
    world.item("back", "two", "RELEASED").await?;
    until("the plant to apply what it does not answer", PATIENCE, || async {
        let there = gateway.holds("item/back/A");
        if there.contains("\"two\"") { Ok(()) } else { Err(there) }
    })
    .await?;
    world.stack.fleet.kill("sink-plant")?;
    world.item("back", "one", "RELEASED").await?;
    gateway.loses_answers.store(false, Ordering::Relaxed);
    world.stack.fleet.start_again("sink-plant")?;
    world.ready()?;
    until("the ledger to know of revision 3", PATIENCE, || async {
        let ledger = world.look.ledger(PLANT).await.map_err(|error| error.to_string())?;
        let entry = ledger.get("item/back/A").and_then(|entry| entry.accepted.as_ref());
        if entry.is_some_and(|accepted| accepted.revision == 3) { Ok(()) } else { Err(format!("{entry:?}")) }
    })
    .await?;
    let there = gateway.holds("item/back/A");
    ensure!(there.contains("\"one\""), "a yes for what the plant does not hold: {there}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_of_a_former_life_is_a_conflict_and_a_replay_gets_through() -> Result<()> {
    let mes = Mes::start(MesOptions { name: PLANT.to_owned(), ..MesOptions::default() })?;
    let put = reqwest::Client::new().put(format!("{}/item/old/A", mes.url()));
    let put = put.header("Millrace-Revision", 999).header("Idempotency-Key", "of a former life").body(r#"{"id": "old"}"#);
    ensure!(put.send().await?.status().is_success(), "the plant of a former life");
    let mut world = World::prepare().await?;
    world.own_plant = Some(mes);
    world.serve()?;
    world.item("old", "one", "RELEASED").await?;
    world.ledger_state("old", LedgerState::Parked).await?;
    let letters = world.look.letters(PLANT).await?;
    ensure!(letters.len() == 1 && letters[0].code == "REVISION_AHEAD", "{letters:?}");
    world.command(Act::Replay, Some("old"), Some(letters[0].id.clone())).await?;
    world.ledger_state("old", LedgerState::Clear).await?;
    world.item("old", "two", "RELEASED").await?;
    until("the plant to hold the second one", PATIENCE, || async {
        let stored = world.plant().map_err(|error| error.to_string())?.record("item", "old/A").ok_or("gone")?;
        let is_second = stored.body.as_ref().is_some_and(|body| body.to_string().contains("two"));
        if stored.revision == 1001 && is_second { Ok(()) } else { Err(format!("{stored:?}")) }
    })
    .await
}

/// A plant with something in front of it.
#[derive(Default)]
struct Gateway {
    leads_nowhere: AtomicBool,
    /// What is called is applied, and nobody hears of it.
    loses_answers: AtomicBool,
    held: Mutex<BTreeMap<String, String>>,
}

impl Gateway {
    fn holds(&self, name: &str) -> String {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }
}

async fn serve(gateway: &Arc<Gateway>) -> Result<String> {
    let router = Router::new().route("/{domain}/{*key}", put(through)).with_state(Arc::clone(gateway));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn through(
    State(gateway): State<Arc<Gateway>>,
    Path((domain, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if gateway.leads_nowhere.load(Ordering::Relaxed) {
        return (StatusCode::NOT_FOUND, Json(json!({"message": "no such service"}))).into_response();
    }
    if key.starts_with("stopped") {
        return StatusCode::FORBIDDEN.into_response();
    }
    gateway.held.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{domain}/{key}"), body);
    if gateway.loses_answers.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let revision = headers.get("millrace-revision").and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
    Json(json!({"revision": revision})).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_makes_no_letters_and_one_record_that_a_gateway_stops_keeps_no_other_waiting() -> Result<()> {
    let gateway = Arc::new(Gateway { leads_nowhere: AtomicBool::new(true), ..Gateway::default() });
    let url = serve(&gateway).await?;
    let mut world = World::prepare().await?;
    for id in 0..17 {
        world.item(&format!("i{id}"), "one", "RELEASED").await?;
    }
    world.stack.fleet.sink(PLANT, &url)?;
    world.ready()?;
    let is_in = |world: &World, state: &str| -> Result<(), String> {
        let metrics = world.stack.fleet.metrics("sink-plant").map_err(|error| error.to_string())?;
        let is_in = metrics.contains(&format!("millrace_destination_state{{destination=\"plant\",state=\"{state}\"}} 1"));
        if is_in { Ok(()) } else { Err(format!("it is not {state}")) }
    };
    until("the sink to name the destination", PATIENCE, || async { is_in(&world, "unavailable") }).await?;
    gateway.leads_nowhere.store(false, Ordering::Relaxed);
    for id in 0..17 {
        world.ledger_state(&format!("i{id}"), LedgerState::Clear).await?;
    }
    ensure!(world.look.letters(PLANT).await?.is_empty(), "letters of a wrong address");

    world.item("stopped", "one", "RELEASED").await?;
    until("the one record to take it down", PATIENCE, || async { is_in(&world, "unavailable") }).await?;
    world.item("healthy", "one", "RELEASED").await?;
    world.ledger_state("healthy", LedgerState::Clear).await?;
    until("the sink to see that it serves others", PATIENCE, || async { is_in(&world, "ok") }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_the_landscape_lacks_ends_the_start_with_78() -> Result<()> {
    let mut world = World::prepare().await?;
    world.stack.fleet.start("sink-nowhere", "millrace-sink", &["--destination", "nowhere"])?;
    let status = until("the process to end", PATIENCE, || {
        let ended = world.stack.fleet.ended("sink-nowhere").map_err(|error| error.to_string());
        async { ended?.ok_or_else(|| "it runs".to_owned()) }
    })
    .await?;
    ensure!(status.code() == Some(78), "{status}");
    let log = world.stack.fleet.log("sink-nowhere")?;
    ensure!(log.contains("no destination `nowhere` (it has: plant)"), "{log}");
    Ok(())
}

/// Answers with what it was sent to let us in: a refusal of what is called bad, and nobody is let in with the rest.
async fn echo(uri: axum::http::Uri, headers: axum::http::HeaderMap) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let sent = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nothing").to_owned();
    let location = [("location", format!("/login?was={}", sent.replace(' ', "%20")))];
    if uri.path().contains("bad") {
        let body = json!({"code": sent, "message": format!("who is {sent}?"), "field": sent, "value": sent, "external_id": sent});
        return (axum::http::StatusCode::UNPROCESSABLE_ENTITY, location, axum::Json(body)).into_response();
    }
    (axum::http::StatusCode::UNAUTHORIZED, location, format!("unknown: {sent}")).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_that_repeats_what_it_got_puts_no_secret_anywhere() -> Result<()> {
    const MARK: &str = "CANARY-";
    let folder = tempfile::tempdir()?;
    for (name, text) in service::landscape_files(&landscape("sink"))? {
        let path = folder.path().join("landscape").join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, text.replace("timeout: 1s}", "timeout: 1s, authorization_file: authorization}"))?;
    }
    std::fs::write(folder.path().join("authorization"), format!("Bearer {MARK}of-the-plant\n"))?;
    let mut world = World::prepare_with(StackOptions {
        secrets: Some(folder.path().to_owned()),
        environment: vec![("MILLRACE_LOG".to_owned(), "debug".to_owned())],
        ..StackOptions::new(folder.path().join("landscape"))
    })
    .await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(echo)).await });
    world.stack.fleet.sink(PLANT, &url)?;
    world.ready()?;

    world.item("bad", "one", "RELEASED").await?;
    world.ledger_state("bad", LedgerState::Parked).await?;
    let letters = world.look.letters(PLANT).await?;
    ensure!(letters.len() == 1 && letters[0].message.contains("***"), "{letters:?}");
    world.item("good", "one", "RELEASED").await?;
    let log = || world.stack.fleet.log("sink-plant").map_err(|error| error.to_string());
    until("the plant's answer to be told", PATIENCE, || async {
        if log()?.contains("unknown: Bearer ***") || log()?.contains("unknown: ***") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;

    let mut seen = vec![("log".to_owned(), log().map_err(anyhow::Error::msg)?)];
    let port: u16 = world.stack.fleet.ops("sink-plant")?.rsplit_once(':').context("a port")?.1.parse()?;
    for page in ["/readyz", "/metrics"] {
        seen.push((page.to_owned(), tokio::task::block_in_place(|| devstack::fetch::get(port, page, PATIENCE))?.1));
    }
    let client = world.stack.client("canary");
    let group = format!("{}canary", world.stack.topics.prefix());
    let mut records = 0;
    for spec in world.stack.landscape.topic_specs(&world.stack.topics) {
        for record in kafka::read_all(&client, &group, &spec.name, None).await? {
            records += 1;
            let headers = record.headers.iter().filter_map(|(_, value)| value.as_deref());
            let all = [record.key.as_deref(), record.value.as_deref()]
                .into_iter()
                .flatten()
                .chain(headers)
                .collect::<Vec<_>>()
                .concat();
            seen.push((spec.name.clone(), String::from_utf8_lossy(&all).into_owned()));
        }
    }
    ensure!(records > 3, "only {records} records");
    for (place, text) in seen {
        ensure!(!text.contains(MARK), "{place} shows a secret: {text}");
    }
    server.abort();
    Ok(())
}
