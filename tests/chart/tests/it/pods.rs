//! Every workload of the chart, started exactly as its pods would be: rendered arguments, environment, files and probes against the
//! real binaries, a real Kafka and a real registry, from nothing but what the chart's own provisioning makes.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use chart::{Helm, Manifest, Render, Sample, TOKEN, TOKENS, Values, sample_values};
use devstack::{
    Supervisor, Systems, SystemsOptions, dev,
    mes::Manners,
    pod::{Ground, Objects, Options, Pod, workloads},
    provision::read_landscape,
    shared,
};
use serde_json::Value;

/// Longer than anything takes on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(240);
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/sample");

/// Where pods of this test lie and how they are told apart.
struct Place {
    folder: PathBuf,
    network: [u8; 2],
    given: u8,
    hosts: PathBuf,
    objects: Arc<Objects>,
}

impl Place {
    fn start(&mut self, pod: &Value) -> Pod {
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.given += 1;
        let [b, c] = self.network;
        let options = Options {
            folder: self.folder.join("pods").join(name),
            address: Ipv4Addr::new(127, b, c, self.given),
            binaries: dev::profile().unwrap(),
            hosts: Some(self.hosts.clone()),
            node: "this-machine".to_owned(),
        };
        Pod::start(pod, self.objects.clone(), options).unwrap()
    }

    fn last_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network[0], self.network[1], self.given)
    }
}

fn objects(manifest: &Manifest, systems: &Systems, folder: &Path) -> Objects {
    let mut objects = Objects::from_manifests(manifest.objects.iter().map(|object| &object.0)).unwrap();
    objects.secret(TOKENS, &[("tokens", &format!("operator {TOKEN}\n")), ("token", TOKEN)]);
    for (source, drop) in &systems.folders {
        objects.claim(&format!("{source}-drop"), drop);
    }
    for replica in 0..2 {
        objects.claim(&format!("store-millrace-tracker-{replica}"), &folder.join(format!("store-{replica}")));
    }
    objects
}

/// Every plant holds records, and both hold the item that both make.
fn wait_for_records(systems: &Systems, pods: &[Pod]) {
    let deadline = Instant::now() + PATIENCE;
    while !systems.plants.values().all(|plant| plant.record("item", "ES-001/A").is_some()) {
        for pod in pods {
            assert_eq!(pod.look().restarts, 0, "{} was started again:\n{}", pod.name(), pod.describe());
        }
        let said = || pods.iter().map(|pod| format!("{}\n{}", pod.name(), pod.describe())).collect::<Vec<_>>().join("\n");
        assert!(Instant::now() < deadline, "the item of both plants has not reached both:\n{}", said());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn every_workload_runs_as_its_pod_would_and_a_record_reaches_both_plants() {
    if !devstack::is_available() {
        return;
    }
    println!("{}", Ground::of_this_machine().says());
    let addresses = shared::addresses().unwrap();
    let supervisor = Supervisor::throwaway(&dev::target().unwrap().join("devstack")).unwrap();
    let folder = supervisor.folder().to_owned();
    let prefix = format!("chart{}.", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let sample = Sample::copy(&folder.join("landscape"), &prefix).unwrap();
    let systems = Systems::start(
        &read_landscape(&sample.landscape).unwrap(),
        &SystemsOptions {
            folder: folder.clone(),
            sample: Some(SAMPLE.into()),
            landscape: None,
            manners: Manners::default(),
            keep: false,
        },
    )
    .unwrap();
    let bundle = folder.join("bundle.yaml");
    sample.bundle(&bundle).unwrap();
    let values = sample_values(&addresses, &systems).unwrap();
    let render = Render::of(vec![Values::File(bundle), values.into()]);
    let manifest = Helm::newest().unwrap().template(&render).unwrap();

    let hosts = folder.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let network = *uuid::Uuid::new_v4().as_bytes();
    let objects = Arc::new(objects(&manifest, &systems, &folder));
    let mut place = Place { folder, network: [100 + network[0] % 100, network[1]], given: 0, hosts, objects };

    let manifests: Vec<Value> = manifest.objects.iter().map(|object| object.0.clone()).collect();
    let mut by_kind: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for workload in workloads(&manifests).unwrap() {
        by_kind.entry(workload.kind.clone()).or_default().push(workload);
    }
    // The services first: they wait in their startup probe for what the Job makes, as they would in a cluster.
    let mut pods = Vec::new();
    for workload in by_kind.get("StatefulSet").into_iter().chain(by_kind.get("Deployment")).flatten() {
        assert!(!workload.pods.is_empty(), "{} has no pod", workload.name);
        for pod in &workload.pods {
            pods.push(place.start(pod));
        }
        // A Service leads to any of its pods; the last will do.
        let hosts = std::fs::read_to_string(&place.hosts).unwrap();
        std::fs::write(&place.hosts, format!("{hosts}{} {}\n", place.last_address(), workload.name)).unwrap();
    }
    assert_eq!(pods.len(), 9, "2 trackers, 2 validators, 2 sinks, 2 publishers, 1 replayer");
    for job in by_kind.get("Job").expect("the chart provisions by a Job") {
        let pod = place.start(&job.pods[0]);
        // A broker that is slow to answer costs an attempt: the Job is safe to repeat, and Kubernetes repeats it.
        pod.wait_succeeded(PATIENCE).unwrap();
    }
    for pod in &pods {
        let ready = pod.wait_ready(PATIENCE).unwrap();
        for (container, after) in ready.ready_after {
            println!("{} {container}: ready {:.1} s after its start", pod.name(), after.as_secs_f64());
        }
    }
    wait_for_records(&systems, &pods);

    // `helm test` of the running fleet.
    for test in by_kind.get("Pod").expect("the chart has a test") {
        let pod = place.start(&test.pods[0]);
        pod.wait_succeeded(PATIENCE).unwrap();
        println!("{}", pod.log("doctor").unwrap());
    }

    // All at once: none of them needs another one to drain.
    pods.iter().for_each(|pod| pod.ask_to_stop(None));
    for pod in pods {
        let (name, end) = (pod.name().to_owned(), pod.stop());
        assert!(!end.was_killed, "{name} did not end within its grace period");
        let ended = &end.status["containerStatuses"][0]["state"]["terminated"]["exitCode"];
        assert_eq!(ended, 0, "{name} ends in order");
    }
    drop((systems, supervisor));
}
