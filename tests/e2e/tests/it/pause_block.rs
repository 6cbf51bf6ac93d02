//! A person's pause of a destination and block of a record outlive the process that keeps them.

use std::collections::BTreeMap;

use anyhow::Result;
use millrace_e2e::until;
use model::Golden;
use serde_json::json;

use crate::{
    tracker::Tracker,
    world::{PATIENCE, World},
};

const ITEMS: usize = 20;
/// Paused as a whole.
const ULM: &str = "mes-ulm";
/// Where one record is blocked.
const PUNE: &str = "mes-pune";
const BLOCKED: &str = "L-00003/A";

/// Every item again: golden has it, Pune has all but the blocked one, Ulm was not called.
async fn everything_but_what_is_held_flows(world: &mut World, calls_at_ulm: u64) -> Result<BTreeMap<String, Golden>> {
    world.write_items(0..ITEMS)?;
    let golden = world.golden_complete(PATIENCE).await?;
    let blocked = format!("item/{BLOCKED}");
    let mut others = golden.clone();
    others.remove(&blocked);
    until("Pune to have all but the blocked record", PATIENCE, || async {
        let ledger = world.look.ledger(PUNE).await.map_err(|error| format!("{error:#}"))?;
        let behind = others.iter().find(|(key, golden)| {
            let accepted = ledger.get(*key).and_then(|entry| entry.accepted.as_ref());
            accepted.map(|accepted| accepted.revision) != Some(golden.meta.revision)
        });
        // It has the blocked one in hand, too: only the block holds it.
        let offered = ledger.get(&blocked).and_then(|entry| entry.offered.as_ref()).map(|offered| offered.revision);
        match behind {
            None if offered == golden.get(&blocked).map(|golden| golden.meta.revision) => Ok(()),
            None => Err(format!("the blocked one is known at {offered:?}")),
            Some((key, _)) => Err(format!("{key} is behind")),
        }
    })
    .await?;
    let there = world.stack.systems.plant(PUNE)?.record("item", BLOCKED);
    assert_eq!(there.map(|stored| stored.revision), Some(1), "a blocked record was sent");
    assert_eq!(world.stack.systems.plant(ULM)?.counts().calls, calls_at_ulm, "a paused destination was called");
    Ok(golden)
}

/// The API says so, with who and why.
async fn is_told(tracker: &Tracker) -> Result<()> {
    until("the API to tell the pause and the block", PATIENCE, || async {
        let ask = async {
            let ulm = tracker.get(&format!("destinations/{ULM}"), &[]).await?;
            let waiting = tracker.standpoint("item", "L-00001/A", ULM).await?;
            anyhow::Ok((ulm, waiting, tracker.standpoint("item", BLOCKED, PUNE).await?))
        };
        let (ulm, waiting, blocked) = ask.await.map_err(|error| format!("{error:#}"))?;
        let is_paused = ulm["state"] == "paused" && ulm["reason"] == "line 4 stop" && ulm["by"] == "local/anna";
        let waits = waiting["state"] == "waiting" && waiting["reason"] == "paused";
        let is_blocked = blocked["state"] == "waiting" && blocked["why"] == "blocked by local/anna: wrong drawing";
        if is_paused && waits && is_blocked { Ok(()) } else { Err(format!("{ulm}\n{waiting}\n{blocked}")) }
    })
    .await
}

