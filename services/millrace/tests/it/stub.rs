//! A tracker with fixed answers, and the command line run against it as a process.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::answers;

/// As of when every answer of the stub holds: ages in the output are counted from here.
pub(crate) const AS_OF: &str = "2026-11-25T12:00:00Z";

/// A running stub.
pub(crate) struct Stub {
    url: String,
    calls: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Stub {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&calls));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Acts that reached the stub since the last call: `POST /path {body}`.
    pub(crate) fn acts(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Runs the command line against the stub and writes down everything that a person or a script would see.
    pub(crate) fn run(&self, line: &str) -> String {
        run_in(Path::new("."), line, Some(&self.url)).replace(&self.url, "http://tracker")
    }
}

/// Runs a command line as a process in a folder, without a terminal.
pub(crate) fn run_in(folder: &Path, line: &str, server: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(words(line)).current_dir(folder).env_clear().env("USER", "a.svoboda").stdin(Stdio::null());
    if let Some(server) = server {
        command.env("MILLRACE_SERVER", server);
    }
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut text = format!("$ millrace {line}\n{stdout}");
    if !stderr.is_empty() {
        text.push_str(&format!("--- on stderr\n{stderr}"));
    }
    text.push_str(&format!("--- exit {}\n", output.status.code().unwrap()));
    text
}

/// Splits at blanks outside double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

async fn answer(State(calls): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = uri.path().trim_start_matches("/api/v1/").to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_else(|_| Bytes::new());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if method == Method::POST {
        calls.lock().unwrap().push(format!("POST {path} {body}"));
    }
    let (status, answer) = answers::answer(&method, &path, uri.query().unwrap_or_default(), &body);
    let status = StatusCode::from_u16(status).unwrap();
    ([("x-millrace-as-of", AS_OF)], (status, Json(answer))).into_response()
}
