//! A JSON source on a local port that behaves, and one that does not.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{Path, Query},
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use connect::http_poll::{Config, Shape, Source, read_again};
use serde_json::json;

const LIMIT: usize = 10;

type Asked = HashMap<String, String>;

/// `/{behaviour}` answers as its name says.
async fn behave(Path(behaviour): Path<String>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let sent = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    let page = asked.get("page").map(String::as_str);
    let item = |id: u32| json!({"id": format!("C-{id}"), "changed_at": "2026-11-20T08:30:00Z", "name": "Pump & Co"});
    let body = match (behaviour.as_str(), page) {
        ("two-pages", None) => json!({"items": [item(1), item(2)], "next": "p2"}),
        ("two-pages", Some("p2")) => json!({"items": [item(3)], "next": null}),
        ("since", None) => json!({"items": [{"id": 7, "changed_at": asked.get("since"), "limit": asked.get("limit")}]}),
        ("empty", None) => json!({"items": []}),
        ("circle", _) => json!({"items": [item(1)], "next": "p2"}),
        ("endless", page) => {
            let number: u32 = page.map_or(0, |page| page.parse().unwrap_or(0));
            json!({"items": [item(number)], "next": number + 1})
        }
        ("mixed", None) => json!({"items": [
            item(1), 17, {"changed_at": "2026-11-20T08:30:00Z"}, {"id": " ", "changed_at": "2026-11-20T08:30:00Z"},
            {"id": "C-2"}, {"id": "C-3", "changed_at": "yesterday"}, item(4)]}),
        ("echo-item", None) => json!({"items": [{"id": "C-1", "changed_at": "2026-11-20T08:30:00Z", "name": sent}, item(2)]}),
        ("echo-token", _) => json!({"items": [], "next": sent}),
        ("echo", _) => return (StatusCode::UNAUTHORIZED, format!("<p>{}no: {sent}", " ".repeat(90))).into_response(),
        ("echo-type", _) => return ([("content-type", sent.to_owned())], "no JSON").into_response(),
        ("long-numbers", None) => {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            let at = r#""changed_at": "2026-11-20T08:30:00Z""#;
            let items = format!(
                r#"{{"items": [{{"id": 12345678901234567890123, {at}, "w": 0.1234567890123456789, "n": 12.50}},
                    {{"id": 12345678901234567890124, {at}}}, {{"id": "C-3", {at}, "deep": {deep}}}, {{"id": "C-4", {at}}}]}}"#
            );
            return ([("content-type", "application/json")], items).into_response();
        }
        ("list", None) => json!([item(1)]),
        ("no-items", None) => json!({"error": "no"}),
        ("odd-next", None) => json!({"items": [], "next": {"page": 2}}),
        ("many", None) => json!({"items": vec![item(1); LIMIT + 1]}),
        ("zeros", None) => json!({"items": vec![0; 2_000_000]}),
        ("bare", None) => json!(vec![0; 2_000_000]),
        ("long-next", None) => json!({"items": [], "next": vec![0; 2_000_000]}),
        ("large", None) => json!({"items": [
            {"x": vec![0; 700_000], "id": "C-1", "changed_at": "2026-11-20T08:30:00Z"}, item(2)]}),
        ("later", _) => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], "slow down").into_response(),
        ("tomorrow", _) => {
            let dates = [("date", "Fri, 20 Nov 2026 08:30:00 GMT"), ("retry-after", "Fri, 20 Nov 2026 08:32:00 GMT")];
            return (StatusCode::SERVICE_UNAVAILABLE, dates).into_response();
        }
        ("html", _) => return Html("<html><body>Please log in</body></html>").into_response(),
        ("half", _) => return ([("content-type", "application/json")], r#"{"items": [{"id": "C-1", "chan"#).into_response(),
        ("500", _) => return (StatusCode::INTERNAL_SERVER_ERROR, "out of memory").into_response(),
        ("moved", _) => return (StatusCode::FOUND, [("location", "/login")]).into_response(),
        ("hang", _) => std::future::pending().await,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(body).into_response()
}

async fn ids(Path(behaviour): Path<String>, Query(asked): Query<Asked>) -> Response {
    let body = match (behaviour.as_str(), asked.get("page").map(String::as_str)) {
        ("two-pages", None) => json!({"ids": ["C-1", 2], "next": 2}),
        ("two-pages", Some("2")) => json!({"ids": ["C-3"]}),
        ("circle", _) => json!({"ids": ["C-1"], "next": "again"}),
        ("long-numbers", _) => {
            let ids = r#"{"ids": [12345678901234567890123, 12345678901234567890124]}"#;
            return ([("content-type", "application/json")], ids).into_response();
        }
        ("mixed", _) => json!({"ids": ["C-1", null]}),
        ("zeros", _) => json!({"ids": vec![0; 2_000_000]}),
        _ => return (StatusCode::BAD_GATEWAY, "try later").into_response(),
    };
    axum::Json(body).into_response()
}

