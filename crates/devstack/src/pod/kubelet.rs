//! A stand-in for the scheduler and the kubelet of the only node: pods that the API has are bound to it, run as real processes,
//! and their status is written back; what is deleted ends within its grace and then goes.
//!
//! Invariant: a pod object is removed only after its processes have ended, so that the API never shows fewer than run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};

use super::{
    Objects, Options, Phase, Pod,
    api::{Api, status_of},
};

const TURN: Duration = Duration::from_millis(150);
/// A node is lost when nobody has heard of it for 40 s.
const HEARTBEAT: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// What the node is told.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// Pods of other namespaces are left alone.
    pub namespaces: Vec<String>,
    /// Where pods have their volumes and logs.
    pub folder: PathBuf,
    /// Where the services are built.
    pub binaries: PathBuf,
    pub node: String,
}

/// The life of one pod as this node saw it.
#[derive(Clone, Debug)]
pub struct Life {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub address: Ipv4Addr,
    pub started: Instant,
    pub ready: Option<Instant>,
    /// Since when it is asked to end.
    pub asked_to_end: Option<Instant>,
    pub ended: Option<Instant>,
    pub was_killed: bool,
    pub restarts: u32,
    pub phase: Phase,
    /// `<container>.log` each.
    pub logs: PathBuf,
}

#[derive(Default)]
struct Shared {
    lives: Mutex<Vec<Life>>,
    problems: Mutex<BTreeMap<String, String>>,
    is_ending: AtomicBool,
}

