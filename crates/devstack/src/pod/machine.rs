//! A pod as one machine runs it: volumes laid out, init containers in order, containers started, probed, restarted and ended.
//!
//! Invariant: the processes of a pod are those of its own [`Supervisor`], so none outlives the pod, however its owner ends.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{
    command::{self, Place},
    container::{Container, State},
    ground::{self, Ground, Seen},
    layout,
    objects::Objects,
    spec::{self, Manifest, RestartPolicy},
};
use crate::supervise::Supervisor;

/// Where and as what a pod runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Volumes, logs and state of this pod.
    pub folder: PathBuf,
    /// The pod's own loopback address.
    pub address: Ipv4Addr,
    /// Where the services are built.
    pub binaries: PathBuf,
    /// A file of host names for the pod.
    pub hosts: Option<PathBuf>,
    pub node: String,
}

/// What a pod is at, as its status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

/// A pod that is driven by calls of [`Machine::turn`].
pub(super) struct Machine {
    pub(super) manifest: Manifest,
    pub(super) options: Options,
    pub(super) inits: Vec<Container>,
    pub(super) containers: Vec<Container>,
    objects: Arc<Objects>,
    volumes: BTreeMap<String, PathBuf>,
    supervisor: Supervisor,
    ground: Ground,
    kill_at: Option<Instant>,
    was_killed: bool,
}

impl Machine {
    pub(super) fn new(manifest: Manifest, objects: Arc<Objects>, options: Options) -> Result<Self> {
        let spec = &manifest.spec;
        if let Some(sidecar) = spec.init_containers.iter().find(|init| init.restart_policy.is_some()) {
            bail!("the init container {} is a sidecar, which is not known here", sidecar.name);
        }
        let ground = Ground::of_this_machine();
        for container in spec.init_containers.iter().chain(&spec.containers) {
            user_of(container, spec).with_context(|| format!("starting the container {}", container.name))?;
        }
        let volumes = layout::volumes(spec, &objects, &options.folder.join("volumes"), ground.is_root())?;
        let supervisor = Supervisor::open(&options.folder)?;
        let inits = spec.init_containers.iter().cloned().map(Container::new).collect();
        let containers = spec.containers.iter().cloned().map(Container::new).collect();
        Ok(Self { manifest, options, inits, containers, objects, volumes, supervisor, ground, kill_at: None, was_killed: false })
    }

