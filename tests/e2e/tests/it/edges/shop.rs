//! A polled JSON source on loopback that does what real ones do: it pages by offset while rows come and go, shows rows late, dates
//! one into the future, gives a record another id, asks for patience and answers with pages of something else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use model::Timestamp;
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A year that no clock here has reached.
const FAR: &str = "2062-01-01T00:00:00Z";
const SECOND: i64 = 1_000_000;

#[derive(Clone, Debug)]
struct Row {
    number: String,
    name: String,
    changed_at: Timestamp,
}

#[derive(Debug, Default)]
struct Shelf {
    rows: BTreeMap<String, Row>,
    /// It has them and never shows them.
    hidden: BTreeMap<String, Row>,
    /// Removed once the first page of a reading was answered: the rest of that reading slips by one.
    removed_after_a_page: Option<String>,
    /// How many answers are something else.
    refuses: u32,
    /// Whole lists of ids that were answered.
    sweeps: u64,
    named: u32,
}

/// The source; it ends with the test.
pub(super) struct Shop {
    shelf: Arc<Mutex<Shelf>>,
    url: String,
    serving: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shop {
    pub(super) async fn start(customers: u32) -> Result<Self> {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/customers", get(items))
            .route("/customers/ids", get(ids))
            .route("/customers/{id}", get(item))
            .with_state(Arc::clone(&shelf));
        let serving = tokio::spawn(async move { _ = axum::serve(listener, router).await });
        let shop = Self { shelf, url, serving };
        for number in 0..customers {
            shop.put(&format!("r{number:03}"), &format!("C-{number:03}"), "as it began", now());
        }
        Ok(shop)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What golden has to hold in the end: number → (id, name).
    pub(super) fn truth(&self) -> BTreeMap<String, (String, String)> {
        let shelf = lock(&self.shelf);
        let all = shelf.rows.iter().chain(&shelf.hidden);
        all.map(|(id, row)| (row.number.clone(), (id.clone(), row.name.clone()))).collect()
    }

    pub(super) fn sweeps(&self) -> u64 {
        lock(&self.shelf).sweeps
    }

    /// One thing that happens at the source.
    pub(super) fn step(&self, random: &mut StdRng) -> String {
        let ids: Vec<String> = lock(&self.shelf).rows.keys().cloned().collect();
        let id = ids[random.random_range(0..ids.len())].clone();
        let other = ids[random.random_range(0..ids.len())].clone();
        match random.random_range(0..10) {
            0 => {
                self.change(&id, |row| row.changed_at = now());
                lock(&self.shelf).removed_after_a_page = Some(other.clone());
                format!("{other} is deleted between two pages")
            }
            1 => {
                let number = self.name();
                self.put(&format!("late-{number}"), &number, "seen late", now().less(60 * SECOND));
                format!("{number} becomes visible a minute late")
            }
            2 => {
                self.change(&id, |row| row.changed_at = FAR.parse().expect("a time"));
                format!("{id} is dated 2062")
            }
            3 => {
                let row = lock(&self.shelf).rows.remove(&id).expect("listed above");
                self.put(&format!("{id}-again"), &row.number, &row.name, now());
                format!("{} moves from {id} to another id", row.number)
            }
            4 => {
                self.swap(&id, &other);
                format!("{id} and {other} change numbers")
            }
            5 => {
                lock(&self.shelf).rows.remove(&id);
                format!("{id} is deleted")
            }
            6 => {
                lock(&self.shelf).refuses = random.random_range(1..4);
                "it asks for patience".to_owned()
            }
            7 => {
                let name = "long ".repeat(random.random_range(6_000..60_000));
                self.change(&id, |row| (row.name, row.changed_at) = (name.trim().to_owned(), now()));
                format!("{id} gets a huge name")
            }
            _ => {
                self.change_name(&id, &format!("text {}", random.random_range(0..5)));
                format!("{id} changes")
            }
        }
    }

    /// People correct what is dated wrongly, and nothing happens between pages any more.
    pub(super) fn behave(&self) {
        let mut shelf = lock(&self.shelf);
        shelf.refuses = 0;
        if let Some(id) = shelf.removed_after_a_page.take() {
            shelf.rows.remove(&id);
        }
        let now = now();
        for row in shelf.rows.values_mut().filter(|row| row.changed_at > now) {
            row.changed_at = now;
        }
    }

    pub(super) fn change_name(&self, id: &str, name: &str) {
        self.change(id, |row| (row.name, row.changed_at) = (name.to_owned(), now()));
    }

    /// A row as nobody will ever read it.
    pub(super) fn hide(&self, id: &str, number: &str) {
        let row = Row { number: number.to_owned(), name: "hidden".to_owned(), changed_at: now() };
        lock(&self.shelf).hidden.insert(id.to_owned(), row);
    }

    fn name(&self) -> String {
        let mut shelf = lock(&self.shelf);
        shelf.named += 1;
        format!("N-{:03}", shelf.named)
    }

    fn put(&self, id: &str, number: &str, name: &str, changed_at: Timestamp) {
        let row = Row { number: number.to_owned(), name: name.to_owned(), changed_at };
        lock(&self.shelf).rows.insert(id.to_owned(), row);
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Row)) {
        lock(&self.shelf).rows.get_mut(id).map(change);
    }

    fn swap(&self, one: &str, other: &str) {
        let mut shelf = lock(&self.shelf);
        let (Some(first), Some(second)) = (shelf.rows.get(one).cloned(), shelf.rows.get(other).cloned()) else { return };
        shelf.rows.insert(one.to_owned(), Row { changed_at: now(), ..second });
        shelf.rows.insert(other.to_owned(), Row { changed_at: now(), ..first });
    }
}

trait Less {
    fn less(self, micros: i64) -> Self;
}

impl Less for Timestamp {
    fn less(self, micros: i64) -> Self {
        Self::from_micros(self.micros() - micros)
    }
}

pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before 200000"))
}

