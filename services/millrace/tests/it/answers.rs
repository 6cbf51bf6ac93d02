//! What the stub tracker knows: one item that Ulm refused, one plant that is paused, 43 letters.

use axum::http::Method;
use serde_json::{Value, json};

/// Status and body of an answer.
pub(crate) fn answer(method: &Method, path: &str, query: &str, body: &Value) -> (u16, Value) {
    match (method.as_str(), path) {
        ("GET", "overview") => (200, overview()),
        ("GET", "records/item") if query.starts_with("q=") => (200, search()),
        ("GET", "records/item") => (200, golden(query.contains("at=mes-ulm"))),
        ("GET", "records/item/status") if query.contains("9999") => problem(404, "NOT_FOUND", "no source has sent item 9999/A"),
        ("GET", "records/item/status") if query.contains("4712") => (200, held()),
        ("GET", "records/item/status") if query.contains("4812") => (200, given_up()),
        ("GET", "records/item/status") if query.contains("4813") => (200, unjudged()),
        ("GET", "records/item/status") if query.contains("4811") => (200, retrying()),
        ("GET", "records/item/status") if query.contains("4810") => (200, everywhere()),
        ("GET", "records/item/status") => (200, status()),
        ("GET", "records/item/lineage") => (200, lineage()),
        ("POST", "records/item/resend" | "records/item/block" | "records/item/unblock") => {
            (202, json!({ "version": 1, "items": [{ "destination": "mes-ulm", "command_id": "c-1" }] }))
        }
        ("GET", "dead-letters") if query.contains("code=NOTHING") => {
            (200, json!({ "version": 1, "items": [], "next": null, "total": 0 }))
        }
        ("GET", "dead-letters") if query.contains("state=discarded") => {
            (200, json!({ "version": 1, "items": [discarded()["status"]], "next": null, "total": 1 }))
        }
        ("GET", "dead-letters/mes-ulm/item/5@77") => (200, discarded()),
        ("GET", "dead-letters") => (200, json!({ "version": 1, "items": letters(), "next": "3", "total": 43 })),
        ("GET", "dead-letters/stats") => (200, stats()),
        ("GET", "dead-letters/mes-ulm/item/3@1851") => (200, letter()),
        ("POST", "replay-plans") if body["filter"]["code"].is_null() && body["filter"]["ids"] == json!([]) => {
            problem(422, "FILTER_MISSING", "this would replay all 412 open letters of 6 systems; name a filter or pass --all")
        }
        ("POST", "replay-plans") => (202, json!({ "version": 1, "id": "p-7f31", "letters": 41 })),
        ("POST", "dead-letters/discard") if body["filter"]["all"] == true && body["confirm"].is_null() => {
            problem(422, "CONFIRM_MISSING", "this discards all 43 letters; add --confirm mes-ulm")
        }
        ("POST", "dead-letters/discard") => (202, json!({ "version": 1, "command_id": "c-2", "letters": 1 })),
        ("GET", "replay-plans") => (200, json!({ "version": 1, "items": [plan("RUNNING", 27, 26, 1)], "next": null })),
        ("GET", "replay-plans/p-7f31") => (200, plan("DONE", 37, 36, 1)),
        ("POST", "replay-plans/p-7f31/run" | "replay-plans/p-7f31/cancel") => (202, json!({ "version": 1, "command_id": "c-3" })),
        ("POST", "replay-plans/p-old/run") => problem(409, "PLAN_EXPIRED", "p-old was valid until 11:00; make a new plan"),
        ("GET", "replay-plans/p-old") => (200, json!({ "id": "p-old", "state": "PLANNED", "would_apply": 1 })),
        ("GET", "destinations") => (200, json!({ "version": 1, "items": destinations(), "next": null })),
        ("GET", "destinations/mes-pune") => (200, destinations()[1].clone()),
        ("POST", "destinations/mes-pune/pause" | "destinations/mes-pune/resume") => {
            (202, json!({ "version": 1, "command_id": "c-4" }))
        }
        ("POST", "destinations/wms/pause") => problem(403, "NOT_ALLOWED", "plant operators pause their own destinations"),
        _ => problem(404, "NOT_FOUND", "no such thing"),
    }
}

fn problem(status: u16, code: &str, detail: &str) -> (u16, Value) {
    (status, json!({ "status": status, "code": code, "detail": detail, "type": format!("docs/errors/{code}.md") }))
}

