//! The alerts: what each fires on and not, by the real promtool; that each says what is wrong, and where its runbook is.

use std::{collections::BTreeSet, fs, process::Command};

use chart::monitoring::{self, RUNBOOKS};
use serde_json::Value;

use crate::catalogue;

/// What `promtool` says about the chart's rules with the test's words filled in.
fn promtool(arguments: &[&str], more: &[(&str, &str)]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let files = monitoring::rule_files().unwrap();
    let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).chain(more.iter().copied());
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let program = devstack::prometheus::program("promtool").unwrap();
    let output = Command::new(program).current_dir(folder.path()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

fn cases() -> String {
    let text = fs::read_to_string(chart::root().join("tests/chart/rules/alerts.yaml")).unwrap();
    text.replace("RUNBOOK_BASE_URL", RUNBOOKS)
}

#[test]
fn prometheus_reads_every_rule_file() {
    let files: Vec<String> = monitoring::rule_files().unwrap().into_iter().map(|(name, _)| name).collect();
    let arguments: Vec<&str> = ["check", "rules"].into_iter().chain(files.iter().map(String::as_str)).collect();
    promtool(&arguments, &[]).unwrap();
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", "alerts.yaml"], &[("alerts.yaml", &cases())]).unwrap();
}

#[test]
fn each_alert_has_a_case_that_fires_and_one_that_does_not() {
    let cases: Value = serde_saphyr::from_str(&cases()).unwrap();
    let checks: Vec<&Value> =
        cases["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()).collect();
    let (mut fires, mut stays) = (BTreeSet::new(), BTreeSet::new());
    for check in checks {
        let is_quiet = check["exp_alerts"].as_array().unwrap().is_empty();
        if is_quiet { &mut stays } else { &mut fires }.insert(check["alertname"].as_str().unwrap());
    }
    // An alert that fires for one series of a case and not for its others shows both halves at once, but each has a quiet case too.
    for rule in monitoring::rules().unwrap().iter().filter(|rule| rule.is_alert) {
        assert!(fires.remove(rule.name.as_str()), "{} never fires in tests/chart/rules/alerts.yaml", rule.name);
        assert!(stays.contains(rule.name.as_str()), "{} has no case in which it stays quiet", rule.name);
    }
    assert!(fires.is_empty(), "{fires:?} are no alerts of the chart");
}

#[test]
fn each_alert_names_its_severity_what_is_wrong_and_its_runbook() {
    for rule in monitoring::rules().unwrap().iter().filter(|rule| rule.is_alert) {
        let name = &rule.name;
        assert!(name.starts_with("Millrace"), "{name}");
        let severity = rule.body["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let summary = rule.body["annotations"]["summary"].as_str().unwrap();
        assert!(summary.contains("{{"), "{name} says what, not where: {summary}");
        if rule.expr.contains("by (destination") || rule.expr.contains("by (domain, destination") {
            // A sink's group has its destination's name.
            let is_named = summary.contains("$labels.destination") || summary.contains("$labels.group");
            assert!(is_named, "{name} does not name the destination: {summary}");
        }
        assert_eq!(rule.body["annotations"]["runbook_url"], format!("{RUNBOOKS}/{name}.md"));
    }
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let alerts: BTreeSet<String> =
        monitoring::rules().unwrap().into_iter().filter(|rule| rule.is_alert).map(|rule| rule.name).collect();
    let folder = chart::root().join(RUNBOOKS);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> =
        files.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).filter(|name| name != "README").collect();
    assert_eq!(alerts, pages);
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for alert in alerts {
        let text = fs::read_to_string(folder.join(format!("{alert}.md"))).unwrap();
        let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, ["Meaning", "Impact", "Diagnosis", "Mitigation"], "{alert}");
        assert!(text.starts_with(&format!("# {alert}\n")), "{alert}");
        assert!(text.contains("millrace "), "{alert} names no command");
        assert!(index.contains(&format!("({alert}.md)")), "{alert} is not in the index");
    }
}

#[test]
fn rules_ask_only_for_what_services_emit_and_other_rules_record() {
    let rules = monitoring::rules().unwrap();
    let recorded: BTreeSet<&str> = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    for rule in &rules {
        let place = format!("{}, {}", rule.file, rule.name);
        catalogue::assert_known(&place, &rule.expr, &recorded);
        assert!(rule.group.starts_with("millrace-"), "{place}: group {}", rule.group);
    }
}

/// What the command line says about itself.
fn help(path: &[&str]) -> Option<String> {
    let program = devstack::dev::profile().unwrap().join("millrace");
    let output = Command::new(program).args(path).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The commands that a page tells to type: lines of its blocks, and what stands in backquotes.
fn commands(page: &str) -> Vec<&str> {
    let lines = page.lines().filter(|line| line.starts_with("millrace "));
    let quoted = page.split('`').skip(1).step_by(2).filter(|quote| quote.starts_with("millrace ") && !quote.contains('\n'));
    lines.chain(quoted).map(|line| line.split(" #").next().unwrap().trim()).collect()
}

#[test]
fn what_runbooks_tell_to_type_is_what_the_command_line_takes() {
    let mut told = 0;
    for rule in monitoring::rules().unwrap().iter().filter(|rule| rule.is_alert) {
        let page = fs::read_to_string(chart::root().join(RUNBOOKS).join(format!("{}.md", rule.name))).unwrap();
        for command in commands(&page) {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            let place = format!("{}.md: {command}", rule.name);
            let mut path = vec![words[0]];
            let mut help_text = help(&path).unwrap_or_else(|| panic!("{place}: no such command"));
            if help_text.contains("\nCommands:\n") {
                path.push(words[1]);
                help_text = help(&path).unwrap_or_else(|| panic!("{place}: no such command"));
            }
            for flag in words.iter().filter(|word| word.starts_with('-')) {
                assert!(
                    help_text.contains(&format!("{flag}, "))
                        || help_text.contains(&format!("{flag} "))
                        || help_text.contains(&format!("{flag}\n")),
                    "{place}: no option {flag}"
                );
            }
            told += 1;
        }
    }
    assert!(told > 40, "only {told} commands were found");
}