    /// One step: notices what has ended, starts what is to start, asks the probes that are due.
    pub(super) fn turn(&mut self) -> Result<()> {
        let now = Instant::now();
        self.notice_ended(now);
        if let Some(kill_at) = self.kill_at {
            if now >= kill_at && !self.was_killed {
                self.was_killed = true;
                self.signal_running(Signal::SIGKILL);
            }
            return Ok(());
        }
        if let Some(init) = self.inits.iter().position(|init| init.state != State::Ended(0)) {
            if self.inits[init].is_to_start(now) {
                self.start(init, true)?;
            }
            return Ok(());
        }
        for index in 0..self.containers.len() {
            if self.containers[index].is_to_start(now) {
                self.start(index, false)?;
            }
        }
        let grace = self.grace();
        for container in &mut self.containers {
            container.probe(&mut self.supervisor, grace)?;
        }
        Ok(())
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.manifest.spec.termination_grace_period_seconds)
    }

    fn notice_ended(&mut self, now: Instant) {
        let policy = self.manifest.spec.restart_policy;
        // An init container of a pod that always restarts must succeed once.
        let init_policy = if policy == RestartPolicy::Always { RestartPolicy::OnFailure } else { policy };
        let all = self.inits.iter_mut().map(|init| (init, init_policy));
        for (container, policy) in all.chain(self.containers.iter_mut().map(|container| (container, policy))) {
            if container.state != State::Running {
                continue;
            }
            let ended = self.supervisor.process(&container.spec.name).ok().and_then(crate::supervise::Process::ended);
            if let Some(status) = ended {
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
                let policy = if self.kill_at.is_some() { RestartPolicy::Never } else { policy };
                container.ended(code, policy, now);
            }
        }
    }

    fn start(&mut self, index: usize, is_init: bool) -> Result<()> {
        let container = if is_init { &mut self.inits[index] } else { &mut self.containers[index] };
        let place = Place { manifest: &self.manifest, address: self.options.address, node: &self.options.node };
        let name = container.spec.name.clone();
        let doing = || format!("starting the container {name}");
        let words = command::words(&container.spec, &self.objects, &place).with_context(doing)?;
        let (user, group) = user_of(&container.spec, &self.manifest.spec)?;
        let launch = self.ground.launch(ground::Container {
            name: &name,
            words,
            seen: seen(&container.spec, &self.volumes).with_context(doing)?,
            user,
            group,
            more_groups: self.manifest.spec.security_context.fs_group.into_iter().collect(),
            is_root_read_only: container.spec.security_context.read_only_root_filesystem == Some(true),
            root: self.options.folder.join("roots").join(&name),
            binaries: &self.options.binaries,
            hosts: self.options.hosts.as_deref(),
        })?;
        self.supervisor.spawn(launch)?;
        container.started(self.options.address, Instant::now());
        Ok(())
    }

    fn signal_running(&mut self, signal: Signal) {
        for container in self.inits.iter().chain(&self.containers) {
            if container.state == State::Running {
                // One that has just ended needs no signal.
                self.supervisor.signal(&container.spec.name, signal).ok();
            }
        }
    }

    /// Asks every process to end, and kills what is still there when the grace has passed.
    pub(super) fn stop(&mut self, grace: Duration) {
        let kill_at = Instant::now() + grace;
        if self.kill_at.is_none() {
            self.signal_running(Signal::SIGTERM);
        }
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
    }

    /// Whether it was stopped and nothing of it runs.
    pub(super) fn is_gone(&self) -> bool {
        self.kill_at.is_some() && self.inits.iter().chain(&self.containers).all(|container| container.state != State::Running)
    }

    /// Whether it had to be killed because it did not end within its grace.
    pub(super) fn was_killed(&self) -> bool {
        self.was_killed
    }

    pub(super) fn phase(&self) -> Phase {
        let is_failed = |container: &Container| matches!(container.state, State::Ended(code) if code != 0);
        if self.inits.iter().any(is_failed) {
            return Phase::Failed;
        }
        if self.containers.iter().all(|container| matches!(container.state, State::Ended(_))) {
            return if self.containers.iter().any(is_failed) { Phase::Failed } else { Phase::Succeeded };
        }
        let has_begun = self.containers.iter().any(|container| container.started_at.is_some());
        if has_begun { Phase::Running } else { Phase::Pending }
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.inits.iter().all(|init| init.state == State::Ended(0))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.containers.iter().all(|container| container.is_ready)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.supervisor.folder().join("logs")
    }
}

/// The volumes of a container where it mounts them.
fn seen(container: &spec::Container, volumes: &BTreeMap<String, PathBuf>) -> Result<Vec<Seen>> {
    let mount = |mount: &spec::Mount| {
        let folder = volumes.get(&mount.name).with_context(|| format!("finding the volume {}", mount.name))?;
        let source = if mount.sub_path.is_empty() { folder.clone() } else { sub_path(folder, &mount.sub_path)? };
        Ok(Seen { source, path: mount.mount_path.clone(), is_read_only: mount.read_only })
    };
    container.volume_mounts.iter().map(mount).collect()
}

fn sub_path(folder: &Path, below: &str) -> Result<PathBuf> {
    let path = folder.join(below);
    if !path.exists() {
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    }
    path.canonicalize().with_context(|| format!("finding {below} in the volume"))
}

/// The user and group of a container. A pod that promises to be no root and names no user cannot be held to it here: images are
/// not looked into.
fn user_of(container: &spec::Container, spec: &spec::Spec) -> Result<(u32, u32)> {
    let (own, pod) = (&container.security_context, &spec.security_context);
    let user = own.run_as_user.or(pod.run_as_user);
    let is_non_root = own.run_as_non_root.or(pod.run_as_non_root) == Some(true);
    if is_non_root && user == Some(0) {
        bail!("runAsNonRoot is set and runAsUser is 0");
    }
    let user = user.unwrap_or(if is_non_root { 65532 } else { 0 });
    Ok((user, own.run_as_group.or(pod.run_as_group).unwrap_or(if user == 0 { 0 } else { 65532 })))
}
