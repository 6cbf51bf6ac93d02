//! What services say of themselves on `/readyz`: a refused write, a wrong password and a missing topic are named there by the one that
//! meets them.

use std::time::Duration;

use serde_json::Value;

use super::{Line, is_about_rights};

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(addresses: &[String]) -> Vec<Line> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let client = match reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return vec![Line::fail("services", format!("making an HTTP client: {error}"), "try again")],
    };
    let mut lines = Vec::new();
    for address in addresses {
        lines.extend(ask(&client, address.trim_end_matches('/')).await);
    }
    if lines.is_empty() {
        lines.push(Line::ok("services", format!("{} ready", addresses.len())));
    }
    lines
}

async fn ask(client: &reqwest::Client, address: &str) -> Vec<Line> {
    let answer = match client.get(format!("{address}/readyz")).send().await {
        Ok(response) => response.json::<Value>().await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let why = error.without_url();
            return vec![Line::fail(
                "services",
                format!("{address} does not answer: {why}"),
                "is it running? its log says why not",
            )];
        }
    };
    let parts = answer["not_ready"].as_object().into_iter().flatten();
    let line = |(part, why): (&String, &Value)| {
        let why = why.as_str().unwrap_or_default();
        let text = format!("{address} is not ready, {part}: {why}");
        let (subject, next) = if is_about_rights(why) {
            ("rights", "give that right; the service goes on by itself")
        } else {
            ("services", "the reason says what is missing; the service goes on by itself")
        };
        Line::fail(subject, text, next)
    };
    parts.map(line).collect()
}