fn overview() -> Value {
    let cell = |state: &str, accepted: i64, waiting: i64, refused: i64, oldest: Option<f64>| {
        json!({ "role": "destination", "state": state, "accepted": accepted, "sent": 0, "waiting": waiting, "refused": refused,
            "not_needed": 0, "reasons": {}, "oldest_waiting_seconds": oldest, "deadline_seconds": 60.0, "p50_seconds": 0.4,
            "p95_seconds": 1.2, "p99_seconds": 3.0 })
    };
    json!({
        "version": 1, "as_of": "2026-11-25T12:00:00Z", "caught_up": true, "policy_version": "2026-11-20.3-1a2b3c4d",
        "systems": [
            { "name": "crm", "roles": ["source"], "office": "sales" },
            { "name": "erp", "roles": ["source"], "office": "item office" },
            { "name": "mes-ulm", "roles": ["destination"], "office": "plant Ulm", "state": "ok", "since": "2026-11-25T06:00:00Z" },
            { "name": "mes-pune", "roles": ["destination"], "office": "plant Pune", "state": "paused",
              "since": "2026-11-25T11:22:00Z", "by": "local/j.rao" },
        ],
        "domains": [
            { "domain": "customer", "golden": 40, "deleted": 0, "held": {}, "refused": 0,
              "cells": { "crm": { "role": "source", "changes": 40, "state": "unavailable", "since": "2026-11-25T11:57:00Z",
                                  "reason": "it answers 401" } } },
            { "domain": "item", "golden": 12418, "deleted": 0, "held": { "record": 2 }, "refused": 0,
              "cells": { "erp": { "role": "source", "changes": 12500 }, "mes-ulm": cell("refused", 12377, 0, 41, None),
                         "mes-pune": cell("paused", 11214, 1204, 0, Some(2280.0)) } },
            { "domain": "work_center", "golden": 20, "deleted": 0, "held": {}, "refused": 0,
              "cells": { "erp": { "role": "source", "changes": 20 }, "mes-ulm": cell("late", 19, 1, 0, Some(840.0)),
                         "mes-pune": cell("ok", 20, 0, 0, None) } },
        ],
        "dead_letters": { "open": 43, "replaying": 0, "oldest_open_seconds": 8040.0 },
        "needs_a_person": [
            { "kind": "refused", "system": "mes-ulm", "domain": "item", "key": null, "count": 41, "code": "ROUTING_MISSING",
              "text": "41 item records refused, ROUTING_MISSING", "turn": "routing office", "oldest_seconds": 8040.0,
              "then": "millrace dlq list --destination mes-ulm --code ROUTING_MISSING" },
            { "kind": "paused", "system": "mes-pune", "domain": "", "key": null, "count": 1, "code": null,
              "text": "paused by local/j.rao, \"line 4 stop\", until 14:00 UTC; 1204 records late",
              "turn": "nobody, resumes by itself", "oldest_seconds": 2280.0, "then": "millrace destination resume mes-pune" },
            { "kind": "quarantined", "system": "validator", "domain": "item", "key": "4712/A", "count": 1, "code": null,
              "text": "item 4712/A from erp is quarantined by ITM-07: GTIN 1 has a wrong check digit; correct it in erp",
              "turn": "item office", "oldest_seconds": 600.0, "then": "millrace record where item 4712/A" },
        ],
    })
}

fn search() -> Value {
    json!({ "version": 1, "next": null, "items": [
        { "domain": "item", "key": "4711/B", "label": "Gear pump, 12 cm³", "revision": 9, "deleted": true },
        { "domain": "item", "key": "4711/C", "label": "Gear pump, 14 cm³", "revision": 18, "deleted": false },
    ] })
}

