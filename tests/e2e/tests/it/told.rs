//! "Nothing needs a person." is said when it is true, and only then: each trouble has its line while it lasts.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use devstack::Mode;
use millrace_e2e::until;
use serde_json::{Value, json};

use crate::{
    replay::key,
    tracker::Tracker,
    world::{PATIENCE, World},
};

const ULM: &str = "mes-ulm";

/// The lines of "needs a person" are as wanted.
async fn needs(tracker: &Tracker, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Result<()> {
    until(what, PATIENCE, || async {
        let overview = tracker.get("overview", &[]).await.map_err(|error| format!("{error:#}"))?;
        let needs = overview["needs_a_person"].as_array().cloned().unwrap_or_default();
        if is_so(&needs) { Ok(()) } else { Err(format!("{needs:#?}")) }
    })
    .await
}

async fn nothing_does(tracker: &Tracker, after: &str) -> Result<()> {
    needs(tracker, &format!("nothing to need a person after {after}"), <[Value]>::is_empty).await
}

fn is_line(need: &Value, kinds: &[&str], system: &str, part: &str) -> bool {
    let has = |name: &str| need[name].as_str().unwrap_or_default();
    kinds.contains(&has("kind")) && has("system") == system && has("text").contains(part) && !has("then").is_empty()
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
    nothing_does(&tracker, "the load").await?;

    // A plant that answers 500: tried again first, down after some of that; told either way, with what it answers.
    world.stack.systems.plant(ULM)?.set_mode(Mode::Error)?;
    world.write_items([0])?;
    needs(&tracker, "the plant's answer to be told", |needs| {
        needs.iter().any(|need| is_line(need, &["retrying", "unavailable"], ULM, "HTTP 500") && need["turn"] == "plant ulm")
    })
    .await?;
    let place = tracker.standpoint("item", &key(0), ULM).await?;
    assert!(place["why"].as_str().is_some_and(|why| why.contains("HTTP 500")), "{place}");
    world.stack.systems.plant(ULM)?.set_mode(Mode::Up)?;
    nothing_does(&tracker, "the plant's errors").await?;

    // A source that cannot be read.
    let folder = PathBuf::from(world.stack.systems.source_endpoint("erp")?);
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away)?;
    needs(&tracker, "the source's trouble to be told", |needs| {
        needs.iter().any(|need| is_line(need, &["unavailable"], "erp", "could not be read since"))
    })
    .await?;
    std::fs::rename(&away, &folder)?;
    nothing_does(&tracker, "the source came back").await?;

    // Refused, given up, and sent after all.
    world.stack.systems.plant(ULM)?.refuse(&key(1));
    world.write_items([1])?;
    needs(&tracker, "the letter to be told", |needs| needs.iter().any(|need| is_line(need, &["refused"], ULM, ""))).await?;
    let place = tracker.standpoint("item", &key(1), ULM).await?;
    let letter = place["letter"].as_str().context("a refused record names its letter")?.to_owned();
    let discard = json!({"filter": {"ids": [letter]}, "reason": "scrapped"});
    tracker.post("dead-letters/discard", &[], &discard).await?;
    needs(&tracker, "what the plant lacks to be told", |needs| {
        needs.iter().any(|need| is_line(need, &["given_up"], ULM, "was discarded and is missing here"))
    })
    .await?;
    world.stack.systems.plant(ULM)?.accept(&key(1));
    let asked = tracker.post("replay-plans", &[], &json!({"filter": {"discarded": true, "system": ULM}})).await?;
    let plan = asked["id"].as_str().context("a plan has an id")?.to_owned();
    until("the plan", PATIENCE, || async {
        tracker.get(&format!("replay-plans/{plan}"), &[]).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    tracker.post(&format!("replay-plans/{plan}/run"), &[], &json!({})).await?;
    nothing_does(&tracker, "the discard was taken back").await?;
    assert_eq!(tracker.standpoint("item", &key(1), ULM).await?["state"], "accepted");
    until("the trace to tell the whole story", PATIENCE, || async {
        let lineage = tracker.get("records/item/lineage", &[("key", &key(1))]).await.map_err(|error| format!("{error:#}"))?;
        let events = lineage["events"].as_array().into_iter().flatten().filter(|event| event["system"] == ULM);
        let steps: Vec<&str> = events.filter_map(|event| event["what"].as_str()).collect();
        let is_whole = steps == ["refused", "discarded", "replaying", "accepted", "resolved"];
        if is_whole { Ok(()) } else { Err(format!("{steps:?}")) }
    })
    .await
}
