//! The fleet with TLS, one identity per process and exactly the grants of the list of topics: everything that a fleet does still works,
//! and no secret of it shows anywhere.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use devstack::{Mode, Secure, Validity, Way};
use millrace_e2e::{check, until};
use model::{Domain, LedgerState, LetterState, PlanState};
use serde_json::{Value, json};

use crate::{
    canary,
    replay::{key, letters, plan},
    rights::with_a_neighbour,
    tracker::Tracker,
    world::{PATIENCE, PLANTS, World},
};

const ITEMS: usize = 20;
const PUNE: &str = "mes-pune";
const ULM: &str = "mes-ulm";
/// Who signs in at the tracker, and with what.
const TOKEN: &str = "CANARY-token-of-anna-0123456789abcdef";

/// A secured fleet, every secret of which begins with [`canary::MARK`].
async fn start(folder: &Path) -> Result<(World, Tracker)> {
    let landscape = folder.join("landscape");
    with_a_neighbour(&landscape)?;
    let secrets = folder.join("secrets");
    fs::create_dir_all(secrets.join("mes"))?;
    fs::write(secrets.join("mes/authorization"), format!("Bearer {}of-the-destination\n", canary::MARK))?;
    let tokens = folder.join("tokens");
    fs::write(&tokens, format!("anna {TOKEN}\n"))?;
    let world = World::start(|options| {
        options.landscape = landscape;
        options.secure = Some(Secure { way: Way::Password, password_prefix: canary::MARK.to_owned() });
        options.secrets = Some(secrets);
        let set = |name: &str, value: String| (name.to_owned(), value);
        options.environment =
            vec![set("MILLRACE_API_TOKENS", tokens.display().to_string()), set("MILLRACE_LOG", "debug".to_owned())];
    })
    .await?;
    let tracker = Tracker::of(&world.stack)?.signed_in(TOKEN);
    Ok((world, tracker))
}

async fn items_arrive(world: &mut World) -> Result<()> {
    world.write_items(0..ITEMS)?;
    let golden = world.golden_complete(PATIENCE).await?;
    for plant in PLANTS {
        world.plant_complete(plant, &golden, PATIENCE).await?;
    }
    Ok(())
}

/// Waits until the newest golden record of a customer is as wanted; none is a tombstone, or never was.
async fn customer(world: &World, id: &str, what: &str, is_so: impl Fn(Option<&model::Golden>) -> bool) -> Result<()> {
    until(&format!("customer {id} to be {what}"), PATIENCE, || async {
        let seen = world.look.golden(Domain::Customer).await.map_err(|error| format!("{error:#}"))?;
        let newest = seen.iter().rev().find(|seen| seen.key.as_str() == id).map(|seen| seen.golden.as_ref());
        if newest.is_some_and(&is_so) { Ok(()) } else { Err(format!("it is {newest:?}")) }
    })
    .await
}

/// A confirmation comes back into golden, a change waits for what it names, and a record goes for good.
async fn customers_are_confirmed_held_released_and_deleted(world: &mut World) -> Result<()> {
    world.drop("customers", "id;name;parent\nK-1;one;\nK-2;two;K-1\nK-4;four;\nK-3;three;K-9\n")?;
    let is_confirmed =
        |golden: Option<&model::Golden>| golden.is_some_and(|golden| golden.meta.confirmations.contains_key("mes"));
    customer(world, "K-2", "confirmed", is_confirmed).await?;
    until("the third to be held", PATIENCE, || async {
        let held = world.look.held().await.map_err(|error| format!("{error:#}"))?;
        if held.contains_key("customer/K-3") { Ok(()) } else { Err(format!("{:?}", held.keys())) }
    })
    .await?;
    world.drop("customers", "id;name;parent\nK-1;one;\nK-2;two;K-1\nK-4;four;\nK-3;three;K-9\nK-9;nine;\n")?;
    customer(world, "K-3", "released and confirmed", is_confirmed).await?;
    world.drop("customers", "id;name;parent\nK-1;one;\nK-4;four;\nK-3;three;K-9\nK-9;nine;\n")?;
    customer(world, "K-2", "a tombstone", |golden| golden.is_none()).await
}

