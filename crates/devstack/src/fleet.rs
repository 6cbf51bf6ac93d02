//! The services of Millrace as separate processes: the real binaries, each with a log file and a health listener of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    dev, fetch, interrupt, ports,
    secure::Accounts,
    supervise::{Launch, Process, Supervisor, describe},
};

/// A health listener answers at once or not at all.
const PROBE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
/// Longer than any drain takes; what still runs then is killed.
const DRAIN: Duration = Duration::from_secs(40);

/// What all services of a fleet are told.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    pub landscape: PathBuf,
    pub brokers: String,
    pub registry: String,
    /// None: the landscape's.
    pub topic_prefix: Option<String>,
    /// None: the services' own.
    pub session_timeout: Option<Duration>,
    /// Set in every process, beside what this process has.
    pub environment: Vec<(String, String)>,
    /// Files by which each service is its own identity; none: nobody asks who they are.
    pub access: Option<Accounts>,
    /// Where relative names of secret files in the landscape start from.
    pub secrets: Option<PathBuf>,
}

/// One service of the fleet; it may be running or not.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    ops: u16,
}

/// The services and who supervises them.
pub struct Fleet {
    options: FleetOptions,
    supervisor: Supervisor,
    services: BTreeMap<String, Service>,
    binaries: PathBuf,
    tracker: Option<u16>,
}

impl Fleet {
    /// A fleet without services. The binaries are those built with this program.
    ///
    /// # Errors
    /// When the folder of the binaries cannot be found.
    pub fn new(supervisor: Supervisor, options: FleetOptions) -> Result<Self> {
        Ok(Self { options, supervisor, services: BTreeMap::new(), binaries: dev::profile()?, tracker: None })
    }

    #[must_use]
    pub fn options(&self) -> &FleetOptions {
        &self.options
    }

