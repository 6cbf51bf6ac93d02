//! The life of one release: installed, toured, rolled under load, a plant more, a plant less, back, and gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use devstack::{demo::tour, dev, pod::kubelet::Life};
use serde_json::{Value, json};

use crate::{
    cluster,
    load::{Load, Truth, Written},
    report::Report,
    say,
    world::{ADDED, NAMESPACE, PATIENCE, World, add_plant},
};

const PLANTS: [&str; 2] = ["mes-ulm", "mes-pune"];
/// Effects that must be seen before and after a roll, so that its load is one.
const TRAVELLING: u64 = 100;

pub(crate) fn tell(world: &mut World, report: &mut Report) -> Result<()> {
    let mut values = chart::sample_values(&world.addresses(), &world.systems)?;
    // Brno stands ready and is not wanted yet.
    if let Some(destinations) = values["destinations"].as_object_mut() {
        destinations.remove(ADDED);
    }
    values["validator"] = json!({"replicaCount": 2});
    values["destinations"]["mes-ulm"]["replicaCount"] = json!(2);
    values["metrics"] =
        json!({"serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "dashboards": {"enabled": true}});
    install(world, report, &values)?;
    tour_passes(world, report)?;
    roll_under_load(world, report, &mut values)?;
    only_one_rolls(world, report, &mut values)?;
    plant_is_added(world, report, &mut values)?;
    plant_is_removed(world, report, &mut values)?;
    new_landscape(world, report, &values)?;
    rollback(world, report)?;
    uninstall(world, report)
}

fn bundle(world: &World, name: &str) -> Result<std::path::PathBuf> {
    let path = world.folder.join(format!("{name}.values.yaml"));
    world.sample.bundle(&path)?;
    Ok(path)
}

fn upgrade(world: &World, name: &str, values: &Value) -> Result<f64> {
    let files = [bundle(world, name)?, world.release.file(name, values)?];
    let started = Instant::now();
    world.release.upgrade(&files, &["--wait", "--timeout", "7m"])?;
    world.wait_ready()?;
    Ok(started.elapsed().as_secs_f64())
}

fn install(world: &World, report: &mut Report, values: &Value) -> Result<()> {
    say("\ninstalling");
    let files = [bundle(world, "install")?, world.release.file("install", values)?];
    let started = Instant::now();
    let helm = world.release.install(&files, &["--wait", "--wait-for-jobs", "--timeout", "7m"]);
    if let Err(error) = helm {
        let problems: Vec<String> = world.kubelet.problems().into_iter().map(|(place, why)| format!("{place}: {why}")).collect();
        return Err(error.context(format!("installing; the node says:\n{}", problems.join("\n"))));
    }
    world.wait_ready()?;
    report.figure("helm install until all is ready, from an empty Kafka", &format!("{:.1} s", started.elapsed().as_secs_f64()));
    let pods = cluster::pods(world.api(), NAMESPACE)?;
    let services: BTreeMap<&str, usize> = pods.iter().fold(BTreeMap::new(), |mut counts, pod| {
        *counts.entry(pod["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or("other")).or_default() += 1;
        counts
    });
    report.figure("pods", &format!("{} {services:?}", pods.len()));
    cluster::wait_admitted(world.api(), NAMESPACE)?;
    let services = cluster::wait_endpoints(world.api(), NAMESPACE)?;
    report.figure("Services, each with a ready endpoint", &services.to_string());
    cluster::wait("the first records at both plants", PATIENCE, || {
        let has = |name: &&str| world.systems.plant(name).is_ok_and(|plant| plant.record("item", "DN-50/A").is_some());
        Ok(if PLANTS.iter().all(has) { Ok(()) } else { Err("DN-50/A has not reached both".to_owned()) })
    })?;
    report.figure("helm install until an item is at both plants", &format!("{:.1} s", started.elapsed().as_secs_f64()));
    let notes = world.release.run(&["get", "notes", "millrace"])?;
    say(notes.trim());
    let test = world.release.run(&["test", "millrace", "--timeout", "3m"]);
    let lives = world.kubelet.lives();
    if let Some(doctor) = lives.iter().rev().find(|life| life.name == "millrace-doctor") {
        say(std::fs::read_to_string(doctor.logs.join("doctor.log")).unwrap_or_default().trim());
    }
    test?;
    report.figure("helm test (millrace doctor --strict)", "passed");
    Ok(())
}

/// The printed tour, command by command.
fn tour_passes(world: &World, report: &mut Report) -> Result<()> {
    say("\nthe tour");
    settle(world, &PLANTS)?;
    world.write_demo_file()?;
    let text = tour::text(std::path::Path::new("target/demo"));
    let setup = tour::setup(&text).context("finding how the tour begins")?;
    let mut commands = 0;
    for step in tour::steps(&text) {
        say(&step.title);
        for command in &step.commands {
            let (code, said) = shell(world, &setup, command)?;
            if code != tour::exit_of(command) {
                bail!("the tour, step {}: exit {code} after\n$ {command}\n{said}", step.title);
            }
            commands += 1;
        }
    }
    for name in PLANTS {
        let counts = world.systems.plant(name)?.counts();
        if counts.regressions + counts.second_effects + counts.conflicts > 0 {
            bail!("the tour: {name} saw {counts:?}");
        }
    }
    report.figure("the tour's commands", &format!("{commands} passed"));
    Ok(())
}

fn shell(world: &World, setup: &str, line: &str) -> Result<(i32, String)> {
    let path = format!("{}:{}", dev::profile()?.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{setup}; {line}")]).current_dir(&world.folder).env("PATH", path);
    shell.env("MILLRACE_TOKEN_FILE", world.folder.join("token")).env_remove("MILLRACE_SERVER");
    let output = shell.output().with_context(|| format!("running {line}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.code().unwrap_or(-1), said))
}

/// Waits until nothing new arrives at the plants.
fn settle(world: &World, plants: &[&str]) -> Result<()> {
    let mut last = (Vec::new(), Instant::now());
    cluster::wait("the plants to settle", PATIENCE, || {
        let mut now = Vec::new();
        for name in plants {
            now.push(world.systems.plant(name)?.counts().calls);
        }
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok(if last.1.elapsed() > Duration::from_secs(4) { Ok(()) } else { Err("calls still arrive".to_owned()) })
    })
}

fn start_load(world: &World, truth: &Truth, name: &str) -> Result<Load> {
    let mut keys: BTreeSet<String> = truth.accepted_items(PLANTS[0])?;
    keys.extend(truth.accepted_items(PLANTS[1])?);
    let folder = world.systems.folders.get("erp").context("finding the drop folder of erp")?;
    Load::start(folder, name, keys)
}

/// Stops the load and waits until its last writings are everywhere.
fn arrive(world: &World, truth: &Truth, plants: &[&str], load: Load) -> Result<Written> {
    let written = load.stop()?;
    cluster::wait("the last writing of every item to be everywhere", PATIENCE, || {
        let problems = truth.problems(&world.systems, plants, &written)?;
        Ok(if problems.is_empty() {
            Ok(())
        } else {
            Err(format!("{} problems, the first: {:?}", problems.len(), &problems[..problems.len().min(5)]))
        })
    })?;
    Ok(written)
}

/// Every pod is replaced while the source changes: nothing is lost, no effect is repeated.
fn roll_under_load(world: &World, report: &mut Report, values: &mut Value) -> Result<()> {
    say("\nrolling every pod under load");
    let truth = Truth::new(&world.addresses())?;
    let before = world.kubelet.lives().len();
    let calls = |name: &str| world.systems.plant(name).map(|plant| plant.counts());
    let (ulm, pune) = (calls(PLANTS[0])?, calls(PLANTS[1])?);
    let load = start_load(world, &truth, "roll")?;
    travels(world, "before the roll")?;
    values["podAnnotations"] = json!({"rolled": "once"});
    let at_start = calls(PLANTS[0])?.applied + calls(PLANTS[1])?.applied;
    let took = upgrade(world, "roll", values)?;
    let during = calls(PLANTS[0])?.applied + calls(PLANTS[1])?.applied - at_start;
    travels(world, "after the roll")?;
    let written = arrive(world, &truth, &PLANTS, load)?;
    let lives = world.kubelet.lives();
    let rolled = &lives[before..];
    let gone = ended_services(&lives[..before]);
    if let Some(killed) = gone.iter().find(|life| life.was_killed) {
        bail!("{} did not end within its grace period", killed.name);
    }
    report.figure(
        "upgrade that rolls every pod, under load",
        &format!("{took:.1} s, {} pods replaced by {}", gone.len(), rolled.len()),
    );
    report.figure(
        "old and new validator side by side",
        &format!("{:.1} s", overlap(&lives[..before], rolled, "millrace-validator")),
    );
    report.figure("records written to the source meanwhile", &format!("{} in {} writings", written.records, written.writings));
    let (now_ulm, now_pune) = (calls(PLANTS[0])?, calls(PLANTS[1])?);
    let applied = now_ulm.applied - ulm.applied + now_pune.applied - pune.applied;
    let again = now_ulm.already - ulm.already + now_pune.already - pune.already;
    report.figure("effects at the plants meanwhile", &format!("{applied} applied, {again} calls repeated without effect"));
    report.figure("of these while pods were being replaced", &during.to_string());
    if during == 0 {
        bail!("nothing travelled during the roll, so it shows nothing");
    }
    let repeated = now_ulm.second_effects + now_pune.second_effects + now_ulm.regressions + now_pune.regressions;
    report.figure(
        "lost, repeated effects, regressions",
        &format!("0, {repeated}, checked against golden, ledgers and the plants' books"),
    );
    if repeated > 0 {
        bail!("the plants saw {now_ulm:?} and {now_pune:?}");
    }
    Ok(())
}

/// Waits until the load has effects at both plants.
fn travels(world: &World, when: &str) -> Result<()> {
    let applied = |name: &str| world.systems.plant(name).map(|plant| plant.counts().applied);
    let start: Vec<u64> = PLANTS.iter().map(|name| applied(name)).collect::<Result<_>>()?;
    cluster::wait(&format!("the load to travel {when}"), PATIENCE, || {
        let now: Vec<u64> = PLANTS.iter().map(|name| applied(name)).collect::<Result<_>>()?;
        let has_moved = now.iter().zip(&start).all(|(now, start)| *now >= start + TRAVELLING);
        Ok(if has_moved { Ok(()) } else { Err(format!("effects {start:?}, now {now:?}")) })
    })
}

fn ended_services(lives: &[Life]) -> Vec<&Life> {
    // The Job's pod had ended by itself.
    lives.iter().filter(|life| life.asked_to_end.is_some() && life.ended > life.asked_to_end).collect()
}

/// For how long a pod of the new generation ran beside one of the old, in seconds.
fn overlap(old: &[Life], new: &[Life], workload: &str) -> f64 {
    let of = |lives: &[Life]| lives.iter().filter(|life| life.name.starts_with(workload)).cloned().collect::<Vec<_>>();
    let last_old = of(old).iter().filter_map(|life| life.ended).max();
    let first_new = of(new).iter().map(|life| life.started).min();
    last_old.zip(first_new).map_or(0.0, |(end, start)| end.saturating_duration_since(start).as_secs_f64())
}

/// The pods that started since, by name.
fn started_since(world: &World, before: usize) -> BTreeSet<String> {
    world.kubelet.lives()[before..].iter().map(|life| life.name.clone()).collect()
}

/// What is changed of one plant's sink rolls this sink and nothing else.
fn only_one_rolls(world: &World, report: &mut Report, values: &mut Value) -> Result<()> {
    say("\nchanging one plant's sink");
    let before = world.kubelet.lives().len();
    values["destinations"]["mes-ulm"]["extraArgs"] = json!(["--session-timeout", "40s"]);
    let took = upgrade(world, "one", values)?;
    let started = started_since(world, before);
    if started != ["millrace-sink-mes-ulm-0", "millrace-sink-mes-ulm-1"].map(str::to_owned).into() {
        bail!("changing the sink of Ulm should start its two pods again and no other, but these started: {started:?}");
    }
    report.figure("a value of one sink is changed", &format!("{took:.1} s, only its two pods are replaced"));
    Ok(())
}

/// A plant in the landscape and the values: its pods appear and get everything.
fn plant_is_added(world: &World, report: &mut Report, values: &mut Value) -> Result<()> {
    say("\nadding a plant");
    let truth = Truth::new(&world.addresses())?;
    add_plant(&world.sample)?;
    values["destinations"][ADDED] = json!({"endpoint": world.systems.plant(ADDED)?.url()});
    let load = start_load(world, &truth, "added")?;
    let started = Instant::now();
    let took = upgrade(world, "added", values)?;
    let wanted = truth.accepted_items("mes-ulm")?.len();
    cluster::wait("the new plant to have what Ulm has", PATIENCE, || {
        let has = truth.accepted_items(ADDED)?.len();
        Ok(if has >= wanted { Ok(()) } else { Err(format!("{has} of {wanted} items")) })
    })?;
    report.figure(
        "a plant is added",
        &format!("{took:.1} s until ready, {:.1} s until it has all {wanted} items", started.elapsed().as_secs_f64()),
    );
    let written = arrive(world, &truth, &[PLANTS[0], PLANTS[1], ADDED], load)?;
    report.figure("records written meanwhile", &format!("{}, nothing lost or repeated at three plants", written.records));
    Ok(())
}

/// A plant that is switched off: its pod goes, no other notices.
fn plant_is_removed(world: &World, report: &mut Report, values: &mut Value) -> Result<()> {
    say("\nremoving a plant");
    let before = world.kubelet.lives().len();
    values["destinations"]["mes-pune"]["enabled"] = json!(false);
    let took = upgrade(world, "removed", values)?;
    cluster::wait("the pod of the removed plant to go", PATIENCE, || {
        let left = cluster::pods(world.api(), NAMESPACE)?
            .into_iter()
            .filter(|pod| pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("millrace-sink-mes-pune")));
        let left = left.count();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods are left")) })
    })?;
    let started = started_since(world, before);
    if !started.is_empty() {
        bail!("switching Pune off should start no pod, but these started: {started:?}");
    }
    report.figure("a plant is removed", &format!("{took:.1} s, no other pod is touched"));
    Ok(())
}

/// A new version of the landscape: every service starts once more, and says so.
fn new_landscape(world: &World, report: &mut Report, values: &Value) -> Result<()> {
    say("\na new landscape");
    let truth = Truth::new(&world.addresses())?;
    let before = world.kubelet.lives().len();
    let load = start_load(world, &truth, "landscape")?;
    world.sample.edit("millrace.yaml", "version: 2026-11-25.1", "version: 2026-11-26.1")?;
    let running = running(world)?;
    let took = upgrade(world, "landscape", values)?;
    let started = started_since(world, before);
    let services: Vec<&String> = started.iter().filter(|name| !name.contains("provision")).collect();
    if services.len() != running {
        bail!("a new landscape should start each of {running} pods once more, but these started: {services:?}");
    }
    report.figure("a new landscape, under load", &format!("{took:.1} s, {running} pods replaced"));
    let written = arrive(world, &truth, &[PLANTS[0], ADDED], load)?;
    report
        .figure("records written meanwhile", &format!("{}, nothing lost or repeated by versions side by side", written.records));
    Ok(())
}

fn running(world: &World) -> Result<usize> {
    let pods = cluster::pods(world.api(), NAMESPACE)?;
    Ok(pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count())
}

/// Back to the release before the last: the plant that was removed stays removed, the landscape is the one before.
fn rollback(world: &World, report: &mut Report) -> Result<()> {
    say("\nrolling back");
    let truth = Truth::new(&world.addresses())?;
    let load = start_load(world, &truth, "back")?;
    let started = Instant::now();
    world.release.run(&["rollback", "millrace", "--wait", "--timeout", "7m"])?;
    world.wait_ready()?;
    report.figure("helm rollback until all is ready", &format!("{:.1} s", started.elapsed().as_secs_f64()));
    let written = arrive(world, &truth, &[PLANTS[0], ADDED], load)?;
    report.figure("records written meanwhile", &format!("{}, nothing lost or repeated", written.records));
    Ok(())
}

/// Nothing of it stays but the claims, and no process had to be killed in all the time.
fn uninstall(world: &World, report: &mut Report) -> Result<()> {
    say("\nuninstalling");
    let started = Instant::now();
    world.release.run(&["uninstall", "millrace", "--wait", "--timeout", "5m"])?;
    cluster::wait("every pod to go", PATIENCE, || {
        // Helm leaves the pod of `helm test`, which has ended by itself.
        let is_left = |pod: &&Value| pod["status"]["phase"] != "Succeeded";
        let left = cluster::pods(world.api(), NAMESPACE)?.iter().filter(is_left).count();
        let left = left + cluster::workloads(world.api(), NAMESPACE)?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods and workloads are left")) })
    })?;
    report.figure("helm uninstall until every process has ended", &format!("{:.1} s", started.elapsed().as_secs_f64()));
    let claims = world.api().list(&format!("/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"))?;
    if claims.is_empty() {
        bail!("the stores' claims are gone with the release");
    }
    let lives = world.kubelet.lives();
    let killed: Vec<&str> = lives.iter().filter(|life| life.was_killed).map(|life| life.name.as_str()).collect();
    let again: Vec<String> =
        lives.iter().filter(|life| life.restarts > 0).map(|life| format!("{} ({})", life.name, life.restarts)).collect();
    if !killed.is_empty() || !again.is_empty() {
        bail!("killed at the end of their grace: {killed:?}; started again: {again:?}");
    }
    report.figure("pods that ran in all, killed, restarted", &format!("{}, 0, 0", lives.len()));
    Ok(())
}
