//! The tracker's API as the command line and the console ask it.

use anyhow::{Context, Result, ensure};
use devstack::Stack;
use serde_json::Value;

/// Whose name stands in the audit log.
pub(crate) const ACTOR: &str = "anna";

/// A person at the tracker's API.
pub(crate) struct Tracker {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl Tracker {
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let server = stack.fleet.server().context("a tracker")?;
        Ok(Self { http: reqwest::Client::new(), server: format!("{server}/api/v1"), token: None })
    }

    /// Who signs in with a token.
    pub(crate) fn signed_in(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    fn ask(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/{path}", self.server));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let request = self.ask(reqwest::Method::GET, path).query(query);
        answered(request, path).await
    }

    pub(crate) async fn post(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Result<Value> {
        let request = self.ask(reqwest::Method::POST, path).query(query).json(body);
        answered(request.header("x-millrace-actor", ACTOR), path).await
    }

    /// Where a record stands at one destination.
    pub(crate) async fn standpoint(&self, domain: &str, key: &str, destination: &str) -> Result<Value> {
        let status = self.get(&format!("records/{domain}/status"), &[("key", key)]).await?;
        let found = status["destinations"].as_array().into_iter().flatten().find(|row| row["destination"] == destination);
        found.cloned().with_context(|| format!("{domain} {key} at {destination}: {status}"))
    }
}

async fn answered(request: reqwest::RequestBuilder, path: &str) -> Result<Value> {
    let answer = request.send().await.with_context(|| format!("asking for {path}"))?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
}