fn shown(id: &str, row: &Row) -> Value {
    json!({"id": id, "number": row.number, "name": row.name, "changed_at": row.changed_at.to_string()})
}

/// Something else than a page, if it is in that mood.
fn refuse(shelf: &mut Shelf) -> Option<Response> {
    shelf.refuses = shelf.refuses.checked_sub(1)?;
    Some(match shelf.refuses % 3 {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "patience").into_response(),
        1 => (StatusCode::OK, [("content-type", "text/html")], "<html>please sign in</html>").into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "something broke").into_response(),
    })
}

async fn items(State(shelf): State<Arc<Mutex<Shelf>>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut shelf = lock(&shelf);
    if let Some(answer) = refuse(&mut shelf) {
        return answer;
    }
    let since: Option<Timestamp> = query.get("since").and_then(|text| text.parse().ok());
    let mut rows: Vec<_> = shelf.rows.iter().filter(|(_, row)| since.is_none_or(|since| row.changed_at >= since)).collect();
    rows.sort_by_key(|(id, row)| (row.changed_at, (*id).clone()));
    let (page, next) = paged(&rows, &query);
    let items: Vec<Value> = page.iter().map(|(id, row)| shown(id, row)).collect();
    slip(&mut shelf);
    Json(json!({"items": items, "next": next})).into_response()
}

async fn ids(State(shelf): State<Arc<Mutex<Shelf>>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut shelf = lock(&shelf);
    if let Some(answer) = refuse(&mut shelf) {
        return answer;
    }
    let rows: Vec<&String> = shelf.rows.keys().collect();
    let (page, next) = paged(&rows, &query);
    let answer = json!({"ids": page, "next": next});
    slip(&mut shelf);
    if next.is_none() {
        shelf.sweeps += 1;
    }
    Json(answer).into_response()
}

async fn item(State(shelf): State<Arc<Mutex<Shelf>>>, Path(id): Path<String>) -> Response {
    let mut shelf = lock(&shelf);
    if let Some(answer) = refuse(&mut shelf) {
        return answer;
    }
    match shelf.rows.get(&id) {
        Some(row) => Json(shown(&id, row)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn slip(shelf: &mut Shelf) {
    if let Some(id) = shelf.removed_after_a_page.take() {
        shelf.rows.remove(&id);
    }
}

/// By offset, as most APIs do: a row that goes away moves all behind it.
fn paged<'a, T>(rows: &'a [T], query: &HashMap<String, String>) -> (&'a [T], Option<String>) {
    let number = |name: &str, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let start = number("page", 0).min(rows.len());
    let end = (start + number("limit", 100)).min(rows.len());
    (&rows[start..end], (end < rows.len()).then(|| end.to_string()))
}