/// A running node. Dropping it ends its pods' processes and leaves the API as it is.
pub struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Registers the node and begins to run pods.
    ///
    /// # Errors
    /// When the API refuses the node.
    pub fn start(api: Api, options: KubeletOptions) -> Result<Self> {
        register(&api, &options.node)?;
        fs::create_dir_all(&options.folder).with_context(|| format!("creating {}", options.folder.display()))?;
        let hosts = options.folder.join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost\n").with_context(|| format!("writing {}", hosts.display()))?;
        let shared = Arc::new(Shared::default());
        let node = Node {
            api,
            options,
            hosts: hosts.canonicalize()?,
            shared: shared.clone(),
            pods: BTreeMap::new(),
            network: rand::rng().random_range(200..=250),
            given: 0,
            heartbeat: Instant::now(),
            known_hosts: String::new(),
        };
        let thread =
            std::thread::Builder::new().name("kubelet".to_owned()).spawn(move || node.run()).context("starting the node")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Every pod that ran here so far, in the order of their starts.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        self.shared.lives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a pod that runs now listens.
    ///
    /// # Errors
    /// When none of that name runs.
    pub fn address_of(&self, pod: &str) -> Result<Ipv4Addr> {
        let lives = self.lives();
        let life = lives.iter().rev().find(|life| life.name == pod && life.ended.is_none());
        life.map(|life| life.address).with_context(|| format!("finding the running pod {pod}"))
    }

    /// What keeps pods from going on, by `namespace/pod`, and what the node could not do.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<String, String> {
        self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Entry {
    namespace: String,
    name: String,
    /// None: it could not be started yet.
    pod: Option<Pod>,
    address: Ipv4Addr,
    written: Value,
    again: Instant,
}

struct Node {
    api: Api,
    options: KubeletOptions,
    hosts: PathBuf,
    shared: Arc<Shared>,
    pods: BTreeMap<String, Entry>,
    /// Second number of every pod's address, so that two nodes on one machine do not meet.
    network: u8,
    given: u32,
    heartbeat: Instant,
    known_hosts: String,
}

impl Node {
    fn run(mut self) {
        while !self.shared.is_ending.load(Ordering::Relaxed) {
            match self.turn() {
                Ok(()) => self.forget_problem("node"),
                // The API may be away for a moment; what runs goes on.
                Err(error) => self.problem("node", format!("{error:#}")),
            }
            std::thread::sleep(TURN);
        }
        for entry in self.pods.values() {
            if let Some(pod) = &entry.pod {
                pod.ask_to_stop(None);
            }
        }
    }

    fn turn(&mut self) -> Result<()> {
        if self.heartbeat.elapsed() > HEARTBEAT {
            beat(&self.api, &self.options.node)?;
            self.heartbeat = Instant::now();
        }
        let mut present = BTreeSet::new();
        let mut all = Vec::new();
        for namespace in self.options.namespaces.clone() {
            for pod in self.api.list(&format!("/api/v1/namespaces/{namespace}/pods"))? {
                present.insert(text(&pod["metadata"]["uid"]).to_owned());
                self.tend(&pod)?;
                all.push(pod);
            }
        }
        // Deleted by force: the object is gone while it runs.
        let gone: Vec<String> = self.pods.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
        for uid in gone {
            self.end(&uid, None);
        }
        self.note_lives();
        self.write_hosts(&all)
    }

    /// Does for one pod what is to be done now.
    fn tend(&mut self, pod: &Value) -> Result<()> {
        let uid = text(&pod["metadata"]["uid"]).to_owned();
        let phase = text(&pod["status"]["phase"]);
        let is_done = matches!(phase, "Succeeded" | "Failed");
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return self.delete(pod, &uid);
        }
        if pod["spec"]["nodeName"].is_null() {
            return self.bind(pod);
        }
        if !self.pods.contains_key(&uid) && !is_done {
            self.given += 1;
            let address = Ipv4Addr::new(
                127,
                self.network,
                u8::try_from(self.given / 250).unwrap_or(255),
                u8::try_from(1 + self.given % 250)?,
            );
            let entry = Entry {
                namespace: text(&pod["metadata"]["namespace"]).to_owned(),
                name: text(&pod["metadata"]["name"]).to_owned(),
                pod: None,
                address,
                written: Value::Null,
                again: Instant::now(),
            };
            self.pods.insert(uid.clone(), entry);
        }
        self.start_if_needed(pod, &uid);
        self.write_status(&uid)
    }

    fn start_if_needed(&mut self, pod: &Value, uid: &str) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        if entry.pod.is_some() || Instant::now() < entry.again {
            return;
        }
        let place = format!("{}/{}", entry.namespace, entry.name);
        let options = Options {
            folder: self.options.folder.join(format!("{}-{}", entry.name, &uid[..8.min(uid.len())])),
            address: entry.address,
            binaries: self.options.binaries.clone(),
            hosts: Some(self.hosts.clone()),
            node: self.options.node.clone(),
        };
        // A half-laid volume of a try before would be in the way.
        fs::remove_dir_all(options.folder.join("volumes")).ok();
        match objects(&self.api, pod).and_then(|objects| Pod::start(pod, Arc::new(objects), options)) {
            Ok(started) => {
                let life = Life {
                    namespace: entry.namespace.clone(),
                    name: entry.name.clone(),
                    uid: uid.to_owned(),
                    address: entry.address,
                    started: Instant::now(),
                    ready: None,
                    asked_to_end: None,
                    ended: None,
                    was_killed: false,
                    restarts: 0,
                    phase: Phase::Pending,
                    logs: started.logs().to_owned(),
                };
                entry.pod = Some(started);
                self.shared.lives.lock().unwrap_or_else(PoisonError::into_inner).push(life);
                self.forget_problem(&place);
            }
            Err(error) => {
                entry.again = Instant::now() + SECOND;
                self.problem(&place, format!("{error:#}"));
            }
        }
    }

    fn write_status(&mut self, uid: &str) -> Result<()> {
        let Some(entry) = self.pods.get_mut(uid) else { return Ok(()) };
        let Some(pod) = &entry.pod else { return Ok(()) };
        let now = pod.look();
        if now.status == entry.written {
            return Ok(());
        }
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", entry.namespace, entry.name);
        match self.api.merge(&path, &json!({"metadata": {"uid": uid}, "status": now.status})) {
            Ok(_) => entry.written = now.status,
            // Another pod has the name by now.
            Err(error) if status_of(&error) == Some(409) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends what runs, and removes the object when nothing runs any more.
    fn delete(&mut self, pod: &Value, uid: &str) -> Result<()> {
        let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().map(Duration::from_secs);
        let is_running = self.end(uid, grace);
        self.write_status(uid)?;
        if !is_running {
            let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
            let options =
                json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
            self.note_lives();
            self.api.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), &options)?;
            self.pods.remove(uid);
        }
        Ok(())
    }

    /// Asks a pod to end; whether something of it still runs.
    fn end(&mut self, uid: &str, grace: Option<Duration>) -> bool {
        let Some(entry) = self.pods.get(uid) else { return false };
        let Some(pod) = &entry.pod else {
            self.pods.remove(uid);
            return false;
        };
        pod.ask_to_stop(grace);
        let mut lives = self.shared.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = lives.iter_mut().find(|life| life.uid == uid) {
            life.asked_to_end.get_or_insert_with(Instant::now);
        }
        !pod.look().is_gone
    }

    fn note_lives(&mut self) {
        let mut lives = self.shared.lives.lock().unwrap_or_else(PoisonError::into_inner);
        for (uid, entry) in &self.pods {
            let Some(pod) = &entry.pod else { continue };
            let now = pod.look();
            if let Some(life) = lives.iter_mut().find(|life| life.uid == *uid) {
                if now.is_ready {
                    life.ready.get_or_insert_with(Instant::now);
                }
                if now.is_gone || matches!(now.phase, Phase::Succeeded | Phase::Failed) {
                    life.ended.get_or_insert_with(Instant::now);
                }
                (life.was_killed, life.restarts, life.phase) = (now.was_killed, now.restarts, now.phase);
            }
            let place = format!("{}/{}", entry.namespace, entry.name);
            let mut problems = self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner);
            match now.problem {
                Some(problem) => problems.insert(place, problem),
                None => problems.remove(&place),
            };
        }
    }

    /// The scheduler's part: a pod whose claims are bound goes to this node.
    fn bind(&self, pod: &Value) -> Result<()> {
        let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        let place = format!("{namespace}/{name}");
        for claim in claims(pod) {
            let claim = self.api.get(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"))?;
            let claim = claim.unwrap_or_default();
            if claim["status"]["phase"] != "Bound" {
                self.problem(&place, format!("it waits for the claim {}, which is not bound", text(&claim["metadata"]["name"])));
                return Ok(());
            }
        }
        self.forget_problem(&place);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.options.node},
        });
        match self.api.create(&format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"), &binding) {
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// What a cluster's DNS would answer: each Service at its first ready pod, each pod of a headless one by its own name.
    fn write_hosts(&mut self, pods: &[Value]) -> Result<()> {
        let mut lines = String::from("127.0.0.1 localhost\n");
        for namespace in &self.options.namespaces {
            for service in self.api.list(&format!("/api/v1/namespaces/{namespace}/services"))? {
                let name = text(&service["metadata"]["name"]);
                let selected = pods.iter().filter(|pod| {
                    text(&pod["metadata"]["namespace"]) == namespace && is_selected(&service["spec"]["selector"], pod)
                });
                let mut is_first = true;
                for pod in selected {
                    let Some(entry) = self.pods.get(text(&pod["metadata"]["uid"])) else { continue };
                    if !entry.pod.as_ref().is_some_and(|pod| pod.look().is_ready) {
                        continue;
                    }
                    if std::mem::take(&mut is_first) {
                        lines.push_str(&format!("{} {}\n", entry.address, names(name, namespace)));
                    }
                    if service["spec"]["clusterIP"] == "None" {
                        lines.push_str(&format!("{} {}\n", entry.address, names(&format!("{}.{name}", entry.name), namespace)));
                    }
                }
            }
        }
        if lines != self.known_hosts {
            // In place: the pods see this very file.
            fs::write(&self.hosts, &lines).with_context(|| format!("writing {}", self.hosts.display()))?;
            self.known_hosts = lines;
        }
        Ok(())
    }

    fn problem(&self, place: &str, problem: String) {
        self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(place.to_owned(), problem);
    }

    fn forget_problem(&self, place: &str) {
        self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }
}

