//! What Prometheus and Grafana get.

use chart::{Helm, Render};
use serde_json::Value;

#[test]
fn the_service_monitor_finds_each_workload_once() {
    let manifest = Helm::newest().unwrap().template(&Render::install("all").unwrap()).unwrap();
    let monitor = manifest.get("ServiceMonitor", "millrace");
    assert_eq!(monitor.at("/metadata/labels/release"), "prometheus");
    let wanted = monitor.at("/spec/selector/matchLabels").as_object().unwrap();
    let found: Vec<_> = manifest
        .kind("Service")
        .into_iter()
        .filter(|service| wanted.iter().all(|(key, value)| service.at("/metadata/labels")[key] == *value))
        .collect();
    let workloads = manifest.objects.iter().filter(|one| matches!(one.kind(), "StatefulSet" | "Deployment"));
    for workload in workloads {
        let selects = found.iter().filter(|one| one.at("/spec/selector") == workload.at("/spec/selector/matchLabels")).count();
        assert_eq!(selects, 1, "{} is scraped {selects} times", workload.name());
    }
    for service in found {
        assert_eq!(service.at("/spec/ports/0/name"), monitor.at("/spec/endpoints/0/port"));
    }
}

#[test]
fn alerts_are_one_object_a_group_without_the_excluded_ones_with_owner_runbook_and_objective() {
    let manifest = Helm::newest().unwrap().template(&Render::install("all").unwrap()).unwrap();
    let rules = manifest.kind("PrometheusRule");
    assert!(!rules.is_empty(), "there are alerts");
    let mut alerts = Vec::new();
    for object in &rules {
        assert_eq!(object.at("/spec/groups").as_array().unwrap().len(), 1, "{}", object.name());
        assert_eq!(object.at("/metadata/labels/release"), "prometheus");
        for rule in object.at("/spec/groups/0/rules").as_array().unwrap() {
            let Some(alert) = rule["alert"].as_str() else { continue };
            alerts.push(alert.to_owned());
            assert_eq!(rule["labels"]["owner"], "master-data", "{alert}");
            let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
            assert!(
                runbook.starts_with("https://runbooks.example.org/millrace/Millrace") && runbook.ends_with(".md"),
                "{runbook}"
            );
        }
    }
    assert!(alerts.iter().any(|alert| alert == "MillracePropagationStalled"), "{alerts:?}");
    for excluded in ["MillraceSourceSilent", "MillraceRebalancing"] {
        assert!(!alerts.iter().any(|alert| alert == excluded), "{excluded} was excluded");
    }
    let text = rules.iter().map(|one| one.0.to_string()).collect::<String>();
    assert!(text.contains("0.005"), "the objective of 99.5 % leaves a budget of 0.005");
    for placeholder in ["ERROR_BUDGET", "RUNBOOK_BASE_URL"] {
        assert!(!text.contains(placeholder), "{placeholder} was not replaced");
    }
}

#[test]
fn dashboards_are_config_maps_that_grafana_finds() {
    let manifest = Helm::newest().unwrap().template(&Render::install("all").unwrap()).unwrap();
    let maps: Vec<_> =
        manifest.kind("ConfigMap").into_iter().filter(|one| one.at("/metadata/labels/grafana_dashboard") == "1").collect();
    assert_eq!(maps.len(), 5, "five dashboards");
    for map in maps {
        assert_eq!(map.at("/metadata/namespace"), "monitoring");
        assert_eq!(map.at("/metadata/annotations/grafana_folder"), "Master data");
        for (key, text) in map.at("/data").as_object().unwrap() {
            assert!(key.ends_with(".json"), "{key}");
            let dashboard: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            assert!(dashboard["uid"].is_string(), "{key} has a fixed uid");
        }
    }
}
