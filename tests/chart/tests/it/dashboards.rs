//! The dashboards: the rules of grafana/dashboard-linter, and ours: every panel says what it shows, in which unit, from known series.

use std::collections::BTreeSet;

use chart::monitoring;
use serde_json::Value;

use crate::catalogue;

const UIDS: [&str; 5] =
    ["millrace-dead-letters", "millrace-destination", "millrace-pipeline", "millrace-propagation", "millrace-runtime"];
/// Windows that are the promise itself, not a question of the screen's width.
const RANGES: [&str; 2] = ["[$__rate_interval]", "[$__range]"];

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[test]
fn there_are_five_with_fixed_names_that_nobody_edits_by_hand() {
    let dashboards = monitoring::dashboards().unwrap();
    let uids: Vec<&str> = dashboards.iter().map(|(_, dashboard)| text(dashboard, "uid")).collect();
    assert_eq!(uids, UIDS);
    for (name, dashboard) in &dashboards {
        assert_eq!(name, &format!("{}.json", text(dashboard, "uid").trim_start_matches("millrace-")));
        assert_eq!(dashboard["editable"], false, "{name}");
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 41, "{name}");
        assert!(!text(dashboard, "description").is_empty(), "{name}");
        assert!(dashboard.get("id").is_none(), "{name}: an id belongs to one Grafana");
        let ids: BTreeSet<u64> = panels(dashboard).iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels(dashboard).len(), "{name}: panels have ids of their own");
    }
}

#[test]
fn the_variables_are_those_that_every_dashboard_has() {
    for (name, dashboard) in monitoring::dashboards().unwrap() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let named: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        let wanted: &[&str] = if name == "runtime.json" {
            &["datasource", "job", "instance"]
        } else {
            &["datasource", "job", "instance", "domain", "destination"]
        };
        assert_eq!(named, wanted, "{name}");
        assert_eq!(
            (text(&variables[0], "type"), text(&variables[0], "query"), text(&variables[0], "label")),
            ("datasource", "prometheus", "Data source")
        );
        for variable in &variables[1..] {
            let place = format!("{name}, ${}", text(variable, "name"));
            assert_eq!(text(variable, "type"), "query", "{place}");
            assert_eq!(text(&variable["datasource"], "uid"), "${datasource}", "{place}");
            assert_eq!(variable["refresh"], 2, "{place} follows the time range");
            let is_one = name == "destination.json" && text(variable, "name") == "destination";
            assert_eq!(variable["multi"], !is_one, "{place}");
            if ["job", "instance"].contains(&text(variable, "name")) {
                assert_eq!(text(variable, "allValue"), ".+", "{place}");
                let (first, rest) = text(variable, "name").split_at(1);
                assert_eq!(text(variable, "label"), format!("{}{rest}", first.to_uppercase()), "{place}");
            }
        }
        for (series, label) in monitoring::variables(&dashboard) {
            catalogue::assert_known(&name, &format!("count by ({label}) ({series})"), &BTreeSet::new());
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for (name, dashboard) in monitoring::dashboards().unwrap() {
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = format!("{name}, \"{}\"", text(panel, "title"));
            assert!(titles.insert(text(panel, "title")) && !text(panel, "title").is_empty(), "{place}: a title of its own");
            assert!(text(panel, "description").ends_with('.'), "{place}: a description");
            assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{place}: a unit");
            assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{place}: no data source of one Grafana");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place} asks nothing");
            for target in targets {
                assert_eq!(text(&target["datasource"], "uid"), "${datasource}", "{place}");
                assert!(!text(target, "legendFormat").is_empty(), "{place}: a legend");
            }
            if text(panel, "type") == "timeseries" {
                assert_eq!(panel["options"]["legend"]["showLegend"], true, "{place}");
            }
        }
        assert!(!panels(&dashboard).is_empty());
    }
}

#[test]
fn no_panel_lies_upon_another() {
    for (name, dashboard) in monitoring::dashboards().unwrap() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{name}, {}", text(panel, "title"));
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}, \"{}\" lies upon another panel at {cell:?}", text(panel, "title"));
            }
        }
    }
}

#[test]
fn every_query_keeps_to_the_chosen_processes_and_to_known_series() {
    let rules = monitoring::rules().unwrap();
    let recorded: BTreeSet<&str> = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    for (name, dashboard) in monitoring::dashboards().unwrap() {
        for query in monitoring::queries(&name, &dashboard) {
            let (place, expr) = (&query.place, query.expr.as_str());
            catalogue::assert_known(place, expr, &recorded);
            for (series, inside) in monitoring::selectors(expr) {
                if !series.starts_with("millrace:") {
                    assert!(inside.starts_with(r#"job=~"$job", instance=~"$instance""#), "{place}: {series}{{{inside}}}");
                }
            }
            for range in expr.match_indices('[').map(|(at, _)| &expr[at..]) {
                assert!(RANGES.iter().any(|known| range.starts_with(known)), "{place}: a fixed range {range}");
            }
        }
    }
}

#[test]
fn counters_are_read_as_rates() {
    for (name, dashboard) in monitoring::dashboards().unwrap() {
        for query in monitoring::queries(&name, &dashboard) {
            let expr = query.expr.as_str();
            for (series, _) in monitoring::selectors(expr) {
                if !["_total", "_bucket", "_count", "_sum"].iter().any(|end| series.ends_with(end)) {
                    continue;
                }
                for (at, _) in expr.match_indices(series.as_str()) {
                    let before = expr[..at].trim_end();
                    // A series that begins in the chosen time began with 0: its value is its increase, which `increase` does not see.
                    let is_new = expr.contains("unless") && expr.contains("offset $__range") && expr.contains("or increase(");
                    assert!(
                        before.ends_with("rate(") || before.ends_with("increase(") || is_new,
                        "{}: {series} is no rate",
                        query.place
                    );
                }
            }
        }
    }
}
