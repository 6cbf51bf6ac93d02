//! The programs and definitions that the cluster is made of, built or fetched once per machine: Kubernetes from its own sources
//! by Go, etcd from Debian's package (unpacked, never installed: installing would start a daemon), resource definitions of KEDA and the
//! Prometheus operator from their Go modules and Strimzi's from its generator. Versions and checksums are pinned here and in
//! `kubernetes/go.sum`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use devstack::{
    Progress,
    cache::{self, run},
};

pub(crate) const KUBERNETES: &str = "1.37.2";
const MODULE: &str = include_str!("../kubernetes/go.mod");
const SUMS: &str = include_str!("../kubernetes/go.sum");
const STRIMZI: &str = include_str!("../strimzi/pom.xml");

/// Go module, checksum, folder of the definitions in it, and which of its files are wanted.
const DEFINITIONS: [(&str, &str, &str, &[&str]); 3] = [
    (
        "github.com/kedacore/keda/v2@v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        "config/crd/bases",
        &["keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml"],
    ),
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd",
        &["monitoring.coreos.com_servicemonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml"],
    ),
    (
        "sigs.k8s.io/gateway-api@v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        "config/crd/standard",
        &["gateway.networking.k8s.io_httproutes.yaml"],
    ),
];

/// Where everything is.
pub(crate) struct Downloads {
    pub(crate) apiserver: PathBuf,
    pub(crate) controller_manager: PathBuf,
    pub(crate) etcd: PathBuf,
    /// One resource definition each, as YAML.
    pub(crate) definitions: Vec<(String, String)>,
}

impl Downloads {
    /// # Errors
    /// When a tool is missing or something cannot be fetched or built.
    pub(crate) fn ready() -> Result<Self> {
        let kubernetes = kubernetes()?;
        let etcd = etcd()?;
        let mut definitions = Vec::new();
        for folder in [go_definitions()?, strimzi_definitions()?] {
            let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
            files.sort_by_key(fs::DirEntry::file_name);
            for file in files {
                definitions.push((file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path())?));
            }
        }
        Ok(Self {
            apiserver: kubernetes.join("kube-apiserver"),
            controller_manager: kubernetes.join("kube-controller-manager"),
            etcd: etcd.join("usr/bin/etcd"),
            definitions,
        })
    }
}

fn kubernetes() -> Result<PathBuf> {
    let name = format!("kubernetes-{KUBERNETES}-{}", cache::stamp(&[MODULE, SUMS]));
    cache::folder(
        &name,
        "building kube-apiserver and kube-controller-manager (once, about 6 minutes)",
        Progress::Shown,
        |partial| {
            // Built in a copy, so that Go cannot change what is checked in.
            let module = partial.join("module");
            fs::create_dir(&module)?;
            fs::write(module.join("go.mod"), MODULE)?;
            fs::write(module.join("go.sum"), SUMS)?;
            let version = "-X k8s.io/component-base/version";
            let flags = format!("-s -w {version}.gitVersion=v{KUBERNETES} {version}.gitMajor=1 {version}.gitMinor=37");
            for program in ["kube-apiserver", "kube-controller-manager"] {
                run(
                    &format!("building {program} with Go 1.26 or newer"),
                    Command::new("go")
                        .current_dir(&module)
                        .env("CGO_ENABLED", "0")
                        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
                        .arg(partial.join(program))
                        .arg(format!("k8s.io/kubernetes/cmd/{program}")),
                )?;
            }
            fs::remove_dir_all(module)?;
            Ok(())
        },
    )
}

fn etcd() -> Result<PathBuf> {
    cache::folder("etcd-debian-1", "unpacking etcd from Debian's package etcd-server", Progress::Shown, |partial| {
        let download =
            || run("downloading etcd-server", Command::new("apt-get").current_dir(partial).args(["download", "etcd-server"]));
        if download().is_err() {
            run("asking for Debian's list of packages", Command::new("apt-get").arg("update"))?;
            download()?;
        }
        let package =
            fs::read_dir(partial)?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "deb"));
        let package = package.context("finding the downloaded package etcd-server")?;
        run("unpacking etcd-server", Command::new("dpkg").arg("-x").arg(&package).arg(partial))?;
        fs::remove_file(package)?;
        Ok(())
    })
}

fn go_definitions() -> Result<PathBuf> {
    let stamp = cache::stamp(&DEFINITIONS.map(|(module, sum, ..)| format!("{module} {sum}")).each_ref().map(String::as_str));
    let what = "fetching the resource definitions of KEDA and the Prometheus operator";
    cache::folder(&format!("definitions-{stamp}"), what, Progress::Shown, |partial| {
        for (module, sum, folder, files) in DEFINITIONS {
            let download = Command::new("go").current_dir(partial).args(["mod", "download", "-json", module]).output();
            let download = download.with_context(|| format!("fetching {module} with Go"))?;
            let answer: serde_json::Value =
                serde_json::from_slice(&download.stdout).with_context(|| format!("fetching {module}"))?;
            if answer["Sum"] != sum {
                bail!("fetching {module}: its checksum is {}, not {sum}", answer["Sum"]);
            }
            let from = Path::new(answer["Dir"].as_str().context("finding the fetched module")?).join(folder);
            for file in files {
                let text = fs::read(from.join(file)).with_context(|| format!("reading {file} of {module}"))?;
                fs::write(partial.join(file), text)?;
            }
        }
        Ok(())
    })
}

fn strimzi_definitions() -> Result<PathBuf> {
    let name = format!("strimzi-{}", cache::stamp(&[STRIMZI]));
    cache::folder(&name, "generating the resource definitions of Strimzi", Progress::Shown, |partial| {
        let build = partial.join("build");
        fs::create_dir(&build)?;
        fs::write(build.join("pom.xml"), STRIMZI)?;
        run(
            "fetching Strimzi's generator with Maven",
            Command::new("mvn").current_dir(&build).args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]),
        )?;
        let mut generate = Command::new("java");
        generate.args(["-cp", &format!("{}/*", build.join("lib").display()), "io.strimzi.crdgenerator.CrdGenerator"]);
        generate.args(["--yaml", "--target-kube", "1.27+", "--crd-api-version", "v1"]);
        generate.args(["--api-versions", "v1beta2", "--storage-version", "v1beta2"]);
        for (class, file) in [("topic.KafkaTopic", "kafkatopics.yaml"), ("user.KafkaUser", "kafkausers.yaml")] {
            generate.arg(format!("io.strimzi.api.kafka.model.{class}={}", partial.join(file).display()));
        }
        run("generating Strimzi's definitions", &mut generate)?;
        fs::remove_dir_all(build)?;
        Ok(())
    })
}
