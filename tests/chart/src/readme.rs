//! The table of values in the chart's README: every key of values.yaml with its default and the comment above it.

use anyhow::{Context, Result, bail};

/// One key that a user may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub path: String,
    pub default: String,
    pub comment: String,
}

const BEGIN: &str = "<!-- values: generated from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

/// The README with its table as values.yaml has it now.
///
/// # Errors
/// When a key has no comment, or the README has no place for the table.
pub fn readme(readme: &str, values: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("looking for the table's beginning in README.md")?;
    let (_, after) = rest.split_once(END).context("looking for the table's end in README.md")?;
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for value in values_of(values)? {
        let cell = |text: &str| text.replace('|', "\\|");
        table
            .push_str(&["| `", &value.path, "` | ", &code(&cell(&value.default)), " | ", &cell(&value.comment), " |\n"].concat());
    }
    Ok([before, BEGIN, &table, END, after].concat())
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Every key that holds a value, in order.
///
/// # Errors
/// When one has no comment: a value that nobody explains should not be there.
pub fn values_of(text: &str) -> Result<Vec<Value>> {
    let mut parents: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(text) = trimmed.strip_prefix("# ") {
            comment.push(text.trim());
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let Some((key, rest)) = trimmed.split_once(':') else { continue };
        parents.truncate((line.len() - trimmed.len()) / 2);
        parents.push(key);
        // Without a value of its own it is a section: its keys follow.
        let default = rest.trim();
        if default.is_empty() {
            continue;
        }
        let path = parents.join(".");
        if said.is_empty() {
            bail!("values.yaml: {path} has no comment above it");
        }
        found.push(Value { path, default: default.to_owned(), comment: said });
    }
    Ok(found)
}
