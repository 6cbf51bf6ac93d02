//! What stands in a service's way for reasons of security is named on `/readyz` with what to do, and once that is done the service goes on:
//! nothing is lost, nothing happens twice, nothing becomes a letter, and nobody restarts anything that need not be.

use std::fs;

use anyhow::{Context, Result, ensure};
use devstack::{Secure, Stack, StackOptions, Validity};
use landscape::{Operation, Principal, Resource};
use millrace_e2e::until;

use crate::world::{PATIENCE, World};

const SINK: &str = "sink-mes-ulm";

/// The principals with an operation less.
fn without(mut all: Vec<Principal>, taken: &[(&str, Resource, &str, Operation)]) -> Vec<Principal> {
    for (principal, resource, name, operation) in taken {
        let of = all.iter_mut().find(|each| each.name == *principal).map(|each| &mut each.grants);
        let grant = of.into_iter().flatten().find(|grant| grant.resource == *resource && grant.name == *name);
        let grant = grant.expect("a grant of the sample company");
        let before = grant.operations.len();
        grant.operations.retain(|each| each != operation);
        assert_eq!(grant.operations.len(), before - 1, "{principal} has no {operation:?} on {name}");
    }
    all
}

/// From here on the broker grants exactly these.
fn admit(stack: &Stack, principals: &[Principal]) -> Result<()> {
    let base = stack.base.as_ref().context("a base of its own")?;
    let secured = stack.secured().context("a secured stack")?;
    tokio::task::block_in_place(|| secured.admit(&base.java, &base.broker, principals))
}

/// Until the reason why `service` is not ready contains all of `parts`.
async fn named(stack: &mut Stack, service: &str, parts: &[&str]) -> Result<String> {
    let mut found = String::new();
    until(&format!("{service} to name {parts:?}"), PATIENCE, || {
        let waiting = tokio::task::block_in_place(|| stack.fleet.check_alive().map(|()| stack.fleet.not_ready()));
        let named = waiting.map_err(|error| format!("{error:#}")).and_then(|waiting| {
            let why = waiting.into_iter().find(|(name, _)| name == service).map(|(_, why)| why).unwrap_or_default();
            if parts.iter().all(|part| why.contains(part)) { Ok(why) } else { Err(format!("it says: {why}")) }
        });
        if let Ok(why) = &named {
            found.clone_from(why);
        }
        std::future::ready(named.map(drop))
    })
    .await?;
    println!("{service}: {found}");
    Ok(found)
}

