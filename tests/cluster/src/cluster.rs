//! What the test asks of the cluster beside Helm: namespaces that enforce the restricted profile, rights of the team that installs,
//! volumes, and whether everything that controllers made is there and ready.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use devstack::{
    interrupt,
    pod::{
        api::{Api, status_of},
        kubelet::Kubelet,
    },
};
use serde_json::{Value, json};

use crate::{control_plane::TEAM, say};

const LOOK: Duration = Duration::from_millis(200);
/// API groups of the custom resources that the chart may make.
const GROUPS: [&str; 4] = ["keda.sh", "monitoring.coreos.com", "kafka.strimzi.io", "gateway.networking.k8s.io"];

/// Makes a namespace that enforces PodSecurity `restricted`, in which the team may do what a namespace's admin may, and make the
/// custom resources of [`GROUPS`]; nothing else anywhere.
pub(crate) fn namespace(api: &Api, name: &str) -> Result<()> {
    let enforce = "pod-security.kubernetes.io/enforce";
    api.ensure(
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {enforce: "restricted"}}}),
    )?;
    let rights = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}");
    let meta = |name: &str| json!({"name": name});
    api.ensure(
        &format!("{rights}/roles"),
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("custom-resources"),
            "rules": [{"apiGroups": GROUPS, "resources": ["*"], "verbs": ["*"]}]}),
    )?;
    for (kind, role) in [("ClusterRole", "admin"), ("Role", "custom-resources")] {
        api.ensure(
            &format!("{rights}/rolebindings"),
            &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta(&format!("team-{role}")),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": TEAM}]}),
        )?;
    }
    wait("the default service account", Duration::from_secs(60), || {
        let account = api.get(&format!("/api/v1/namespaces/{name}/serviceaccounts/default"))?;
        Ok(account.map(|_| ()).ok_or_else(|| "the controllers have not made it".to_owned()))
    })
}

/// The profile is really enforced: a pod that runs as root is refused.
pub(crate) fn refuses_root(api: &Api, namespace: &str) -> Result<()> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": {"containers": [
        {"name": "root", "image": "registry.example.com/tools:1.0"}]}});
    match api.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod) {
        Err(error) if status_of(&error) == Some(403) && format!("{error:#}").contains("restricted") => Ok(()),
        Err(error) => Err(error),
        Ok(_) => bail!("the namespace {namespace} admits a pod that runs as root: the restricted profile is not enforced"),
    }
}

pub(crate) fn secret(api: &Api, namespace: &str, name: &str, files: &Value) -> Result<()> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": files});
    api.ensure(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret)
}

/// A volume that lies in a folder; for one claim when that is named.
pub(crate) fn volume(api: &Api, name: &str, folder: &Path, claim: Option<(&str, &str)>) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
        "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": folder}}});
    if let Some((namespace, claim)) = claim {
        volume["spec"]["claimRef"] =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim});
    }
    api.ensure("/api/v1/persistentvolumes", &volume)
}

pub(crate) fn claim(api: &Api, namespace: &str, name: &str) -> Result<()> {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}});
    api.ensure(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"), &claim)
}

