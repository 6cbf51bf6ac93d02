//! One container of a pod: started, probed, ended, and started again as the pod's restart policy says.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    probe::{Verdict, Watch},
    spec::{self, RestartPolicy},
};
use crate::supervise::Supervisor;

/// Waits this long before the first restart and twice as long before each further one; a real kubelet begins with 10 s.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting(String),
    Running,
    /// With its exit code; a signal is 128 and its number.
    Ended(i32),
}

pub(super) struct Container {
    pub(super) spec: spec::Container,
    pub(super) state: State,
    pub(super) restarts: u32,
    /// Its startup probe has succeeded, or it has none.
    pub(super) is_started: bool,
    pub(super) is_ready: bool,
    pub(super) started_at: Option<Instant>,
    /// From the start of its process until it was ready the first time.
    pub(super) ready_after: Option<Duration>,
    next: Option<Instant>,
    kill_at: Option<Instant>,
    startup: Option<Watch>,
    readiness: Option<Watch>,
    liveness: Option<Watch>,
    last_exit: Option<i32>,
}

impl Container {
    pub(super) fn new(spec: spec::Container) -> Self {
        Self {
            spec,
            state: State::Waiting("ContainerCreating".to_owned()),
            restarts: 0,
            is_started: false,
            is_ready: false,
            started_at: None,
            ready_after: None,
            next: None,
            kill_at: None,
            startup: None,
            readiness: None,
            liveness: None,
            last_exit: None,
        }
    }

    /// Whether its process is to be started now.
    pub(super) fn is_to_start(&self, now: Instant) -> bool {
        matches!(self.state, State::Waiting(_)) && self.next.is_none_or(|next| now >= next)
    }

    /// Its process runs.
    pub(super) fn started(&mut self, address: std::net::Ipv4Addr, now: Instant) {
        self.state = State::Running;
        self.started_at = Some(now);
        self.kill_at = None;
        let watch = |probe: &Option<spec::Probe>| probe.as_ref().and_then(|probe| Watch::new(probe, &self.spec, address, now));
        (self.startup, self.readiness, self.liveness) =
            (watch(&self.spec.startup_probe), watch(&self.spec.readiness_probe), watch(&self.spec.liveness_probe));
        self.is_started = self.startup.is_none();
        self.set_ready(self.is_started && self.readiness.is_none(), now);
    }

    /// Its process has ended with this code.
    pub(super) fn ended(&mut self, code: i32, policy: RestartPolicy, now: Instant) {
        (self.is_ready, self.is_started) = (false, false);
        self.last_exit = Some(code);
        let is_again = match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        };
        if is_again {
            let wait = BACKOFF.saturating_mul(1 << self.restarts.min(8)).min(BACKOFF_MAX);
            self.restarts += 1;
            self.next = Some(now + wait);
            self.state = State::Waiting("CrashLoopBackOff".to_owned());
        } else {
            self.state = State::Ended(code);
        }
    }

    fn set_ready(&mut self, is_ready: bool, now: Instant) {
        self.is_ready = is_ready;
        if let (true, None, Some(started)) = (is_ready, self.ready_after, self.started_at) {
            self.ready_after = Some(now.duration_since(started));
        }
    }

    /// Asks the probes that are due; a container that is not alive is ended, and killed when it stays.
    pub(super) fn probe(&mut self, supervisor: &mut Supervisor, grace: Duration) -> Result<()> {
        let now = Instant::now();
        if self.state != State::Running {
            return Ok(());
        }
        if let Some(kill_at) = self.kill_at {
            if now >= kill_at {
                supervisor.signal(&self.spec.name, Signal::SIGKILL)?;
            }
            return Ok(());
        }
        if !self.is_started {
            match asked(&mut self.startup, now) {
                Verdict::Good => {
                    self.is_started = true;
                    self.set_ready(self.readiness.is_none(), Instant::now());
                }
                Verdict::Bad => self.end(supervisor, grace, now)?,
                Verdict::Undecided => {}
            }
            return Ok(());
        }
        match asked(&mut self.readiness, now) {
            Verdict::Good => self.set_ready(true, Instant::now()),
            Verdict::Bad => self.set_ready(false, now),
            Verdict::Undecided => {}
        }
        if asked(&mut self.liveness, now) == Verdict::Bad {
            self.end(supervisor, grace, now)?;
        }
        Ok(())
    }

    fn end(&mut self, supervisor: &mut Supervisor, grace: Duration, now: Instant) -> Result<()> {
        self.kill_at = Some(now + grace);
        supervisor.signal(&self.spec.name, Signal::SIGTERM)
    }

    /// Why it is not ready, in words.
    pub(super) fn why_not_ready(&self) -> Option<String> {
        let said = |watch: &Option<Watch>| watch.as_ref().and_then(|watch| watch.last.clone());
        match &self.state {
            State::Running if self.is_ready => None,
            State::Running => {
                let probe = if self.is_started { &self.readiness } else { &self.startup };
                Some(said(probe).unwrap_or_else(|| "it was not asked yet".to_owned()))
            }
            State::Waiting(why) => {
                let exit = self.last_exit.map(|code| format!(", last exit {code}")).unwrap_or_default();
                Some(format!("{why}{exit}"))
            }
            State::Ended(code) => Some(format!("ended with exit {code}")),
        }
    }
}

fn asked(watch: &mut Option<Watch>, now: Instant) -> Verdict {
    match watch {
        Some(watch) if watch.is_due(now) => watch.ask(now),
        Some(_) | None => Verdict::Undecided,
    }
}
