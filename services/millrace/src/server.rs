//! Where the tracker is, and how it is asked.
//!
//! `--server` or `MILLRACE_SERVER`; else `--context` from `$XDG_CONFIG_HOME/millrace/contexts.yaml`; else the demo that runs in
//! this folder (`target/demo/demo.json`), named on stderr.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use model::Timestamp;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::{demo::Demo, exit::Failure, options::Global, output};

/// One entry of `contexts.yaml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedContext {
    pub(crate) server: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) brokers: Vec<String>,
    #[serde(default)]
    pub(crate) registry: Vec<String>,
}

impl NamedContext {
    /// Reads one entry by name.
    pub(crate) fn read(name: &str) -> Result<Self, Failure> {
        let folder = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
            .ok_or_else(|| Failure::usage("--context needs XDG_CONFIG_HOME or HOME"))?;
        let path = folder.join("millrace").join("contexts.yaml");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::usage(format!("reading {} for --context: {error}", path.display())))?;
        let mut contexts: BTreeMap<String, Self> =
            serde_saphyr::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        contexts.remove(name).ok_or_else(|| {
            let guess = output_guess(name, contexts.keys().map(String::as_str));
            Failure::usage(format!("no context `{name}` in {}{guess}", path.display()))
        })
    }
}

fn output_guess<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    crate::words::nearest(name, known).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default()
}

/// The tracker's API.
pub(crate) struct Server {
    base: Url,
    client: reqwest::Client,
    token: Option<String>,
    actor: String,
    verbose: bool,
}

/// An answer, and as of when it holds.
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) as_of: Timestamp,
}

impl Answer {
    /// The items of a list.
    pub(crate) fn items(&self) -> &[Value] {
        self.body.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Server {
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let mut token_file = global.token_file.clone();
        let address = if let Some(server) = &global.server {
            server.clone()
        } else if let Some(name) = &global.context {
            let context = NamedContext::read(name)?;
            token_file = token_file.or(context.token_file);
            context.server.ok_or_else(|| Failure::usage(format!("context `{name}` names no server")))?
        } else if let Some(demo) = Demo::find()? {
            if !global.output().quiet {
                output::note(&format!("Asking the demo in target/demo, {}", demo.server));
            }
            demo.server
        } else {
            return Err(Failure::usage(
                "where is the tracker? Name it with --server URL, MILLRACE_SERVER or --context, or run in the folder of a demo",
            ));
        };
        let read = |file: PathBuf| {
            std::fs::read_to_string(&file)
                .map(|text| text.trim().to_owned())
                .map_err(|error| Failure::usage(format!("reading the token file {}: {error}", file.display())))
        };
        let token = token_file.map(read).transpose()?;
        token.iter().for_each(|token| telemetry::secret::keep(token));
        landscape::no_login(&address).map_err(|why| Failure::usage(format!("{why} (--token-file)")))?;
        let base = Url::parse(&format!("{}/api/v1/", address.trim_end_matches('/')))
            .map_err(|error| Failure::usage(format!("`{address}` is not a URL such as http://127.0.0.1:8080: {error}")))?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| Failure::failed(format!("making an HTTP client: {error}")))?;
        Ok(Self { base, client, token, actor: global.actor(), verbose: global.verbose })
    }

    /// Reads. `path` is below `/api/v1/`; parameters without a value are left out.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Answer, Failure> {
        self.call(Method::GET, path, query, None).await
    }

    /// Acts.
    pub(crate) async fn post(&self, path: &str, query: &[(&str, Option<&str>)], body: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, path, query, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<&str>)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut url = self.base.join(path).map_err(|error| Failure::usage(format!("`{path}`: {error}")))?;
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        if self.verbose {
            output::note(&format!("{method} {url}"));
        }
        loop {
            let mut request = self.client.request(method.clone(), url.clone()).header("x-millrace-actor", &self.actor);
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let status = response.status();
            let as_of = response
                .headers()
                .get("x-millrace-as-of")
                .and_then(|text| text.to_str().ok())
                .and_then(|text| text.parse().ok())
                .unwrap_or_default();
            let text = response.text().await.map_err(|error| self.unreachable(&error))?;
            let body: Value = serde_json::from_str(&text)
                .map_err(|_| Failure::failed(format!("{} answers {status} and no JSON: is this the tracker?", self.base)))?;
            if status.is_success() {
                return Ok(Answer { body, as_of });
            }
            // A store that is being read in will answer soon; --timeout bounds the patience.
            if output::text(&body, "code") == "STORE_REBUILDING" {
                tokio::time::sleep(Duration::from_millis(300)).await;
                continue;
            }
            return Err(refusal(status, &body));
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let place = self.base.as_str().trim_end_matches("api/v1/").trim_end_matches('/');
        Failure::unreachable(format!("the tracker at {place} does not answer: {cause}"))
    }
}

fn refusal(status: StatusCode, body: &Value) -> Failure {
    let (code, detail) = (output::text(body, "code"), output::text(body, "detail"));
    let text = if code.is_empty() { format!("the tracker answers {status}") } else { format!("{detail}   ({code})") };
    match status {
        StatusCode::NOT_FOUND => Failure::not_found(detail),
        StatusCode::UNAUTHORIZED => Failure::denied(format!("{text}; name its file with --token-file or MILLRACE_TOKEN_FILE")),
        StatusCode::FORBIDDEN => Failure::denied(text),
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Failure::usage(text),
        StatusCode::SERVICE_UNAVAILABLE => Failure::unreachable(text),
        _ => Failure::failed(text),
    }
}
