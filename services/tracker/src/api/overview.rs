//! `GET /api/v1/overview`: domain × system in business words, and what needs a person.
//!
//! ```json
//! {
//!   "version": 1,
//!   "as_of": "2026-11-25T12:00:00Z",           // of the newest record the tracker has read
//!   "caught_up": true,                          // false while the store is being rebuilt
//!   "policy_version": "2026-11-20.3-1a2b3c4d",
//!   "systems": [                                // columns: sources first, then destinations
//!     {"name": "erp", "roles": ["source"], "office": "item office"},
//!     {"name": "mes-ulm", "roles": ["destination"], "office": "plant Ulm",
//!      "state": "ok", "since": "…", "reason": null, "code": null, "next_at": null,
//!      "by": null, "until": null}   // ok|paused|unavailable|resyncing|unknown
//!   ],
//!   "domains": [                                // rows
//!     {"domain": "item", "golden": 300, "deleted": 2, "held": {"record": 1}, "refused": 3, "owner": "erp",
//!      "cells": {
//!        "erp":     {"role": "source", "changes": 305, "last_change_at": "…",
//!                    "state": "ok", "since": "…", "reason": null},   // ok|unavailable|silent|unknown
//!        "mes-ulm": {"role": "destination",
//!                    "state": "ok",              // worst first: refused|paused|unavailable|late|waiting|ok
//!                    "accepted": 297, "sent": 0, "waiting": 2, "refused": 1, "given_up": 0, "not_needed": 2,
//!                    "late": 1,                  // of the waiting and sent ones: for longer than was promised
//!                    "reasons": {"queued": 2},   // of the waiting and sent ones
//!                    "oldest_waiting_seconds": 3.2,
//!                    "deadline_seconds": 60.0,   // null: none promised
//!                    "p50_seconds": 0.31, "p95_seconds": 0.7, "p99_seconds": 0.92}   // null: nothing measured yet
//!      }}
//!   ],
//!   "dead_letters": {"open": 4, "replaying": 0, "oldest_open_seconds": 812.0},
//!   "needs_a_person": [                         // empty: nothing does, as far as the tracker has read
//!     // kind: behind|refused|replaying|unavailable|paused|silent|denied|ahead|late|retrying|approval|quarantined|overdue|given_up
//!     {"kind": "refused", "system": "mes-ulm", "domain": "item", "key": "4711/C", "count": 1, "code": "UNIT_UNKNOWN",
//!      "text": "item 4711/C: unit \"SET\" unknown", "turn": "item office", "oldest_seconds": 3720.0,
//!      "then": "millrace dlq show mes-ulm/item/3@1851"}
//!   ]
//! }
//! ```
//!
//! A system that does not serve a domain has no cell in its row. `refused` of a row counts the open dead letters of sources and
//! the validator. Percentiles are over the last 1,000 acceptances of the last hour, source commit → accepted.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{Api, Problem, ask::Asked};
use crate::{
    now,
    store::query::overview::{self, Overview},
};

/// No parameters; a mistyped one is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) async fn get(State(api): State<Api>, Asked(Nothing {}): Asked<Nothing>) -> Result<Json<Overview>, Problem> {
    let fleet = Arc::clone(&api.fleet);
    let (caught_up, as_of) = (api.progress.caught_up(), api.progress.as_of());
    Ok(Json(api.reads.ask(move |sql| overview::overview(sql, &fleet, caught_up, as_of, now())).await?))
}
