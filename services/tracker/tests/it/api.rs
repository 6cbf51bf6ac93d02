//! The API over a local socket: shapes, refusals, and as of when an answer holds.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tracker::{
    api::{self, Api},
    follow::Progress,
    tokens::Tokens,
};

use crate::{
    given::{Log, at},
    store::Fixture,
};

struct Served {
    url: String,
    _fixture: Fixture,
}

/// A tracker that only reads: everything but the acts that need brokers.
async fn served(log: &Log, caught_up: bool) -> Served {
    served_to(log, caught_up, None).await
}

async fn served_to(log: &Log, caught_up: bool, tokens: Option<Arc<Tokens>>) -> Served {
    let fixture = Fixture::new();
    fixture.open().apply(&log.records).unwrap();
    let progress = Arc::new(Progress::default());
    if caught_up {
        progress.settle(at(100));
    }
    let api = Api {
        fleet: Arc::clone(&fixture.fleet),
        reads: fixture.reads(),
        acts: None,
        progress,
        reader: Arc::new(avro::Reader::default()),
        tokens,
        store: fixture.path().into(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api::router(api)).await.unwrap() });
    Served { url, _fixture: fixture }
}

impl Served {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = reqwest::get(format!("{}/{path}", self.url)).await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let response = reqwest::Client::new().post(format!("{}/{path}", self.url)).json(&body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

fn story() -> Log {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).accepted("mes-ulm", "4711/C", 1, 0, 1).golden("4711/C", 2, "RAW", 5);
    log.refused("mes-ulm", "4711/C", 2, 6);
    log.golden("PUMP%2F01/A", 1, "FINISHED", 7);
    log
}

#[tokio::test]
async fn every_answer_says_as_of_when_it_holds() {
    let tracker = served(&story(), true).await;
    let response = reqwest::get(format!("{}/overview", tracker.url)).await.unwrap();
    assert_eq!(response.headers()["x-millrace-as-of"], at(100).to_string());
    assert_eq!(response.headers()["cache-control"], "no-store");
    let overview: Value = response.json().await.unwrap();
    assert_eq!(overview["domains"][0]["cells"]["mes-ulm"]["state"], "refused");
    assert_eq!(overview["dead_letters"]["open"], 1);
}

#[tokio::test]
async fn keys_with_slashes_and_escapes_travel_as_a_query_parameter() {
    let tracker = served(&story(), true).await;
    let (status, record) = tracker.get("records/item?key=PUMP%252F01/A").await;
    assert_eq!((status, &record["golden"]["meta"]["revision"]), (StatusCode::OK, &1.into()));
    let (_, history) = tracker.get("records/item/history?key=4711/C").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    let (_, status) = tracker.get("records/item/status?key=4711%2FC").await;
    assert_eq!(status["destinations"][1]["reason"], "refused");
    let (_, lineage) = tracker.get("records/item/lineage?key=4711/C").await;
    assert_eq!(lineage["change"]["meta"]["author"], "K.NOVAK");
    let (_, hits) = tracker.get("records/item?q=gear%20pump%204711").await;
    assert_eq!(hits["items"][0]["key"], "4711/C");
}

#[tokio::test]
async fn a_letter_is_found_by_its_id_with_slashes_and_shows_what_differs() {
    let tracker = served(&story(), true).await;
    let (_, list) = tracker.get("dead-letters?destination=mes-ulm&code=UNIT_UNKNOWN").await;
    assert_eq!((&list["total"], &list["items"][0]["attempts"]), (&1.into(), &1.into()));
    let id = list["items"][0]["id"].as_str().unwrap();
    let (status, letter) = tracker.get(&format!("dead-letters/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(letter["differences"][0], json!({ "path": "/base_uom", "sent": "SET", "there": "C62" }));
    assert_eq!(letter["payload"], json!({ "unit": "SET" }));
    let (_, stats) = tracker.get("dead-letters/stats?by=class").await;
    assert_eq!((&stats["items"][0]["value"], &stats["items"][0]["open"]), (&"refused".into(), &1.into()));
}

#[tokio::test]
async fn refusals_are_problems_with_a_code() {
    let tracker = served(&story(), true).await;
    for (path, status, code) in [
        ("overview?verbose=1", 400, "BAD_REQUEST"),
        ("dead-letters?destinaton=mes-ulm", 400, "BAD_REQUEST"),
        ("dead-letters?limit=0", 400, "BAD_REQUEST"),
        ("dead-letters/stats?by=colour", 400, "BAD_REQUEST"),
        ("dead-letters/mes-ulm/item/9@9", 404, "NOT_FOUND"),
        ("records/banana?q=x", 404, "NOT_FOUND"),
        ("records/item?key=4711", 400, "BAD_REQUEST"),
        ("records/item?key=9999/A", 404, "NOT_FOUND"),
        ("records/item/status?key=9999/A", 404, "NOT_FOUND"),
        ("replay-plans/p-00000000", 404, "NOT_FOUND"),
        ("destinations/mes-brno", 404, "NOT_FOUND"),
        ("nothing/here", 404, "NOT_FOUND"),
        ("replay-plans/x/run", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let (found, problem) = tracker.get(path).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &code.into()), "{path}: {problem}");
        assert_eq!(problem["type"], format!("docs/errors/{code}.md"), "{path}");
    }
}

#[tokio::test]
async fn acts_without_filter_reason_or_confirmation_are_refused_and_do_nothing() {
    let tracker = served(&story(), true).await;
    for (path, body, status, code, detail) in [
        ("replay-plans", json!({ "filter": {} }), 422, "FILTER_MISSING", "this would replay all 1 open letter of 1 system"),
        ("replay-plans", json!({ "filter": { "code": "OTHER" } }), 404, "NOT_FOUND", "no open dead letter matches"),
        ("replay-plans", json!({ "filtre": {} }), 400, "BAD_REQUEST", "unknown field"),
        ("dead-letters/discard", json!({ "filter": { "code": "UNIT_UNKNOWN" } }), 422, "REASON_MISSING", "say why"),
        (
            "dead-letters/discard",
            json!({ "filter": { "all": true, "system": "mes-ulm" }, "reason": "x" }),
            422,
            "CONFIRM_MISSING",
            "--confirm mes-ulm",
        ),
        ("destinations/mes-ulm/pause", json!({}), 422, "REASON_MISSING", "say why"),
        (
            "destinations/mes-ulm/pause",
            json!({ "reason": "x", "until": "2020-01-01T00:00:00Z" }),
            422,
            "TIME_PASSED",
            "lies in the past",
        ),
        ("records/item/block?key=4711/C", json!({ "reason": " " }), 422, "REASON_MISSING", "say why"),
        ("replay-plans", json!({ "filter": { "all": true } }), 503, "READ_ONLY", "only reads"),
    ] {
        let (found, problem) = tracker.post(path, body).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &code.into()), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_store_that_is_being_read_in_says_so() {
    let tracker = served(&story(), false).await;
    let (status, problem) = tracker.get("records/item?key=4711/C").await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &"STORE_REBUILDING".into()));
    let (status, overview) = tracker.get("overview").await;
    assert_eq!((status, &overview["caught_up"]), (StatusCode::OK, &false.into()));
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_even_by_a_name_that_points_here() {
    let tracker = served(&story(), true).await;
    let here = tracker.url.trim_end_matches("/api/v1").trim_start_matches("http://").to_owned();
    for (host, origin, status) in [
        (here.clone(), None, 200),
        (here.clone(), Some(format!("http://{here}")), 200),
        (here.replace("127.0.0.1", "localhost"), None, 200),
        (here.clone(), Some("https://evil.example".to_owned()), 403),
        (here.clone(), Some("null".to_owned()), 403),
        ("tracker.evil.example".to_owned(), None, 403),
        (here.replace("127.0.0.1", "127.0.0.1.evil.example"), None, 403),
    ] {
        let mut request = reqwest::Client::new().get(format!("{}/overview", tracker.url)).header("host", &host);
        if let Some(origin) = &origin {
            request = request.header("origin", origin);
        }
        let found = request.send().await.unwrap().status();
        assert_eq!(found.as_u16(), status, "host {host}, origin {origin:?}");
    }
}

#[test]
fn every_code_of_the_api_has_its_page() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = std::collections::BTreeSet::new();
    for folder in ["src", "src/api"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() || !path.to_string_lossy().contains("api") {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2).filter(|word| word.contains('_') && word.len() > 6);
            codes.extend(quoted.filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_')).map(str::to_owned));
        }
    }
    assert!(codes.len() >= 12, "{codes:?}");
    for code in codes {
        assert!(root.join(format!("../../docs/errors/{code}.md")).exists(), "docs/errors/{code}.md is missing");
    }
}

#[tokio::test]
async fn with_tokens_only_their_owners_are_answered_and_a_refusal_explains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let token = "a".repeat(32);
    std::fs::write(&file, format!("ops {token}\n")).unwrap();
    let tokens = Tokens::open(&file).unwrap();
    let tracker = served_to(&story(), true, Some(Arc::new(tokens))).await;
    let client = reqwest::Client::new();
    let ask = |credentials: Option<String>| {
        // By a name that is not loopback's: whoever has a token may ask from anywhere.
        let mut request = client.get(format!("{}/overview", tracker.url)).header("host", "tracker.example");
        if let Some(credentials) = credentials {
            request = request.header("authorization", credentials);
        }
        request.send()
    };
    assert_eq!(ask(Some(format!("Bearer {token}"))).await.unwrap().status(), StatusCode::OK);
    for credentials in [None, Some("Bearer wrong".to_owned()), Some(format!("Basic {token}")), Some(token.clone())] {
        let refused = ask(credentials.clone()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{credentials:?}");
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "NOT_SIGNED_IN");
    }
}

#[tokio::test]
async fn the_doctor_learns_landscape_clock_and_disk() {
    let tracker = served(&story(), true).await;
    let (status, about) = tracker.get("about").await;
    assert_eq!(status, StatusCode::OK);
    assert!(about["policy_version"].as_str().is_some_and(|version| !version.is_empty()), "{about}");
    assert!(about["store"]["free_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{about}");
    assert_eq!(about["destinations"][0]["state"], "unknown", "no sink has spoken: {about}");
}

#[tokio::test]
async fn a_reason_and_a_body_have_a_bound_that_is_named() {
    let served = served(&Log::default(), true).await;
    let (status, problem) = served.post("destinations/mes-ulm/pause", json!({"reason": "x".repeat(5_000)})).await;
    assert_eq!((status, problem["field"].as_str()), (StatusCode::BAD_REQUEST, Some("reason")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("4096"), "{problem}");
    let ids: Vec<String> = (0..40_000).map(|number| format!("mes-ulm/item/3@{number}")).collect();
    let (status, problem) = served.post("replay-plans", json!({"filter": {"ids": ids}})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::BAD_REQUEST, Some("BAD_REQUEST")), "{problem}");
}