    /// Starts `publisher-<source>`.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn publisher(&mut self, source: &str, endpoint: &str) -> Result<()> {
        let name = format!("publisher-{source}");
        self.start_as(&name, &name, "millrace-publisher", &["--source", source, "--endpoint", endpoint])
    }

    /// Starts a validator; several share the slots under different names.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn validator(&mut self, name: &str) -> Result<()> {
        self.start_as("validator", name, "millrace-validator", &[])
    }

    /// Starts `sink-<destination>`.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn sink(&mut self, destination: &str, endpoint: &str) -> Result<()> {
        self.sink_named(&format!("sink-{destination}"), destination, endpoint)
    }

    /// Starts one of several instances of a destination's sink.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn sink_named(&mut self, name: &str, destination: &str, endpoint: &str) -> Result<()> {
        let own = ["--destination", destination, "--endpoint", endpoint];
        self.start_as(&format!("sink-{destination}"), name, "millrace-sink", &own)
    }

    /// Starts the replayer.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn replayer(&mut self) -> Result<()> {
        self.start("replayer", "millrace-replayer", &[])
    }

    /// Starts the tracker with its store in this file.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn tracker(&mut self, store: &Path) -> Result<()> {
        let port = ports::free()?;
        let store = store.to_str().context("reading the path of the tracker's store")?;
        self.tracker = Some(port);
        self.start("tracker", "millrace-tracker", &["--api", &format!("127.0.0.1:{port}"), "--store", store])
    }

    /// Address of the tracker's API.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        self.tracker.map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// Starts a binary of this workspace as a service, without waiting for it. On a secured stack it is the identity of its name.
    ///
    /// # Errors
    /// When it is not built, or a service of that name runs already.
    pub fn start(&mut self, name: &str, binary: &str, own: &[&str]) -> Result<()> {
        self.start_as(name, name, binary, own)
    }

    fn start_as(&mut self, principal: &str, name: &str, binary: &str, own: &[&str]) -> Result<()> {
        let program = self.binaries.join(binary);
        if !program.is_file() {
            bail!("starting {name}: {} is not built; run `cargo build --workspace`", program.display());
        }
        let ops = ports::free()?;
        let FleetOptions { landscape, brokers, registry, topic_prefix, session_timeout, access, secrets, .. } = &self.options;
        let landscape = landscape.to_str().context("reading the path of the landscape")?;
        let ops_address = format!("127.0.0.1:{ops}");
        let mut arguments: Vec<String> = own.iter().map(|argument| (*argument).to_owned()).collect();
        let mut option = |option: &str, value: &str| arguments.extend([option.to_owned(), value.to_owned()]);
        option("--landscape", landscape);
        option("--instance", name);
        option("--ops", &ops_address);
        option("--brokers", brokers);
        option("--registry", registry);
        if let Some(prefix) = topic_prefix {
            option("--topic-prefix", prefix);
        }
        if let Some(timeout) = session_timeout {
            option("--session-timeout", &format!("{}ms", timeout.as_millis()));
        }
        for (name, value) in access.iter().flat_map(|accounts| accounts.options(principal)) {
            option(name, &value);
        }
        if let Some(secrets) = secrets {
            option("--secrets", &secrets.display().to_string());
        }
        arguments.push("--development".to_owned());
        let service = Service { name: name.to_owned(), program, arguments, ops };
        self.launch(&service)?;
        self.services.insert(name.to_owned(), service);
        Ok(())
    }

    /// Starts a service again that was stopped or killed, exactly as before.
    ///
    /// # Errors
    /// When there is none of that name, or it runs.
    pub fn start_again(&mut self, name: &str) -> Result<()> {
        let service = self.service(name)?.clone();
        self.launch(&service)
    }

    fn launch(&mut self, service: &Service) -> Result<()> {
        self.supervisor.spawn(Launch {
            name: service.name.clone(),
            program: service.program.clone(),
            arguments: service.arguments.clone(),
            environment: self.options.environment.clone(),
        })?;
        Ok(())
    }

    /// Waits until every running service says that it is ready.
    ///
    /// # Errors
    /// At once when one has ended; after the limit, naming each that is not ready and why.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            self.check_alive()?;
            let waiting = self.not_ready();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let list: Vec<String> = waiting.into_iter().map(|(name, why)| format!("  {name}: {why}")).collect();
                bail!(
                    "waited {} s for the fleet; not ready:\n{}\nlogs are in {}",
                    limit.as_secs(),
                    list.join("\n"),
                    self.supervisor.folder().join("logs").display()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// The running services that are not ready, and why.
    pub fn not_ready(&mut self) -> Vec<(String, String)> {
        let running: Vec<String> = self.running().map(|process| process.name.clone()).collect();
        let services = running.iter().filter_map(|name| self.services.get(name));
        services.filter_map(|service| service.not_ready().map(|why| (service.name.clone(), why))).collect()
    }

    /// Fails when a service has ended although nobody ended it.
    ///
    /// # Errors
    /// Naming the service, its exit and the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some((name, status)) = self.supervisor.casualty() {
            let process = self.supervisor.process(&name)?;
            bail!("{name} has ended ({}); its log {} ends:\n{}", describe(status), process.log.display(), process.tail(15));
        }
        Ok(())
    }

    /// The first service that has ended although nobody ended it, with its status.
    pub fn casualty(&mut self) -> Option<(String, ExitStatus)> {
        self.supervisor.casualty()
    }

    /// Ends a service in order and returns how it ended. It may be started again.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn stop(&mut self, name: &str) -> Result<ExitStatus> {
        let status = self.supervisor.end(name, DRAIN)?;
        self.supervisor.forget(name);
        Ok(status)
    }

    /// Kills a service (SIGKILL). It may be started again.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.supervisor.kill(name)?;
        self.supervisor.forget(name);
        Ok(())
    }

    /// Stops a service's clock (SIGSTOP).
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn freeze(&mut self, name: &str) -> Result<()> {
        self.supervisor.signal(name, Signal::SIGSTOP)
    }

    /// Lets a frozen service go on (SIGCONT).
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn thaw(&mut self, name: &str) -> Result<()> {
        self.supervisor.signal(name, Signal::SIGCONT)
    }

    /// The processes that run now.
    pub fn running(&mut self) -> impl Iterator<Item = &mut Process> {
        self.supervisor.processes().iter_mut()
    }

    /// Whether a service of that name has ended, and how; without making it a failure.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn ended(&mut self, name: &str) -> Result<Option<ExitStatus>> {
        Ok(self.supervisor.process(name)?.ended())
    }

    /// A service's log so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self, name: &str) -> Result<String> {
        let path = self.supervisor.folder().join("logs").join(format!("{name}.log"));
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Address of a service's probes and metrics.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn ops(&self, name: &str) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.service(name)?.ops))
    }

    /// A service's metrics, as Prometheus scrapes them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self, name: &str) -> Result<String> {
        let service = self.service(name)?;
        Ok(fetch::get(service.ops, "/metrics", PROBE).with_context(|| format!("reading the metrics of {name}"))?.1)
    }

    /// Resident memory of a running service in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_memory(&mut self, name: &str) -> Result<u64> {
        let pid = self.supervisor.process(name)?.pid();
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("reading the memory of {name}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("finding the resident memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("reading the resident memory")?;
        Ok(kib * 1024)
    }

    /// Ends all services at the same time: none of them needs another one to drain.
    pub fn stop_all(&mut self) {
        self.supervisor.end_together(DRAIN);
    }

    fn service(&self, name: &str) -> Result<&Service> {
        self.services.get(name).with_context(|| format!("finding a service named {name}"))
    }
}

impl Service {
    /// Why it is not ready; none when it is.
    fn not_ready(&self) -> Option<String> {
        match fetch::get(self.ops, "/readyz", PROBE) {
            Ok((200, _)) => None,
            Ok((_, body)) => {
                let parts = serde_json::from_str::<Value>(&body).ok().and_then(|answer| answer["not_ready"].as_object().cloned());
                let parts = parts.unwrap_or_default().into_iter();
                let words = parts.map(|(part, why)| format!("{part} ({})", why.as_str().unwrap_or("no reason given")));
                Some(words.collect::<Vec<_>>().join(", "))
            }
            Err(error) => Some(format!("/readyz does not answer: {error}")),
        }
    }
}