fn names(name: &str, namespace: &str) -> String {
    format!("{name} {name}.{namespace} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local")
}

fn is_selected(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector.as_object().is_some_and(|selector| !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// ConfigMaps and Secrets of the pod's namespace, and the folders of its claims.
fn objects(api: &Api, pod: &Value) -> Result<Objects> {
    let namespace = text(&pod["metadata"]["namespace"]);
    let mut objects = Objects::default();
    for (kind, collection) in [("ConfigMap", "configmaps"), ("Secret", "secrets")] {
        for mut object in api.list(&format!("/api/v1/namespaces/{namespace}/{collection}"))? {
            // A list does not repeat the kind of its items.
            object["kind"] = json!(kind);
            objects.take(&object)?;
        }
    }
    for claim in claims(pod) {
        let found = api.get(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"))?;
        let volume = text(&found.unwrap_or_default()["spec"]["volumeName"]).to_owned();
        let volume = api.get(&format!("/api/v1/persistentvolumes/{volume}"))?.unwrap_or_default();
        let path = volume["spec"]["hostPath"]["path"].as_str();
        objects.claim(claim, Path::new(path.with_context(|| format!("finding the folder of the claim {claim}"))?));
    }
    Ok(objects)
}

fn register(api: &Api, node: &str) -> Result<()> {
    api.ensure(
        "/api/v1/nodes",
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}}}),
    )
    .context("registering the node")?;
    beat(api, node)
}

/// Says that the node lives.
fn beat(api: &Api, node: &str) -> Result<()> {
    let now = Timestamp::now();
    let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
        "lastHeartbeatTime": seconds, "lastTransitionTime": seconds});
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "500"});
    let status = json!({"status": {"conditions": [ready], "capacity": resources, "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    api.merge(&format!("/api/v1/nodes/{node}/status"), &status).context("saying that the node lives")?;
    Ok(())
}
