//! `make demo`: real Kafka, real registry, simulated systems and the fleet on this machine, the sample company loaded, a live
//! table, and a tour.
//!
//! Its data lies in one folder and a second start goes on from there. A second start *beside* a running one says so and stops.
//! Whatever of it dies is started again, as an orchestrator would; when the demo itself ends, nothing is left running.

mod lock;
mod screen;
mod table;
pub mod tour;

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use landscape::Landscape;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::{
    base::{Addresses, Base},
    fetch,
    fleet::{Fleet, FleetOptions},
    interrupt,
    progress::Progress,
    provision::{provision, provision_as, read_landscape},
    secure::{OPERATOR, PROVISIONER, SecureOptions},
    supervise::{Supervisor, describe},
    systems::{Systems, SystemsOptions, short_name},
};
use screen::Screen;
use table::Overview;

const READY: Duration = Duration::from_secs(120);
/// When nothing has changed for so long, everything has arrived or waits for a person.
const SETTLED: Duration = Duration::from_secs(3);
/// A load that is not settled by then is shown as it is.
const LOAD: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);
/// More deaths than this in a minute is no accident.
const DEATHS: usize = 6;

/// What a demo is started with.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    pub landscape: PathBuf,
    pub sample: Option<PathBuf>,
    /// Data, logs, and the file that tells the command line where everything is.
    pub folder: PathBuf,
    /// TLS, an identity per process, exactly the grants of the list of topics.
    pub secure: bool,
}

/// `demo.json`: where everything of a running demo is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemoFile {
    pub version: u32,
    pub pid: u32,
    pub server: String,
    pub brokers: String,
    pub registry: String,
    pub landscape: PathBuf,
    pub topic_prefix: String,
    pub plants: BTreeMap<String, Plant>,
    pub sources: BTreeMap<String, Source>,
    pub processes: Vec<Running>,
    /// Options by which the command line is the operator, on a secured demo: files, never a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plant {
    pub endpoint: String,
    pub control: String,
}

/// A drop folder, or a REST source with its control address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    Folder { folder: PathBuf },
    Rest { endpoint: String, control: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub name: String,
    pub pid: i32,
    pub log: PathBuf,
}

/// Runs a demo until this process is told to end.
///
/// # Errors
/// When one runs already, the landscape has problems, or something does not start.
pub fn run(options: &DemoOptions, runtime: &Handle) -> Result<()> {
    let started = Instant::now();
    let _lock = match lock::Lock::take(&options.folder)? {
        Ok(lock) => lock,
        Err(taken) => {
            let process = taken.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            bail!("a demo runs already in {}{process}; end it with `make demo-down`", options.folder.display());
        }
    };
    // Of a demo that was killed: it would send the command line to nobody.
    fs::remove_file(options.folder.join("demo.json")).ok();
    let landscape = read_landscape(&options.landscape)?;
    same_landscape(options)?;
    let mut demo = match Demo::start(options, &landscape, runtime) {
        // A start that was interrupted is not an error: that is what the person wanted.
        Err(_) if interrupt::is_requested() => return Ok(()),
        started => started?,
    };
    let shown = demo.show(started);
    let _step = Progress::Shown.step("ending the demo");
    fs::remove_file(options.folder.join("demo.json")).ok();
    demo.fleet.stop_all();
    drop(demo);
    shown
}

/// Ends a demo that runs in the folder; whether there was one.
///
/// # Errors
/// When it does not end.
pub fn down(folder: &Path) -> Result<bool> {
    lock::end(folder)
}

/// Data of one landscape makes no sense under another.
fn same_landscape(options: &DemoOptions) -> Result<()> {
    let file = options.folder.join("landscape.txt");
    let now = options.landscape.canonicalize().context("finding the landscape")?.display().to_string();
    match fs::read_to_string(&file) {
        Ok(before) if before != now => bail!(
            "{} holds data of the landscape {before}, not of {now}; forget it with `make clean-demo`",
            options.folder.display()
        ),
        Ok(_) => Ok(()),
        Err(_) => fs::write(&file, now).with_context(|| format!("writing {}", file.display())),
    }
}

/// A running demo. Fields are dropped in this order: services, then the systems they call, then what they stand on.
struct Demo {
    fleet: Fleet,
    systems: Systems,
    base: Base,
    folder: PathBuf,
    /// As the person typed it.
    shown_folder: PathBuf,
    landscape: PathBuf,
    topic_prefix: String,
    deaths: VecDeque<Instant>,
}