fn golden(beside: bool) -> Value {
    let mut body = json!({
        "version": 1,
        "golden": { "domain": "item", "key": "4711/C",
            "meta": { "revision": 18, "accepted_at": "2026-11-25T11:42:08Z", "policy_version": "2026-11-20.3-1a2b3c4d",
                "findings": [{ "rule_id": "ITM-13", "path": "/net_weight", "message": "heavier than its group" }] },
            "data": { "item_id": "4711", "revision": "C", "base_uom": "SET", "net_weight": { "value": "4.2", "uom": "KGM" },
                "drawing_number": null, "plants": [{ "plant": "ulm", "storage_location": "A-01" }] } },
        "blocked": [{ "destination": "wms", "text": "by local/j.rao: wrong drawing", "since": "2026-11-24T15:00:00Z",
            "until": "2026-11-25T14:00:00Z" }],
        "owners": { "owner": "erp", "office": "item office", "groups": [{ "owner": "wms", "fields": ["/plants/*/storage_location"] }] },
    });
    if beside {
        body["there"] = json!({ "meta": { "revision": 17 }, "data": { "item_id": "4711", "revision": "C", "base_uom": "C62",
            "net_weight": { "value": "4.2", "uom": "KGM" }, "plants": [{ "plant": "ulm", "storage_location": "A-01" }] } });
    }
    body
}

fn refused() -> Value {
    json!({ "destination": "mes-ulm", "state": "refused", "reason": "refused", "why": "refused: UNIT_UNKNOWN; parked",
        "turn": "item office", "accepted_revision": 17, "accepted_at": "2026-11-02T09:14:00Z", "took_seconds": null,
        "offered_revision": 18, "letter": "mes-ulm/item/3@1851", "code": "UNIT_UNKNOWN", "message": "unit \"SET\" unknown",
        "attempts": 1, "at": "2026-11-25T11:42:12Z", "late": true })
}

fn status() -> Value {
    json!({ "domain": "item", "key": "4711/C", "revision": 18, "accepted_at": "2026-11-25T11:42:08Z", "valid_from": "2026-11-01",
        "deleted": false, "held": [], "letters": [], "destinations": [
            { "destination": "mes-pune", "state": "waiting", "reason": "paused", "late": true,
              "why": "destination paused by local/j.rao until 14:00 UTC", "turn": "nobody, resumes by itself",
              "waiting_since": "2026-11-24T11:42:07.120Z", "deadline": "2026-11-24T11:43:07.120Z", "blocked": null,
              "accepted_revision": 17, "accepted_at": "2026-11-02T09:15:00Z", "attempts": 0 },
            refused(),
            { "destination": "wms", "state": "accepted", "accepted_revision": 18, "accepted_at": "2026-11-25T11:42:10Z",
              "took_seconds": 3.0, "external_id": "W-77", "attempts": 0, "blocked": {
                  "text": "by local/j.rao: wrong drawing", "since": "2026-11-24T15:00:00Z", "until": "2026-11-25T14:00:00Z" } },
            { "destination": "crm", "state": "not_needed", "reason": "not_needed", "attempts": 0,
              "why": "not needed here: item.item_type != 'RAW'" },
        ] })
}

fn everywhere() -> Value {
    json!({ "domain": "item", "key": "4810/A", "revision": 2, "accepted_at": "2026-11-25T11:00:00Z", "valid_from": null,
        "deleted": false, "held": [], "letters": [], "destinations": [
            { "destination": "mes-ulm", "state": "accepted", "accepted_revision": 2, "accepted_at": "2026-11-25T11:00:01Z",
              "took_seconds": 0.42, "attempts": 0 },
        ] })
}

fn retrying() -> Value {
    json!({ "domain": "item", "key": "4811/A", "revision": 2, "accepted_at": "2026-11-25T11:59:00Z", "valid_from": null,
        "deleted": false, "held": [], "letters": [], "destinations": [
            { "destination": "mes-ulm", "state": "waiting", "reason": "retrying", "accepted_revision": null, "accepted_at": null,
              "why": "attempt 3 of 8 failed, HTTP 500: out of paper; next at 12:00:09 UTC", "turn": "plant Ulm", "attempts": 3,
              "waiting_since": "2026-11-25T11:59:00Z", "deadline": "2026-11-25T12:00:00Z", "late": false, "blocked": null },
        ] })
}

fn unjudged() -> Value {
    json!({ "domain": "item", "key": "4813/A", "revision": null, "accepted_at": null, "deleted": false, "destinations": [],
        "held": [], "letters": [], "unjudged": { "source": "erp", "captured_at": "2026-11-25T11:58:00Z" } })
}