async fn serve() -> SocketAddr {
    let router = Router::new().route("/api/{behaviour}", get(behave)).route("/api/{behaviour}/ids", get(ids));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn source(address: SocketAddr) -> Source {
    patient(address, Duration::from_secs(60))
}

fn patient(address: SocketAddr, timeout: Duration) -> Source {
    Source::new(&Config { url: format!("http://{address}/api"), timeout, limit: LIMIT, most_pages: 50, authorization: None })
        .unwrap()
}

fn shape() -> Shape {
    Shape { keys: vec!["id".into()], stamp: Some("changed_at".into()) }
}

/// Ids of good items, codes of bad ones, or the trouble.
async fn read(source: &Source, behaviour: &str) -> Result<Vec<String>, String> {
    let mut pages = source.items(behaviour, None);
    let mut shown = Vec::new();
    while let Some(page) = pages.next_page(&shape()).await.map_err(|trouble| trouble.to_string())? {
        shown.extend(page.map(|read| match read {
            Ok(row) => row.value["id"].as_str().unwrap_or_default().to_owned(),
            Err(broken) => broken.fault.code.to_owned(),
        }));
    }
    Ok(shown)
}

#[tokio::test]
async fn pages_are_read_to_their_end() {
    let source = source(serve().await);
    assert_eq!(read(&source, "two-pages").await.unwrap(), ["C-1", "C-2", "C-3"]);
    assert!(read(&source, "empty").await.unwrap().is_empty());
    let ids = source.ids("two-pages").await.unwrap();
    assert_eq!(ids.len(), 3);
    assert!(ids.contains("2"));
}

#[tokio::test]
async fn the_stamp_and_the_page_size_are_passed_on() {
    let source = source(serve().await);
    let mut pages = source.items("since", Some("2026-11-20T08:00:00+01:00"));
    let mut page = pages.next_page(&shape()).await.unwrap().unwrap();
    let row = page.next().unwrap().unwrap();
    assert_eq!(row.value["changed_at"], "2026-11-20T08:00:00+01:00");
    assert_eq!(row.value["limit"], "10");
    assert_eq!((row.number, page.next().is_none()), (1, true));
}

#[tokio::test]
async fn what_we_sent_to_be_let_in_is_neither_told_nor_taken_for_data() {
    let config = Config {
        url: format!("http://{}/api", serve().await),
        timeout: Duration::from_millis(500),
        limit: 2,
        most_pages: 50,
        authorization: Some("Bearer CANARY-of-the-source".to_owned()),
    };
    let source = Source::new(&config).unwrap();
    for behaviour in ["echo", "echo-token", "echo-type"] {
        let told = read(&source, behaviour).await.unwrap_err();
        assert!(told.contains("***") && !told.contains("CANARY"), "{told}");
    }
    let mut pages = source.items("echo-item", None);
    let page: Vec<_> = pages.next_page(&shape()).await.unwrap().unwrap().collect();
    let shown = format!("{page:?}{}", String::from_utf8_lossy(&page[0].as_ref().unwrap_err().raw));
    assert!(shown.contains("ITEM_BROKEN") && shown.contains("***") && !shown.contains("CANARY"), "{shown}");
    assert!(page[1].is_ok());
    let Err(error) = Source::new(&Config { url: "https://mdm:hidden@host/".to_owned(), ..config }) else {
        panic!("it was taken")
    };
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn numbers_keep_every_digit_and_nesting_costs_its_own_item_only() {
    let source = source(serve().await);
    let mut pages = source.items("long-numbers", None);
    let page: Vec<_> = pages.next_page(&shape()).await.unwrap().unwrap().collect();
    let row = page[0].as_ref().unwrap();
    assert_eq!(
        (&row.value["id"], &row.value["w"], &row.value["n"]),
        (&json!("12345678901234567890123"), &json!("0.1234567890123456789"), &json!(12.5))
    );
    assert!(row.raw.starts_with(br#"{"id": 12345678901234567890123, "#), "as it came: {}", String::from_utf8_lossy(&row.raw));
    assert_eq!(read_again(&row.raw, &shape()).unwrap().value, row.value);
    assert_eq!(page[1].as_ref().unwrap().value["id"], "12345678901234567890124");
    let broken = page[2].as_ref().unwrap_err();
    assert_eq!((broken.fault.code, broken.fault.message.as_str()), ("ITEM_BROKEN", "it nests deeper than 64 lists and objects"));
    assert!(page[3].is_ok());
    let ids = source.ids("long-numbers").await.unwrap();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids.contains("12345678901234567890123"));
}

#[tokio::test]
async fn a_bad_item_costs_itself_only() {
    let source = source(serve().await);
    assert_eq!(
        read(&source, "mixed").await.unwrap(),
        ["C-1", "ITEM_BROKEN", "KEY_MISSING", "KEY_MISSING", "STAMP_MISSING", "STAMP_MISSING", "C-4"]
    );
}

#[tokio::test]
async fn a_bad_answer_is_trouble_of_the_source_and_says_what_came() {
    let source = source(serve().await);
    for (behaviour, told) in [
        ("html", "`/api/html` answers no JSON (text/html; charset=utf-8), expected value at line 1 column 1: <html><body>"),
        ("half", "`/api/half` answers no JSON (application/json), EOF while parsing"),
        ("500", "`/api/500` answers 500 Internal Server Error: out of memory"),
        ("404", "`/api/404` answers 404 Not Found"),
        ("moved", "`/api/moved` answers 302 Found"),
        ("list", "`/api/list` answers JSON that is no page"),
        ("no-items", "`no-items` answers a page without a list `items`"),
        ("odd-next", "`odd-next` names {\"page\":2} as its next page"),
        ("circle", "`circle` pages in a circle: token `p2` came twice"),
        ("endless", "`endless` does not end after 50 pages"),
        ("many", "`many` answers a page of more than 10 items, which is the `limit` it was asked for"),
        ("zeros", "`zeros` answers a page of more than 10 items"),
        ("bare", "`/api/bare` answers JSON that is no page: [0,0,0"),
        ("long-next", "`long-next` names [0,0,0"),
    ] {
        let trouble = read(&source, behaviour).await.unwrap_err();
        assert!(trouble.starts_with(told), "{behaviour}: {trouble}");
    }
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_not_waited_for_any_longer() {
    let trouble = read(&patient(serve().await, Duration::from_millis(300)), "hang").await.unwrap_err();
    assert!(trouble.starts_with("it does not answer in time"), "{trouble}");
}

#[tokio::test]
async fn an_item_that_is_too_large_to_be_a_record_is_not_parsed_and_still_has_its_name() {
    let source = source(serve().await);
    let mut pages = source.items("large", None);
    let mut page = pages.next_page(&shape()).await.unwrap().unwrap();
    let broken = page.next().unwrap().unwrap_err();
    assert_eq!((broken.fault.code, &broken.supposed["id"]), ("TOO_LARGE", &json!("C-1")));
    assert_eq!(broken.supposed.len(), 1);
    assert_eq!(page.next().unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn how_long_the_source_asks_to_be_left_alone_is_passed_on() {
    let source = source(serve().await);
    for (behaviour, asked) in [("later", Some(60)), ("tomorrow", Some(120)), ("500", None)] {
        let trouble = source.items(behaviour, None).next_page(&shape()).await.unwrap_err();
        assert_eq!(trouble.retry_after, asked.map(Duration::from_secs), "{behaviour}");
    }
}

#[tokio::test]
async fn a_sweep_of_ids_is_complete_or_an_error() {
    let source = source(serve().await);
    for behaviour in ["circle", "mixed", "500", "zeros"] {
        assert!(source.ids(behaviour).await.is_err(), "{behaviour}");
    }
}

#[tokio::test]
async fn a_source_that_is_down_is_trouble_of_the_source() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let trouble = read(&source(free), "items").await.unwrap_err();
    assert!(trouble.starts_with("it does not take connections"), "{trouble}");
    assert!(!trouble.contains("http://"), "{trouble}");
}

#[test]
fn an_address_that_is_none_is_told_before_anything_is_asked() {
    for url in ["", "crm", "ftp://crm", "mailto:crm@example.invalid"] {
        let config = Config { url: url.into(), timeout: Duration::from_secs(1), limit: 1, most_pages: 1, authorization: None };
        assert!(Source::new(&config).is_err(), "{url}");
    }
}

#[test]
fn a_letters_item_can_be_read_again() {
    let raw = br#"{"id": "C-1", "changed_at": "2026-11-20T08:30:00Z"}"#;
    assert_eq!(read_again(raw, &shape()).unwrap().value["id"], "C-1");
    assert_eq!(read_again(b"{}", &shape()).unwrap_err().fault.code, "KEY_MISSING");
    assert_eq!(read_again(b"[", &shape()).unwrap_err().fault.code, "ITEM_BROKEN");
}
