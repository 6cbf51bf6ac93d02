//! An upgrade rolls the pods whose inputs changed, and no others.

use std::collections::BTreeMap;

use chart::{Helm, Manifest, Render};

/// Pod templates by workload: what Kubernetes compares.
fn templates(values: &str) -> BTreeMap<String, String> {
    let render = Render::install("minimal").unwrap().with(values);
    let manifest: Manifest = Helm::newest().unwrap().template(&render).unwrap();
    let workloads = manifest.objects.iter().filter(|one| matches!(one.kind(), "StatefulSet" | "Deployment"));
    workloads.map(|one| (one.name().to_owned(), one.at("/spec/template").to_string())).collect()
}

fn rolled(values: &str) -> Vec<String> {
    let (before, after) = (templates("log: {filter: info}"), templates(values));
    after.into_iter().filter(|(name, template)| before.get(name) != Some(template)).map(|(name, _)| name).collect()
}

#[test]
fn a_value_of_one_destination_rolls_that_one() {
    assert_eq!(rolled("destinations: {mes-ulm: {resources: {limits: {memory: 512Mi}}}}"), ["millrace-sink-mes-ulm"]);
    assert_eq!(rolled("destinations: {mes-ulm: {existingSecret: other}}"), ["millrace-sink-mes-ulm"]);
    assert_eq!(rolled("destinations: {mes-pune: {enabled: false}}"), Vec::<String>::new());
    assert_eq!(rolled("destinations: {mes-pune: {replicaCount: 2}}"), Vec::<String>::new(), "more replicas are no roll");
    assert_eq!(rolled("validator: {replicaCount: 3}"), Vec::<String>::new());
    assert_eq!(rolled("metrics: {serviceMonitor: {enabled: true}}\nnetworkPolicy: {metricsFrom: []}"), Vec::<String>::new());
}

#[test]
fn a_new_landscape_rolls_all_because_each_decides_by_the_whole_folder() {
    let all = templates("log: {filter: info}").len();
    assert_eq!(rolled("landscape: {files: {cases/new.yaml: text}}").len(), all);
    // What only the chart reads of the bundle is no reason.
    assert_eq!(rolled("landscape: {slots: 24, topics: [], users: []}"), Vec::<String>::new());
}

#[test]
fn a_version_of_the_chart_alone_is_no_reason_to_roll() {
    for (name, template) in templates("log: {filter: info}") {
        assert!(!template.contains("helm.sh/chart") && !template.contains("app.kubernetes.io/version"), "{name}");
    }
}
