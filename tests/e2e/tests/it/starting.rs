//! What a service says, and with which number it ends, when something that it needs is missing or wrong: the real binaries.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use avro::{TopicSpec, Topics};
use devstack::{Stack, StackOptions};
use kafka::topics::{Topic, apply, plan};
use landscape::Landscape;
use millrace_e2e::until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
    sync::Semaphore,
    task::JoinSet,
};

/// Each, with what it has beside the common options.
const SERVICES: [(&str, &[(&str, &str)]); 5] = [
    ("publisher", &[("--source", "erp"), ("--endpoint", "FOLDER")]),
    ("validator", &[]),
    ("sink", &[("--destination", "mes-ulm"), ("--endpoint", "http://127.0.0.1:1")]),
    ("replayer", &[]),
    ("tracker", &[("--api", "127.0.0.1:0"), ("--store", "FOLDER/tracker.sqlite")]),
];
/// What must end does so within this, or counts as standing still.
const PATIENCE: Duration = Duration::from_secs(50);
/// Longer than [`PATIENCE`]: a process that ends with this has not waited.
const NEVER: &str = "5m";
/// How many start at the same time.
const ABREAST: usize = 6;
/// Nobody listens there: it is for the super-user, who has better to do.
const NOBODY: &str = "127.0.0.1:1";

/// Where the processes of this test start.
struct Place {
    stack: Stack,
    landscape: PathBuf,
    folder: PathBuf,
    prefix: String,
}

impl Place {
    async fn prepare() -> Result<Self> {
        let landscape = millrace_e2e::landscape("load");
        let stack = Stack::start(StackOptions::new(&landscape)).await?;
        let folder = stack.folder().join("starting");
        fs::create_dir_all(&folder)?;
        let prefix = stack.topics.prefix().to_owned();
        Ok(Self { stack, landscape, folder, prefix })
    }

    /// What a service is told when nothing is wrong.
    fn options(&self, service: &str, number: usize) -> BTreeMap<String, String> {
        let own_folder = self.folder.join(format!("{service}-{number}"));
        let common = [
            ("--landscape", self.landscape.display().to_string()),
            ("--instance", format!("start-{number}")),
            ("--ops", "127.0.0.1:0".to_owned()),
            ("--brokers", self.stack.addresses.brokers.clone()),
            ("--registry", self.stack.addresses.registry.clone()),
            ("--topic-prefix", self.prefix.clone()),
            ("--start-timeout", "3s".to_owned()),
        ];
        let own = SERVICES.iter().filter(|(name, _)| *name == service).flat_map(|(_, own)| own.iter());
        let own = own.map(|(option, value)| (*option, value.replace("FOLDER", &own_folder.display().to_string())));
        own.chain(common).map(|(option, value)| (option.to_owned(), value)).collect()
    }

    fn command(&self, service: &str, options: &BTreeMap<String, String>) -> Result<Command> {
        let program = binary(service)?;
        let mut command = Command::new(program);
        command.args(options.iter().flat_map(|(option, value)| [option, value])).arg("--development");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Topics of the landscape under another prefix, as `change` makes them; none are left out.
    async fn topics(&self, prefix: &str, change: impl Fn(&str, Topic) -> Option<Topic>) -> Result<()> {
        let landscape = &self.stack.landscape;
        let specs: Vec<_> =
            landscape.topic_specs(&Topics::new(prefix.to_owned())).into_iter().map(TopicSpec::for_one_broker).collect();
        let wanted: Vec<Topic> = specs
            .iter()
            .filter_map(|spec| change(spec.name.strip_prefix(prefix).unwrap_or(&spec.name), Topic::from(spec)))
            .collect();
        let client = self.stack.client("starting");
        apply(&client, &plan(&client, &wanted).await?).await?;
        Ok(())
    }
}

fn binary(service: &str) -> Result<PathBuf> {
    let program = devstack::dev::profile()?.join(format!("millrace-{service}"));
    ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
    Ok(program)
}

/// One line of the table: what is wrong, and how that ends.
struct Case {
    what: &'static str,
    service: &'static str,
    /// Instead of what is right; none leaves the option out.
    options: Vec<(&'static str, Option<String>)>,
    code: i32,
    /// Somewhere on stderr; for what a log ends with see `ends_with`.
    says: Vec<String>,
    last_line: Vec<String>,
}

impl Case {
    fn new(what: &'static str, service: &'static str, code: i32) -> Self {
        Self { what, service, options: Vec::new(), code, says: Vec::new(), last_line: Vec::new() }
    }

