//! `millrace landscape check --bundle`: the checked folder as values of the chart, with what the chart cannot work out by itself: topics,
//! identities with their grants, and what each sink reads.
//!
//! Guarantee: every file comes back byte for byte from the YAML, so a pod names the same policy version as the person who checked. The same
//! folder gives the same bytes.

use std::collections::BTreeMap;

use avro::{TopicKind, Topics};
use landscape::{Grant, Landscape};
use serde_json::{Value, json};

/// What a ConfigMap holds, keys included; the chart refuses more with a sentence.
const CONFIG_MAP: usize = 1_000_000;

/// The values as YAML.
pub(crate) fn values(landscape: &Landscape, files: &BTreeMap<String, String>) -> String {
    let topics = Topics::new(landscape.kafka.topic_prefix.clone());
    let mut lines = vec![
        "# Written by `millrace landscape check --bundle`. Do not edit: change the landscape and write it again.".to_owned(),
        "landscape:".to_owned(),
        format!("  policyVersion: {}", quoted(&landscape.policy_version)),
        format!("  topicPrefix: {}", quoted(topics.prefix())),
        format!("  slots: {}", landscape.kafka.slots),
        "  files:".to_owned(),
    ];
    lines.extend(files.iter().flat_map(|(path, content)| block(path, content)));
    lines.push("  topics:".to_owned());
    lines.extend(landscape.topic_specs(&topics).iter().map(|spec| {
        let (name, config) = (quoted(&spec.name), flow(&json!(spec.config)));
        format!("    - {{name: {name}, partitions: {}, replicas: {}, config: {config}}}", spec.partitions, spec.replication)
    }));
    lines.push("  users:".to_owned());
    for principal in landscape::rights(landscape, &topics) {
        lines.push(format!("    - name: {}", quoted(&principal.name)));
        lines.push(format!("      service: {}", quoted(principal.service)));
        lines.push(format!("      system: {}", flow(&json!(principal.system))));
        lines.push("      acls:".to_owned());
        lines.extend(principal.grants.iter().map(|grant| format!("        - {}", acl(grant))));
    }
    lines.push(if landscape.destinations.is_empty() { "  sinks: {}" } else { "  sinks:" }.to_owned());
    for (name, destination) in &landscape.destinations {
        let reads: Vec<String> = destination.domains.keys().map(|domain| topics.name(&TopicKind::Golden(*domain))).collect();
        let group = quoted(&format!("{}sink.{name}", topics.prefix()));
        lines.push(format!("    {name}: {{group: {group}, topics: {}}}", flow(&json!(reads))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Whether the folder fits a ConfigMap; if not, its size.
pub(crate) fn too_large(files: &BTreeMap<String, String>) -> Option<usize> {
    let size = files.iter().map(|(path, text)| path.len() + text.len()).sum();
    (size > CONFIG_MAP).then_some(size)
}

/// The first file whose name no key of a ConfigMap can carry, even with `/` written as `__`.
pub(crate) fn unnameable(files: &BTreeMap<String, String>) -> Option<&String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/');
    files.keys().find(|path| path.len() > 200 || !path.chars().all(fits))
}

/// As Strimzi's KafkaUser has it.
fn acl(grant: &Grant) -> String {
    let operations: Vec<&str> = grant.operations.iter().map(|operation| operation.name()).collect();
    format!(
        "{{resource: {{type: {}, name: {}, patternType: {}}}, operations: [{}]}}",
        grant.resource.name(),
        quoted(&grant.name),
        grant.pattern.name(),
        operations.join(", ")
    )
}

/// JSON is YAML's flow form, except that YAML refuses a few characters that JSON leaves bare.
fn flow(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if is_plain(character) {
            text.push(character);
        } else {
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    text
}

fn quoted(text: &str) -> String {
    flow(&json!(text))
}

/// A file as a person reads it where YAML can carry it so, else as one quoted line.
fn block(path: &str, content: &str) -> Vec<String> {
    let key = quoted(path);
    let is_block =
        content.ends_with('\n') && content.trim() != "" && content.chars().all(|one| one == '\n' || one == '\t' || is_plain(one));
    if !is_block {
        return vec![format!("    {key}: {}", quoted(content))];
    }
    // The indent is said, so that a first line may begin with a space; `+` keeps empty lines at the end.
    let keep = if content.ends_with("\n\n") { "+" } else { "" };
    let mut lines = vec![format!("    {key}: |2{keep}")];
    lines.extend(content.split_terminator('\n').map(|row| if row.is_empty() { String::new() } else { format!("      {row}") }));
    lines
}

/// Characters that YAML takes as they are, on a line.
fn is_plain(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_comes_back_byte_for_byte() {
        let texts = [
            "",
            "\n",
            "\n\n",
            " \n",
            "a: 1\n",
            "a: 1",
            "a\n\n\n",
            "  indented first\nthen not\n",
            "\n\nlater\n",
            "tab\there\n\tthere\n",
            "windows\r\nlines\r\n",
            "bell\u{7}\n",
            "delete\u{7f}\n",
            "next line\u{85}\n",
            "\u{feff}with a mark\n",
            "line\u{2028}separator\n",
            "trailing spaces  \n   \nend\n",
            "Müller € 𝄞\n",
            "{{ item.id | tojson }}\n",
            "# comment\n---\n...\n",
            "--- \"quoted\" \\ back\n",
        ];
        let files: BTreeMap<String, String> =
            texts.iter().enumerate().map(|(at, text)| (format!("mappings/{at:02}.j2"), (*text).to_owned())).collect();
        let mut lines = vec!["files:".to_owned()];
        lines.extend(files.iter().flat_map(|(path, content)| block(path, content)));
        lines.push("after: true\n".to_owned());
        let yaml = lines.join("\n");
        let read: BTreeMap<String, Value> = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let back: BTreeMap<String, String> = serde_json::from_value(read["files"].clone()).unwrap();
        assert_eq!(back, files, "{yaml}");
        assert_eq!(read["after"], json!(true));
    }

    #[test]
    fn names_that_no_config_map_takes_are_found() {
        let files = |name: &str| BTreeMap::from([("millrace.yaml".to_owned(), String::new()), (name.to_owned(), String::new())]);
        assert_eq!(unnameable(&files("mappings/mes-ulm/bill_of_material.j2")), None);
        assert_eq!(unnameable(&files("tables/Stückliste.csv")).map(String::as_str), Some("tables/Stückliste.csv"));
        assert!(unnameable(&files("tables/with space.csv")).is_some());
    }

    #[test]
    fn what_no_config_map_holds_is_told() {
        let files = |length| BTreeMap::from([("a.csv".to_owned(), "x".repeat(length))]);
        assert_eq!(too_large(&files(900_000)), None);
        assert_eq!(too_large(&files(1_000_000)), Some(1_000_005));
    }
}
