//! A pod's status as the API has it, so that controllers act on what the processes really do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    container::{Container, State},
    machine::{Machine, Phase},
};

/// Since when each condition and container state holds, in the clock of the API.
#[derive(Default)]
pub(super) struct Clock {
    since: BTreeMap<String, (String, String)>,
}

impl Clock {
    fn since(&mut self, what: &str, value: &str) -> String {
        let now = || Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match self.since.get(what) {
            Some((before, since)) if before == value => since.clone(),
            _ => {
                let since = now();
                self.since.insert(what.to_owned(), (value.to_owned(), since.clone()));
                since
            }
        }
    }
}

/// The address of a pod as the API may hold it: Kubernetes refuses loopback addresses of endpoints, and the pods of this machine
/// have no others. 127.244.1.2 is written as 10.244.1.2.
fn shown(address: std::net::Ipv4Addr) -> String {
    let [_, b, c, d] = address.octets();
    format!("10.{b}.{c}.{d}")
}

pub(super) fn status(machine: &Machine, clock: &mut Clock, problem: Option<&str>) -> Value {
    let phase = match machine.phase() {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    };
    let mut condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": clock.since(kind, status)})
    };
    let conditions = vec![
        condition("PodScheduled", true),
        condition("Initialized", machine.is_initialized()),
        condition("ContainersReady", machine.is_ready()),
        condition("Ready", machine.is_ready()),
    ];
    let inits: Vec<Value> = machine.inits.iter().map(|container| container_status(container, clock, true)).collect();
    let containers: Vec<Value> = machine.containers.iter().map(|container| container_status(container, clock, false)).collect();
    let address = shown(machine.options.address);
    let mut status = json!({
        "phase": phase,
        "conditions": conditions,
        "initContainerStatuses": inits,
        "containerStatuses": containers,
        "hostIP": "10.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": clock.since("start", ""),
    });
    if let Some(problem) = problem {
        status["message"] = Value::String(problem.to_owned());
    }
    status
}

fn container_status(container: &Container, clock: &mut Clock, is_init: bool) -> Value {
    let name = &container.spec.name;
    let since = |clock: &mut Clock, what: &str| clock.since(&format!("{name} {what}"), &container.restarts.to_string());
    let state = match &container.state {
        State::Waiting(reason) => json!({"waiting": {"reason": reason}}),
        State::Running => json!({"running": {"startedAt": since(clock, "running")}}),
        State::Ended(code) => json!({"terminated": {
            "exitCode": code,
            "reason": if *code == 0 { "Completed" } else { "Error" },
            "startedAt": since(clock, "running"),
            "finishedAt": since(clock, "ended"),
        }}),
    };
    let is_done = container.state == State::Ended(0);
    json!({
        "name": name,
        "image": container.spec.image,
        "imageID": "",
        "ready": if is_init { is_done } else { container.is_ready },
        "started": if is_init { is_done } else { container.is_started },
        "restartCount": container.restarts,
        "state": state,
    })
}
