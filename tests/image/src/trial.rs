//! Builds the image as a user would, with buildah and without a daemon, and runs what is in it: every program says its version, the
//! provisioning runs, every service becomes ready against a real Kafka and registry as the image's own user and drains on SIGTERM.
#![expect(clippy::print_stderr, reason = "a person watches, and this is no service")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    PROGRAMS, SBOM,
    check::{self, Commit},
    container::{Container, Usage},
    schema,
};

const TAG: &str = "localhost/millrace:dev";

/// What the trial needs.
pub struct Setting {
    pub brokers: String,
    pub registry: String,
    pub folder: PathBuf,
    pub built: bool,
}

/// The whole trial.
///
/// # Errors
/// The first promise that the image does not keep.
pub fn run(setting: &Setting) -> Result<()> {
    fs::create_dir_all(&setting.folder).with_context(|| format!("making `{}`", setting.folder.display()))?;
    let buildah = Buildah::at(&setting.folder.canonicalize()?)?;
    let mut revision = None;
    if !setting.built {
        revision = Some(head()?);
        build(&buildah)?;
    }
    let inspected: Value = serde_json::from_str(&buildah.ask(&["inspect", "--type", "image", TAG])?)?;
    let configuration = &inspected["OCIv1"]["config"];
    let labelled = configuration["Labels"]["org.opencontainers.image.revision"].as_str().unwrap_or_default();
    none("configuration", check::configuration(configuration, &commit(revision.as_deref().unwrap_or(labelled))?))?;

    let container = Container::of(&buildah, TAG)?;
    none("files", check::files(container.root())?)?;
    none("list", check::list(container.root())?)?;
    none("list", schema::deviations(&setting.folder, &container.root().join(SBOM))?)?;
    eprintln!("image {TAG}: {}", sizes(&buildah, container.root())?);
    for program in PROGRAMS {
        container.run(&[], &[program, "--version"])?;
        let said = container.ask(&[program, "--version"])?;
        ensure!(said.trim() == format!("{program} {}", env!("CARGO_PKG_VERSION")), "{program} --version says {said:?}");
        eprintln!("{}", said.trim());
    }
    services(setting, &container)
}

/// Provisioning and every service, one after the other, each in the image.
fn services(setting: &Setting, container: &Container<'_>) -> Result<()> {
    let deploy = fs::canonicalize("deploy").context("finding the sample landscape")?;
    let volumes = [
        (deploy.join("landscape"), "/etc/millrace/landscape"),
        // The landscape's file source reads it, `../sample` as seen from the landscape.
        (deploy.join("sample"), "/etc/millrace/sample"),
    ];
    let prefix = format!("image{}.", std::process::id());
    let kafka = ["--brokers", &setting.brokers, "--registry", &setting.registry, "--topic-prefix", &prefix, "--development"];
    let registry = ["--registry", &setting.registry, "--topic-prefix", &prefix];
    let landscape = ["--landscape", "/etc/millrace/landscape"];
    container.run(&volumes, &["millrace", "landscape", "check", "/etc/millrace/landscape"])?;
    container.run(&volumes, &[&["millrace", "--yes", "topics", "apply"][..], &kafka, &landscape].concat())?;
    container.run(&volumes, &[&["millrace", "--yes", "schemas", "register"][..], &registry, &landscape].concat())?;
    eprintln!("landscape checked, topics applied, schemas registered from the image");

    // Nobody listens there: a sink is ready without its destination, because it has work to refuse and state to show.
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    let api = format!("127.0.0.1:{}", free_port()?);
    for (program, own) in [
        ("millrace-publisher", &["--source", "erp"][..]),
        ("millrace-validator", &[]),
        ("millrace-sink", &["--destination", "mes-ulm", "--endpoint", &nobody]),
        ("millrace-replayer", &[]),
        ("millrace-tracker", &["--api", &api, "--store", "/var/lib/millrace/tracker.sqlite"]),
    ] {
        let ops = format!("127.0.0.1:{}", free_port()?);
        let always = ["--instance", "image", "--ops", &ops, "--start-timeout", "60s"];
        let Usage { ready_after, resident } =
            container.serve(&volumes, &ops, &[&[program][..], &always, &landscape, &kafka, own].concat())?;
        eprintln!("{program}: ready after {:.2} s, {} MiB resident, drained", ready_after.as_secs_f64(), resident >> 20);
    }
    Ok(())
}