impl Demo {
    fn start(options: &DemoOptions, landscape: &Landscape, runtime: &Handle) -> Result<Self> {
        let topics = avro::Topics::new(landscape.kafka.topic_prefix.clone());
        let secure = options.secure.then(|| SecureOptions::new(landscape::rights(landscape, &topics)));
        let base = Base::lasting(&options.folder, Progress::Shown, secure)?;
        let accounts = base.secured.as_ref().map(|secured| secured.accounts.clone());
        let Addresses { brokers, registry } = base.addresses();
        let folder = base.supervisor.folder().to_owned();
        let systems = Systems::start(
            landscape,
            &SystemsOptions {
                folder: folder.clone(),
                sample: options.sample.clone(),
                landscape: Some(options.landscape.clone()),
                manners: crate::mes::Manners::default(),
                keep: true,
            },
        )?;
        let step = Progress::Shown.step("creating topics and registering schemas");
        match &accounts {
            None => runtime.block_on(provision(landscape, &topics, &brokers, &registry))?,
            Some(accounts) => {
                let client = accounts.client(&brokers, PROVISIONER, PROVISIONER);
                let registry = accounts.registry(&registry, PROVISIONER);
                runtime.block_on(provision_as(landscape, &topics, &client, registry))?;
            }
        }
        drop(step);

        let fleet_options = FleetOptions {
            landscape: options.landscape.canonicalize().context("finding the landscape")?,
            brokers,
            registry,
            topic_prefix: None,
            session_timeout: None,
            environment: Vec::new(),
            access: accounts,
            secrets: None,
        };
        let mut demo = Self {
            fleet: Fleet::new(Supervisor::open(&folder)?, fleet_options)?,
            systems,
            base,
            landscape: options.landscape.canonicalize()?,
            topic_prefix: landscape.kafka.topic_prefix.clone(),
            folder,
            shown_folder: options.folder.clone(),
            deaths: VecDeque::new(),
        };
        demo.start_fleet(landscape)?;
        demo.write_file()?;
        Ok(demo)
    }

    fn start_fleet(&mut self, landscape: &Landscape) -> Result<()> {
        let _step = Progress::Shown.step("starting the fleet");
        self.fleet.tracker(&self.folder.join("tracker.sqlite"))?;
        self.fleet.replayer()?;
        self.fleet.validator("validator")?;
        for destination in landscape.destinations.keys() {
            self.fleet.sink(destination, &self.systems.plant(destination)?.url())?;
        }
        for source in landscape.sources.keys() {
            self.fleet.publisher(source, &self.systems.source_endpoint(source)?)?;
        }
        self.fleet.wait_ready(READY)
    }

