//! Dead letters from their birth to their end: refused, planned, sent again to the one place, closed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use avro::{Schema, Writer};
use kafka::Producer;
use millrace_e2e::until;
use model::{Act, Command, LetterState, LetterStatus, Outgoing, Plan, PlanFilter, PlanState, Slot, Stage, Timestamp};
use registry::Registry;

use crate::world::{PATIENCE, World};

const PUNE: &str = "mes-pune";

/// Writes to `command.replayer`, as the tracker and the command line do.
pub(crate) struct Person {
    producer: Producer,
    writer: Writer,
    topic: String,
}

impl Person {
    pub(crate) async fn of(world: &World) -> Result<Self> {
        let registry = Registry::new(world.stack.registry())?;
        let topic = world.look.topics.command("replayer");
        let writer = registry.writer(&[(Schema::Command, topic.clone())]).await?;
        Ok(Self { producer: Producer::new(&world.stack.client("person"))?, writer, topic })
    }

    pub(crate) async fn asks(&self, act: Act, plan: &str, filter: Option<PlanFilter>) -> Result<()> {
        let command = Command {
            command_id: uuid::Uuid::now_v7().to_string(),
            act,
            stage: Stage::Unknown,
            domain: None,
            key: None,
            actor: "local/anna".to_owned(),
            reason: Some("the plant has corrected it".to_owned()),
            until: None,
            at: Timestamp::from_millis(0),
            plan: Some(plan.to_owned()),
            letter: None,
            source_key: None,
            revision: None,
            source: None,
            source_epoch: None,
            source_sequence: None,
            exact_offset: None,
            filter,
        };
        let value = Some(self.writer.encode(&command)?);
        let outgoing = Outgoing { topic: self.topic.clone(), slot: Slot(0), key: plan.to_owned(), value, headers: Vec::new() };
        self.producer.send(&outgoing).await?;
        Ok(())
    }
}

pub(crate) fn of(system: &str) -> PlanFilter {
    PlanFilter { system: Some(system.to_owned()), ..PlanFilter::default() }
}

pub(crate) async fn letters(world: &World, count: usize, state: LetterState) -> Result<Vec<LetterStatus>> {
    until(&format!("{count} letters to be {}", state.name()), PATIENCE, || async {
        let all = world.look.letter_states().await.map_err(|error| format!("{error:#}"))?;
        let found: Vec<_> = all.into_values().filter(|status| status.state == state).collect();
        if found.len() == count { Ok(found) } else { Err(format!("{} are", found.len())) }
    })
    .await
}

pub(crate) async fn plan(world: &World, id: &str, is_so: impl Fn(&Plan) -> bool) -> Result<Plan> {
    until(&format!("plan {id}"), PATIENCE, || async {
        let plans = world.look.plans().await.map_err(|error| format!("{error:#}"))?;
        match plans.get(id) {
            Some(plan) if is_so(plan) => Ok(plan.clone()),
            other => Err(format!("it is {other:?}")),
        }
    })
    .await
}