/// Every slot of a destination has it in its ledger, or none.
async fn pauses(world: &World, is_paused: bool) -> Result<()> {
    until("every slot to know whether it is paused", PATIENCE, || async {
        let leases = world.look.leases(ULM).await.map_err(|error| format!("{error:#}"))?;
        let known = leases.values().filter(|lease| lease.paused.is_some() == is_paused).count();
        let slots = world.stack.landscape.kafka.slots;
        if u32::try_from(known) == Ok(slots) { Ok(()) } else { Err(format!("{known} of {slots}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_and_a_block_survive_the_death_of_the_sink_and_then_the_newest_arrives() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let tracker = Tracker::of(&world.stack)?;
    world.write_items(0..ITEMS)?;
    let golden = world.golden_complete(PATIENCE).await?;
    for plant in [ULM, PUNE] {
        world.plant_complete(plant, &golden, PATIENCE).await?;
    }
    until("the tracker to know the record", PATIENCE, || async {
        tracker.standpoint("item", BLOCKED, PUNE).await.map_err(|error| format!("{error:#}"))
    })
    .await?;

    tracker.post(&format!("destinations/{ULM}/pause"), &[], &json!({"reason": "line 4 stop"})).await?;
    let on = [("key", BLOCKED), ("destination", PUNE)];
    tracker.post("records/item/block", &on, &json!({"reason": "wrong drawing"})).await?;
    pauses(&world, true).await?;
    until("the block to be in the ledger", PATIENCE, || async {
        let ledger = world.look.ledger(PUNE).await.map_err(|error| format!("{error:#}"))?;
        let state = ledger.get(&format!("item/{BLOCKED}")).map(|entry| entry.state);
        if state == Some(model::LedgerState::Blocked) { Ok(()) } else { Err(format!("{state:?}")) }
    })
    .await?;
    until("the API to tell the block of a record that arrived before it", PATIENCE, || async {
        let record = tracker.standpoint("item", BLOCKED, PUNE).await.map_err(|error| format!("{error:#}"))?;
        let lineage = tracker.get("records/item/lineage", &[("key", BLOCKED)]).await.map_err(|error| format!("{error:#}"))?;
        let is_told = record["state"] == "accepted" && record["blocked"]["text"] == "by local/anna: wrong drawing";
        let mut events = lineage["events"].as_array().into_iter().flatten();
        let is_traced = events.any(|event| event["what"] == "block" && event["system"] == PUNE);
        if is_told && is_traced { Ok(()) } else { Err(format!("{record}\n{}", lineage["events"])) }
    })
    .await?;
    let calls = world.stack.systems.plant(ULM)?.counts().calls;
    everything_but_what_is_held_flows(&mut world, calls).await?;
    is_told(&tracker).await?;

    for round in 0..2 {
        tokio::task::block_in_place(|| -> Result<()> {
            for sink in ["sink-mes-ulm", "sink-mes-pune"] {
                world.stack.fleet.kill(sink)?;
                world.stack.fleet.start_again(sink)?;
            }
            world.stack.fleet.wait_ready(PATIENCE)
        })?;
        println!("killed and started again, {round}");
        until("the new process to say that it is paused", PATIENCE, || async {
            let metrics = tokio::task::block_in_place(|| world.stack.fleet.metrics("sink-mes-ulm"));
            let is_paused = metrics
                .map_err(|error| format!("{error:#}"))?
                .contains("millrace_destination_state{destination=\"mes-ulm\",state=\"paused\"} 1");
            if is_paused { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await?;
        everything_but_what_is_held_flows(&mut world, calls).await?;
        is_told(&tracker).await?;
    }

    let before = world.stack.systems.plant(ULM)?.counts().applied;
    tracker.post(&format!("destinations/{ULM}/resume"), &[], &json!({"reason": "line 4 runs"})).await?;
    tracker.post("records/item/unblock", &on, &json!({"reason": "drawing C is right"})).await?;
    pauses(&world, false).await?;
    // Waits for both plants to equal golden, and finds nothing turned back, doubled or written as a letter.
    world.assert_promises().await?;
    let drained = world.stack.systems.plant(ULM)?.counts().applied - before;
    println!("{} revisions waited, {drained} calls drained them", 3 * ITEMS);
    assert!((ITEMS as u64..2 * ITEMS as u64).contains(&drained), "the newest of each record, not its history: {drained}");
    until("the API to tell that all is well", PATIENCE, || async {
        let ulm = tracker.get(&format!("destinations/{ULM}"), &[]).await.map_err(|error| format!("{error:#}"))?;
        let record = tracker.standpoint("item", BLOCKED, PUNE).await.map_err(|error| format!("{error:#}"))?;
        let is_well = ulm["state"] == "ok" && ulm["reason"].is_null() && record["state"] == "accepted";
        if is_well { Ok(()) } else { Err(format!("{ulm}\n{record}")) }
    })
    .await?;

    let audit = world.look.audit().await?;
    let acts: Vec<_> = audit.iter().map(|entry| (entry.act.as_str(), entry.actor.as_str(), entry.reason.as_deref())).collect();
    let by_anna = |act, reason| (act, "local/anna", Some(reason));
    let expected = [
        by_anna("destination.pause", "line 4 stop"),
        by_anna("record.block", "wrong drawing"),
        by_anna("destination.resume", "line 4 runs"),
        by_anna("record.unblock", "drawing C is right"),
    ];
    assert_eq!(acts, expected, "each act once in the audit log, with its reason");
    Ok(())
}
