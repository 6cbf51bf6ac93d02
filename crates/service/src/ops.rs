//! The listener for probes and scrapes.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;

use crate::{Exit, Health};

/// Binds at once, so that a port in use is named before any work starts.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Exit> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} for /livez, /readyz and /metrics (choose another with --ops)"))
        .map_err(Exit::config)
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, health: Health) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).await
}

async fn livez(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_alive() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "main loop stands still\n") }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let missing = health.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": missing.is_empty(), "not_ready": missing })))
}

/// Prometheus 3 refuses a scrape without exactly this content type.
async fn metrics() -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain; version=0.0.4")], error.to_string().into_bytes())
        }
    }
}
