//! `millrace landscape check --bundle`: the checked folder as values of the chart, with what the chart cannot work out by itself: topics,
//! identities with their grants, and what each sink reads.
//!
//! Guarantee: every file comes back byte for byte from the YAML, so a pod names the same policy version as the person who checked. The same
//! folder gives the same bytes.

use std::{collections::BTreeMap, fmt::Write as _};

use avro::{TopicKind, Topics};
use landscape::{Grant, Landscape};
use serde_json::{Value, json};

/// What a ConfigMap holds, keys included; the chart refuses more with a sentence.
const CONFIG_MAP: usize = 1_000_000;

/// The values as YAML.
pub(crate) fn values(landscape: &Landscape, files: &BTreeMap<String, String>) -> String {
    let topics = Topics::new(landscape.kafka.topic_prefix.clone());
    let specs = landscape.topic_specs(&topics);
    let mut text = String::from(
        "# Written by `millrace landscape check --bundle`. Do not edit: change the landscape and write it again.\nlandscape:\n",
    );
    line(&mut text, "  ", "policyVersion", &json!(landscape.policy_version));
    line(&mut text, "  ", "topicPrefix", &json!(topics.prefix()));
    line(&mut text, "  ", "slots", &json!(landscape.kafka.slots));
    text.push_str("  files:\n");
    for (path, content) in files {
        block(&mut text, path, content);
    }
    text.push_str("  topics:\n");
    for spec in &specs {
        let _ = writeln!(
            text,
            "    - {{name: {}, partitions: {}, replicas: {}, config: {}}}",
            quoted(&spec.name),
            spec.partitions,
            spec.replication,
            flow(&json!(spec.config)),
        );
    }
    text.push_str("  users:\n");
    for principal in landscape::rights(landscape, &topics) {
        let _ = writeln!(text, "    - name: {}", quoted(&principal.name));
        line(&mut text, "      ", "service", &json!(principal.service));
        line(&mut text, "      ", "system", &json!(principal.system));
        text.push_str("      acls:\n");
        for grant in &principal.grants {
            item(&mut text, "        ", &acl(grant));
        }
    }
    text.push_str(if landscape.destinations.is_empty() { "  sinks: {}\n" } else { "  sinks:\n" });
    for (name, destination) in &landscape.destinations {
        let reads: Vec<String> = destination.domains.keys().map(|domain| topics.name(&TopicKind::Golden(*domain))).collect();
        line(&mut text, "    ", name, &json!({ "group": format!("{}sink.{name}", topics.prefix()), "topics": reads }));
    }
    text
}

/// Whether the folder fits a ConfigMap; if not, its size.
pub(crate) fn too_large(files: &BTreeMap<String, String>) -> Option<usize> {
    let size = files.iter().map(|(path, text)| path.len() + text.len()).sum();
    (size > CONFIG_MAP).then_some(size)
}

fn acl(grant: &Grant) -> Value {
    let operations: Vec<&str> = grant.operations.iter().map(|operation| operation.name()).collect();
    json!({
        "resource": { "type": grant.resource.name(), "name": grant.name, "patternType": grant.pattern.name() },
        "operations": operations,
    })
}

fn line(text: &mut String, indent: &str, key: &str, value: &Value) {
    let _ = writeln!(text, "{indent}{key}: {}", flow(value));
}

fn item(text: &mut String, indent: &str, value: &Value) {
    let _ = writeln!(text, "{indent}- {}", flow(value));
}

/// JSON is YAML's flow form, except that YAML refuses a few characters that JSON leaves bare.
fn flow(value: &Value) -> String {
    value.to_string().chars().fold(String::new(), |mut text, character| {
        if is_plain(character) {
            text.push(character);
        } else {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        }
        text
    })
}

fn quoted(text: &str) -> String {
    flow(&json!(text))
}

/// A file as a person reads it where YAML can carry it so, else as one quoted line.
fn block(text: &mut String, path: &str, content: &str) {
    let key = quoted(path);
    let is_block =
        content.ends_with('\n') && content.trim() != "" && content.chars().all(|one| one == '\n' || one == '\t' || is_plain(one));
    if !is_block {
        let _ = writeln!(text, "    {key}: {}", quoted(content));
        return;
    }
    // The indent is said, so that a first line may begin with a space; `+` keeps empty lines at the end.
    let keep = if content.ends_with("\n\n") { "+" } else { "" };
    let _ = writeln!(text, "    {key}: |2{keep}");
    for row in content.split_terminator('\n') {
        let indent = if row.is_empty() { "" } else { "      " };
        let _ = writeln!(text, "{indent}{row}");
    }
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
        let mut yaml = String::from("files:\n");
        let files: BTreeMap<String, String> =
            texts.iter().enumerate().map(|(at, text)| (format!("mappings/{at:02}.j2"), (*text).to_owned())).collect();
        for (path, content) in &files {
            block(&mut yaml, path, content);
        }
        yaml.push_str("after: true\n");
        let read: BTreeMap<String, Value> = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let back: BTreeMap<String, String> = serde_json::from_value(read["files"].clone()).unwrap();
        assert_eq!(back, files, "{yaml}");
        assert_eq!(read["after"], json!(true));
    }

    #[test]
    fn what_no_config_map_holds_is_told() {
        let files = |length| BTreeMap::from([("a.csv".to_owned(), "x".repeat(length))]);
        assert_eq!(too_large(&files(900_000)), None);
        assert_eq!(too_large(&files(1_000_000)), Some(1_000_005));
    }
}
