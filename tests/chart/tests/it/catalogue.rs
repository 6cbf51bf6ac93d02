//! Queries against the list of metrics, and the page that shows the list.

use std::{collections::BTreeSet, fs};

use chart::monitoring;
use telemetry::{CATALOGUE, Declared, Kind};

/// What the process collector of the client library adds on Linux.
const PROCESS: [&str; 3] = ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_threads"];
/// What the scraper adds, what histograms have, and what a rule makes of a group's name.
const SCRAPED: [&str; 3] = ["job", "instance", "le"];

fn declared(series: &str) -> Option<&'static Declared> {
    let exact = CATALOGUE.iter().find(|family| family.name == series && family.kind != Kind::Histogram);
    exact.or_else(|| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| series.strip_suffix(part))?;
        CATALOGUE.iter().find(|family| family.name == base && family.kind == Kind::Histogram)
    })
}

/// Every series is emitted or recorded, every label one of its own.
pub(crate) fn assert_known(place: &str, expr: &str, recorded: &BTreeSet<&str>) {
    let mut labels: BTreeSet<&str> = SCRAPED.into();
    let series = monitoring::metrics(expr);
    for name in &series {
        match declared(name) {
            Some(family) => labels.extend(family.labels),
            None => assert!(
                PROCESS.contains(&name.as_str()) || recorded.contains(name.as_str()),
                "{place} asks for {name}, which nobody emits"
            ),
        }
    }
    if series.iter().any(|name| name.starts_with("millrace:")) {
        labels.extend(["domain", "destination"]);
    }
    if expr.contains("label_replace(") {
        labels.insert("destination");
    }
    for label in monitoring::labels(expr) {
        assert!(labels.contains(label.as_str()), "{place} names label `{label}`, known are {labels:?}");
    }
}

#[test]
fn the_page_of_metrics_shows_the_list() {
    let mut table = String::from("| metric | type | labels | of | meaning |\n|---|---|---|---|---|\n");
    for family in CATALOGUE {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let when = if family.steady { "" } else { " From its first event on." };
        let labels = family.labels.join(", ");
        table.push_str(&format!(
            "| `{}` | {kind} | {labels} | {} | {}{when} |\n",
            family.name,
            family.services.join(", "),
            family.help
        ));
    }
    let path = chart::root().join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- the list -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- end of the list -->").unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}<!-- the list -->\n{table}<!-- end of the list -->{after}")).unwrap();
        return;
    }
    assert_eq!(
        shown, table,
        "docs/metrics.md is not the list of crates/telemetry: BLESS=1 cargo test -p millrace-chart catalogue writes it"
    );
}
