//! Looks for secrets where none may be: a fleet is started with secrets that all begin alike, and then everything that anybody can see of
//! it is searched for that beginning.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use devstack::fetch;

use crate::world::World;

/// What every secret of such a fleet begins with.
pub(crate) const MARK: &str = "CANARY-";
const ANSWER: Duration = Duration::from_secs(10);

/// What was searched, and where something was found.
#[derive(Default)]
struct Search {
    places: usize,
    bytes: usize,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, place: impl Into<String>, bytes: &[u8]) {
        self.places += 1;
        self.bytes += bytes.len();
        let place = place.into();
        if let Some(at) = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes()) {
            let around = String::from_utf8_lossy(&bytes[at.saturating_sub(120)..(at + 60).min(bytes.len())]).into_owned();
            self.found.push(format!("{place}: …{around}…"));
        }
    }

    /// Every file below a folder.
    fn files(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.files(&path)?;
            } else {
                self.look(path.display().to_string(), &fs::read(&path)?);
            }
        }
        Ok(())
    }
}

/// Everything that anybody can see of this fleet.
pub(crate) async fn nothing_leaks(world: &mut World, folder: &Path, token: &str) -> Result<()> {
    ensure!(token.starts_with(MARK), "a token that would not be found");
    finds_what_is_there(world)?;
    let mut search = Search::default();
    tokio::task::block_in_place(|| {
        processes(world, &mut search)?;
        command_line(world, folder, token, &mut search)
    })?;
    api(world, token, &mut search).await?;
    topics(world, &mut search).await?;
    // Last: what was tried above has been logged, too, and at the wordiest level that anybody would choose.
    ensure!(world.stack.fleet.log("sink-mes")?.contains("DEBUG"), "the logs are not wordy");
    let base = world.stack.base.as_ref().context("a base of its own")?;
    search.files(&world.stack.folder().join("logs"))?;
    search.files(&base.supervisor.folder().join("logs"))?;
    search.look("the tracker's store", &fs::read(world.stack.folder().join("tracker.sqlite"))?);
    println!("searched {} places, {} bytes for {MARK}", search.places, search.bytes);
    ensure!(search.places > 60, "only {} places", search.places);
    ensure!(search.found.is_empty(), "{} secrets show:\n{}", search.found.len(), search.found.join("\n"));
    Ok(())
}

/// The search itself works, and the secrets are what it looks for.
fn finds_what_is_there(world: &World) -> Result<()> {
    let accounts = &world.stack.secured().context("a secured stack")?.accounts;
    for principal in ["validator", "sink-mes", "tracker", "operator"] {
        for file in ["kafka/password", "registry/password"] {
            let mut search = Search::default();
            let path = accounts.file(principal, file);
            search.look(file, &fs::read(&path)?);
            ensure!(search.found.len() == 1, "{} does not begin with {MARK}", path.display());
        }
    }
    Ok(())
}

/// What the processes say on their ports and show in the list of processes.
fn processes(world: &mut World, search: &mut Search) -> Result<()> {
    let running: Vec<(String, i32)> = world.stack.fleet.running().map(|process| (process.name.clone(), process.pid())).collect();
    ensure!(running.len() == 8, "{running:?}");
    for (name, pid) in running {
        let port: u16 = world.stack.fleet.ops(&name)?.rsplit_once(':').context("a port")?.1.parse()?;
        for page in ["/livez", "/readyz", "/metrics", "/nowhere", "/debug"] {
            let (_, body) = fetch::get(port, page, ANSWER)?;
            search.look(format!("{page} of {name}"), body.as_bytes());
        }
        for file in ["cmdline", "environ"] {
            let path = PathBuf::from(format!("/proc/{pid}/{file}"));
            search.look(format!("{file} of {name}"), &fs::read(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(())
}

async fn api(world: &World, token: &str, search: &mut Search) -> Result<()> {
    let server = world.stack.fleet.server().context("a tracker")?;
    let http = reqwest::Client::new();
    for path in
        ["about", "overview", "destinations", "destinations/mes", "dead-letters", "replay-plans", "records/item/nowhere", "?"]
    {
        for token in [token, "CANARY-of-somebody-else-0123456789abcdef", ""] {
            let request = http.get(format!("{server}/api/v1/{path}")).bearer_auth(token);
            let answer = request.send().await?;
            let head = format!("{:?}", answer.headers());
            search.look(format!("answer of the API about {path}"), format!("{head}{}", answer.text().await?).as_bytes());
        }
    }
    Ok(())
}

/// The command line, as wordy as it gets, when all is well and when it is not.
fn command_line(world: &World, folder: &Path, token: &str, search: &mut Search) -> Result<()> {
    let program = devstack::dev::profile()?.join("millrace");
    ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
    let (stack, token_file) = (&world.stack, folder.join("token"));
    fs::write(&token_file, token)?;
    let wrong = folder.join("wrong");
    fs::write(&wrong, format!("{MARK}of-nobody"))?;
    let server = stack.fleet.server().context("a tracker")?;
    let landscape = folder.join("landscape").display().to_string();
    let common = ["--landscape", &landscape, "-v", "--timeout", "30s"];
    let addresses =
        ["--brokers", &stack.addresses.brokers, "--registry", &stack.addresses.registry, "--topic-prefix", stack.topics.prefix()];
    let mut own: Vec<(String, String)> = stack
        .secured()
        .context("a secured stack")?
        .accounts
        .options("operator")
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for password in [None, Some(&wrong)] {
        if let Some(wrong) = password {
            own.iter_mut()
                .filter(|(name, _)| name.ends_with("password-file"))
                .for_each(|(_, value)| *value = wrong.display().to_string());
        }
        for command in [&["topics", "plan"][..], &["topics", "rights"], &["schemas", "check"], &["doctor", "--development"]] {
            let mut process = Command::new(&program);
            process.args(command).args(common).args(addresses).current_dir(folder);
            process.args(own.iter().flat_map(|(name, value)| [name, value]));
            let output = process.output().with_context(|| format!("running millrace {command:?}"))?;
            search.look(format!("millrace {command:?}"), &[output.stdout, output.stderr].concat());
        }
    }
    for (command, token_file) in [("status", &token_file), ("status", &wrong)] {
        let mut process = Command::new(&program);
        process.arg(command).args(["-v", "--server", &server, "--token-file"]).arg(token_file).current_dir(folder);
        let output = process.output().context("running millrace status")?;
        search.look(format!("millrace {command}"), &[output.stdout, output.stderr].concat());
    }
    Ok(())
}

async fn topics(world: &World, search: &mut Search) -> Result<()> {
    let client = world.stack.client("canary");
    let group = format!("{}canary", world.stack.topics.prefix());
    let mut records = 0;
    for spec in world.stack.landscape.topic_specs(&world.stack.topics) {
        let mut all = Vec::new();
        for record in kafka::read_all(&client, &group, &spec.name, None).await? {
            records += 1;
            all.extend_from_slice(record.key.as_deref().unwrap_or_default());
            all.extend_from_slice(record.value.as_deref().unwrap_or_default());
            for (name, value) in &record.headers {
                all.extend_from_slice(name.as_bytes());
                all.extend_from_slice(value.as_deref().unwrap_or_default());
            }
        }
        search.look(spec.name, &all);
    }
    ensure!(records > 100, "only {records} records");
    Ok(())
}