fn given_up() -> Value {
    json!({ "domain": "item", "key": "4812/A", "revision": 3, "accepted_at": "2026-11-25T11:00:00Z", "valid_from": null,
        "deleted": false, "letters": [], "destinations": [
            { "destination": "mes-ulm", "state": "given_up", "reason": null, "accepted_revision": 2, "turn": null,
              "accepted_at": "2026-11-24T11:00:01Z", "why": "given up by local/a.svoboda: scrapped", "attempts": 0,
              "at": "2026-11-25T11:59:00Z", "letter": "mes-ulm/item/5@77", "late": false, "blocked": null },
        ],
        "held": [{ "source": "erp", "reason": "steward", "waits_for": "item office", "since": "2026-11-24T11:59:55Z",
            "sentence": "waiting for a decision of item office", "turn": "item office", "until": null,
            "findings": [{ "rule_id": "ITM-07", "path": "/gtins/0", "message": "GTIN 1 has a wrong check digit" }] }] })
}

fn held() -> Value {
    json!({ "domain": "item", "key": "4712/A", "revision": null, "accepted_at": null, "deleted": false, "destinations": [],
        "held": [{ "source": "erp", "reason": "record", "waits_for": "reference/uom/XPX", "since": "2026-11-25T11:59:55Z",
            "sentence": "waiting for reference uom/XPX to exist", "turn": "reference office", "until": "2026-11-25T12:00:05Z",
            "findings": [{ "rule_id": "ITM-05", "path": "/base_uom", "message": "unit XPX is not known" }] }],
        "letters": [{ "id": "validator/erp/item/3@12", "system": "validator", "owner": "item office",
            "message": "conversion factor of BX is 0" }] })
}

fn lineage() -> Value {
    json!({
        "golden": { "topic": "mdm.golden.item", "partition": 3, "offset": 1851, "appended_at": "2026-11-25T11:42:08.05Z",
            "meta": { "revision": 18, "policy_version": "2026-11-20.3-1a2b3c4d", "occurred_at": "2026-11-25T11:42:07.120Z",
                "accepted_at": "2026-11-25T11:42:07.480Z", "correlation_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736" } },
        "change": { "meta": { "source": "erp", "source_entity": "MARA", "source_key": "4711/C", "author": "K.NOVAK",
            "source_epoch": 1, "source_sequence": 88213, "occurred_at": "2026-11-25T11:42:07.120Z",
            "captured_at": "2026-11-25T11:42:07.300Z" } },
        "findings": [{ "rule_id": "ITM-13" }],
        "events": [
            { "at": "2026-11-25T11:42:10Z", "system": "wms", "what": "accepted", "text": "revision 18, 201" },
            { "at": "2026-11-25T11:42:12Z", "system": "mes-ulm", "what": "refused", "text": "revision 18, 422 unit \"SET\" unknown" },
            { "at": "2026-11-25T11:50:00Z", "system": "mes-ulm", "what": "replaying", "text": "letter, by local/a.svoboda, plan p-7f2e" },
            { "at": "2026-11-25T11:50:01Z", "system": "mes-ulm", "what": "refused",
              "text": "revision 18, 422 unit \"SET\" unknown, after a replay" },
            { "at": "2026-11-25T11:55:00Z", "system": "wms", "what": "block", "text": "by local/j.rao: wrong drawing" },
        ],
        "status": status(),
    })
}

fn letters() -> Value {
    let letter = |id: &str,
                  key: &str,
                  revision: i64,
                  class: &str,
                  code: &str,
                  field: &str,
                  tries: i64,
                  opened: &str,
                  state: &str| {
        json!({ "id": id, "stage": "DELIVER", "system": "mes-ulm", "domain": "item", "key": key, "revision": revision, "class": class, "code": code, "field": field,
            "attempts": tries, "opened_at": opened, "owner": if tries > 1 { "" } else { "item office" }, "state": state, "hops": 0,
            "message": "said no", "closed_by": if state == "SUPERSEDED" { Value::from("revision 12") } else { Value::Null } })
    };
    json!([
        letter("mes-ulm/item/7@902", "B-71/C", 4, "REFUSED", "ROUTING_MISSING", "routing", 1, "2026-11-25T09:46:00Z", "OPEN"),
        letter("mes-ulm/item/3@1851", "4711/C", 18, "REFUSED", "UNIT_UNKNOWN", "base_uom", 1, "2026-11-25T10:58:00Z", "OPEN"),
        letter("mes-ulm/item/0@977", "4007/A", 11, "EXHAUSTED", "HTTP_500", "", 12, "2026-11-25T11:16:00Z", "SUPERSEDED"),
    ])
}

