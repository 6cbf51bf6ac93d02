//! The machine under the figures, and what the kernel counts of a process.

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second: fixed in every Linux that reports to user space.
const TICKS: f64 = 100.0;

/// Versions, cores, memory and load before the run.
pub(crate) fn describe() -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal:").unwrap_or_default();
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    vec![
        format!(
            "millrace  {} · {} · Apache Kafka and registry as devstack pins them",
            env!("CARGO_PKG_VERSION"),
            kafka::library()
        ),
        format!("machine   {cores} cores ({}) · {memory}", model.trim_start_matches([' ', '\t', ':'])),
        format!("load      {} before", load_average()),
        format!("date      {}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
    ]
}

pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// User and system time of a process so far, in seconds.
///
/// # Errors
/// When there is no such process.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("reading the CPU time of process {pid}"))?;
    // The command name may hold anything, so count from its closing parenthesis.
    let (_, fields) = stat.rsplit_once(") ").context("reading a process's counters")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// Resident memory of a process in MiB: now, and at its highest.
///
/// # Errors
/// When there is no such process.
pub(crate) fn resident(pid: i32) -> Result<(f64, f64)> {
    let file = format!("/proc/{pid}/status");
    let read = |name: &str| -> Result<f64> {
        let text = field(&file, name).with_context(|| format!("reading {name} of process {pid}"))?;
        let kib: f64 = text.trim_end_matches(" kB").parse().context("reading a size")?;
        Ok(kib / 1024.0)
    };
    Ok((read("VmRSS:")?, read("VmHWM:")?))
}

/// Microseconds since 1970.
pub(crate) fn wall_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
