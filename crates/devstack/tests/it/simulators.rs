//! The simulated systems as a client meets them.

use std::time::Duration;

use devstack::{Mes, MesOptions, Mode, RestMode, RestOptions, RestSource, mes::Deed};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

fn plant() -> Mes {
    Mes::start(MesOptions { name: "ulm".to_owned(), ..MesOptions::default() }).unwrap()
}

async fn put(client: &Client, mes: &Mes, path: &str, revision: i64) -> reqwest::Result<Response> {
    let request = client.put(format!("{}/{path}", mes.url())).json(&json!({"name": "pump", "revision": revision}));
    request.header("Idempotency-Key", format!("{path}@{revision}")).header("Millrace-Revision", revision).send().await
}

async fn tell(mes: &Mes, what: &str, body: Value) -> Value {
    let answer = Client::new().post(format!("{}/{what}", mes.control_url())).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_plant_speaks_the_protocol_of_the_sink() {
    let (mes, client) = (plant(), Client::new());
    let first = put(&client, &mes, "item/PUMP%252F01/A", 2).await.unwrap();
    assert_eq!((first.status(), first.json::<Value>().await.unwrap()), (StatusCode::OK, json!({"revision": 2})));
    let again = put(&client, &mes, "item/PUMP%252F01/A", 2).await.unwrap();
    assert_eq!(again.json::<Value>().await.unwrap(), json!({"revision": 2, "already": true}));
    let older = put(&client, &mes, "item/PUMP%252F01/A", 1).await.unwrap();
    assert_eq!((older.status(), older.json::<Value>().await.unwrap()), (StatusCode::CONFLICT, json!({"revision": 2})));
    assert_eq!(mes.record("item", "PUMP%2F01/A").unwrap().revision, 2);

    let deed: Vec<Deed> = mes.calls_since(1).iter().map(|call| call.deed).collect();
    assert_eq!(deed, [Deed::Applied, Deed::Already, Deed::Older]);
    let counts: Value = Client::new().get(format!("{}/counts", mes.control_url())).send().await.unwrap().json().await.unwrap();
    assert_eq!((&counts["regressions"], &counts["records"], &counts["calls"]), (&json!(1), &json!(1), &json!(3)));
}

#[tokio::test]
async fn a_plant_that_is_down_refuses_even_old_connections_and_comes_back_on_the_same_port() {
    let (mes, client) = (plant(), Client::new());
    assert_eq!(put(&client, &mes, "item/a/A", 1).await.unwrap().status(), StatusCode::OK);
    let url = mes.url();
    tell(&mes, "mode", json!({"mode": "down"})).await;
    assert!(put(&client, &mes, "item/a/A", 2).await.unwrap_err().is_connect());
    tell(&mes, "mode", json!({"mode": "up"})).await;
    assert_eq!(mes.url(), url);
    assert_eq!(put(&client, &mes, "item/a/A", 2).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unwell_plant_answers_as_told() {
    let (mes, client) = (plant(), Client::new());
    mes.set_mode(Mode::Error).unwrap();
    assert_eq!(put(&client, &mes, "item/a/A", 1).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    mes.set_mode(Mode::Throttle).unwrap();
    let throttled = put(&client, &mes, "item/a/A", 1).await.unwrap();
    assert_eq!((throttled.status(), &throttled.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap()));
    mes.set_mode(Mode::Hang).unwrap();
    let hung = tokio::time::timeout(Duration::from_millis(300), put(&client, &mes, "item/a/A", 1)).await;
    assert!(hung.is_err());
    assert!(mes.record("item", "a/A").is_none());
    mes.set_mode(Mode::Lost).unwrap();
    assert_eq!(put(&client, &mes, "item/a/A", 1).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(mes.record("item", "a/A").unwrap().revision, 1);
}

#[tokio::test]
async fn a_plant_refuses_and_accepts_a_key_as_told() {
    let (mes, client) = (plant(), Client::new());
    tell(&mes, "refuse", json!({"key": "a/A"})).await;
    let refused = put(&client, &mes, "item/a/A", 1).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "REFUSED_BY_PLANT");
    tell(&mes, "accept", json!({"key": "a/A"})).await;
    assert_eq!(put(&client, &mes, "item/a/A", 1).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_plant_started_again_holds_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let options = MesOptions { journal: Some(folder.path().join("plants/ulm.jsonl")), ..MesOptions::default() };
    let mes = Mes::start(options.clone()).unwrap();
    for revision in 1..4 {
        put(&Client::new(), &mes, "item/a/A", revision).await.unwrap();
    }
    let before = mes.records();
    drop(mes);
    let mes = Mes::start(options).unwrap();
    assert_eq!(mes.records(), before);
    assert_eq!(put(&Client::new(), &mes, "item/a/A", 2).await.unwrap().status(), StatusCode::CONFLICT);
}

fn customers(count: usize) -> RestSource {
    let source = RestSource::start(RestOptions::default()).unwrap();
    let records = (0..count).map(|number| {
        let stamp = format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60);
        json!({"id": format!("c{number:05}"), "name": "x", "changed_at": stamp}).as_object().unwrap().clone()
    });
    source.load("customers", records.collect()).unwrap();
    source
}

async fn get(url: String) -> Value {
    Client::new().get(url).send().await.unwrap().json().await.unwrap()
}

/// Reads all pages of one field; the tokens are sent as they came.
async fn walk(source: &RestSource, path: &str, field: &str) -> Vec<Value> {
    let (mut all, mut page) = (Vec::new(), String::new());
    loop {
        let url = format!("{}/{path}", source.url());
        let query = [("limit", "200"), ("page", page.as_str())];
        let query = if page.is_empty() { &query[..1] } else { &query[..] };
        let answer: Value = Client::new().get(url).query(query).send().await.unwrap().json().await.unwrap();
        all.extend(answer[field].as_array().unwrap().iter().cloned());
        match answer["next"].as_str() {
            Some(next) => page = next.to_owned(),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_source_pages_through_twenty_thousand_records_and_their_ids() {
    let source = customers(20_000);
    let mut ids: Vec<String> = Vec::new();
    for record in walk(&source, "customers", "items").await {
        ids.push(record["id"].as_str().unwrap().to_owned());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20_000);
    assert_eq!(walk(&source, "customers/ids", "ids").await.len(), 20_000);
}

#[tokio::test]
async fn a_source_gives_what_changed_since_and_forgets_what_was_deleted() {
    let source = customers(3);
    let since = get(format!("{}/customers?since=2026-01-01T00:00:01Z", source.url())).await;
    assert_eq!(since["items"].as_array().unwrap().len(), 2);
    let control = source.control_url();
    let post = |what: &str, body: Value| Client::new().post(format!("{control}/{what}")).json(&body).send();
    assert_eq!(post("delete", json!({"path": "customers", "id": "c00001"})).await.unwrap().status(), StatusCode::OK);
    assert_eq!(post("upsert", json!({"path": "customers", "record": {"id": "new"}})).await.unwrap().status(), StatusCode::OK);
    let ids = get(format!("{}/customers/ids", source.url())).await;
    assert_eq!(ids, json!({"ids": ["c00000", "c00002", "new"], "next": null}));
    let newest = get(format!("{}/customers?since=2026-06-01T00:00:00Z", source.url())).await;
    assert_eq!(newest["items"][0]["id"], "new");
}

#[tokio::test]
async fn a_bad_source_is_bad_as_told() {
    let source = customers(3);
    let read = || async { Client::new().get(format!("{}/customers", source.url())).send().await };
    source.set_mode(RestMode::Html).unwrap();
    let html = read().await.unwrap();
    assert!(html.status().is_success() && html.text().await.unwrap().starts_with("<!doctype html>"));
    source.set_mode(RestMode::HalfJson).unwrap();
    assert!(read().await.unwrap().json::<Value>().await.is_err());
    source.set_mode(RestMode::Error).unwrap();
    assert_eq!(read().await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    source.set_mode(RestMode::Endless).unwrap();
    let mut next = read().await.unwrap().json::<Value>().await.unwrap()["next"].clone();
    for _ in 0..5 {
        let url = format!("{}/customers", source.url());
        let page = Client::new().get(url).query(&[("page", next.as_str().unwrap())]).send().await.unwrap();
        next = page.json::<Value>().await.unwrap()["next"].clone();
    }
    source.set_mode(RestMode::Down).unwrap();
    assert!(read().await.unwrap_err().is_connect());
    source.set_mode(RestMode::Normal).unwrap();
    assert_eq!(read().await.unwrap().json::<Value>().await.unwrap()["items"].as_array().unwrap().len(), 3);
}
