//! The part of a registry that the validator asks: the schema of an id. It can be away.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use avro::Schema;
use serde_json::json;

pub(super) struct Stub {
    pub(super) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    asked: AtomicUsize,
}

impl Stub {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<State> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream.unwrap(), &shared));
            }
        });
        Self { url, state }
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Questions so far.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, state: &State) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let Some(first) = lines.next() else { return };
    lines.for_each(drop);
    state.asked.fetch_add(1, Ordering::SeqCst);
    let asked =
        first.split(' ').nth(1).and_then(|path| path.strip_prefix("/schemas/ids/")?.split('?').next()?.parse::<i32>().ok());
    let (status, body) = match asked.and_then(schema) {
        _ if state.is_away.load(Ordering::SeqCst) => ("503 Service Unavailable", json!({"error_code": 50301, "message": "away"})),
        Some(schema) => ("200 OK", json!({"schema": schema.text()})),
        None => ("404 Not Found", json!({"error_code": 40403, "message": "no such schema"})),
    };
    let (body, kind) = (body.to_string(), "application/vnd.schemaregistry.v1+json");
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Who asked may be gone.
    drop(stream.write_all(format!("{head}{body}").as_bytes()));
}

/// Each process of a test writes under ids of its own hundred.
fn schema(id: i32) -> Option<Schema> {
    Schema::ALL.get(usize::try_from(id % 100 - 1).ok()?).copied()
}
