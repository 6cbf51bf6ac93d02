//! `millrace record show`: the golden record with its owners, beside what a destination has; or a search.

use serde_json::{Value, json};

use super::{Record, domain};
use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{self, Column, List, Sight, at, integer, text},
    server::{Answer, Server},
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// customer, item, work_center or reference
    domain: String,

    /// Key components joined by `/`, such as 4711/C
    #[arg(required_unless_present = "search")]
    key: Option<String>,

    /// Put the last accepted state of this destination beside it
    #[arg(long, value_name = "DESTINATION")]
    at: Option<String>,

    /// Find records by key, name, drawing number or a number in another system
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    search: Option<String>,

    /// At most so many records of a search
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

const COLUMNS: &[Column] = &[
    Column::new("KEY", |hit, _| text(hit, "key")),
    Column::new("NAME", |hit, _| text(hit, "label")),
    Column::new("REV", |hit, _| text(hit, "revision")).right(),
    Column::new("STATE", |hit, _| if at(hit, "deleted") == &Value::Bool(true) { "deleted".into() } else { "golden".into() }),
];

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let server = Server::find(global)?;
        match &self.key {
            Some(key) => self.show(global, &server, key).await,
            None => self.find(global, &server).await,
        }
    }

    async fn find(&self, global: &Global, server: &Server) -> Outcome {
        let domain = domain(&self.domain)?;
        let limit = self.limit.to_string();
        let query = [("q", self.search.as_deref()), ("limit", Some(limit.as_str()))];
        let answer = server.get(&format!("records/{domain}"), &query).await?;
        if answer.items().is_empty() {
            return Err(Failure::not_found(format!("no {domain} matches `{}`", self.search.as_deref().unwrap_or_default())));
        }
        let next = at(&answer.body, "next").as_str().map(str::to_owned);
        let more = next.is_some();
        global.output().list(&List {
            items: answer.items(),
            columns: COLUMNS,
            name: |hit| text(hit, "key"),
            next,
            sight: Sight { now: answer.as_of },
        })?;
        if more {
            global.output().hint(&format!("The first {} shown (--limit).", self.limit));
        }
        Ok(Done::Yes)
    }

    async fn show(&self, global: &Global, server: &Server, key: &str) -> Outcome {
        let (domain, key) = Record { domain: self.domain.clone(), key: key.to_owned() }.parse()?;
        let query = [("key", Some(key.as_str())), ("at", self.at.as_deref())];
        let answer = server.get(&format!("records/{domain}"), &query).await?;
        global.output().object(&answer.body, key.as_str(), || self.render(&answer))?;
        Ok(Done::Yes)
    }

    fn render(&self, answer: &Answer) -> String {
        let (golden, owners, there) = (at(&answer.body, "golden"), at(&answer.body, "owners"), at(&answer.body, "there"));
        let meta = at(golden, "meta");
        let accepted = output::instant(meta, "accepted_at").map(|at| words::clock(at, answer.as_of)).unwrap_or_default();
        let mut head = format!(
            "{} {}   golden revision {}, accepted {accepted} UTC, policy {}",
            text(golden, "domain"),
            text(golden, "key"),
            integer(meta, "revision"),
            text(meta, "policy_version")
        );
        if at(golden, "data").is_null() {
            head.push_str("\ndeleted");
            return head;
        }
        let mut rows = Vec::new();
        leaves("", at(golden, "data"), &mut |path, value| {
            let mut row = vec![path.to_owned(), shown(value), owner_of(owners, path)];
            if let Some(name) = &self.at {
                row.push(beside(there, path, value, name));
            }
            rows.push(row);
        });
        let beside = self.at.as_ref().map(|name| match at(there, "meta").get("revision").and_then(Value::as_i64) {
            Some(revision) => format!("AT {name} ({revision})"),
            None => format!("AT {name} (nothing)"),
        });
        let mut titles = vec!["FIELD", "VALUE", "OWNER"];
        titles.extend(beside.as_deref());
        let mut body = format!("{head}\n{}", output::grid(Some(&titles), &[], rows.into_iter()));
        for block in at(&answer.body, "blocked").as_array().into_iter().flatten() {
            let word = super::place::blocked(block, answer.as_of);
            body.push_str(&format!("\nblocked at {}: {word}", text(block, "destination")));
        }
        for finding in at(meta, "findings").as_array().into_iter().flatten() {
            let (rule, path) = (text(finding, "rule_id"), text(finding, "path"));
            body.push_str(&format!("\nwarning {rule} {path}: {}", text(finding, "message")));
        }
        body
    }
}

/// Same as golden, or the other value.
fn beside(there: &Value, path: &str, value: &Value, name: &str) -> String {
    if there.is_null() {
        return format!("nothing at {name}");
    }
    let other = at(there, "data").pointer(path).unwrap_or(&Value::Null);
    if other == value { "same".to_owned() } else { shown(other) }
}

fn owner_of(owners: &Value, path: &str) -> String {
    let group = at(owners, "groups").as_array().into_iter().flatten().find(|group| {
        at(group, "fields").as_array().into_iter().flatten().any(|field| covers(field.as_str().unwrap_or_default(), path))
    });
    group.map_or_else(|| text(owners, "owner"), |group| text(group, "owner"))
}

/// A pointer whose segments may be `*` covers a path and everything below it.
fn covers(pointer: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    pointer.split('/').all(|segment| parts.next().is_some_and(|part| segment == "*" || segment == part))
}

/// Every value that says something, with its RFC 6901 pointer.
fn leaves(path: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                leaves(&format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), field, visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(&format!("{path}/{index}"), item, visit);
            }
        }
        leaf => visit(path, leaf),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => json!(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_of_a_group_owns_everything_below_its_fields() {
        let owners = json!({ "owner": "crm", "groups": [{ "owner": "erp", "fields": ["/credit_limit", "/plants/*/status"] }] });
        for (path, owner) in [
            ("/name", "crm"),
            ("/credit_limit/amount", "erp"),
            ("/plants/0/status", "erp"),
            ("/plants/0/plant", "crm"),
            ("/credit", "crm"),
        ] {
            assert_eq!(owner_of(&owners, path), owner, "{path}");
        }
    }
}
