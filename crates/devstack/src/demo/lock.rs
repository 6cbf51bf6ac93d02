//! One demo per folder: who runs it, and how it is ended from outside.

use std::{
    fs::{File, TryLockError},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::supervise::{Identity, sweep};

/// A demo ends its fleet, then registry and broker, in order.
const LIMIT: Duration = Duration::from_secs(90);

/// Held while a demo runs; the system lets it go however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who holds the folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) pid: Option<i32>,
}

impl Lock {
    /// Takes the folder, or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<std::result::Result<Self, Taken>> {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join("lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(Taken { pid: holder(folder).map(|holder| holder.pid) })),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking {}", path.display())),
        }
        let pid = i32::try_from(std::process::id()).context("reading our process id")?;
        let own = Identity::of(pid).context("reading /proc/self/stat")?;
        file.set_len(0)?;
        write!(file, "{} {}", own.pid, own.start)?;
        Ok(Ok(Self { _file: file }))
    }
}

/// Ends a demo that runs in the folder and waits until it is gone; whether there was one.
pub(crate) fn end(folder: &Path) -> Result<bool> {
    if !folder.is_dir() {
        return Ok(false);
    }
    let running = holder(folder);
    if let Some(holder) = running {
        kill(Pid::from_raw(holder.pid), Signal::SIGTERM).with_context(|| format!("ending process {}", holder.pid))?;
        let deadline = Instant::now() + LIMIT;
        while holder.is_alive() {
            if Instant::now() > deadline {
                bail!("the demo (process {}) has not ended after {} s", holder.pid, LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // What a killed one left behind, and where it was.
    sweep(folder)?;
    std::fs::remove_file(folder.join("demo.json")).ok();
    Ok(running.is_some())
}

/// The living process that the lock file names.
fn holder(folder: &Path) -> Option<Identity> {
    let text = std::fs::read_to_string(folder.join("lock")).ok()?;
    let (pid, start) = text.split_once(' ')?;
    let holder = Identity { pid: pid.parse().ok()?, start: start.trim().parse().ok()? };
    holder.is_alive().then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_demo_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Lock::take(folder.path()).unwrap().unwrap_err(), Taken { pid: Some(own) });
        drop(lock);
        Lock::take(folder.path()).unwrap().unwrap();
    }

    #[test]
    fn ending_no_demo_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!end(folder.path()).unwrap());
        std::fs::write(folder.path().join("lock"), "999999999 1").unwrap();
        assert!(!end(folder.path()).unwrap());
    }
}
