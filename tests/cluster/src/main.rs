//! The chart on a real Kubernetes API: `make cluster-test`.
//!
//! What it shows: the real Helm installs, upgrades, rolls back and uninstalls the chart on a real kube-apiserver with a real
//! kube-controller-manager; every pod that the controllers make is admitted where PodSecurity `restricted` is enforced; and the fleet
//! runs from it: a stand-in for the kubelet starts the real binaries of each pod against a real Kafka and registry. What it does not: no
//! container runs, so images, resource limits, network policies and cluster DNS are not put to the test.

mod cluster;
mod control_plane;
mod downloads;
mod helm;
mod installs;
mod load;
mod report;
mod story;
mod world;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use devstack::{interrupt, pod::Ground};

use crate::{report::Report, world::World};

const HELP: &str = "\
Installs the chart with the real Helm on a real Kubernetes API and runs the fleet from it.

Usage: millrace-cluster [--downloads-only]

It needs Go 1.26 or newer, Java 17 or newer, Maven, npm, openssl, and Debian's apt-get and dpkg (etcd comes from a package that is unpacked,
not installed). The first run builds kube-apiserver and kube-controller-manager, about 6 minutes on two cores; they stay in
$XDG_CACHE_HOME/millrace or ~/.cache/millrace. Logs and volumes of the last run lie in target/cluster. Everything listens on loopback.
--downloads-only fills the cache and stops.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => watched(run),
        ["--downloads-only"] => watched(|| downloads::Downloads::ready().map(|_| ())),
        ["--help" | "-h"] => {
            say(HELP);
            Ok(())
        }
        _ => {
            say(HELP);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs on this thread, which no runtime owns; a signal ends every wait.
fn watched(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(interrupt::wait());
    let done = work();
    runtime.shutdown_background();
    done
}

fn run() -> Result<()> {
    let started = Instant::now();
    let mut world = World::start()?;
    say(&format!("pods: {}", Ground::of_this_machine().says()));
    let mut report = Report::default();
    installs::all_are_admitted(&world, &mut report)?;
    story::tell(&mut world, &mut report)?;
    world.control.check()?;
    report.figure("the whole test", &format!("{:.0} s", started.elapsed().as_secs_f64()));
    say(&report.text());
    Ok(())
}

/// One line for the person who waits.
fn say(text: &str) {
    devstack::progress::say(text);
}
