//! What changed in the schema of a golden topic from release to release, read from the releases themselves.

use std::{collections::BTreeMap, fmt::Write as _};

use avro::fields::{self, Field};

/// The changelog of a subject, the newest first. `versions` are names and texts, the oldest first.
pub(super) fn changelog(subject: &str, versions: &[(String, &str)]) -> String {
    let mut text = format!("# {subject}\n\nCompatibility FULL_TRANSITIVE: every version reads every other one.\n");
    let trees: Vec<BTreeMap<String, String>> = versions.iter().map(|(_, text)| tree(text)).collect();
    for (index, (name, _)) in versions.iter().enumerate().rev() {
        write!(text, "\n## {name}\n\n").expect("a text takes any text");
        let lines = match index.checked_sub(1) {
            None => vec![format!("First release: {} fields.", trees[index].len())],
            Some(before) => differences(&trees[before], &trees[index]),
        };
        lines.iter().for_each(|line| text.push_str(&format!("* {line}\n")));
    }
    text
}

fn differences(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, kind) in now {
        match before.get(path) {
            None => lines.push(format!("`{path}` is new: {kind}")),
            Some(was) if was != kind => lines.push(format!("`{path}` was {was}, is {kind}")),
            Some(_) => {}
        }
    }
    lines.extend(before.keys().filter(|path| !now.contains_key(*path)).map(|path| format!("`{path}` is gone")));
    if lines.is_empty() {
        lines.push("Only words changed: docs and marks.".to_owned());
    }
    lines
}

/// Path → kind.
fn tree(text: &str) -> BTreeMap<String, String> {
    fn walk(fields: &[Field], above: &str, found: &mut BTreeMap<String, String>) {
        for field in fields {
            let path = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
            let may_be_null = if field.nullable { ", or null" } else { "" };
            found.insert(path.clone(), format!("{}{may_be_null}", field.kind.name()));
            walk(field.kind.fields(), &path, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&fields::tree(&serde_json::from_str(text).unwrap_or_default()), "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_or_changed_is_named_by_its_path() {
        let schema = |fields: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#);
        let kind = |symbols: &str| {
            format!(
                r#"{{"name": "state", "type": {{"type": "enum", "name": "E", "symbols": [{symbols}]}}, "default": "UNKNOWN"}}"#
            )
        };
        let first = schema(&format!(r#"{{"name": "id", "type": "string"}}, {}"#, kind(r#""UNKNOWN", "OLD""#)));
        let second = schema(&format!(
            r#"{{"name": "id", "type": "string"}}, {}, {{"name": "size", "type": ["null", "int"], "default": null}}"#,
            kind(r#""UNKNOWN", "OLD", "NEW""#)
        ));
        let third = schema(&format!(r#"{{"name": "id", "type": "string"}}, {}"#, kind(r#""UNKNOWN", "OLD", "NEW""#)));
        let versions: Vec<(String, &str)> =
            [&first, &second, &third].iter().zip(1..).map(|(text, n)| (format!("Release {n}"), text.as_str())).collect();
        let text = changelog("s", &versions);
        let expected = "\n## Release 3\n\n* `size` is gone\n\n## Release 2\n\n* `size` is new: int, or null\n* `state` was one of UNKNOWN, OLD, is \
                        one of UNKNOWN, OLD, NEW\n\n## Release 1\n\n* First release: 2 fields.\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
