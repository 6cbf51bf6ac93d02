//! Child processes that never outlive their owner.
//!
//! Invariant: whatever a [`Supervisor`] started ends when it is dropped, when its process ends in any way (a guardian shell sees
//! the pipe close and ends what the state file names), and at the latest when the next one starts in the same folder.
//! A process is named by its id **and** its start time, so an id that the system has given to somebody else is never ended.
//! Every process leads its own group: Ctrl-C on the terminal reaches only the owner, and grandchildren end with their parent.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// How long a process may take to end by itself after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Ends what the state file ($1) names when standard input closes, that is, when the owner is gone, and then removes the
/// throwaway folder ($2, may be empty). A shell because a watcher must be another process and must not need a binary of ours.
const GUARDIAN: &str = r#"
cat >/dev/null
alive() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- "$2" ${stat##*) }
    [ "$2" != Z ] && [ "${21}" = "$1" ]
}
signal() {
    while read -r pid start name; do
        if alive "$pid" "$start"; then kill "-$1" "-$pid" 2>/dev/null; left=yes; fi
    done < "$state"
}
state=$1
[ -s "$state" ] || exit 0
left=no; signal CONT; signal TERM
tries=0
while [ "$left" = yes ] && [ "$tries" -lt 100 ]; do sleep 0.1; left=no; signal 0; tries=$((tries + 1)); done
signal KILL
rm -f "$state"
[ -z "$2" ] || rm -rf "$2"
"#;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A process by id and start time (clock ticks since boot, from `/proc/<pid>/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: i32,
    pub start: u64,
}

impl Identity {
    /// The process that has this id now; none when there is none or it is only waited for.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command name may hold anything, so count from its closing parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        Some(Self { pid, start: fields.get(19)?.parse().ok()? })
    }

    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    fn signal_group(self, signal: Signal) {
        if self.is_alive() {
            killpg(Pid::from_raw(self.pid), signal).ok();
        }
    }

    /// Ends this process and its group: SIGTERM, and SIGKILL when the grace has passed.
    pub fn end(self, grace: Duration) {
        self.signal_group(Signal::SIGCONT);
        self.signal_group(Signal::SIGTERM);
        let deadline = Instant::now() + grace;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        self.signal_group(Signal::SIGKILL);
    }
}

/// One started process.
pub struct Process {
    pub name: String,
    pub log: PathBuf,
    identity: Identity,
    child: Child,
    ended: Option<ExitStatus>,
    log_start: usize,
}

impl Process {
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Where in the log file this start of the process begins.
    #[must_use]
    pub fn log_start(&self) -> usize {
        self.log_start
    }

    /// Its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.identity.pid), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    fn wait(&mut self, grace: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + grace;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(POLL);
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// What is to be started.
pub struct Launch {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// The owner of a set of processes; see the module.
pub struct Supervisor {
    folder: PathBuf,
    state: PathBuf,
    guardian: Child,
    processes: Vec<Process>,
    throwaway: bool,
}

impl Supervisor {
    /// Opens an owner that keeps its data and logs in `folder`, after ending what dead owners left there.
    ///
    /// # Errors
    /// When the folder cannot be written or the guardian cannot start.
    pub fn open(folder: &Path) -> Result<Self> {
        sweep(folder)?;
        Self::start(folder, &owner_name()?, folder.to_owned(), false)
    }

    /// Opens an owner with a folder of its own below `parent`, which goes when the owner goes.
    ///
    /// # Errors
    /// As [`Supervisor::open`].
    pub fn throwaway(parent: &Path) -> Result<Self> {
        sweep(parent)?;
        let name = owner_name()?;
        Self::start(parent, &name, parent.join(&name), true)
    }

    fn start(states: &Path, name: &str, folder: PathBuf, throwaway: bool) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let state = states.join(format!("{name}.processes"));
        fs::write(&state, "").with_context(|| format!("writing {}", state.display()))?;
        let state = state.canonicalize()?;
        let folder = folder.canonicalize()?;
        let guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&state)
            .arg(if throwaway { folder.as_os_str() } else { "".as_ref() })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the guardian shell")?;
        Ok(Self { folder, state, guardian, processes: Vec::new(), throwaway })
    }

    /// Where data and logs go.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process with a log file of its own (`logs/<name>.log`, appended).
    ///
    /// # Errors
    /// When a process of that name runs, or the program cannot be started.
    pub fn spawn(&mut self, launch: Launch) -> Result<&mut Process> {
        self.forget_ended(&launch.name)?;
        let logs = self.folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
        let log = logs.join(format!("{}.log", launch.name));
        let out = File::options().create(true).append(true).open(&log).with_context(|| format!("opening {}", log.display()))?;
        let log_start = usize::try_from(out.metadata()?.len()).unwrap_or_default();
        let child = Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {} ({})", launch.name, launch.program.display()))?;
        let pid = i32::try_from(child.id()).context("reading a process id")?;
        // A process that is gone already has no start time; zero matches nobody.
        let identity = Identity::of(pid).unwrap_or(Identity { pid, start: 0 });
        self.processes.push(Process { name: launch.name, log, identity, child, ended: None, log_start });
        self.save()?;
        self.processes.last_mut().context("the process that was just pushed")
    }

    fn forget_ended(&mut self, name: &str) -> Result<()> {
        if let Some(index) = self.processes.iter().position(|process| process.name == name) {
            if self.processes[index].ended().is_none() {
                bail!("{name} runs already (process {})", self.processes[index].pid());
            }
            self.processes.remove(index);
        }
        Ok(())
    }

