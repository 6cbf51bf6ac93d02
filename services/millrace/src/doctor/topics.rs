//! The cluster's topics against the one list, and what this identity may see of them.

use kafka::{
    Client,
    topics::{TopicChange, plan},
};

use super::{Line, reason};
use crate::{cluster::Cluster, words};

/// Names in one line; more are counted.
const NAMED: usize = 3;

pub(super) async fn check(client: &Client, cluster: &Cluster) -> Vec<Line> {
    let specs = cluster.specs();
    let changes = match plan(client, &specs).await {
        Ok(changes) => changes,
        Err(error) => {
            let next = "millrace topics rights --principal operator";
            return vec![Line::fail("rights", format!("this identity cannot look at the topics: {}", reason(error)), next)];
        }
    };
    let (mut missing, mut different, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for change in &changes {
        match change {
            TopicChange::Create(topic) => missing.push(topic.name.clone()),
            TopicChange::Configure { topic, settings } => {
                let names: Vec<&str> = settings.keys().map(String::as_str).collect();
                different.push(format!("{topic} ({})", names.join(", ")));
            }
            TopicChange::Impossible { topic, what } => wrong.push(format!("{topic}: {what}")),
        }
    }
    let mut lines = Vec::new();
    if !wrong.is_empty() {
        lines.push(Line::fail("topics", listed(&wrong), "millrace topics plan, and docs/topics.md"));
    }
    if !missing.is_empty() {
        let text = format!("missing, or not visible to this identity: {}", listed(&missing));
        lines.push(Line::fail("topics", text, "millrace topics apply"));
    }
    if !different.is_empty() {
        lines.push(Line::warn("topics", format!("other settings than listed: {}", listed(&different)), "millrace topics apply"));
    }
    if lines.is_empty() {
        let count = i64::try_from(specs.len()).unwrap_or(i64::MAX);
        lines.push(Line::ok("topics", format!("{} as listed", words::count(count, "topic"))));
        lines.push(Line::ok("rights", "this identity may look at all of them"));
    }
    lines
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len().min(NAMED)].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(listed(&names), "a, b, c and 2 more");
        assert_eq!(listed(&names[..2]), "a, b");
    }
}
