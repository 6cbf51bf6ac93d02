//! What must hold while a world runs and when it has come to rest (delivery.md 10; I2 to I4 are checked at the destination).

use model::{Act, LedgerEntry, LedgerState, LetterId, Topical};

use super::{
    Bug,
    world::{Durable, TOPICS, Version, World, content},
};
use crate::{Operation, chain};

/// One run from one seed; the error names the broken invariant.
pub(super) fn run(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    for _ in 0..world.steps() {
        world.step()?;
        always(&world)?;
    }
    world.heal(always)?;
    at_rest(&mut world)
}

/// No key is ever parked without its letter.
fn always(world: &World) -> Result<(), String> {
    for durable in &world.ledger {
        let Durable::Entry(key, Some(entry)) = durable else { continue };
        let has_letter = entry.letter.as_ref().is_some_and(|letter| world.letters.contains(&LetterId(letter.clone())));
        if entry.state == LedgerState::Parked && !has_letter {
            return Err(format!("{key} is parked without a letter"));
        }
    }
    Ok(())
}

fn at_rest(world: &mut World) -> Result<(), String> {
    world.commit();
    let last = [world.golden.last().map(|last| last.offset), world.commands.last().map(|(offset, ..)| *offset)];
    for topic in 0..2 {
        if last[topic].is_some_and(|last| world.committed[topic] != last + 1) {
            return Err(format!("I6: {} stands at {} of {:?}", TOPICS[topic], world.committed[topic], last[topic]));
        }
    }
    chain::verify(&world.receipts).map_err(|broken| format!("I9: {broken}"))?;
    for key in world.revisions.keys() {
        if let Some(version) = world.latest(key).and_then(|latest| latest.record) {
            accounted_for(world, key, version)?;
        }
    }
    Ok(())
}

/// I1: the newest revision is accepted, or waits, is parked, blocked or discarded with a reason.
fn accounted_for(world: &World, key: &Topical, version: Version) -> Result<(), String> {
    let revision = version.revision;
    let there = world.applied.get(key).copied();
    let holds = there.is_some_and(|(_, holds)| holds);
    let entry = world.entry(key).unwrap_or_else(|| LedgerEntry { state: LedgerState::Clear, ..LedgerEntry::default() });
    let accepted = entry.accepted.as_ref().map_or(0, |accepted| accepted.revision);
    let offered = entry.offered.as_ref().map_or(0, |offered| offered.revision);
    let was = |act| world.commands.iter().any(|(_, of, command)| command.act == act && of.as_ref() == Some(key));
    // Where the payload did not change, the destination rightly holds an older revision of the same content.
    let has_content = there.is_some_and(|(applied, holds)| holds && content(applied) == content(revision));
    let is_right = match (entry.state, version.operation) {
        (LedgerState::Parked, _) => offered == revision,
        (LedgerState::Blocked, Operation::Upsert) => offered == revision,
        (LedgerState::Blocked, Operation::Remove) => offered == revision || !holds,
        (LedgerState::Waiting, _) => version.is_closed && offered == revision,
        (LedgerState::Clear | LedgerState::Deleted, Operation::Remove) => !holds || (offered == revision && was(Act::Discard)),
        (LedgerState::Clear | LedgerState::Deleted, Operation::Upsert) => {
            (accepted == revision && has_content) || (offered == revision && was(Act::Discard))
        }
        (LedgerState::Delivered | LedgerState::Unknown, _) => false,
    };
    if is_right {
        return Ok(());
    }
    let state = entry.state;
    Err(format!("I1: lost: {key} {version:?}, ledger {state:?} offered {offered} accepted {accepted}, there {there:?}"))
}