fn letter() -> Value {
    json!({
        "status": { "id": "mes-ulm/item/3@1851", "state": "OPEN", "stage": "DELIVER", "system": "mes-ulm", "domain": "item",
            "key": "4711/C", "revision": 18, "source": "erp", "class": "REFUSED", "code": "ITM-02", "field": "base_uom",
            "message": "unit \"SET\" unknown", "owner": "item office", "opened_at": "2026-11-25T11:42:12Z", "hops": 1 },
        "letter": { "topic": "mdm.golden.item", "partition": 3, "offset": 1851, "attempts": 1, "observed": "SET",
            "findings": [{ "rule_id": "ITM-02", "path": "/uom_conversions/0", "message": "factor is 0", "observed": "0" }] },
        "history": [
            { "at": "2026-11-25T11:42:12Z", "state": "open", "by": "mes-ulm" },
            { "at": "2026-11-25T11:58:00Z", "state": "replaying", "by": "local/a.svoboda", "plan": "p-7f2e" },
            { "at": "2026-11-25T11:58:01Z", "state": "open", "by": "replayer", "reason": "refused again" },
        ],
        "sent_revision": 18, "there_revision": 17,
        "differences": [{ "path": "/base_uom", "sent": "SET", "there": "C62" }],
        "payload": { "unit": "SET" },
    })
}

fn discarded() -> Value {
    let mut letter = letter();
    letter["status"]["id"] = "mes-ulm/item/5@77".into();
    letter["status"]["state"] = "DISCARDED".into();
    letter["status"]["closed_by"] = "local/a.svoboda".into();
    letter["status"]["reason"] = "scrapped".into();
    letter["history"] = json!([
        { "at": "2026-11-25T11:42:12Z", "state": "open", "by": "mes-ulm" },
        { "at": "2026-11-25T11:59:00Z", "state": "discarded", "by": "local/a.svoboda", "reason": "scrapped" },
    ]);
    letter
}

fn stats() -> Value {
    json!({ "version": 1, "next": null, "items": [
        { "value": "ROUTING_MISSING", "open": 41, "oldest_open_at": "2026-11-25T09:46:00Z", "written_24h": 41, "accepted_24h": 0,
          "superseded_24h": 0, "discarded_24h": 0 },
        { "value": "UNIT_UNKNOWN", "open": 1, "oldest_open_at": "2026-11-25T10:58:00Z", "written_24h": 3, "accepted_24h": 1,
          "superseded_24h": 1, "discarded_24h": 0 },
    ] })
}

fn plan(state: &str, sent: i64, accepted: i64, refused: i64) -> Value {
    json!({ "id": "p-7f31", "state": state, "actor": "local/a.svoboda", "made_at": "2026-11-25T11:55:00Z",
        "filter": { "ids": [], "system": "mes-ulm", "code": "ROUTING_MISSING", "rate": 0 }, "policy_version": "1",
        "would_apply": 37, "superseded": 2, "still_failing": 1, "unreadable": 1, "exhausted": 0, "sent": sent,
        "accepted": accepted, "refused": refused, "not_ready": [], "error": null })
}

fn destinations() -> Vec<Value> {
    vec![
        json!({ "name": "mes-ulm", "office": "plant Ulm", "state": "ok", "since": "2026-11-25T06:00:00Z", "queued": 12,
            "refused": 41, "oldest_waiting_seconds": 840.0, "accepted_per_second": 4.25, "rate_limit": 20.0, "refused_1h": 41 }),
        json!({ "name": "mes-pune", "office": "plant Pune", "state": "paused", "since": "2026-11-25T11:22:00Z", "queued": 1204,
            "refused": 0, "oldest_waiting_seconds": 2280.0, "accepted_per_second": 0.0, "rate_limit": null, "refused_1h": 0,
            "by": "local/j.rao", "reason": "line 4 stop", "until": "2026-11-25T14:00:00Z" }),
        json!({ "name": "mes-brno", "office": "plant Brno", "state": "unavailable", "since": "2026-11-25T11:57:00Z", "queued": 3,
            "refused": 0, "oldest_waiting_seconds": 180.0, "accepted_per_second": 0.0, "rate_limit": null, "refused_1h": 0,
            "code": "HTTP_401", "reason": "HTTP 401: who are you?", "next_at": "2026-11-25T12:00:40Z", "retrying": 2 }),
    ]
}
