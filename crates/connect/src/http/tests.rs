//! Against a local endpoint that behaves badly in every way a plant can.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::put,
};
use tokio::sync::Mutex as AsyncMutex;

use super::*;

type Seen = Arc<AsyncMutex<Vec<(String, HeaderMap, String)>>>;

async fn plant() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let app = Router::new().route("/api/{domain}/{*key}", put(answer).delete(answer)).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, seen)
}

/// The key says how to behave.
async fn answer(State(seen): State<Seen>, Path((_, key)): Path<(String, String)>, headers: HeaderMap, body: String) -> Response {
    seen.lock().await.push((key.clone(), headers, body));
    match key.split('/').next().unwrap() {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            StatusCode::OK.into_response()
        }
        "tagged" => (StatusCode::OK, [("etag", "\"999\"")]).into_response(),
        "busy" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3")]).into_response(),
        "broken" => (StatusCode::INTERNAL_SERVER_ERROR, "stack trace").into_response(),
        "moved" => (StatusCode::TEMPORARY_REDIRECT, [("location", "http://127.0.0.1:1/stolen")]).into_response(),
        "huge" => (StatusCode::UNPROCESSABLE_ENTITY, "x".repeat(5 << 20)).into_response(),
        "echo" | "echo-fine" => {
            let sent = seen.lock().await.last().unwrap().1["authorization"].to_str().unwrap().to_owned();
            let escaped: String = sent.chars().map(|letter| format!("\\u{:04x}", letter as u32)).collect();
            let body =
                format!(r#"{{"message": "who is {sent}?", "field": "{escaped}", "value": "{sent}", "external_id": "{sent}"}}"#);
            let location = format!("/login?was={}", sent.replace(' ', "%20"));
            let status = if key.contains("fine") { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            (status, [("location", location), ("retry-after", sent)], body).into_response()
        }
        "no" => (StatusCode::UNPROCESSABLE_ENTITY, r#"{"code":"UNIT_UNKNOWN","field":"unit","value":"SET"}"#).into_response(),
        _ => (StatusCode::CREATED, r#"{"revision": 5, "external_id": "100045"}"#).into_response(),
    }
}

fn config(address: SocketAddr) -> Config {
    Config {
        name: "mes-test".to_owned(),
        url: format!("http://{address}/api"),
        timeout: Duration::from_millis(500),
        authorization: Some("Bearer CANARY-1\n".to_owned()),
        concurrency: 4,
        etag_is_revision: false,
        answers: None,
    }
}

fn destination(address: SocketAddr) -> Destination {
    Destination::new(config(address)).unwrap()
}

async fn call(destination: &Destination, key: &str, payload: Option<&str>) -> Answer {
    let key = RecordKey::new(Domain::Item, &[key, "A B/C"]).unwrap();
    destination.deliver(delivery(&key, payload)).await
}

fn delivery<'a>(key: &'a RecordKey, payload: Option<&str>) -> Delivery<'a> {
    Delivery {
        domain: Domain::Item,
        key,
        revision: 5,
        payload: payload.map(str::to_owned),
        content_type: "application/json",
        idempotency_key: "K".repeat(52),
        personal: Vec::new(),
        absent: &[],
        record: None,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01".to_owned(),
        now: Timestamp::from_millis(0),
    }
}

#[tokio::test]
async fn a_call_carries_key_revision_and_body_and_the_answer_names_the_number_there() {
    let (address, seen) = plant().await;
    let destination = destination(address);
    let answer = call(&destination, "4711", Some(r#"{"unit":"PCE"}"#)).await;
    assert_eq!((answer.class, answer.code.as_deref()), (AnswerClass::Accepted, Some("201")));
    assert_eq!(answer.external_id.as_deref(), Some("100045"));
    call(&destination, "4711", None).await;
    let seen = seen.lock().await;
    let (key, headers, body) = &seen[0];
    assert_eq!(key, "4711/A%20B%2FC", "decoded once it is the record key");
    assert_eq!(headers["idempotency-key"], "K".repeat(52));
    assert_eq!(headers["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    assert_eq!(headers["millrace-revision"], "5");
    assert_eq!(headers["authorization"], "Bearer CANARY-1");
    assert_eq!(body, r#"{"unit":"PCE"}"#);
    assert_eq!(seen[1].2, "", "a delete has no body");
}

#[tokio::test]
async fn every_misbehaviour_has_its_class() {
    let (address, _) = plant().await;
    let destination = destination(address);
    for (key, class) in [
        ("slow", AnswerClass::Retryable),
        ("busy", AnswerClass::Throttled),
        ("broken", AnswerClass::Retryable),
        ("moved", AnswerClass::Destination),
        ("huge", AnswerClass::Permanent),
        ("no", AnswerClass::Permanent),
        ("fine", AnswerClass::Accepted),
    ] {
        let started = Instant::now();
        let answer = call(&destination, key, Some("{}")).await;
        assert_eq!(answer.class, class, "{key}: {answer:?}");
        assert!(answer.text.is_none_or(|text| text.len() <= answer::TEXT_BYTES), "{key}");
        assert!(started.elapsed() < Duration::from_secs(10), "{key}");
    }
    assert_eq!(call(&destination, "busy", Some("{}")).await.retry_after, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn an_etag_is_the_revision_only_where_the_landscape_says_so() {
    let (address, _) = plant().await;
    for (etag_is_revision, class) in [(false, AnswerClass::Accepted), (true, AnswerClass::HasNewer)] {
        let destination = Destination::new(Config { etag_is_revision, ..config(address) }).unwrap();
        assert_eq!(call(&destination, "tagged", Some("{}")).await.class, class, "{etag_is_revision}");
    }
}

#[tokio::test]
async fn what_we_sent_to_be_let_in_is_in_no_part_of_an_answer() {
    let (address, _) = plant().await;
    let destination = destination(address);
    for key in ["echo", "echo-fine"] {
        let answer = format!("{:?}", call(&destination, key, Some("{}")).await);
        assert!(answer.contains("***") && !answer.contains("CANARY"), "{answer}");
    }
}

#[tokio::test]
async fn a_closed_port_is_the_destinations_fault_and_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = call(&destination(address), "4711", Some("{}")).await;
    assert_eq!(answer.class, AnswerClass::Destination);
    let problem = answer.problem.unwrap();
    assert_eq!(problem.code, "UNREACHABLE");
    assert!(!problem.message.contains("CANARY"), "{}", problem.message);
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            _ = socket.read(&mut request).await;
            _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"revi").await;
        }
    });
    let answer = call(&destination(address), "4711", Some("{}")).await;
    assert_eq!(answer.class, AnswerClass::Retryable, "{answer:?}");
}

/// Takes the request line of every call as it came over the wire, before any router reads it.
async fn recorder() -> (SocketAddr, Arc<AsyncMutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lines = Arc::<AsyncMutex<Vec<String>>>::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 4096];
                let read = socket.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..read]);
            }
            let text = String::from_utf8(request).unwrap();
            seen.lock().await.push(text.lines().next().unwrap().to_owned());
            socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        }
    });
    (address, lines)
}

