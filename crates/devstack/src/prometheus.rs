//! The real Prometheus and promtool, from Debian's package: unpacked into the cache, so that nothing is installed and no daemon starts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    cache, dev, fetch, ports,
    progress::Progress,
    supervise::{Launch, Supervisor},
};

const READY: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(30);

/// Where a program of the package is, `prometheus` or `promtool`: installed, or unpacked.
///
/// # Errors
/// When it is neither there nor to be had.
pub fn program(name: &str) -> Result<PathBuf> {
    let installed = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    if let Some(program) = installed.map(|folder| folder.join(name)).find(|program| program.is_file()) {
        return Ok(program);
    }
    Ok(unpacked()?.join("usr/bin").join(name))
}

fn unpacked() -> Result<PathBuf> {
    let run = cache::run;
    cache::folder("prometheus-debian-1", "unpacking Prometheus from Debian's package", Progress::Shown, |partial| {
        let download = || run("downloading it", Command::new("apt-get").current_dir(partial).args(["download", "prometheus"]));
        if download().is_err() {
            run("asking for Debian's list of packages", Command::new("apt-get").arg("update"))?;
            download()?;
        }
        let mut files = fs::read_dir(partial)?.flatten().map(|entry| entry.path());
        let package = files.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
        let package = package.context("finding the downloaded package")?;
        run("unpacking it", Command::new("dpkg").arg("-x").arg(&package).arg(partial))?;
        fs::remove_file(package)?;
        Ok(())
    })
}

/// What is scraped.
#[derive(Clone, Debug)]
pub struct Target {
    pub job: String,
    /// Host and port.
    pub address: String,
}

/// One series of an answer.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A running Prometheus; it ends with this value.
pub struct Prometheus {
    port: u16,
    /// Ends it.
    _supervisor: Supervisor,
}

impl Prometheus {
    /// Starts one that scrapes `targets` and evaluates `rules` (file name, text) every second, and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; the message holds the end of its log.
    pub fn start(targets: &[Target], rules: &[(String, String)]) -> Result<Self> {
        let mut supervisor = Supervisor::throwaway(&dev::target()?.join("devstack"))?;
        let folder = supervisor.folder().join("prometheus");
        fs::create_dir_all(folder.join("rules"))?;
        for (name, text) in rules {
            fs::write(folder.join("rules").join(name), text).with_context(|| format!("writing the rules {name}"))?;
        }
        let settings = folder.join("prometheus.yml");
        fs::write(&settings, configuration(targets, &folder)).context("writing the configuration of Prometheus")?;
        let port = ports::free()?;
        let process = supervisor.spawn(Launch {
            name: "prometheus".to_owned(),
            program: program("prometheus")?,
            arguments: vec![
                format!("--config.file={}", settings.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ],
            environment: Vec::new(),
        })?;
        let deadline = Instant::now() + READY;
        while !matches!(fetch::get(port, "/-/ready", Duration::from_secs(2)), Ok((200, _))) {
            if process.ended().is_some() || Instant::now() > deadline {
                bail!("Prometheus does not become ready; its log ends:\n{}", process.tail(15));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { port, _supervisor: supervisor })
    }

    /// The answer of now to an expression that is a vector.
    ///
    /// # Errors
    /// When it does not answer, or refuses the expression.
    pub fn ask(&self, expr: &str) -> Result<Vec<Sample>> {
        let path = format!("/api/v1/query?query={}", encoded(expr));
        let (status, body) = fetch::get(self.port, &path, ANSWER).with_context(|| format!("asking Prometheus for {expr}"))?;
        let answer: Value = serde_json::from_str(&body).with_context(|| format!("{expr}: {status} {body}"))?;
        ensure!(answer["status"] == "success" && answer["data"]["resultType"] == "vector", "{expr}: {body}");
        let rows = answer["data"]["result"].as_array().into_iter().flatten();
        rows.map(|row| {
            let labels = row["metric"].as_object().into_iter().flatten();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            let value = row["value"][1].as_str().context("a value")?.parse()?;
            Ok(Sample { labels: labels.collect(), value })
        })
        .collect()
    }
}

/// As one part of a query string.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte))
        } else {
            out.push_str(&format!("%{byte:02X}"))
        }
        out
    })
}

fn configuration(targets: &[Target], folder: &Path) -> String {
    let mut text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/rules/*.yaml']\nscrape_configs:\n",
        folder.display()
    );
    let mut jobs: Vec<&str> = targets.iter().map(|target| target.job.as_str()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs {
        let addresses = targets.iter().filter(|target| target.job == job).map(|target| format!("'{}'", target.address));
        let addresses = addresses.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("- {{job_name: {job}, static_configs: [{{targets: [{addresses}]}}]}}\n"));
    }
    text
}
