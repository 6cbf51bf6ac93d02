//! The chart's alert rules and dashboards, read as what they are: groups of rules, and panels with queries.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::chart;

/// Where the runbooks are in the rules of a test.
pub const RUNBOOKS: &str = "docs/runbooks";

/// A recording rule or an alert.
#[derive(Clone, Debug)]
pub struct Rule {
    pub file: String,
    pub group: String,
    /// Of the alert, or of the series that it records.
    pub name: String,
    pub is_alert: bool,
    pub expr: String,
    /// The object, with its labels and annotations.
    pub body: Value,
}

/// A question to Prometheus, and where it is asked.
#[derive(Clone, Debug)]
pub struct Query {
    pub place: String,
    pub expr: String,
}

/// File name and text of each rule file, with the two words replaced that whoever installs them replaces: an objective of 99 %.
///
/// # Errors
/// When they cannot be read.
pub fn rule_files() -> Result<Vec<(String, String)>> {
    let mut files = read(&chart().join("rules"), "yaml")?;
    for (_, text) in &mut files {
        *text = text.replace("ERROR_BUDGET", "0.01").replace("RUNBOOK_BASE_URL", RUNBOOKS);
    }
    Ok(files)
}

/// All rules of the chart, in their order.
///
/// # Errors
/// When a file is not as a rule file is.
pub fn rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (file, text) in rule_files()? {
        let parsed: Value = serde_saphyr::from_str(&text).with_context(|| format!("parsing {file}"))?;
        for group in parsed["groups"].as_array().into_iter().flatten() {
            for body in group["rules"].as_array().into_iter().flatten() {
                let name = body["alert"].as_str().or(body["record"].as_str()).with_context(|| format!("{file}: {body}"))?;
                rules.push(Rule {
                    file: file.clone(),
                    group: group["name"].as_str().unwrap_or_default().to_owned(),
                    name: name.to_owned(),
                    is_alert: body["alert"].is_string(),
                    expr: body["expr"].as_str().unwrap_or_default().to_owned(),
                    body: body.clone(),
                });
            }
        }
    }
    Ok(rules)
}

/// File name and object of each dashboard.
///
/// # Errors
/// When one is no JSON.
pub fn dashboards() -> Result<Vec<(String, Value)>> {
    let files = read(&chart().join("dashboards"), "json")?;
    files
        .into_iter()
        .map(|(name, text)| {
            let value = serde_json::from_str(&text).with_context(|| format!("parsing {name}"))?;
            Ok((name, value))
        })
        .collect()
}

/// What the panels and annotations of a dashboard ask.
#[must_use]
pub fn queries(name: &str, dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("{name}, \"{}\" {}", text(&panel["title"]), text(&target["refId"]));
            queries.push(Query { place, expr: text(&target["expr"]) });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().into_iter().flatten() {
        queries.push(Query {
            place: format!("{name}, annotation \"{}\"", text(&annotation["name"])),
            expr: text(&annotation["expr"]),
        });
    }
    queries
}

/// What the variables of a dashboard ask, `label_values(series, label)`: the series and the label.
#[must_use]
pub fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let asked = dashboard["templating"]["list"].as_array().into_iter().flatten();
    asked
        .filter_map(|variable| {
            variable["query"]["query"].as_str()?.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")
        })
        .map(|(series, label)| (series.to_owned(), label.to_owned()))
        .collect()
}

/// The series that an expression names: words with a prefix of ours or of the process, outside of strings.
#[must_use]
pub fn metrics(expr: &str) -> BTreeSet<String> {
    words(expr)
        .into_iter()
        .filter(|word| word.starts_with("millrace_") || word.starts_with("millrace:") || word.starts_with("process_"))
        .collect()
}

/// The labels that an expression names: in matchers, in `by` and `on`.
#[must_use]
pub fn labels(expr: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for clause in ["by (", "on (", "group_left ("] {
        for part in expr.split(clause).skip(1) {
            let inside = part.split(')').next().unwrap_or_default();
            labels.extend(inside.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
        }
    }
    let bare = without_strings(expr);
    for part in bare.split('{').skip(1) {
        let inside = part.split('}').next().unwrap_or_default();
        for matcher in inside.split(',') {
            labels.insert(matcher.split(['=', '!']).next().unwrap_or_default().trim().to_owned());
        }
    }
    labels
}

/// The selectors of our own series and the process's: name and what stands in its braces.
#[must_use]
pub fn selectors(expr: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in metrics(expr) {
        for (at, _) in expr.match_indices(name.as_str()) {
            let rest = &expr[at + name.len()..];
            if rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_' || next == ':') {
                continue;
            }
            let inside = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            found.push((name.clone(), inside.to_owned()));
        }
    }
    found
}

/// As Grafana does it before it asks: the variables with their values.
#[must_use]
pub fn substituted(expr: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(&format!("${name}"), value))
}

fn words(expr: &str) -> Vec<String> {
    let bare = without_strings(expr);
    let parts = bare.split(|next: char| !next.is_ascii_alphanumeric() && next != '_' && next != ':');
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn without_strings(expr: &str) -> String {
    expr.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn read(folder: &Path, ending: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push((name, text));
        }
    }
    files.sort();
    Ok(files)
}
