//! `GET /api/v1/about`: what `millrace doctor` asks of a running fleet.
//!
//! ```json
//! {
//!   "version": 1,
//!   "build": "0.1.0",
//!   "now": "2026-11-25T12:00:00Z",              // this machine's clock
//!   "policy_version": "2026-11-20.3-1a2b3c4d",  // the landscape that this tracker reads by
//!   "caught_up": true,
//!   "store": {"bytes": 1048576, "free_bytes": 8589934592},
//!   "destinations": [                           // what each sink last said of itself; null: it never spoke
//!     {"name": "mes-ulm", "policy_version": "…", "state": "ok", "reason": null, "at": "2026-11-25T11:59:30Z"}
//!   ],
//!   "sources": [                                // the same, of each publisher
//!     {"name": "erp", "policy_version": "…", "state": "ok", "reason": null, "at": "…"}
//!   ]
//! }
//! ```

use std::{path::Path, sync::Arc};

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{Api, Problem};
use crate::{now, store::query};

pub(super) async fn get(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let fleet = Arc::clone(&api.fleet);
    let (destinations, sources) = api
        .reads
        .ask(move |sql| {
            let mut sources = Vec::new();
            for name in fleet.sources.keys() {
                sources.push((name.clone(), query::source(sql, name)?));
            }
            let mut said = Vec::new();
            for name in fleet.destinations.keys() {
                said.push((name.clone(), query::destination(sql, name)?));
            }
            Ok((said, sources))
        })
        .await?;
    let destinations = destinations.into_iter().map(|(name, status)| {
        let status = status.as_ref();
        json!({
            "name": name,
            "policy_version": status.map(|status| &status.policy_version),
            "state": status.map_or("unknown", |status| status.state.name()),
            "reason": status.and_then(|status| status.reason.as_ref()),
            "at": status.map(|status| status.at),
        })
    });
    let sources = sources.into_iter().map(|(name, status)| {
        let status = status.as_ref();
        json!({
            "name": name,
            "policy_version": status.map(|status| &status.policy_version),
            "state": status.map_or("unknown", |status| status.state.name()),
            "reason": status.and_then(|status| status.reason.as_ref()),
            "at": status.map(|status| status.at),
        })
    });
    Ok(Json(json!({
        "version": 1,
        "build": crate::BUILD,
        "now": now(),
        "policy_version": api.fleet.policy_version,
        "caught_up": api.progress.caught_up(),
        "store": { "bytes": size(&api.store), "free_bytes": free(&api.store) },
        "destinations": destinations.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
    })))
}

fn size(store: &Path) -> Option<u64> {
    std::fs::metadata(store).ok().map(|metadata| metadata.len())
}

/// Bytes that this process may still write beside its store.
fn free(store: &Path) -> Option<u64> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let volume = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(volume.blocks_available().saturating_mul(volume.fragment_size()))
}
