//! One container of the image: its files, a program run to its end, a service run until it is ready and then drained. It goes away with
//! the value, and so does what still runs in it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{check::USER, trial::Buildah};

const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Container<'a> {
    buildah: &'a Buildah,
    name: String,
    root: PathBuf,
}

/// What a service needed.
pub(crate) struct Usage {
    pub(crate) ready_after: Duration,
    pub(crate) resident: u64,
}

impl<'a> Container<'a> {
    pub(crate) fn of(buildah: &'a Buildah, image: &str) -> Result<Self> {
        let mut container = Self { buildah, name: buildah.ask(&["from", "--pull-never", image])?, root: PathBuf::new() };
        container.root = buildah.ask(&["mount", &container.name])?.into();
        Ok(container)
    }

    /// Where its files lie.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What a program prints that needs nothing but the image's files. Not by buildah: on a busy machine it loses what a program prints
    /// that ends at once (seen with 1.28 and chroot isolation), though never how it ended.
    pub(crate) fn ask(&self, program: &[&str]) -> Result<String> {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={USER}:{USER}")).arg("--groups=").arg(&self.root).args(program).stdin(Stdio::null());
        let output =
            command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").output().context("running chroot")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{} ended with {}: {said}{}",
            program.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// Runs a program to its end; anything but success is an error.
    pub(crate) fn run(&self, volumes: &[(PathBuf, &str)], program: &[&str]) -> Result<()> {
        let output = self.command(volumes, program).output().context("running buildah")?;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
        ensure!(output.status.success(), "{} ended with {}: {out}{err}", program.join(" "), output.status);
        Ok(())
    }

    /// Starts a service, waits for a green /readyz at `ops`, looks at its process, ends it by SIGTERM and expects a drain.
    pub(crate) fn serve(&self, volumes: &[(PathBuf, &str)], ops: &str, program: &[&str]) -> Result<Usage> {
        let log = self.root.with_extension("log");
        let file = fs::File::create(&log).with_context(|| format!("making `{}`", log.display()))?;
        let started = Instant::now();
        let child = self.command(volumes, program).stdout(Stdio::null()).stderr(file).spawn().context("running buildah")?;
        let mut running = Running { child, program: program[0].to_owned() };
        let told = || fs::read_to_string(&log).unwrap_or_default();
        loop {
            let last = match get(ops, "/readyz") {
                Ok((200, _)) => break,
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended with {status} before it was ready:\n{}", program[0], told());
            }
            ensure!(started.elapsed() < PATIENCE, "{} is not ready: {last}\n{}", program[0], told());
            std::thread::sleep(PAUSE);
        }
        let ready_after = started.elapsed();
        let process = running.process().with_context(|| format!("finding the process of {}", program[0]))?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        for name in ["Uid:", "Gid:"] {
            let ids = field(name);
            ensure!(ids.split_whitespace().all(|id| id == USER.to_string()), "{} runs as {name} {ids}", program[0]);
        }
        let resident = field("VmRSS:").trim_end_matches(" kB").parse::<u64>().context("reading VmRSS")? * 1024;
        kill(Pid::from_raw(process), Signal::SIGTERM)?;
        let status = running.child.wait()?;
        ensure!(status.success(), "{} ended with {status} after SIGTERM:\n{}", program[0], told());
        fs::remove_file(&log)?;
        Ok(Usage { ready_after, resident })
    }

    fn command(&self, volumes: &[(PathBuf, &str)], program: &[&str]) -> Command {
        let mut command = self.buildah.call(&["run", "--network", "host"]);
        command.args(volumes.iter().map(|(host, inside)| format!("--volume={}:{inside}:ro", host.display())));
        command.arg(&self.name).arg("--").args(program);
        command
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Nothing can be told from here; the storage is the test's own, and the next run starts from a new container.
        drop(self.buildah.ask(&["rm", &self.name]));
    }
}

/// buildah with a service below it. Ending buildah alone would leave the service behind.
struct Running {
    child: Child,
    program: String,
}

impl Running {
    /// The service's own process: the one below buildah that executes the program.
    fn process(&self) -> Option<i32> {
        let mut below = vec![i32::try_from(self.child.id()).ok()?];
        while let Some(process) = below.pop() {
            let executes = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
            if executes.ends_with(format!("usr/local/bin/{}", self.program)) {
                return Some(process);
            }
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                below.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
            }
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            if let Some(process) = self.process() {
                let _gone = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Status and body of a plain GET.
fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).context("reading the status line")?;
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned()).unwrap_or_default()))
}