    /// The processes in the order they were started.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// One process by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes.iter_mut().find(|process| process.name == name).with_context(|| format!("finding a process named {name}"))
    }

    /// Sends a signal to one process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&mut self, name: &str, signal: Signal) -> Result<()> {
        self.process(name)?.signal(signal)
    }

    /// Ends one process in order (SIGTERM, SIGKILL after the grace) and returns its status.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn end(&mut self, name: &str, grace: Duration) -> Result<ExitStatus> {
        let process = self.process(name)?;
        process.identity.signal_group(Signal::SIGCONT);
        process.identity.signal_group(Signal::SIGTERM);
        if process.wait(grace).is_none() {
            process.identity.signal_group(Signal::SIGKILL);
        }
        let status = process.wait(grace).with_context(|| format!("ending {name}: it does not even obey SIGKILL"))?;
        self.save()?;
        Ok(status)
    }

    /// Ends one process at once, as a crash of the machine would.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let process = self.process(name)?;
        process.identity.signal_group(Signal::SIGKILL);
        process.wait(GRACE).with_context(|| format!("killing {name}: it does not even obey SIGKILL"))?;
        self.save()
    }

    /// Forgets an ended process, so that it is no casualty.
    pub fn forget(&mut self, name: &str) {
        self.processes.retain_mut(|process| process.name != name || process.ended().is_none());
    }

    /// The first process that has ended although nobody ended it, with its status.
    pub fn casualty(&mut self) -> Option<(String, ExitStatus)> {
        self.processes.iter_mut().find_map(|process| process.ended().map(|status| (process.name.clone(), status)))
    }

    /// Ends everything, last started first, so that nobody misses a service that it needs to drain.
    pub fn end_all(&mut self, grace: Duration) {
        while let Some(name) = self.processes.last().map(|process| process.name.clone()) {
            self.end(&name, grace).ok();
            self.processes.pop();
        }
        self.save().ok();
    }

    /// Ends everything at the same time.
    pub fn end_together(&mut self, grace: Duration) {
        for process in &self.processes {
            process.identity.signal_group(Signal::SIGCONT);
            process.identity.signal_group(Signal::SIGTERM);
        }
        self.end_all(grace);
    }

    fn save(&mut self) -> Result<()> {
        let mut lines = String::new();
        for process in &mut self.processes {
            if process.ended().is_none() {
                lines.push_str(&format!("{} {} {}\n", process.identity.pid, process.identity.start, process.name));
            }
        }
        let next = self.state.with_extension("next");
        let mut file = File::create(&next).with_context(|| format!("writing {}", next.display()))?;
        file.write_all(lines.as_bytes())?;
        fs::rename(&next, &self.state).with_context(|| format!("writing {}", self.state.display()))
    }
}

impl Supervisor {
    /// A failed test wants to know what its processes said.
    fn keep_logs_of_failure(&self) {
        if let (true, Some(parent), Some(name)) = (std::thread::panicking(), self.folder.parent(), self.folder.file_name()) {
            let kept = parent.join("failures").join(name);
            let is_kept =
                fs::create_dir_all(&kept).and_then(|()| fs::rename(self.folder.join("logs"), kept.join("logs"))).is_ok();
            if is_kept {
                crate::progress::say(&format!("the logs of the processes are kept in {}", kept.display()));
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.throwaway {
            // Nobody reads this data again, so nobody needs to close it in order.
            for process in &mut self.processes {
                process.identity.signal_group(Signal::SIGKILL);
                process.wait(GRACE);
            }
            self.processes.clear();
            self.keep_logs_of_failure();
            fs::remove_dir_all(&self.folder).ok();
        } else {
            self.end_all(GRACE);
        }
        // Gone before the guardian looks: it must find nothing to do.
        fs::remove_file(&self.state).ok();
        drop(self.guardian.stdin.take());
        self.guardian.wait().ok();
    }
}

/// Ends what owners that are gone left running in a folder, and removes their throwaway folders.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn sweep(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let Some(owner) = owner_of(&path) else { continue };
        if owner.is_alive() {
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "processes") {
            for left in fs::read_to_string(&path).unwrap_or_default().lines().filter_map(parse) {
                left.end(GRACE);
            }
            fs::remove_file(&path).ok();
        } else if path.is_dir() && !path.with_extension("processes").exists() {
            fs::remove_dir_all(&path).ok();
        }
    }
    Ok(())
}

/// `<pid>-<start>-<count>`: unique on this machine until it is started again, and then surely dead.
fn owner_name() -> Result<String> {
    let pid = i32::try_from(std::process::id()).context("reading our process id")?;
    let own = Identity::of(pid).context("reading /proc/self/stat")?;
    Ok(format!("{}-{}-{}", own.pid, own.start, COUNTER.fetch_add(1, Ordering::Relaxed)))
}

fn owner_of(path: &Path) -> Option<Identity> {
    let mut parts = path.file_stem()?.to_str()?.split('-');
    let identity = Identity { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
    parts.next()?.parse::<u32>().ok()?;
    parts.next().is_none().then_some(identity)
}

fn parse(line: &str) -> Option<Identity> {
    let mut words = line.split(' ');
    Some(Identity { pid: words.next()?.parse().ok()?, start: words.next()?.parse().ok()? })
}

/// An exit status in words.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
