//! Pods as real processes, without a cluster: what is promised of containers, their order, their restarts and their end.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use devstack::pod::{Objects, Options, Phase, Pod};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(folder: &Path, spec: Value) -> Pod {
    let pod = json!({"metadata": {"name": "trial", "namespace": "default"}, "spec": spec});
    let options = Options {
        folder: folder.join("trial"),
        address: Ipv4Addr::new(127, 211, 0, 1),
        binaries: folder.to_owned(),
        hosts: None,
        node: "node".to_owned(),
    };
    Pod::start(&pod, Arc::new(Objects::default()), options).unwrap()
}

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "tools", "command": ["/bin/sh", "-c"], "args": [script],
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]})
}

fn scratch() -> Value {
    json!([{"name": "scratch", "emptyDir": {}}])
}

#[test]
fn init_containers_run_in_order_before_the_others_and_a_job_ends_with_its_containers() {
    let folder = tempfile::tempdir().unwrap();
    let spec = json!({
        "restartPolicy": "OnFailure", "volumes": scratch(),
        "initContainers": [shell("one", "echo one >> /tmp/order"), shell("two", "echo two >> /tmp/order")],
        "containers": [shell("three", "echo three >> /tmp/order; cat /tmp/order")],
    });
    let pod = start(folder.path(), spec);
    let done = pod.wait_succeeded(PATIENCE).unwrap();
    assert_eq!(pod.log("three").unwrap(), "one\ntwo\nthree\n");
    assert_eq!(done.status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(done.restarts, 0);
}

#[test]
fn a_container_that_fails_is_started_again_until_it_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo tried >> /tmp/tries; [ $(wc -l < /tmp/tries) -ge 2 ]";
    let spec = json!({"restartPolicy": "OnFailure", "volumes": scratch(), "containers": [shell("main", script)]});
    let done = start(folder.path(), spec).wait_succeeded(PATIENCE).unwrap();
    assert_eq!(done.restarts, 1);
}

#[test]
fn a_container_that_may_not_be_started_again_fails_its_pod() {
    let folder = tempfile::tempdir().unwrap();
    let spec = json!({"restartPolicy": "Never", "volumes": scratch(), "containers": [shell("main", "echo no use; exit 3")]});
    let pod = start(folder.path(), spec);
    let error = format!("{:#}", pod.wait_ready(PATIENCE).and_then(|_| pod.wait_succeeded(PATIENCE)).unwrap_err());
    assert!(error.contains("exit 3") && error.contains("no use"), "{error}");
    assert_eq!(pod.look().phase, Phase::Failed);
}

#[test]
fn a_pod_ends_by_sigterm_and_is_killed_only_after_its_grace() {
    for (script, grace, was_killed, exit) in [
        ("trap 'exit 0' TERM; echo up > /tmp/up; while :; do sleep 0.05; done", 60, false, 0),
        ("trap '' TERM; echo up > /tmp/up; while :; do sleep 0.05; done", 1, true, 137),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let spec = json!({"terminationGracePeriodSeconds": grace, "volumes": scratch(), "containers": [shell("main", script)]});
        let pod = start(folder.path(), spec);
        let deadline = std::time::Instant::now() + PATIENCE;
        while !folder.path().join("trial/volumes/scratch/up").exists() {
            assert!(std::time::Instant::now() < deadline, "{}", pod.describe());
            std::thread::sleep(Duration::from_millis(20));
        }
        let end = pod.stop();
        assert_eq!((end.is_gone, end.was_killed), (true, was_killed), "{script}");
        assert_eq!(end.status["containerStatuses"][0]["state"]["terminated"]["exitCode"], exit, "{script}");
    }
}

#[test]
fn a_container_that_is_not_alive_is_ended_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut container = shell("main", "exec sleep 600");
    // Nobody listens there.
    container["livenessProbe"] = json!({"httpGet": {"path": "/livez", "port": 8081}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"terminationGracePeriodSeconds": 5, "volumes": scratch(), "containers": [container]});
    let pod = start(folder.path(), spec);
    let deadline = std::time::Instant::now() + PATIENCE;
    while pod.look().restarts == 0 {
        assert!(std::time::Instant::now() < deadline, "{}", pod.describe());
        std::thread::sleep(Duration::from_millis(20));
    }
}
