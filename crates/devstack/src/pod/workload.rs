//! The pods that controllers would make of rendered workloads, for tests without a cluster.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A StatefulSet, Deployment or Job, and the pods that it asks for.
#[derive(Clone, Debug)]
pub struct Workload {
    pub kind: String,
    pub name: String,
    /// Complete manifests of kind Pod.
    pub pods: Vec<Value>,
}

/// Every StatefulSet, Deployment and Job of rendered manifests, and every bare pod, in their order.
///
/// # Errors
/// When one has no name or template.
pub fn workloads(manifests: &[Value]) -> Result<Vec<Workload>> {
    let known = |manifest: &&Value| matches!(manifest["kind"].as_str(), Some("StatefulSet" | "Deployment" | "Job" | "Pod"));
    manifests.iter().filter(known).map(workload).collect()
}

fn workload(manifest: &Value) -> Result<Workload> {
    let kind = manifest["kind"].as_str().unwrap_or_default().to_owned();
    let name = manifest["metadata"]["name"].as_str().with_context(|| format!("reading the name of a {kind}"))?.to_owned();
    if kind == "Pod" {
        return Ok(Workload { kind, name, pods: vec![manifest.clone()] });
    }
    let template = manifest["spec"].get("template").with_context(|| format!("reading the template of {kind} {name}"))?;
    // A Job makes one pod; an autoscaled workload names no number and begins with one.
    let replicas = if kind == "Job" { 1 } else { manifest["spec"]["replicas"].as_u64().unwrap_or(1) };
    let pods = (0..replicas).map(|number| {
        let pod = match kind.as_str() {
            "StatefulSet" => format!("{name}-{number}"),
            "Deployment" => format!("{name}-5f6d7c8b9-{number:05}"),
            _ => format!("{name}-{number:05}"),
        };
        pod_of(manifest, template, &pod)
    });
    Ok(Workload { pods: pods.collect(), kind, name })
}

fn pod_of(workload: &Value, template: &Value, name: &str) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = workload["metadata"].get("namespace").cloned().unwrap_or_else(|| json!("default"));
    for claim in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let template = claim["metadata"]["name"].as_str().unwrap_or_default();
        let volume = json!({"name": template, "persistentVolumeClaim": {"claimName": format!("{template}-{name}")}});
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => pod["spec"]["volumes"] = json!([volume]),
        }
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_numbers_its_pods_and_gives_each_its_claim() {
        let set = json!({"kind": "StatefulSet", "metadata": {"name": "tracker"}, "spec": {"replicas": 2,
            "template": {"spec": {"containers": []}}, "volumeClaimTemplates": [{"metadata": {"name": "store"}}]}});
        let found = workloads(&[set, json!({"kind": "Service"})]).unwrap();
        assert_eq!(found.len(), 1);
        let names: Vec<&str> = found[0].pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["tracker-0", "tracker-1"]);
        let claim = &found[0].pods[1]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!(claim, "store-tracker-1");
    }
}