pub(crate) fn key(item: usize) -> String {
    format!("L-{item:05}/A")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_records_are_planned_replayed_at_their_destination_only_and_closed_through_a_killed_replayer() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let person = Person::of(&world).await?;
    let refused = 0..40_usize;
    for item in refused.clone() {
        world.stack.systems.plant(PUNE)?.refuse(&key(item));
    }
    world.write_items(0..60)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    let open = letters(&world, refused.len(), LetterState::Open).await?;
    assert!(open.iter().all(|status| status.system == PUNE && status.code == "REFUSED_BY_PLANT"));

    person.asks(Act::Plan, "p-none", Some(PlanFilter::default())).await?;
    let none = plan(&world, "p-none", |plan| plan.error.is_some()).await?;
    assert!(none.error.as_deref().is_some_and(|error| error.contains("all 40 open letters")), "{none:?}");

    // Still refused: every letter comes back, none is lost, none is new.
    person.asks(Act::Plan, "p-1", Some(PlanFilter { rate: 100, ..of(PUNE) })).await?;
    assert_eq!(plan(&world, "p-1", |plan| plan.state == PlanState::Planned).await?.would_apply, 40);
    person.asks(Act::Run, "p-1", None).await?;
    let done = plan(&world, "p-1", |plan| plan.state == PlanState::Done).await?;
    assert_eq!((done.sent, done.accepted, done.refused), (40, 0, 40));
    let again = letters(&world, refused.len(), LetterState::Open).await?;
    assert!(again.iter().all(|status| status.hops == 1), "{again:?}");

    let ulm_before = world.stack.systems.plant("mes-ulm")?.counts().calls;
    for item in refused.clone() {
        world.stack.systems.plant(PUNE)?.accept(&key(item));
    }
    person.asks(Act::Plan, "p-2", Some(of(PUNE))).await?;
    plan(&world, "p-2", |plan| plan.would_apply == 40).await?;
    person.asks(Act::Run, "p-2", None).await?;
    plan(&world, "p-2", |plan| plan.sent >= 5).await?;
    tokio::task::block_in_place(|| -> Result<()> {
        world.stack.fleet.kill("replayer")?;
        world.stack.fleet.start_again("replayer")
    })?;
    let done = plan(&world, "p-2", |plan| plan.state == PlanState::Done).await?;
    assert_eq!((done.sent, done.accepted, done.refused), (40, 40, 0));
    letters(&world, refused.len(), LetterState::Resolved).await?;
    world.plant_complete(PUNE, &golden, PATIENCE).await?;
    assert_eq!(world.stack.systems.plant("mes-ulm")?.counts().calls, ulm_before, "a replay reaches the one place that failed");

    let commands = world.look.commands(PUNE).await?;
    let sent: Vec<_> = commands.iter().filter(|command| command.plan.as_deref() == Some("p-2")).collect();
    let distinct: BTreeSet<_> = sent.iter().filter_map(|command| command.letter.clone()).collect();
    assert_eq!((sent.len(), distinct.len()), (40, 40), "the killed replayer sent no letter twice and forgot none");

    let audit = world.look.audit().await?;
    let mut previous = String::new();
    let chain: Vec<_> = audit.iter().filter(|entry| entry.writer == "replayer").collect();
    for (seq, entry) in (1..).zip(&chain) {
        assert_eq!((entry.seq, &entry.previous_hash), (seq, &previous));
        assert_eq!(deadletter::audit::hash_of(entry), entry.hash);
        previous.clone_from(&entry.hash);
    }
    let acts: Vec<_> = chain.iter().map(|entry| (entry.act.as_str(), entry.object.as_str())).collect();
    assert_eq!(acts, [("dlq.replay", "plan/p-1"), ("dlq.replay", "plan/p-2")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_validator_refused_is_judged_again_and_replayed_when_its_unit_has_come() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let person = Person::of(&world).await?;
    world.golden_complete(PATIENCE).await?;
    let header = "item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\n";
    world.drop("items", &format!("{header}X-1;A;needs a unit;SET;1.5;CT;2\n"))?;
    let open = letters(&world, 1, LetterState::Open).await?;
    assert_eq!((open[0].system.as_str(), open[0].stage), ("validator", Stage::Validate));

    person.asks(Act::Plan, "p-1", Some(of("validator"))).await?;
    let still = plan(&world, "p-1", |plan| plan.state == PlanState::Planned).await?;
    assert_eq!((still.would_apply, still.still_failing), (0, 1), "the unit is still missing: {still:?}");

    world.drop("units", "code;name\nSET;set\n")?;
    until("the unit to be golden", PATIENCE, || async {
        let seen = world.look.golden(model::Domain::Reference).await.map_err(|error| format!("{error:#}"))?;
        if seen.iter().any(|seen| seen.key.as_str() == "uom/SET") { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await?;
    // The replayer follows golden by itself: plans are made until one sees the unit.
    let mut round = 1;
    let planned = loop {
        round += 1;
        let id = format!("p-{round}");
        person.asks(Act::Plan, &id, Some(of("validator"))).await?;
        let made = plan(&world, &id, |_| true).await?;
        if made.would_apply == 1 {
            break id;
        }
        anyhow::ensure!(round < 50, "the plan never saw the unit: {made:?}");
    };
    person.asks(Act::Run, &planned, None).await?;
    let done = plan(&world, &planned, |plan| plan.state == PlanState::Done).await?;
    assert_eq!((done.sent, done.accepted), (1, 1));
    let closed = letters(&world, 1, LetterState::Resolved).await?;
    assert_eq!(closed[0].id, open[0].id);
    let golden = world.look.golden(model::Domain::Item).await?;
    let item = golden.iter().find(|seen| seen.key.as_str() == "X-1/A").context("the item is not golden")?;
    let cause = item.golden.as_ref().and_then(|golden| golden.meta.causation_id.clone());
    assert_eq!(cause.as_deref(), Some(open[0].id.0.as_str()), "golden names the letter that brought it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_mapped_is_captured_again_and_a_discard_ends_a_park() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let person = Person::of(&world).await?;
    let header = "item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\n";
    world.drop("items", &format!("{header}X-1;A;a weight in words;C62;heavy;CT;2\n"))?;
    let open = letters(&world, 1, LetterState::Open).await?;
    assert_eq!((open[0].system.as_str(), open[0].stage), ("erp", Stage::Capture));

    // The mapping is as it was: the same letter comes back.
    person.asks(Act::Plan, "p-1", Some(of("erp"))).await?;
    plan(&world, "p-1", |plan| plan.would_apply == 1).await?;
    person.asks(Act::Run, "p-1", None).await?;
    let done = plan(&world, "p-1", |plan| plan.state == PlanState::Done).await?;
    assert_eq!((done.sent, done.refused), (1, 1), "{done:?}");
    assert_eq!(letters(&world, 1, LetterState::Open).await?[0].hops, 1);

    // A good row closes it by itself.
    world.drop("items", &format!("{header}X-1;A;a weight in words;C62;1.5;CT;2\n"))?;
    letters(&world, 1, LetterState::Superseded).await?;

    world.stack.systems.plant(PUNE)?.refuse(&key(1));
    world.write_items([1])?;
    letters(&world, 1, LetterState::Open).await?;
    person.asks(Act::DiscardLetters, "d-1", Some(of(PUNE))).await?;
    letters(&world, 1, LetterState::Discarded).await?;
    until("the park to end", PATIENCE, || async {
        let ledger = world.look.ledger(PUNE).await.map_err(|error| format!("{error:#}"))?;
        let state = ledger.get(&format!("item/{}", key(1))).map(|entry| entry.state);
        if state == Some(model::LedgerState::Parked) || state.is_none() { Err(format!("{state:?}")) } else { Ok(()) }
    })
    .await
}
