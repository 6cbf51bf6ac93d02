//! Pods without a container runtime: a pod's manifest in, its real processes out.
//!
//! What it guarantees: every container of the pod runs the built binary that its command names, with exactly the arguments,
//! environment and mounted files that the manifest gives it, on a root of its own where this machine allows it ([`Ground`]); its
//! declared probes decide whether it is ready; it ends by SIGTERM within its grace or is killed. What it does not: images are not
//! looked into, resource limits are not enforced, and all pods share this machine's network, each at a loopback address of its own.

pub mod api;
mod command;
mod container;
mod ground;
pub mod kubelet;
mod layout;
mod machine;
mod objects;
mod probe;
mod spec;
mod status;
mod workload;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::machine::Machine;
pub use self::{
    container::State,
    ground::Ground,
    machine::{Options, Phase},
    objects::Objects,
    spec::Manifest,
    workload::{Workload, workloads},
};
use crate::interrupt;

const TURN: Duration = Duration::from_millis(50);
/// A pod that cannot go on, for want of a Secret for instance, tries again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// What can be seen of a pod.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub phase: Phase,
    pub is_ready: bool,
    /// It was stopped, and none of its processes runs.
    pub is_gone: bool,
    /// It did not end within its grace.
    pub was_killed: bool,
    /// Why it cannot go on, when it cannot.
    pub problem: Option<String>,
    /// For each container that is not ready: why.
    pub waiting: Vec<(String, String)>,
    /// From the start of each container's process until it was ready.
    pub ready_after: Vec<(String, Duration)>,
    pub restarts: u32,
    /// As the API has it.
    pub status: Value,
}

struct Shared {
    stop: Mutex<Option<Duration>>,
    snapshot: Mutex<Snapshot>,
}

/// A pod that runs on a thread of its own. Dropping it ends its processes.
pub struct Pod {
    name: String,
    logs: PathBuf,
    grace: Duration,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    /// Lays out the pod's volumes and starts it.
    ///
    /// # Errors
    /// When the manifest cannot be read, or a ConfigMap, Secret or claim that it needs is missing.
    pub fn start(manifest: &Value, objects: Arc<Objects>, options: Options) -> Result<Self> {
        let name = manifest["metadata"]["name"].as_str().unwrap_or("pod").to_owned();
        let doing = || format!("starting the pod {name}");
        let manifest: Manifest = serde_json::from_value(manifest.clone()).with_context(doing)?;
        let grace = Duration::from_secs(manifest.spec.termination_grace_period_seconds);
        let machine = Machine::new(manifest, objects, options).with_context(doing)?;
        let logs = machine.logs();
        let mut clock = status::Clock::default();
        let snapshot = Mutex::new(snapshot(&machine, &mut clock, None));
        let shared = Arc::new(Shared { stop: Mutex::new(None), snapshot });
        let seen = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("pod {name}"))
            .spawn(move || drive(machine, &seen, clock))
            .context("starting a pod's thread")?;
        Ok(Self { name, logs, grace, shared, thread: Some(thread) })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn look(&self) -> Snapshot {
        self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to end within `grace`, or the pod's own when none is given, and does not wait.
    pub fn ask_to_stop(&self, grace: Option<Duration>) {
        let grace = grace.unwrap_or(self.grace);
        let mut stop = self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner);
        *stop = Some(stop.map_or(grace, |before| before.min(grace)));
    }

    /// Waits until the pod is ready.
    ///
    /// # Errors
    /// When it has ended, or is not ready in time; the message has the probes' answers and the end of its logs.
    pub fn wait_ready(&self, limit: Duration) -> Result<Snapshot> {
        self.wait(limit, "be ready", |now| now.is_ready)
    }

    /// Waits until all of its containers have ended well, as those of a Job.
    ///
    /// # Errors
    /// When one fails, or it takes longer.
    pub fn wait_succeeded(&self, limit: Duration) -> Result<Snapshot> {
        self.wait(limit, "succeed", |now| now.phase == Phase::Succeeded)
    }

    fn wait(&self, limit: Duration, what: &str, is_done: impl Fn(&Snapshot) -> bool) -> Result<Snapshot> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            let now = self.look();
            if is_done(&now) {
                return Ok(now);
            }
            if matches!(now.phase, Phase::Succeeded | Phase::Failed) || Instant::now() > deadline {
                bail!("waiting for the pod {} to {what}: it is {:?}\n{}", self.name, now.phase, self.describe());
            }
            std::thread::sleep(TURN);
        }
    }

    /// What it waits for and the end of each log.
    #[must_use]
    pub fn describe(&self) -> String {
        let now = self.look();
        let mut lines = Vec::new();
        lines.extend(now.problem.map(|problem| format!("  cannot go on: {problem}")));
        lines.extend(now.waiting.into_iter().map(|(name, why)| format!("  {name}: {why}")));
        for entry in std::fs::read_dir(&self.logs).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let all: Vec<&str> = text.lines().collect();
            lines.push(format!("  the log {} ends:", entry.path().display()));
            lines.extend(all[all.len().saturating_sub(12)..].iter().map(|line| format!("    {line}")));
        }
        lines.join("\n")
    }

    /// Where each container's `<container>.log` lies.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// What a container has written so far.
    ///
    /// # Errors
    /// When it has no log.
    pub fn log(&self, container: &str) -> Result<String> {
        let path = self.logs.join(format!("{container}.log"));
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends it within its grace; what there was to see at the end.
    #[must_use]
    pub fn stop(mut self) -> Snapshot {
        self.end();
        self.look()
    }

    fn end(&mut self) {
        self.ask_to_stop(None);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.end();
    }
}

fn drive(mut machine: Machine, shared: &Shared, mut clock: status::Clock) {
    loop {
        let problem = machine.turn().err().map(|error| format!("{error:#}"));
        if let Some(grace) = *shared.stop.lock().unwrap_or_else(PoisonError::into_inner) {
            machine.stop(grace);
        }
        let now = snapshot(&machine, &mut clock, problem.clone());
        let is_gone = now.is_gone;
        *shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = now;
        if is_gone {
            return;
        }
        std::thread::sleep(if problem.is_some() { AGAIN } else { TURN });
    }
}

fn snapshot(machine: &Machine, clock: &mut status::Clock, problem: Option<String>) -> Snapshot {
    let is_ready = machine.is_ready();
    let waiting = machine.inits.iter().filter(|init| init.state != State::Ended(0)).chain(&machine.containers);
    let waiting = waiting.filter_map(|container| Some((container.spec.name.clone(), container.why_not_ready()?)));
    let ready_after = machine.containers.iter();
    let ready_after = ready_after.filter_map(|container| Some((container.spec.name.clone(), container.ready_after?)));
    Snapshot {
        phase: machine.phase(),
        is_ready,
        is_gone: machine.is_gone(),
        was_killed: machine.was_killed(),
        waiting: waiting.collect(),
        ready_after: ready_after.collect(),
        restarts: machine.inits.iter().chain(&machine.containers).map(|container| container.restarts).sum(),
        status: status::status(machine, clock, problem.as_deref()),
        problem,
    }
}
