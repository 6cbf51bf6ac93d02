//! `millrace doctor` against real brokers, registry and fleet: what is well, what is not, and what to type next.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use devstack::{Stack, StackOptions};
use millrace_e2e::landscape;
use serde_json::Value;

/// Exit code and lines.
struct Diagnosis {
    code: Option<i32>,
    lines: Vec<Value>,
}

impl Diagnosis {
    fn of(folder: &Path, options: &[&str]) -> Result<Self> {
        let program = devstack::dev::profile()?.join("millrace");
        ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
        let mut command = Command::new(program);
        command.args(["doctor", "-o", "json", "--landscape"]).arg(folder).args(options).current_dir(folder);
        let output = command.output().context("running millrace doctor")?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("reading the answer: {}", String::from_utf8_lossy(&output.stderr)))?;
        let lines = answer["items"].as_array().cloned().context("an answer without lines")?;
        Ok(Self { code: output.status.code(), lines })
    }

    /// Text and next step of the first line of that subject and level.
    fn line(&self, level: &str, subject: &str) -> Result<(String, String)> {
        let line = self.lines.iter().find(|line| line["level"] == level && line["subject"] == subject);
        let line = line.with_context(|| format!("no line `{level} {subject}` in {:#?}", self.lines))?;
        Ok((line["text"].as_str().unwrap_or_default().to_owned(), line["next"].as_str().unwrap_or_default().to_owned()))
    }

    fn levels(&self, level: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["level"] == level).collect()
    }
}

fn copy(folder: &Path, change: impl Fn(&str, String) -> String) -> Result<()> {
    for (path, text) in service::landscape_files(&landscape("load"))? {
        let place = folder.join(&path);
        fs::create_dir_all(place.parent().context("a file without a folder")?)?;
        fs::write(place, change(&path, text))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_well_is_called_well_and_every_fault_is_named_with_its_next_step() -> Result<()> {
    let mut stack = Stack::start(StackOptions::new(landscape("load"))).await?;
    tokio::task::block_in_place(|| stack.start_fleet())?;
    let server = stack.fleet.server().context("the tracker's address")?;
    let (brokers, registry, prefix) = (&stack.addresses.brokers, &stack.addresses.registry, stack.topics.prefix());
    let ops = [stack.fleet.ops("validator")?, stack.fleet.ops("replayer")?].join(",");
    let all = [
        "--ops",
        &ops,
        "--brokers",
        brokers,
        "--registry",
        registry,
        "--topic-prefix",
        prefix,
        "--development",
        "--server",
        &server,
    ];
    let folder = tempfile::tempdir()?;
    copy(folder.path(), |_, text| text)?;

    // A sink tells of itself once it has slots; until the tracker has read that, it "never spoke".
    millrace_e2e::until("every sink to have spoken", Duration::from_secs(60), async || {
        let diagnosis = Diagnosis::of(folder.path(), &all).map_err(|error| format!("{error:#}"))?;
        let worse: Vec<_> = diagnosis.lines.iter().filter(|line| line["level"] != "ok").collect();
        if worse.is_empty() { Ok(()) } else { Err(format!("{worse:?}")) }
    })
    .await?;
    let well = Diagnosis::of(folder.path(), &[&all[..], &["--strict"]].concat())?;
    assert_eq!((well.code, well.levels("ok").len()), (Some(0), well.lines.len()), "{:#?}", well.lines);
    assert!(well.line("ok", "registry")?.0.starts_with("Apicurio"), "{:#?}", well.lines);
    for subject in ["brokers", "topics", "rights", "landscape", "sinks", "publishers", "services", "clock", "disk", "tracker"] {
        well.line("ok", subject)?;
    }

    // Another folder than the fleet runs is a warning: a failure only for whoever is strict.
    copy(folder.path(), |path, text| if path == "millrace.yaml" { format!("{text}\n# another version\n") } else { text })?;
    let other = Diagnosis::of(folder.path(), &all)?;
    assert!(other.line("warn", "landscape")?.0.contains("this folder is"), "{:#?}", other.lines);
    assert_eq!(other.code, Some(0));
    assert_eq!(Diagnosis::of(folder.path(), &[&all[..], &["--strict"]].concat())?.code, Some(6));

    // A plant that was described and not provisioned; another partition count.
    let plant = fs::read_to_string(folder.path().join("destinations/mes-pune.yaml"))?;
    fs::write(folder.path().join("destinations/mes-graz.yaml"), plant)?;
    let missing = Diagnosis::of(folder.path(), &all)?;
    assert_eq!(missing.code, Some(6));
    let (text, next) = missing.line("fail", "topics")?;
    assert!(text.contains("mes-graz") && next == "millrace topics apply", "{text}; {next}");
    assert!(missing.line("fail", "registry")?.1.contains("schemas register"));
    copy(folder.path(), |_, text| text.replace("slots: 6", "slots: 12"))?;
    let (text, next) = Diagnosis::of(folder.path(), &all)?.line("fail", "topics")?;
    assert!(text.contains("6 partitions, wanted 12") && next.contains("topics plan"), "{text}; {next}");

    // One broker without saying that it will do.
    let production: Vec<&str> = all.iter().copied().filter(|option| *option != "--development").collect();
    let alone = Diagnosis::of(folder.path(), &production)?;
    assert!(alone.line("warn", "brokers")?.0.starts_with("1 broker"), "{:#?}", alone.lines);
    assert!(alone.line("warn", "settings")?.0.contains("offsets.retention.minutes"), "{:#?}", alone.lines);
    Ok(())
}

#[tokio::test]
async fn what_does_not_answer_is_a_failure_each_and_the_rest_is_still_looked_at() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy(folder.path(), |_, text| text)?;
    let port = devstack::ports::free()?;
    let (brokers, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let options = ["--brokers", &brokers, "--registry", &url, "--server", &url, "--ops", &url];
    let dark = Diagnosis::of(folder.path(), &options)?;
    assert_eq!(dark.code, Some(6));
    for subject in ["brokers", "registry", "tracker", "services"] {
        assert!(!dark.line("fail", subject)?.1.is_empty(), "{subject} has no next step");
    }
    Ok(())
}
