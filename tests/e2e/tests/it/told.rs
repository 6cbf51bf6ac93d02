//! "Nothing needs a person." is said when it is true, and only then: each trouble has its line while it lasts.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use devstack::{Mode, Stack};
use millrace_e2e::until;
use model::LetterState;

use crate::{
    replay::{key, letters},
    tracker::Tracker,
    world::{PATIENCE, World},
};

const ULM: &str = "mes-ulm";
const NOTHING: &str = "Nothing needs a person.";

/// What the command line prints, whatever its exit code.
fn millrace(stack: &Stack, arguments: &[&str]) -> Result<String> {
    let program = devstack::dev::profile()?.join("millrace");
    ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
    let server = stack.fleet.server().context("a tracker")?;
    let mut command = Command::new(program);
    command.args(arguments).args(["--server", &server]).stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output()).context("running millrace")?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// `millrace status` has a line with all of this, and does not say that nothing does.
async fn is_told(world: &World, line: &[&str]) -> Result<()> {
    let text = until(&format!("a line with {line:?}"), PATIENCE, || async {
        let text = millrace(&world.stack, &["status"]).map_err(|error| format!("{error:#}"))?;
        let has_line = text.lines().any(|found| line.iter().all(|part| found.contains(part)));
        if has_line && !text.contains(NOTHING) { Ok(text) } else { Err(text) }
    })
    .await?;
    println!("{text}");
    Ok(())
}

async fn nothing_does(world: &World, after: &str) -> Result<()> {
    until(&format!("nothing to need a person after {after}"), PATIENCE, || async {
        let text = millrace(&world.stack, &["status"]).map_err(|error| format!("{error:#}"))?;
        if text.contains(NOTHING) { Ok(()) } else { Err(text) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_has_its_line_while_it_lasts_and_a_discard_is_taken_back() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    let tracker = Tracker::of(&world.stack)?;
    world.write_items(0..3)?;
    let golden = world.golden_complete(PATIENCE).await?;
    for plant in [ULM, "mes-pune"] {
        world.plant_complete(plant, &golden, PATIENCE).await?;
    }
    nothing_does(&world, "the load").await?;

    // A plant that answers 500: tried again first, down after some of that; told either way, with what it answers.
    world.stack.systems.plant(ULM)?.set_mode(Mode::Error)?;
    world.write_items([0])?;
    is_told(&world, &["mes-ulm: ", "HTTP 500", "→ plant ulm"]).await?;
    let place = millrace(&world.stack, &["record", "where", "item", &key(0)])?;
    println!("{place}");
    assert!(place.contains("HTTP 500") && place.contains("whose turn: plant ulm"), "{place}");
    world.stack.systems.plant(ULM)?.set_mode(Mode::Up)?;
    // Where the attempts were spent meanwhile, the next version closes the letter.
    world.write_items([0])?;
    nothing_does(&world, "the plant's errors").await?;

    // A source that cannot be read.
    let folder = PathBuf::from(world.stack.systems.source_endpoint("erp")?);
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away)?;
    is_told(&world, &["erp: could not be read since"]).await?;
    std::fs::rename(&away, &folder)?;
    nothing_does(&world, "the source came back").await?;

    // Refused, given up, and sent after all.
    world.stack.systems.plant(ULM)?.refuse(&key(1));
    world.write_items([1])?;
    is_told(&world, &["mes-ulm: ", &key(1), "told to refuse"]).await?;
    letters(&world, 1, LetterState::Open).await?;
    let place = tracker.standpoint("item", &key(1), ULM).await?;
    let letter = place["letter"].as_str().context("a refused record names its letter")?.to_owned();
    let discard = ["dlq", "discard", &letter, "--reason", "scrapped"];
    assert!(millrace(&world.stack, &discard).is_err(), "nobody was asked, and nobody said yes");
    assert!(millrace(&world.stack, &["dlq", "list"])?.contains(&letter));
    millrace(&world.stack, &[&discard[..], &["--yes"]].concat())?;
    is_told(&world, &["mes-ulm: ", &key(1), "was discarded and is missing here"]).await?;
    println!("{}", millrace(&world.stack, &["record", "where", "item", &key(1)])?);
    world.stack.systems.plant(ULM)?.accept(&key(1));
    assert!(millrace(&world.stack, &["dlq", "list", "--state", "discarded"])?.contains(&letter));
    millrace(&world.stack, &["dlq", "replay", &letter, "--yes"])?;
    nothing_does(&world, "the discard was taken back").await?;
    assert_eq!(tracker.standpoint("item", &key(1), ULM).await?["state"], "accepted");
    until("the trace to tell the whole story", PATIENCE, || async {
        let lineage = tracker.get("records/item/lineage", &[("key", &key(1))]).await.map_err(|error| format!("{error:#}"))?;
        let events = lineage["events"].as_array().into_iter().flatten().filter(|event| event["system"] == ULM);
        let steps: Vec<&str> = events.filter_map(|event| event["what"].as_str()).collect();
        let is_whole = steps == ["refused", "discarded", "replaying", "accepted", "resolved"];
        if is_whole { Ok(()) } else { Err(format!("{steps:?}")) }
    })
    .await?;
    println!("{}", millrace(&world.stack, &["record", "trace", "item", &key(1)])?);
    Ok(())
}
