//! What the destination's sink says about itself: gauges of every instance, and once a minute and on change the record in topic
//! `destination`, written by the owner of slot 0.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{DestinationState, DestinationStatus, Outgoing, Slot, Timestamp, ledger::Paused};
use service::CancellationToken;

use crate::shared::{Fault, Shared, now};

const LOOK: Duration = Duration::from_millis(200);
const REPEAT: Duration = Duration::from_secs(60);

/// The pause of every slot that is owned here.
#[derive(Default)]
pub(crate) struct Board {
    slots: Mutex<BTreeMap<Slot, Option<Paused>>>,
}

impl Board {
    pub(crate) fn post(&self, slot: Slot, paused: Option<&Paused>) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, paused.cloned());
    }

    pub(crate) fn leave(&self, slot: Slot) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }

    /// Whether slot 0 is owned here, and a pause if any slot has one.
    fn read(&self) -> (bool, Option<Paused>) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        (slots.contains_key(&Slot(0)), slots.values().find_map(Clone::clone))
    }
}

/// What the last record said.
#[derive(PartialEq, Eq)]
struct Said {
    state: DestinationState,
    paused: Option<Paused>,
    /// While it is down, or asked to be left alone: what it last answered, and when it is asked again.
    fault: Option<Fault>,
    next_at: Option<Timestamp>,
    /// What the brokers refuse to this sink.
    refused: Option<String>,
}

/// Looks until `stop`.
pub(crate) async fn watch(shared: Arc<Shared>, board: Arc<Board>, stop: CancellationToken) {
    let mut told: Option<(Said, Timestamp)> = None;
    let mut since = now();
    let mut last = None;
    while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
        let (owns_first, paused) = board.read();
        let (down_since, next_at, rate) = {
            let traffic = shared.traffic();
            let throttled = traffic.throttled_until().filter(|until| *until > now());
            (traffic.down_since(), throttled.max(traffic.next_probe()), traffic.rate())
        };
        let state = match (&paused, down_since) {
            (Some(_), _) => DestinationState::Paused,
            (None, Some(_)) => DestinationState::Unavailable,
            (None, None) => DestinationState::Ok,
        };
        if last != Some(state) {
            since = down_since.unwrap_or_else(now);
            last = Some(state);
        }
        gauges(&shared, state, rate);
        let refused = shared.client.refusals().first().map(ToString::to_string);
        // Who may not read is assigned nothing, and still has to say why; all instances are one identity, and say the same.
        let speaks = owns_first || refused.is_some();
        let fault = shared.fault().filter(|_| paused.is_none() && next_at.is_some());
        let said = Said { state, paused, fault, next_at, refused };
        let is_told = told.as_ref().is_some_and(|(before, at)| *before == said && now().since(*at) < REPEAT);
        if !speaks {
            told = None;
        } else if !is_told && tell(&shared, &said, since).await {
            told = Some((said, now()));
        }
    }
}

pub(crate) fn gauges(shared: &Shared, state: DestinationState, rate: Option<f64>) {
    for each in DestinationState::SYMBOLS {
        telemetry::DESTINATION_STATE.with_label_values(&[shared.name(), each.name()]).set(i64::from(*each == state));
    }
    telemetry::DESTINATION_RATE_LIMIT.with_label_values(&[shared.name()]).set(rate.unwrap_or(0.0));
}

/// What may happen here, at zero, so that its first time is an increase.
pub(crate) fn zeros(shared: &Shared) {
    let name = shared.name();
    telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&["deliver", name]);
    for domain in shared.destination.domains.keys().map(|domain| domain.name()) {
        telemetry::PARKED_KEYS.with_label_values(&[name, domain]).set(0);
        telemetry::REVISION_CONFLICTS.with_label_values(&[name, domain]);
        for outcome in ["ok", "stale", "skipped", "held", "superseded", "dead_lettered"] {
            telemetry::RECORDS.with_label_values(&[domain, "deliver", name, outcome]);
        }
    }
}

async fn tell(shared: &Shared, said: &Said, since: Timestamp) -> bool {
    let (state, paused) = (said.state, said.paused.as_ref());
    let reason = match state {
        DestinationState::Paused => paused.map(|paused| paused.reason.clone()),
        DestinationState::Unavailable => said.fault.as_ref().map(|fault| fault.message.clone()),
        DestinationState::Ok | DestinationState::Resyncing | DestinationState::Unknown => None,
    };
    let reasons: Vec<String> = reason.into_iter().chain(said.refused.clone()).collect();
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    let status = DestinationStatus {
        destination: shared.name().to_owned(),
        domains: shared.destination.domains.keys().map(|domain| domain.name().to_owned()).collect(),
        state,
        since,
        reason,
        code: said.fault.as_ref().map(|fault| fault.code.clone()),
        next_at: said.next_at,
        by: paused.map(|paused| paused.by.clone()),
        until: paused.and_then(|paused| paused.until),
        policy_version: shared.landscape.policy_version.clone(),
        at: now(),
    };
    let value = match shared.writer.encode(&status) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(destination = shared.name(), %error, "encoding the destination's state");
            return false;
        }
    };
    let outgoing =
        Outgoing { topic: shared.names.status.clone(), slot: Slot(0), key: shared.name().to_owned(), value, headers: Vec::new() };
    match shared.producer.send(&outgoing).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(destination = shared.name(), %error, "writing the destination's state");
            false
        }
    }
}