fn ready(stack: &mut Stack) -> Result<()> {
    tokio::task::block_in_place(|| stack.fleet.wait_ready(PATIENCE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_taken_from_a_running_fleet_is_named_and_given_back_everything_arrives_once() -> Result<()> {
    let mut world = World::start(|options| options.secure = Some(Secure::default())).await?;
    world.write_items(0..200)?;
    let all = landscape::rights(&world.stack.landscape, &world.stack.topics);
    let prefix = world.stack.topics.prefix().to_owned();
    let topic = |name: &str| format!("{prefix}{name}");
    let (golden, receipt, ledger) = (topic("golden.item"), topic("receipt.mes-pune"), topic("ledger.mes-ulm"));
    let (group, id) = (topic("sink.mes-pune"), topic("publisher.erp"));
    let (change, letters) = (topic("change.erp.item"), topic("dlq.mes-ulm"));
    let taken = [
        ("publisher-erp", Resource::TransactionalId, id.as_str(), Operation::Write),
        ("validator", Resource::Topic, golden.as_str(), Operation::Write),
        (SINK, Resource::Topic, golden.as_str(), Operation::Read),
        (SINK, Resource::Topic, ledger.as_str(), Operation::Write),
        ("sink-mes-pune", Resource::Topic, receipt.as_str(), Operation::Write),
        ("sink-mes-pune", Resource::Group, group.as_str(), Operation::Read),
        ("replayer", Resource::Topic, letters.as_str(), Operation::Read),
        ("tracker", Resource::Topic, change.as_str(), Operation::Read),
    ];
    admit(&world.stack, &without(all.clone(), &taken))?;
    world.write_items(0..200)?;

    let stack = &mut world.stack;
    named(stack, "publisher-erp", &[&format!("User:publisher-erp may not use transactional id {id}; to grant: kafka-acls ")])
        .await?;
    named(stack, SINK, &[&format!("User:{SINK} may not "), &golden, "--operation Read", "kafka-acls "]).await?;
    named(stack, "sink-mes-pune", &[&format!("User:sink-mes-pune may not read as group {group}; to grant: kafka-acls ")]).await?;
    named(stack, "replayer", &["User:replayer may not ", &letters, "--operation Read"]).await?;
    named(stack, "tracker", &["User:tracker may not ", &change, "--operation Read"]).await?;

    // One after the other, so that those behind the first have something to do.
    admit(&world.stack, &without(all.clone(), &taken[1..]))?;
    named(&mut world.stack, "validator", &[&format!("User:validator may not write {golden}; to grant: kafka-acls ")]).await?;
    admit(&world.stack, &all)?;
    world.write_items(0..200)?;
    // All of it at once: nothing lost, nothing twice, nothing backwards, no letter.
    world.assert_promises().await?;
    ready(&mut world.stack)
}

/// Replaces a file of a secret that nobody but its owner may write.
fn put(path: &std::path::Path, text: &str) -> Result<()> {
    let next = path.with_extension("mended");
    fs::write(&next, text).with_context(|| format!("writing {}", next.display()))?;
    Ok(fs::rename(&next, path)?)
}

async fn secured() -> Result<Stack> {
    Stack::start(StackOptions { secure: Some(Secure::default()), ..StackOptions::new(millrace_e2e::landscape("load")) }).await
}

fn sink(stack: &mut Stack) -> Result<()> {
    let endpoint = stack.systems.plant("mes-ulm")?.url();
    stack.fleet.sink("mes-ulm", &endpoint)
}

fn stop(stack: &mut Stack) -> Result<()> {
    let status = tokio::task::block_in_place(|| stack.fleet.stop(SINK))?;
    ensure!(status.success(), "{}", devstack::supervise::describe(status));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_without_a_right_a_password_or_an_authority_says_so_and_starts_once_it_is_mended() -> Result<()> {
    let mut stack = secured().await?;
    let all = landscape::rights(&stack.landscape, &stack.topics);
    let receipt = stack.topics.receipt("mes-ulm");

    // A right.
    let mut less = all.clone();
    for principal in less.iter_mut().filter(|principal| principal.name == SINK) {
        principal.grants.retain(|grant| grant.name != receipt);
    }
    admit(&stack, &less)?;
    sink(&mut stack)?;
    let grant = format!("--add --allow-principal User:{SINK} --operation Write");
    let why =
        named(&mut stack, SINK, &["topics", &format!("User:{SINK} may not write {receipt}; to grant: kafka-acls "), &grant])
            .await?;
    ensure!(!why.contains("missing:"), "it is there, and kept from us: {why}");
    admit(&stack, &all)?;
    ready(&mut stack)?;
    stop(&mut stack)?;

    // Files that are not the right ones.
    let accounts = &stack.secured().context("a secured stack")?.accounts;
    let file = |name: &str| accounts.file(SINK, name);
    let strange = devstack::Authority::new("somebody else")?.certificate().to_owned();
    let user = format!("user {SINK}");
    let wrong = [
        (
            file("kafka/password"),
            "not this one",
            vec!["the brokers refuse", &user, "SCRAM-SHA-512", "kafka/password", "kafka-configs"],
        ),
        (file("kafka/ca.crt"), &strange, vec!["the brokers' certificate does not hold", "kafka/ca.crt"]),
        (file("registry/password"), "not this one", vec!["registry", "refuses", &user, "registry/password"]),
        (file("registry/ca.crt"), &strange, vec!["registry", "certificate does not hold", "registry/ca.crt"]),
    ];
    for (path, text, parts) in &wrong {
        let right = fs::read_to_string(path)?;
        put(path, text)?;
        sink(&mut stack)?;
        named(&mut stack, SINK, parts).await?;
        put(path, &right)?;
        ready(&mut stack)?;
        stop(&mut stack)?;
    }

    // Nobody mends it.
    let (path, text, parts) = &wrong[0];
    put(path, text)?;
    let endpoint = stack.systems.plant("mes-ulm")?.url();
    let own = ["--destination", "mes-ulm", "--endpoint", &endpoint, "--start-timeout", "5s"];
    stack.fleet.start(SINK, "millrace-sink", &own)?;
    until("the sink to give up", PATIENCE, || {
        let ended = stack.fleet.ended(SINK);
        std::future::ready(match ended {
            Ok(Some(status)) if status.code() == Some(69) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    let log = stack.fleet.log(SINK)?;
    let ended = log.lines().rfind(|line| line.contains("code=69")).unwrap_or_default();
    ensure!(parts.iter().all(|part| ended.contains(part)), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_and_a_password_that_is_changed_under_a_running_sink_are_named_and_mended() -> Result<()> {
    let mut stack = secured().await?;
    sink(&mut stack)?;
    ready(&mut stack)?;

    show(&mut stack, Validity::Expired)?;
    named(&mut stack, SINK, &["the brokers' certificate does not hold: it has expired", "openssl s_client"]).await?;
    show(&mut stack, Validity::Now)?;
    ready(&mut stack)?;

    // On the brokers only: the sink has the old one, and its connections are gone.
    let all = landscape::rights(&stack.landscape, &stack.topics);
    let path = stack.secured().context("a secured stack")?.accounts.file(SINK, "kafka/password");
    let old = fs::read_to_string(&path)?;
    stack.secured().context("a secured stack")?.enrol(SINK)?;
    admit(&stack, &all)?;
    let new = fs::read_to_string(&path)?;
    put(&path, &old)?;
    show(&mut stack, Validity::Now)?;
    named(&mut stack, SINK, &["the brokers refuse user", "SCRAM-SHA-512"]).await?;
    // Now its file, too: only a start reads it, so it asks for one.
    put(&path, &new)?;
    until("the sink to ask for another start", PATIENCE, || {
        let ended = stack.fleet.ended(SINK);
        std::future::ready(match ended {
            Ok(Some(status)) if status.code() == Some(75) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    tokio::task::block_in_place(|| stack.fleet.kill(SINK)).ok();
    stack.fleet.start_again(SINK)?;
    ready(&mut stack)
}

/// Restarts the broker with another certificate.
fn show(stack: &mut Stack, validity: Validity) -> Result<()> {
    stack.secured().context("a secured stack")?.renew_broker(validity)?;
    let base = stack.base.as_mut().context("a base of its own")?;
    tokio::task::block_in_place(|| {
        base.broker.stop(&mut base.supervisor)?;
        base.broker.restart(&mut base.supervisor)
    })
}