    fn write_file(&mut self) -> Result<()> {
        let plants = self
            .systems
            .plants
            .iter()
            .map(|(name, mes)| (short_name(name).to_owned(), Plant { endpoint: mes.url(), control: mes.control_url() }));
        let folders = self.systems.folders.iter().map(|(name, folder)| (name.clone(), Source::Folder { folder: folder.clone() }));
        let rest = self
            .systems
            .rest
            .iter()
            .map(|(name, source)| (name.clone(), Source::Rest { endpoint: source.url(), control: source.control_url() }));
        let addresses = self.base.addresses();
        let base = self.base.supervisor.processes().iter();
        let access = self.fleet.options().access.as_ref().map(|accounts| accounts.options(OPERATOR));
        let file = DemoFile {
            version: 1,
            pid: std::process::id(),
            server: self.fleet.server().context("finding the tracker's address")?,
            brokers: addresses.brokers,
            registry: addresses.registry,
            landscape: self.landscape.clone(),
            topic_prefix: self.topic_prefix.clone(),
            plants: plants.collect(),
            sources: folders.chain(rest).collect(),
            processes: base
                .chain(self.fleet.running().map(|process| &*process))
                .map(|process| Running { name: process.name.clone(), pid: process.pid(), log: process.log.clone() })
                .collect(),
            access: access.map(|options| {
                options.into_iter().map(|(option, value)| (option.trim_start_matches('-').to_owned(), value)).collect()
            }),
        };
        let path = self.folder.join("demo.json");
        let next = self.folder.join("demo.json.next");
        fs::write(&next, serde_json::to_string_pretty(&file)?).with_context(|| format!("writing {}", next.display()))?;
        fs::rename(&next, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// The load, the tour, then the live table until this process is told to end.
    fn show(&mut self, started: Instant) -> Result<()> {
        let mut screen = Screen::new();
        self.load(&mut screen, started)?;
        if !interrupt::is_requested() {
            if self.base.secured.is_some() {
                screen.print(&self.who_is_who());
            }
            screen.print(&if self.is_sample_company() { tour::text(&self.shown_folder) } else { self.other_landscape() });
        }
        while !interrupt::is_requested() {
            if let Some(overview) = self.overview() {
                screen.show(&overview);
            }
            std::thread::sleep(LOOK);
            self.revive(&screen)?;
        }
        screen.close();
        Ok(())
    }

    fn who_is_who(&self) -> String {
        format!(
            "Secured: TLS, a user with a password and its own grants for each process (`millrace topics rights` lists them). In this folder\n\
             `millrace topics plan` is the operator, who looks and reads no record; everybody's files are in {}\n",
            self.shown_folder.join("secrets").display()
        )
    }

    /// Whether the records are there that the tour talks of.
    fn is_sample_company(&self) -> bool {
        let items = self.systems.folders.get("erp").map(|folder| folder.join("items.csv"));
        let has_items = items.and_then(|file| fs::read_to_string(file).ok()).is_some_and(|text| text.contains("\nDN-50;A;"));
        has_items && ["mes-ulm", "mes-pune"].iter().all(|plant| self.systems.plants.contains_key(*plant))
    }

    fn other_landscape(&self) -> String {
        let mut lines = vec![
            "The tour is about the sample company; this is another landscape. In another terminal, in this folder:".to_owned(),
            "   $ export PATH=\"$PWD/target/debug:$PATH\"; millrace status; millrace dlq list".to_owned(),
        ];
        lines.extend(self.systems.folders.iter().map(|(name, folder)| format!("   {name} reads {}", folder.display())));
        lines.extend(
            self.systems.rest.iter().map(|(name, source)| format!("   {name} is controlled at {}", source.control_url())),
        );
        lines.extend(self.systems.plants.keys().map(|name| format!("   $ millrace demo plant {} down", short_name(name))));
        lines.push(format!(
            "\n`make demo-down` or Ctrl-C here ends the demo; its data stays in {}\n",
            self.shown_folder.display()
        ));
        lines.join("\n")
    }

    fn load(&mut self, screen: &mut Screen, started: Instant) -> Result<()> {
        screen.print("loading the sources");
        let mut settled = Instant::now();
        let mut last = Vec::new();
        let mut is_first = true;
        while !interrupt::is_requested() && started.elapsed() < LOAD {
            if let Some(overview) = self.overview() {
                screen.show(&overview);
                if is_first && overview.accepted() > 0 {
                    is_first = false;
                    screen.print(&format!("first record accepted {:.1} s after the start", started.elapsed().as_secs_f64()));
                }
                let now = overview.fingerprint();
                if now != last {
                    (last, settled) = (now, Instant::now());
                }
                let has_arrived = overview.caught_up && !is_first && overview.travelling() == 0;
                if settled.elapsed() > if has_arrived { SETTLED } else { SETTLED * 10 } && overview.caught_up {
                    screen.print(&format!(
                        "loaded {:.1} s after the start\n\n{}\n",
                        started.elapsed().as_secs_f64(),
                        table::table(&overview)
                    ));
                    return Ok(());
                }
            }
            std::thread::sleep(LOOK);
            self.revive(screen)?;
        }
        Ok(())
    }

    fn overview(&self) -> Option<Overview> {
        let port = self.fleet.server()?.rsplit_once(':')?.1.parse().ok()?;
        let (status, body) = fetch::get(port, "/api/v1/overview", Duration::from_secs(5)).ok()?;
        (status == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// Starts again what has died.
    fn revive(&mut self, screen: &Screen) -> Result<()> {
        if let Some((name, status)) = self.base.supervisor.casualty() {
            self.count_death(&name)?;
            screen.print(&format!("{name} has ended ({}), starting it again", describe(status)));
            if name == "registry" {
                self.base.registry.restart(&mut self.base.supervisor)?;
            } else {
                self.base.broker.restart(&mut self.base.supervisor)?;
            }
            self.write_file()?;
        }
        if let Some((name, status)) = self.fleet.casualty() {
            self.count_death(&name)?;
            screen.print(&format!("{name} has ended ({}), starting it again", describe(status)));
            self.fleet.start_again(&name)?;
            self.write_file()?;
        }
        Ok(())
    }

    fn count_death(&mut self, name: &str) -> Result<()> {
        let now = Instant::now();
        self.deaths.retain(|death| now.duration_since(*death) < Duration::from_secs(60));
        self.deaths.push_back(now);
        if self.deaths.len() > DEATHS {
            bail!("{name} and others have ended {DEATHS} times in a minute; see {}", self.folder.join("logs").display());
        }
        Ok(())
    }
}