/// Waits for a condition; what is missing is said when it takes too long.
pub(crate) fn wait<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        interrupt::check()?;
        match look()? {
            Ok(found) => return Ok(found),
            Err(missing) if Instant::now() > deadline => bail!("waited {} s for {what}: {missing}", limit.as_secs()),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// The workloads of a namespace.
pub(crate) fn workloads(api: &Api, namespace: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for (kind, path) in [("StatefulSet", "apps/v1"), ("Deployment", "apps/v1"), ("Job", "batch/v1")] {
        let plural = format!("{}s", kind.to_lowercase());
        for mut object in api.list(&format!("/apis/{path}/namespaces/{namespace}/{plural}"))? {
            object["kind"] = json!(kind);
            all.push(object);
        }
    }
    Ok(all)
}

pub(crate) fn pods(api: &Api, namespace: &str) -> Result<Vec<Value>> {
    api.list(&format!("/api/v1/namespaces/{namespace}/pods"))
}

/// Waits until every workload runs what it should: all replicas of the newest template ready, Jobs complete.
pub(crate) fn wait_ready(api: &Api, kubelet: &Kubelet, namespace: &str, limit: Duration) -> Result<()> {
    wait("the fleet to be ready", limit, || {
        let missing: Vec<String> = workloads(api, namespace)?.iter().filter_map(not_ready).collect();
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        let problems = kubelet.problems().into_iter().map(|(place, problem)| format!("{place}: {problem}"));
        Ok(Err(missing.into_iter().chain(problems).collect::<Vec<_>>().join("\n  ")))
    })
}

fn not_ready(workload: &Value) -> Option<String> {
    let (spec, status) = (&workload["spec"], &workload["status"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let count = |field: &str| status[field].as_u64().unwrap_or(0);
    let is_seen = status["observedGeneration"] == workload["metadata"]["generation"];
    let is_done = match workload["kind"].as_str() {
        Some("Job") => count("succeeded") > 0,
        Some("StatefulSet") => {
            is_seen
                && count("readyReplicas") == wanted
                && count("replicas") == wanted
                && status["currentRevision"] == status["updateRevision"]
        }
        _ => is_seen && count("readyReplicas") == wanted && count("replicas") == wanted && count("updatedReplicas") == wanted,
    };
    let name = || {
        format!("{} {}", workload["kind"].as_str().unwrap_or_default(), workload["metadata"]["name"].as_str().unwrap_or_default())
    };
    (!is_done).then(|| format!("{}: {status}", name()))
}

/// Waits until controllers have made every pod that the workloads of a namespace ask for, and fails when one was not admitted.
pub(crate) fn wait_admitted(api: &Api, namespace: &str) -> Result<usize> {
    wait(&format!("the pods of {namespace}"), Duration::from_secs(60), || {
        let refused: Vec<String> = api
            .list(&format!("/api/v1/namespaces/{namespace}/events"))?
            .iter()
            .filter(|event| event["reason"] == "FailedCreate")
            .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
            .collect();
        if !refused.is_empty() {
            bail!("pods of {namespace} are not admitted:\n{}", refused.join("\n"));
        }
        let wanted: u64 =
            workloads(api, namespace)?.iter().map(|workload| workload["spec"]["replicas"].as_u64().unwrap_or(1)).sum();
        let made = pods(api, namespace)?.len();
        let is_complete = wanted > 0 && u64::try_from(made).is_ok_and(|made| made >= wanted);
        Ok(if is_complete { Ok(made) } else { Err(format!("{made} of {wanted} are there")) })
    })
}

/// Waits until every Service selects a pod that is ready; how many there are.
pub(crate) fn wait_endpoints(api: &Api, namespace: &str) -> Result<usize> {
    wait("an endpoint of every Service", Duration::from_secs(60), || {
        let slices = api.list(&format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"))?;
        let services = api.list(&format!("/api/v1/namespaces/{namespace}/services"))?;
        let has_endpoint = |service: &&Value| {
            let own = slices
                .iter()
                .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]);
            own.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
                .any(|endpoint| endpoint["conditions"]["ready"] == true)
        };
        let without: Vec<&Value> =
            services.iter().filter(|service| !has_endpoint(service)).map(|service| &service["metadata"]["name"]).collect();
        Ok(if without.is_empty() { Ok(services.len()) } else { Err(format!("none of {without:?}")) })
    })
}

/// Installs resource definitions and waits until the API serves them.
pub(crate) fn define(api: &Api, definitions: &[(String, String)]) -> Result<()> {
    for (file, text) in definitions {
        api.create_yaml("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", text)
            .with_context(|| format!("installing the definition {file}"))?;
    }
    wait("the resource definitions", Duration::from_secs(60), || {
        let all = api.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")?;
        let is_served = |definition: &Value| {
            let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
        };
        let served = all.iter().filter(|definition| is_served(definition)).count();
        Ok(if served == definitions.len() { Ok(()) } else { Err(format!("{served} of {} are served", definitions.len())) })
    })?;
    say(&format!(
        "{} resource definitions of KEDA, the Prometheus operator, Strimzi and the Gateway API are served",
        definitions.len()
    ));
    Ok(())
}