/// What a server does with a target: dot segments are resolved, also the encoded ones, and empty segments fold.
fn resolved(target: &str) -> String {
    let mut path: Vec<&str> = Vec::new();
    for segment in target.split('/') {
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "" | "." => {}
            ".." => _ = path.pop(),
            _ => path.push(segment),
        }
    }
    format!("/{}", path.join("/"))
}

/// The letters that a path could stumble over, alone and in every pair.
fn awkward() -> Vec<String> {
    let letters = [
        ".", "..", "/", "//", "?", "#", "\\", "%", "%2E", "%2e%2e", "%25", "%2F", ";", " ", "\u{0}", "\n", "\u{7f}", "*", "~",
        "ä", "A", "@", ":", "&", "+",
    ];
    let pairs = letters.iter().flat_map(|one| letters.iter().map(move |two| format!("{one}{two}")));
    let mut all: Vec<String> = letters.iter().map(|letter| (*letter).to_owned()).chain(pairs).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn a_key_of_dots_is_called_under_its_own_name() {
    let (address, lines) = recorder().await;
    let destination = destination(address);
    for key in [".", "..", "A"] {
        call(&destination, key, Some("{}")).await;
    }
    let lines = lines.lock().await;
    assert_eq!(
        *lines,
        [
            "PUT /api/item/%252E/A%2520B%252FC HTTP/1.1",
            "PUT /api/item/%252E%252E/A%2520B%252FC HTTP/1.1",
            "PUT /api/item/A/A%2520B%252FC HTTP/1.1",
        ]
    );
    // Decoded once, as routers do, it reads as the key.
    for (decoded, key) in [("%2E/A%20B%2FC", "."), ("%2E%2E/A%20B%2FC", "..")] {
        assert_eq!(RecordKey::parse(Domain::Item, decoded).unwrap().components()[0], key);
    }
}

#[tokio::test]
async fn distinct_keys_are_distinct_targets_below_the_base_path() {
    let (address, lines) = recorder().await;
    let destination = destination(address);
    let awkward = awkward();
    let mut keys = std::collections::BTreeSet::new();
    for (turn, one) in awkward.iter().enumerate() {
        // Each text in each place, beside another one.
        let two = &awkward[(turn * 7 + 3) % awkward.len()];
        keys.insert(RecordKey::new(Domain::Item, &[one, two]).unwrap());
    }
    for key in &keys {
        assert_eq!(destination.deliver(delivery(key, None)).await.class, AnswerClass::Accepted, "{key}");
    }
    let lines = lines.lock().await;
    let mut targets = std::collections::BTreeSet::new();
    for (line, key) in lines.iter().zip(&keys) {
        let target = line.strip_prefix("DELETE ").and_then(|line| line.strip_suffix(" HTTP/1.1")).unwrap();
        assert_eq!(resolved(target), target, "{key} is read as another address");
        let below = target.strip_prefix("/api/item/").unwrap_or_else(|| panic!("{key} left the base path: {target}"));
        assert_eq!(below.split('/').count(), 2, "{target}");
        assert!(targets.insert(target), "{key} shares {target} with another key");
    }
    assert_eq!(targets.len(), keys.len());
}

#[test]
fn an_address_that_is_none_is_refused_at_start() {
    for url in ["", "plant", "ftp://plant/", "mailto:a@b", "http://mdm:hidden@plant/", "http://mdm:hid/hidden@plant/"] {
        let config = Config {
            name: String::new(),
            url: url.to_owned(),
            timeout: Duration::from_secs(1),
            authorization: None,
            concurrency: 1,
            etag_is_revision: false,
            answers: None,
        };
        let Err(error) = Destination::new(config) else { panic!("{url}") };
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn what_makes_no_request_is_the_records_fault_and_never_the_destinations() {
    let (address, seen) = plant().await;
    // As it may lie in a topic: nothing of ours makes such a key.
    let key: RecordKey = serde_json::from_value(serde_json::Value::String(format!("{}/C", "x".repeat(70_000)))).unwrap();
    let delivery = Delivery {
        domain: Domain::Item,
        key: &key,
        revision: 5,
        payload: Some("{}".to_owned()),
        content_type: "application/json",
        idempotency_key: "mes-test/item/x/5".to_owned(),
        personal: Vec::new(),
        absent: &[],
        record: None,
        traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".to_owned(),
        now: Timestamp::from_millis(0),
    };
    let answer = destination(address).deliver(delivery).await;
    assert_eq!(answer.class, AnswerClass::Permanent);
    let problem = answer.problem.unwrap();
    assert_eq!(problem.code, "REQUEST_IMPOSSIBLE");
    assert!(problem.message.len() <= 1024, "{}", problem.message.len());
    assert!(seen.lock().await.is_empty());
}