    fn with(mut self, option: &'static str, value: impl Into<String>) -> Self {
        self.options.push((option, Some(value.into())));
        self
    }

    fn without(mut self, option: &'static str) -> Self {
        self.options.push((option, None));
        self
    }

    fn says(mut self, text: impl Into<String>) -> Self {
        self.says.push(text.into());
        self
    }

    /// The last line of the log says this, whatever else stands before it.
    fn ends_with(mut self, text: impl Into<String>) -> Self {
        self.last_line.push(text.into());
        self
    }

    /// What was not as it should be.
    fn judge(&self, output: Option<Output>) -> Option<String> {
        let name = format!("{}: {}", self.service, self.what);
        let Some(output) = output else { return Some(format!("{name}: still running after {} s", PATIENCE.as_secs())) };
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.trim_end().lines().last().unwrap_or_default();
        let mut wrong = Vec::new();
        if output.status.code() != Some(self.code) {
            wrong.push(format!("{}, wanted exit {}", devstack::supervise::describe(output.status), self.code));
        }
        wrong.extend(self.says.iter().filter(|said| !text.contains(said.as_str())).map(|said| format!("does not say {said:?}")));
        let unsaid = self.last_line.iter().filter(|said| !last.contains(said.as_str()));
        wrong.extend(unsaid.map(|said| format!("the last line does not say {said:?}")));
        if text.contains("panicked") {
            wrong.push("panicked".to_owned());
        }
        (!wrong.is_empty()).then(|| format!("{name}: {}\n{text}", wrong.join("; ")))
    }
}

/// For every service: what it depends on, what it is told.
fn of_every_service(place: &Place, taken: &str, broken: &Path, problems: &[String]) -> Vec<Case> {
    let (missing, wrong) = (format!("{}missing.", place.prefix), format!("{}wrong.", place.prefix));
    let mut cases = Vec::new();
    for (service, _) in SERVICES {
        let case = |what, code| Case::new(what, service, code);
        cases.push(case("no broker", 69).with("--brokers", NOBODY).ends_with(format!("brokers {NOBODY}")));
        let url = format!("http://{NOBODY}");
        cases.push(case("no registry", 69).with("--registry", &url).ends_with("registry").ends_with(url));
        let mut lacking = case("a missing topic", 69).with("--topic-prefix", &missing);
        for topic in touched(service) {
            lacking = lacking.ends_with(format!("{missing}{topic}"));
        }
        cases.push(lacking.ends_with("missing: "));
        let mut few =
            case("a topic with another partition count", 78).with("--topic-prefix", &wrong).with("--start-timeout", NEVER);
        for topic in touched(service) {
            few = few.ends_with(format!("topic {wrong}{topic}: 3 partitions, wanted 6"));
        }
        cases.push(few);
        cases.push(case("a port in use", 78).with("--ops", taken).ends_with(taken).ends_with("--ops"));
        let mut broken = case("a landscape with problems", 78).with("--landscape", broken.display().to_string());
        for problem in problems {
            broken = broken.says(problem);
        }
        cases.push(
            broken.ends_with(format!("{} problems in the landscape", problems.len())).ends_with("millrace landscape check"),
        );
        let nowhere = place.folder.join("nowhere").display().to_string();
        cases.push(case("a landscape that is not there", 78).with("--landscape", &nowhere).ends_with(nowhere));
        cases.push(case("an unknown argument", 2).with("--broker", NOBODY).says("'--broker'").says("'--brokers'"));
        cases.push(case("a missing argument", 2).without("--landscape").says("--landscape"));
        cases.push(case("a time without unit", 2).with("--start-timeout", "3").says("did you mean \"3s\"?"));
    }
    cases
}

/// Which of the two topics that are made wrong a service looks at.
fn touched(service: &str) -> &'static [&'static str] {
    match service {
        "publisher" => &["change.erp.item"],
        "sink" => &["golden.item"],
        _ => &["change.erp.item", "golden.item"],
    }
}

fn of_one_service(place: &Place, taken: &str) -> Vec<Case> {
    let file = place.landscape.join("millrace.yaml").display().to_string();
    let below_a_file = format!("{file}/below/tracker.sqlite");
    let folder = place.folder.display().to_string();
    vec![
        Case::new("an unknown source", "publisher", 78)
            .with("--source", "erpp")
            .ends_with("no source `erpp`, did you mean `erp`?")
            .ends_with("it has: crm, erp"),
        Case::new("no source", "publisher", 2).without("--source").says("--source"),
        Case::new("an unknown destination", "sink", 78)
            .with("--destination", "mes-puna")
            .ends_with("no destination `mes-puna`, did you mean `mes-pune`?")
            .ends_with("it has: mes-pune, mes-ulm"),
        Case::new("no destination", "sink", 2).without("--destination").says("--destination"),
        Case::new("no endpoint", "sink", 78).without("--endpoint").ends_with("destinations/mes-ulm.yaml"),
        Case::new("an endpoint that is no URL", "sink", 78).with("--endpoint", "mes/ulm").ends_with("mes/ulm"),
        Case::new("no endpoint", "publisher", 78).without("--endpoint").ends_with("sources/erp.yaml"),
        Case::new("a store below a file", "tracker", 78).with("--store", below_a_file).ends_with(format!("{file}/below")),
        Case::new("a store that is a folder", "tracker", 78).with("--store", &folder).ends_with(folder),
        Case::new("an API port in use", "tracker", 78).with("--api", taken).ends_with(taken).ends_with("--api"),
        Case::new("an API for everybody", "tracker", 78).with("--api", "0.0.0.0:0").ends_with("loopback"),
        Case::new("no worker", "validator", 2).with("--workers", "0").ends_with("--workers 0"),
    ]
}

/// The landscape of the tests with a typo, an owner that nobody is and a mapping that asks for a field that is not there; its
/// problems as `millrace landscape check` prints them.
fn broken_landscape(place: &Place) -> Result<(PathBuf, Vec<String>)> {
    let folder = place.folder.join("broken");
    let plant = |name: &str, text: &str| -> Result<()> {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        Ok(fs::write(path, text)?)
    };
    for (name, text) in service::landscape_files(&place.landscape)? {
        plant(&name, &text)?;
    }
    plant("domains/item.yaml", "onwer: erp\noffice: item office\nmandatory: [/base_uom, /base_uon]\n")?;
    plant("domains/customer.yaml", "owner: crn\noffice: sales office\n")?;
    plant("mappings/plant/item.j2", "{\"id\": {{ item.item_idd }}}")?;
    let Err(problems) = Landscape::parse(&service::landscape_files(&folder)?) else { anyhow::bail!("it has no problem") };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for file in ["domains/item.yaml:1:1  ", "domains/customer.yaml:1:", "mappings/plant/item.j2:1:"] {
        ensure!(problems.iter().any(|problem| problem.starts_with(file)), "none in {file}: {problems:#?}");
    }
    Ok((folder, problems))
}

async fn the_table(place: &Place) -> Result<()> {
    let is_bad = |name: &str| ["change.erp.item", "golden.item"].contains(&name);
    place.topics(&format!("{}missing.", place.prefix), |name, topic| (!is_bad(name)).then_some(topic)).await?;
    let few = |name: &str, topic| is_bad(name).then_some(Topic { partitions: 3, ..topic });
    place.topics(&format!("{}wrong.", place.prefix), few).await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let taken = listener.local_addr()?.to_string();
    let (broken, problems) = broken_landscape(place)?;

    let mut cases = of_every_service(place, &taken, &broken, &problems);
    cases.extend(of_one_service(place, &taken));
    let (abreast, mut running) = (Arc::new(Semaphore::new(ABREAST)), JoinSet::new());
    for (number, case) in cases.into_iter().enumerate() {
        let mut options = place.options(case.service, number);
        for (option, value) in &case.options {
            match value {
                Some(value) => options.insert((*option).to_owned(), value.clone()),
                None => options.remove(*option),
            };
        }
        let mut command = place.command(case.service, &options)?;
        let abreast = Arc::clone(&abreast);
        running.spawn(async move {
            let _one = abreast.acquire().await.context("a place")?;
            let ended = tokio::time::timeout(PATIENCE, command.output()).await.ok().transpose()?;
            anyhow::Ok(case.judge(ended))
        });
    }
    let judged = running.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    println!("{} starts", judged.len());
    let wrong: Vec<String> = judged.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of them ended otherwise:\n\n{}", wrong.len(), wrong.join("\n\n"));
    Ok(())
}

async fn who_waits_ends_when_asked_to(place: &Place) -> Result<()> {
    let absent = format!("{}absent.", place.prefix);
    let waits: [(&str, &str, &str); 3] = [
        // The first call to the brokers is under way.
        ("--brokers", NOBODY, "started"),
        ("--registry", &format!("http://{NOBODY}"), "started"),
        ("--topic-prefix", &absent, "waiting at start"),
    ];
    let mut running = JoinSet::new();
    for (service, _) in SERVICES {
        for (number, (option, value, said)) in waits.iter().enumerate() {
            let mut options = place.options(service, number);
            options.insert((*option).to_owned(), (*value).to_owned());
            options.insert("--start-timeout".to_owned(), NEVER.to_owned());
            let name = format!("{service} with {option} {value}");
            running.spawn(ended_when_told(place.command(service, &options)?, name, (*said).to_owned()));
        }
    }
    running.join_all().await.into_iter().collect()
}

/// Starts it, sends SIGTERM once its log says `said`, and expects that it drains.
async fn ended_when_told(mut command: Command, name: String, said: String) -> Result<()> {
    let mut process = command.spawn()?;
    let pid = Pid::from_raw(i32::try_from(process.id().context("it runs")?)?);
    let mut log = BufReader::new(process.stderr.take().context("a pipe")?);
    let mut text = String::new();
    let ended = tokio::time::timeout(PATIENCE, async {
        while !text.contains(&said) {
            ensure!(log.read_line(&mut text).await? > 0, "it ended by itself");
        }
        kill(pid, Signal::SIGTERM)?;
        log.read_to_string(&mut text).await?;
        let status = process.wait().await?;
        ensure!(status.success(), "{}", devstack::supervise::describe(status));
        Ok(())
    });
    ended.await.with_context(|| format!("{name}: still running"))?.with_context(|| format!("{name}:\n{text}"))
}

/// A drop folder is the source's: it is waited for, not given up.
async fn a_folder_that_cannot_be_is_named(place: &mut Place) -> Result<()> {
    let file = place.folder.join("a-file");
    fs::write(&file, "")?;
    let folder = file.join("erp").display().to_string();
    place.stack.fleet.publisher("erp", &folder)?;
    until("the publisher to name its folder", PATIENCE, || {
        let waiting = tokio::task::block_in_place(|| place.stack.fleet.not_ready());
        let is_named = waiting.iter().any(|(_, why)| why.contains(&folder));
        std::future::ready(if is_named { Ok(()) } else { Err(format!("{waiting:?}")) })
    })
    .await?;
    let status = tokio::task::block_in_place(|| place.stack.fleet.stop("publisher-erp"))?;
    ensure!(status.success(), "{}", devstack::supervise::describe(status));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_at_start_is_named_and_has_its_exit_code_and_who_waits_ends_when_asked_to() -> Result<()> {
    let place = Place::prepare().await?;
    the_table(&place).await?;
    who_waits_ends_when_asked_to(&place).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_has_everything_becomes_ready_and_drains_to_0() -> Result<()> {
    let mut place = Place::prepare().await?;
    a_folder_that_cannot_be_is_named(&mut place).await?;
    tokio::task::block_in_place(|| -> Result<()> {
        place.stack.start_fleet()?;
        let names: Vec<String> = place.stack.fleet.running().map(|process| process.name.clone()).collect();
        ensure!(names.len() == 7, "{names:?}");
        for name in names {
            let status = place.stack.fleet.stop(&name)?;
            let log = place.stack.fleet.log(&name)?;
            let last = log.trim_end().lines().last().unwrap_or_default();
            ensure!(status.success() && last.contains("drained"), "{name}: {}\n{log}", devstack::supervise::describe(status));
        }
        Ok(())
    })
}
