//! `millrace topics` on a real broker: what would move keys is refused, and then nothing else happens either.

use std::{collections::BTreeMap, fs, path::Path, process::Output, time::Duration};

use anyhow::{Context as _, Result, ensure};
use devstack::{Stack, StackOptions};
use millrace_e2e::landscape;

struct Cluster {
    stack: Stack,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Topics of landscape `load` (6 slots), and a copy of its folder to change.
    async fn start() -> Result<Self> {
        let stack = Stack::start(StackOptions::new(landscape("load"))).await?;
        let folder = tempfile::tempdir()?;
        for (path, text) in service::landscape_files(&landscape("load"))? {
            write(folder.path(), &path, &text)?;
        }
        Ok(Self { stack, folder })
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.folder.path().join(file))?;
        ensure!(text.contains(from), "{file} has no `{from}`");
        write(self.folder.path(), file, &text.replace(from, to))
    }

    fn millrace(&self, line: &str) -> Result<(Output, String)> {
        let program = devstack::dev::profile()?.join("millrace");
        ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
        let mut command = std::process::Command::new(program);
        command.args(line.split(' ')).arg("--landscape").arg(self.folder.path()).current_dir(self.folder.path());
        command.args(["--brokers", &self.stack.addresses.brokers, "--topic-prefix", self.stack.topics.prefix(), "--development"]);
        let output = command.output().context("running millrace")?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output, said))
    }

    /// This test's topics, with their partition counts.
    async fn topics(&self) -> Result<BTreeMap<String, i32>> {
        let all = kafka::topics::probe(&self.stack.client("topics"), Duration::from_secs(30)).await?;
        Ok(all.into_iter().filter(|(name, _)| name.starts_with(self.stack.topics.prefix())).collect())
    }
}

fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(path, text)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_partition_count_is_refused_with_its_reason_and_nothing_is_applied_beside_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let before = cluster.topics().await?;
    let (output, said) = cluster.millrace("topics plan")?;
    assert!(
        output.status.success() && said.contains("topics as listed"),
        "the development profile is what devstack makes: {said}"
    );

    // A new plant, which could be created, and another count, in both directions.
    let plant = fs::read_to_string(cluster.folder.path().join("destinations/mes-pune.yaml"))?;
    write(cluster.folder.path(), "destinations/mes-graz.yaml", &plant)?;
    for (from, to) in [("slots: 6", "slots: 12"), ("slots: 12", "slots: 3")] {
        cluster.edit("millrace.yaml", from, to)?;
        let wanted = to.strip_prefix("slots: ").context("the count")?;
        let golden = cluster.stack.topics.golden(model::Domain::Item);
        for line in ["topics plan", "topics apply"] {
            let (output, said) = cluster.millrace(line)?;
            assert_eq!(output.status.code(), Some(6), "{line}: {said}");
            let refused = said.lines().find(|line| line.contains(&golden)).context("golden.item is not named")?;
            assert!(refused.contains(&format!("6 partitions, wanted {wanted}: refused")), "{refused}");
            for part in ["Nothing was changed", "moves keys", "kafka.slots", "new generation", "docs/topics.md"] {
                assert!(said.contains(part), "{line} does not say `{part}`: {said}");
            }
            assert_eq!(cluster.topics().await?, before, "after {line}");
        }
    }

    // With the count that there is, the plant's topics are all that is made.
    cluster.edit("millrace.yaml", "slots: 3", "slots: 6")?;
    let (output, said) = cluster.millrace("topics apply")?;
    assert!(output.status.success(), "{said}");
    let after = cluster.topics().await?;
    let new: BTreeMap<_, _> = after.iter().filter(|(name, _)| !before.contains_key(*name)).collect();
    let names: Vec<&str> = new.keys().filter_map(|name| name.strip_prefix(cluster.stack.topics.prefix())).collect();
    assert_eq!(names, ["command.mes-graz", "dlq.mes-graz", "ledger.mes-graz", "receipt.mes-graz"]);
    assert!(new.values().all(|count| **count == 6), "{new:?}");
    let (output, said) = cluster.millrace("topics plan")?;
    assert!(output.status.success() && said.contains("as listed"), "{said}");
    Ok(())
}
