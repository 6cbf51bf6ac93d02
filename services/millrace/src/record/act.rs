//! `millrace record resend` and `record block`.

use serde_json::json;

use super::Record;
use crate::{
    exit::{Done, Outcome},
    options::{Global, now},
    output::{at, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Resend {
    #[command(flatten)]
    record: Record,

    /// Only to this destination
    #[arg(long, short, value_name = "NAME")]
    destination: Option<String>,

    /// For the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Block {
    #[command(flatten)]
    record: Record,

    /// Only at this destination
    #[arg(long, short, value_name = "NAME")]
    destination: Option<String>,

    /// For the audit log
    #[arg(long, value_name = "TEXT", required_unless_present = "off")]
    reason: Option<String>,

    /// Until then: 14:00 (UTC), 2h, or RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "off")]
    until: Option<String>,

    /// Let it flow again
    #[arg(long)]
    off: bool,
}

impl Resend {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let body = json!({ "reason": self.reason });
        act(global, &self.record, "resend", self.destination.as_deref(), body, "will be sent again to").await
    }
}

impl Block {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        if self.off {
            let body = json!({ "reason": self.reason });
            return act(global, &self.record, "unblock", self.destination.as_deref(), body, "flows again to").await;
        }
        let until = self.until.as_deref().map(|text| words::instant(text, now(), true)).transpose();
        let until = until.map_err(crate::exit::Failure::usage)?;
        let body = json!({ "reason": self.reason, "until": until });
        act(global, &self.record, "block", self.destination.as_deref(), body, "is held back from").await
    }
}

async fn act(
    global: &Global,
    record: &Record,
    verb: &str,
    destination: Option<&str>,
    body: serde_json::Value,
    words: &str,
) -> Outcome {
    let (domain, key) = record.parse()?;
    let server = Server::find(global)?;
    if global.dry_run {
        // Reading the record first: a dry run of what cannot be done must not look fine.
        server.get(&format!("records/{domain}/status"), &[("key", Some(key.as_str()))]).await?;
        global
            .output()
            .hint(&format!("{domain} {key} {words} {}. Nothing was done.", destination.unwrap_or("every destination in scope")));
        return Ok(Done::Yes);
    }
    let query = [("key", Some(key.as_str())), ("destination", destination)];
    let answer = server.post(&format!("records/{domain}/{verb}"), &query, &body).await?;
    let names: Vec<String> = answer.items().iter().map(|item| text(item, "destination")).collect();
    global.output().object(&answer.body, key.as_str(), || format!("{domain} {key} {words} {}", names.join(", ")))?;
    if at(&answer.body, "items").as_array().is_some_and(Vec::is_empty) {
        global.output().hint("No destination needs this record; nothing was sent.");
    } else {
        global.output().hint(&format!("See: millrace record where {domain} {key}"));
    }
    Ok(Done::Yes)
}
