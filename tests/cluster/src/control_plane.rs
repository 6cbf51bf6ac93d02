//! A real control plane on loopback: etcd, kube-apiserver with RBAC, kube-controller-manager with all of its controllers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use devstack::{
    Supervisor, cache, interrupt,
    pod::api::Api,
    ports,
    supervise::{Launch, describe},
};

use crate::downloads::Downloads;

const READY: Duration = Duration::from_secs(120);
/// Who may do everything: this test's own hand, which stands in for the kubelet, the scheduler and the cluster's owner.
const OWNER: &str = "owner";
/// The team that installs the chart: what it may is said by RBAC.
pub(crate) const TEAM: &str = "platform-team";

/// Runs until it is dropped.
pub(crate) struct ControlPlane {
    pub(crate) api: Api,
    /// For Helm, as the team that installs.
    pub(crate) kubeconfig: PathBuf,
    supervisor: Supervisor,
}

impl ControlPlane {
    /// # Errors
    /// When one of the three does not start.
    pub(crate) fn start(downloads: &Downloads, folder: &Path) -> Result<Self> {
        let mut supervisor = Supervisor::open(folder)?;
        let folder = supervisor.folder().to_owned();
        let path = |name: &str| folder.join(name).display().to_string();
        let (client, peer, port) = (ports::free()?, ports::free()?, ports::free()?);
        keys_and_tokens(&folder)?;
        start(&mut supervisor, "etcd", &downloads.etcd, &etcd(&path("etcd"), client, peer))?;
        start(&mut supervisor, "kube-apiserver", &downloads.apiserver, &apiserver(&path, client, port))?;
        let url = format!("https://127.0.0.1:{port}");
        let deadline = Instant::now() + READY;
        // The server signs its certificate itself at its first start.
        let authority = loop {
            check(&mut supervisor, deadline)?;
            if let Ok(text) = fs::read_to_string(folder.join("certificates/apiserver.crt")) {
                break text;
            }
        };
        let api = Api::new(&url, token(OWNER), &authority)?;
        while !api.is_ready() {
            check(&mut supervisor, deadline)?;
        }
        kubeconfig(&folder.join("controller-manager.kubeconfig"), &url, "kube-controller-manager", &folder)?;
        let team = folder.join("team.kubeconfig");
        kubeconfig(&team, &url, TEAM, &folder)?;
        start(&mut supervisor, "kube-controller-manager", &downloads.controller_manager, &controller_manager(&path)?)?;
        Ok(Self { api, kubeconfig: team, supervisor })
    }

    /// # Errors
    /// When one of the three has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some((name, status)) = self.supervisor.casualty() {
            bail!("{name} has ended ({}):\n{}", describe(status), self.supervisor.process(&name)?.tail(15));
        }
        Ok(())
    }
}

fn start(supervisor: &mut Supervisor, name: &str, program: &Path, arguments: &[String]) -> Result<()> {
    let arguments = arguments.to_vec();
    supervisor.spawn(Launch { name: name.to_owned(), program: program.to_owned(), arguments, environment: Vec::new() })?;
    Ok(())
}

fn check(supervisor: &mut Supervisor, deadline: Instant) -> Result<()> {
    interrupt::check()?;
    if let Some((name, status)) = supervisor.casualty() {
        bail!("{name} has ended ({}):\n{}", describe(status), supervisor.process(&name)?.tail(15));
    }
    if Instant::now() > deadline {
        bail!("waited {} s for the Kubernetes API; logs are in {}", READY.as_secs(), supervisor.folder().join("logs").display());
    }
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

/// Tokens are no secrets here: everything listens on loopback and goes with the test.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn keys_and_tokens(folder: &Path) -> Result<()> {
    let key = folder.join("service-accounts.key");
    let mut generate = Command::new("openssl");
    generate.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&key);
    cache::run("making the key of service accounts with openssl", &mut generate)?;
    let users = [
        format!("{},{OWNER},1,system:masters", token(OWNER)),
        format!("{0},system:kube-controller-manager,2,", token("kube-controller-manager")),
        format!("{},{TEAM},3,", token(TEAM)),
    ];
    fs::write(folder.join("tokens.csv"), users.join("\n")).context("writing the tokens")
}

fn etcd(data: &str, client: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    vec![
        format!("--data-dir={data}"),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn apiserver(path: &impl Fn(&str) -> String, etcd: u16, port: u16) -> Vec<String> {
    let key = path("service-accounts.key");
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", path("certificates")),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
    ]
}

fn controller_manager(path: &impl Fn(&str) -> String) -> Result<Vec<String>> {
    Ok(vec![
        format!("--kubeconfig={}", path("controller-manager.kubeconfig")),
        format!("--service-account-private-key-file={}", path("service-accounts.key")),
        format!("--root-ca-file={}", path("certificates/apiserver.crt")),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports::free()?),
        format!("--cert-dir={}", path("controller-manager")),
    ])
}

fn kubeconfig(file: &Path, url: &str, user: &str, folder: &Path) -> Result<()> {
    let authority = folder.join("certificates/apiserver.crt");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": authority}}],
        "users": [{"name": user, "user": {"token": token(user)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    });
    fs::write(file, serde_json::to_string_pretty(&config)?).with_context(|| format!("writing {}", file.display()))
}
