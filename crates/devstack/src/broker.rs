//! A real Apache Kafka on this machine: KRaft, one process, loopback only.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{
    interrupt,
    java::Java,
    ports,
    secure::Listeners,
    supervise::{GRACE, Launch, Process, Supervisor, describe},
};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(90);
/// Kafka's own words; before them the port is open but topics are not there yet.
const STARTED: &str = "Kafka Server started";

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Name of the process and its log.
    pub name: String,
    /// Where its data stays; created when absent.
    pub data: PathBuf,
    /// Java heap, as `-Xmx` wants it.
    pub heap: &'static str,
    /// Lines added to `server.properties`, for tests that need a short retention or a small log segment.
    pub settings: Vec<String>,
    /// None: whoever reaches it may do everything.
    pub listeners: Option<Listeners>,
}

impl BrokerOptions {
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { name: "kafka".to_owned(), data: folder.join("kafka"), heap: "1g", settings: Vec::new(), listeners: None }
    }
}

/// A running broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// `host:port` for clients; a secured one wants a name and a password there.
    pub address: String,
    port: u16,
    /// Where a secured one wants a client certificate.
    certificates: u16,
    controller: u16,
    options: BrokerOptions,
    java: Java,
}

impl Broker {
    /// Starts a broker and waits until it really answers.
    ///
    /// # Errors
    /// When it does not start in time; the end of its log is part of the message.
    pub fn start(supervisor: &mut Supervisor, java: &Java, options: BrokerOptions) -> Result<Self> {
        let mut broker = Self { address: String::new(), port: 0, certificates: 0, controller: 0, options, java: java.clone() };
        for attempt in 0.. {
            broker.port = ports::free()?;
            broker.controller = ports::free()?;
            broker.certificates = if broker.options.listeners.is_some() { ports::free()? } else { 0 };
            broker.address = format!("127.0.0.1:{}", broker.port);
            match broker.launch(supervisor) {
                Ok(()) => break,
                // Somebody else took the port between our look and the broker's.
                Err(error) if attempt < 2 && error.to_string().contains("Address already in use") => {
                    supervisor.kill(&broker.options.name)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(broker)
    }

    /// `host:port` for clients with a certificate; none when it is not secured.
    #[must_use]
    pub fn certificates(&self) -> Option<String> {
        self.options.listeners.as_ref().map(|_| format!("127.0.0.1:{}", self.certificates))
    }

    /// Starts it again on the same port with the same data, after [`Broker::stop`] or [`Broker::kill`].
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn restart(&self, supervisor: &mut Supervisor) -> Result<()> {
        self.launch(supervisor)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it was not started here.
    pub fn stop(&self, supervisor: &mut Supervisor) -> Result<()> {
        supervisor.end(&self.options.name, GRACE).map(drop)
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// When it was not started here.
    pub fn kill(&self, supervisor: &mut Supervisor) -> Result<()> {
        supervisor.kill(&self.options.name)
    }

    /// Freezes or thaws it.
    ///
    /// # Errors
    /// When it was not started here.
    pub fn freeze(&self, supervisor: &mut Supervisor, frozen: bool) -> Result<()> {
        supervisor.signal(&self.options.name, if frozen { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    fn launch(&self, supervisor: &mut Supervisor) -> Result<()> {
        let data = &self.options.data;
        fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let properties = data.join("server.properties");
        fs::write(&properties, self.properties()).with_context(|| format!("writing {}", properties.display()))?;
        self.format(&properties)?;
        let process = supervisor.spawn(Launch {
            name: self.options.name.clone(),
            program: "java".into(),
            arguments: [
                &format!("-Xmx{}", self.options.heap),
                "-Xms128m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
                "-cp",
                &self.java.kafka,
                "kafka.Kafka",
                &properties.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            environment: Vec::new(),
        })?;
        wait_until("Apache Kafka", process, START, |log| log.contains(STARTED) && answers(self.port))
    }

    fn format(&self, properties: &Path) -> Result<()> {
        if self.options.data.join("log/meta.properties").exists() {
            return Ok(());
        }
        let cluster = data_encoding::BASE64URL_NOPAD.encode(uuid::Uuid::new_v4().as_bytes());
        let output = std::process::Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-cp", &self.java.kafka, "kafka.tools.StorageTool", "format", "-t", &cluster, "-c"])
            .arg(properties)
            .output()
            .context("formatting the broker's storage")?;
        if !output.status.success() {
            bail!("formatting the broker's storage: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn properties(&self) -> String {
        let Self { port, certificates, controller, .. } = self;
        let listeners = match &self.options.listeners {
            Some(listeners) => listeners.properties(*port, *certificates, *controller),
            None => format!(
                "controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
        };
        let data = self.options.data.join("log");
        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
{listeners}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.index.size.max.bytes=262144
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=300
controlled.shutdown.max.retries=1
{extra}
",
            data = data.display(),
            extra = self.options.settings.join("\n")
        )
    }
}

/// Waits until a process answers; when it ends instead, or the time is up, the error shows the end of its log.
pub(crate) fn wait_until(what: &str, process: &mut Process, limit: Duration, ready: impl Fn(&str) -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    // A log is appended to: what an earlier start of this process wrote says nothing about this one.
    let earlier = process.log_start();
    loop {
        let log = fs::read(&process.log).unwrap_or_default();
        if ready(&String::from_utf8_lossy(&log[earlier.min(log.len())..])) {
            return Ok(());
        }
        interrupt::check()?;
        if let Some(status) = process.ended() {
            bail!(
                "{what} ended while it started ({}); its log {} ends:\n{}",
                describe(status),
                process.log.display(),
                process.tail(15)
            );
        }
        if Instant::now() > deadline {
            bail!(
                "{what} does not answer after {} s; its log {} ends:\n{}",
                limit.as_secs(),
                process.log.display(),
                process.tail(15)
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