fn build(buildah: &Buildah) -> Result<()> {
    done("cargo fetch", Command::new("cargo").args(["fetch", "--locked"]))?;
    done("deploy/image/bases.sh", buildah.environment(&mut Command::new("deploy/image/bases.sh")))?;
    // Offline, from the crates that this machine has: nothing that Cargo.lock does not name can come in.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let registry = format!("{}/registry:/usr/local/cargo/registry:ro", home.context("finding cargo's folder")?);
    let mut build = Command::new("nice");
    build.args(["deploy/image/build.sh", TAG, "--pull-never", "--build-arg", "CARGO_NET_OFFLINE=true", "--volume", &registry]);
    done("deploy/image/build.sh", buildah.environment(&mut build).env("BUILDER", "buildah"))
}

/// buildah without a daemon, with a storage of its own.
pub(crate) struct Buildah {
    configuration: PathBuf,
    temporary: PathBuf,
}

impl Buildah {
    fn at(folder: &Path) -> Result<Self> {
        let (configuration, temporary) = (folder.join("storage.conf"), folder.join("tmp"));
        let shown = folder.display();
        fs::create_dir_all(&temporary)?;
        fs::write(
            &configuration,
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{shown}/storage\"\nrunroot = \"{shown}/run\"\n"),
        )
        .with_context(|| format!("writing `{}`", configuration.display()))?;
        Ok(Self { configuration, temporary })
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // The cache of compiled crates lies in the temporary folder, so it has to be one that stays.
        command
            .env("CONTAINERS_STORAGE_CONF", &self.configuration)
            .env("BUILDAH_ISOLATION", "chroot")
            .env("STORAGE_DRIVER", "vfs")
            .env("TMPDIR", &self.temporary)
    }

    /// A call that is not made yet.
    pub(crate) fn call(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        self.environment(&mut command).args(arguments).stdin(Stdio::null());
        command
    }

    /// What a call prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.call(arguments).output().context("running buildah")?;
        ensure!(
            output.status.success(),
            "buildah {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// What is checked out, as deploy/image/build.sh says it.
fn head() -> Result<String> {
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(git(&["rev-parse", "HEAD"])? + if changed { CHANGED } else { "" })
}

/// What the labels of an image of this revision must say.
fn commit(revision: &str) -> Result<Commit> {
    let seconds = git(&["log", "-1", "--format=%ct", revision.trim_end_matches(CHANGED)])?.parse()?;
    Ok(Commit {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: revision.to_owned(),
        created: jiff::Timestamp::from_second(seconds)?.to_string(),
    })
}

/// Stands behind a revision whose files were changed since.
const CHANGED: &str = "-dirty";

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output().context("running git")?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Sizes as a reader of the closing note wants them: as it lies on a node, as it is pulled, and what it is made of.
fn sizes(buildah: &Buildah, root: &Path) -> Result<String> {
    let archive = buildah.temporary.join("image.tar");
    let target = format!("oci-archive:{}", archive.display());
    buildah.ask(&["push", "--quiet", "--compression-format", "gzip", TAG, &target])?;
    let pulled = fs::metadata(&archive)?.len();
    fs::remove_file(&archive)?;
    let mut programs = Vec::new();
    for program in PROGRAMS {
        programs.push((fs::metadata(root.join("usr/local/bin").join(program))?.len(), program));
    }
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let total = programs.iter().map(|(size, _)| size).sum();
    let each: Vec<_> = programs.iter().map(|(size, program)| format!("{program} {}", mebibytes(*size))).collect();
    Ok(format!("{} to pull, programs {} ({})", mebibytes(pulled), mebibytes(total), each.join(", ")))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn done(what: &str, command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("running {what}"))?;
    ensure!(status.success(), "{what} ended with {status}");
    Ok(())
}

fn none(what: &str, problems: Vec<String>) -> Result<()> {
    ensure!(problems.is_empty(), "the image's {what}:\n  {}", problems.join("\n  "));
    Ok(())
}