async fn a_refused_record_is_replayed(world: &mut World, tracker: &Tracker) -> Result<()> {
    world.stack.systems.plant(PUNE)?.refuse(&key(1));
    world.write_items([1])?;
    letters(world, 1, LetterState::Open).await?;
    world.stack.systems.plant(PUNE)?.accept(&key(1));
    // The tracker is told of letters as everybody else: it may be a moment behind.
    let made = until("a plan to be made", PATIENCE, || async {
        let wish = json!({"filter": {"system": PUNE}, "reason": "the plant has corrected it"});
        tracker.post("replay-plans", &[], &wish).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    let id = made["id"].as_str().context("a plan's id")?.to_owned();
    plan(world, &id, |plan| plan.would_apply == 1).await?;
    tracker.post(&format!("replay-plans/{id}/run"), &[], &json!({"reason": "now"})).await?;
    plan(world, &id, |plan| plan.state == PlanState::Done && plan.accepted == 1).await?;
    letters(world, 1, LetterState::Resolved).await.map(drop)
}

async fn an_outage_writes_no_letter(world: &mut World) -> Result<()> {
    world.stack.systems.plant(PUNE)?.set_mode(Mode::Down)?;
    world.write_items(2..ITEMS)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete(ULM, &golden, PATIENCE).await?;
    world.stack.systems.plant(PUNE)?.set_mode(Mode::Up)?;
    world.plant_complete(PUNE, &golden, PATIENCE).await?;
    ensure!(world.look.letters(PUNE).await?.len() == 1, "an outage is nobody's dead letter");
    Ok(())
}

async fn a_pause_and_a_block_hold_and_let_go(world: &mut World, tracker: &Tracker) -> Result<()> {
    let on = [("key", key(3)), ("destination", PUNE.to_owned())];
    let on: Vec<(&str, &str)> = on.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let because = |reason: &str| json!({ "reason": reason });
    tracker.post(&format!("destinations/{ULM}/pause"), &[], &because("line 4 stop")).await?;
    tracker.post("records/item/block", &on, &because("wrong drawing")).await?;
    until("pause and block to be kept", PATIENCE, || async {
        let (leases, ledger) = (world.look.leases(ULM).await, world.look.ledger(PUNE).await);
        let (leases, ledger) = (leases.map_err(|error| error.to_string())?, ledger.map_err(|error| error.to_string())?);
        let paused = leases.values().filter(|lease| lease.paused.is_some()).count();
        let state = ledger.get(&format!("item/{}", key(3))).map(|entry| entry.state);
        if paused == leases.len() && paused > 0 && state == Some(LedgerState::Blocked) {
            Ok(())
        } else {
            Err(format!("{paused} of {} slots, {state:?}", leases.len()))
        }
    })
    .await?;
    world.write_items(3..6)?;
    let golden = world.golden_complete(PATIENCE).await?;
    tracker.post(&format!("destinations/{ULM}/resume"), &[], &because("line 4 runs")).await?;
    tracker.post("records/item/unblock", &on, &because("drawing C is right")).await?;
    for plant in PLANTS {
        world.plant_complete(plant, &golden, PATIENCE).await?;
        check::assert_none(plant, &check::plant_saw_order(plant, world.stack.systems.plant(plant)?));
    }
    let acts: Vec<String> = world.look.audit().await?.into_iter().map(|entry| format!("{} {}", entry.actor, entry.act)).collect();
    for act in ["anna destination.pause", "anna record.block", "anna destination.resume", "anna record.unblock"] {
        ensure!(acts.iter().any(|known| known == act), "no `{act}` in {acts:?}");
    }
    Ok(())
}

/// The sentences of `/readyz` name nothing: every grant that is needed is there.
async fn nothing_is_missing(world: &mut World) -> Result<()> {
    let waiting = tokio::task::block_in_place(|| world.stack.fleet.not_ready());
    ensure!(waiting.is_empty(), "{waiting:?}");
    let names: Vec<String> = world.stack.fleet.running().map(|process| process.name.clone()).collect();
    for name in names {
        let log = world.stack.fleet.log(&name)?;
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("uthorization failed")).take(3).collect();
        ensure!(refused.is_empty(), "{name} was refused something that it asked for: {refused:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_a_fleet_does_works_under_exactly_these_grants_and_no_secret_shows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut world, tracker) = start(folder.path()).await?;
    items_arrive(&mut world).await?;
    customers_are_confirmed_held_released_and_deleted(&mut world).await?;
    a_refused_record_is_replayed(&mut world, &tracker).await?;
    an_outage_writes_no_letter(&mut world).await?;
    a_pause_and_a_block_hold_and_let_go(&mut world, &tracker).await?;
    let overview: Value = tracker.get("overview", &[]).await?;
    ensure!(overview.is_object(), "{overview}");
    nothing_is_missing(&mut world).await?;
    canary::nothing_leaks(&mut world, folder.path(), TOKEN).await
}

/// Starts a sink again with a new certificate of that validity.
fn start_with(world: &mut World, sink: &str, validity: Validity) -> Result<()> {
    let secured = world.stack.secured().context("a secured stack")?;
    let certified = secured.authority.client(sink, validity)?;
    for (name, text) in [("kafka/user.crt", &certified.certificate), ("kafka/user.key", &certified.key)] {
        let path = secured.accounts.file(sink, name);
        let next = path.with_extension("renewed");
        fs::write(&next, text)?;
        fs::rename(&next, &path)?;
    }
    tokio::task::block_in_place(|| {
        world.stack.fleet.stop(sink)?;
        world.stack.fleet.start_again(sink)
    })
}

/// A client certificate that has expired is named; with a new one the sink goes on where it was.
async fn an_expired_certificate_is_named_and_renewed(world: &mut World) -> Result<()> {
    let sink = "sink-mes-ulm";
    start_with(world, sink, Validity::Expired)?;
    world.write_items(0..ITEMS)?;
    until("the expired certificate to be named", PATIENCE, || {
        let waiting = tokio::task::block_in_place(|| world.stack.fleet.not_ready());
        let why = waiting.into_iter().find(|(name, _)| name == sink).map(|(_, why)| why).unwrap_or_default();
        let is_named = ["user.crt", "expired"].iter().all(|part| why.contains(part));
        std::future::ready(if is_named { Ok(()) } else { Err(format!("it says: {why}")) })
    })
    .await?;
    start_with(world, sink, Validity::Now)?;
    tokio::task::block_in_place(|| world.stack.fleet.wait_ready(PATIENCE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_alone_records_arrive_and_an_expired_one_stops_its_sink_alone() -> Result<()> {
    let mut world = World::start(|options| options.secure = Some(Secure { way: Way::Certificate, ..Secure::default() })).await?;
    items_arrive(&mut world).await?;
    an_expired_certificate_is_named_and_renewed(&mut world).await?;
    world.assert_promises().await
}
