//! What a running batch changes, over the committed state: folded in when the transaction committed, dropped when it did not.

use std::{collections::HashMap, sync::Arc};

use avro::DecodeError;
use model::{Domain, Golden, Held, RecordKey, Topical};
use policy::References;
use service::Span;
use telemetry::trace::attribute;

use crate::{shared::Shared, state::State, tally::Tally};

/// Changes of one batch.
#[derive(Default)]
pub(crate) struct Overlay {
    golden: HashMap<Topical, Option<Accepted>>,
    held: HashMap<Topical, Held>,
    pub(crate) tally: Tally,
    /// They end when the transaction commits, and were never there when it does not.
    pub(crate) spans: Vec<Span>,
}

/// A golden record as it is now; none is a tombstone.
pub(crate) type Changed = (Topical, Option<Arc<Golden>>);

struct Accepted {
    golden: Arc<Golden>,
    bytes: Box<[u8]>,
}

/// The golden record of a key as this batch sees it.
pub(crate) enum Current {
    None,
    Known(Arc<Golden>),
    /// Nobody knows its schema yet.
    NeedSchema(i32),
    /// The state cannot be decoded; in words, why.
    Unreadable(String),
}

impl Overlay {
    pub(crate) fn current(&self, state: &State, shared: &Shared, record: &Topical) -> Current {
        if let Some(changed) = self.golden.get(record) {
            return changed.as_ref().map_or(Current::None, |accepted| Current::Known(Arc::clone(&accepted.golden)));
        }
        let Some(bytes) = state.golden(record.slot(shared.slots()), record.domain, &record.key) else { return Current::None };
        match shared.reader.decode_golden(record.domain, bytes) {
            Ok(golden) => Current::Known(Arc::new(golden)),
            Err(DecodeError::NeedSchema(id)) => Current::NeedSchema(id),
            Err(error @ DecodeError::Unreadable { .. }) => Current::Unreadable(error.to_string()),
        }
    }

    pub(crate) fn accept(&mut self, record: Topical, golden: Golden, bytes: Vec<u8>) {
        let accepted = Accepted { golden: Arc::new(golden), bytes: bytes.into_boxed_slice() };
        self.golden.insert(record, Some(accepted));
    }

    pub(crate) fn bury(&mut self, record: Topical) {
        self.golden.insert(record, None);
    }

    /// The decision about a record is made: its span ends here and is handed over with the transaction.
    pub(crate) fn worked(&mut self, mut span: Span, domain: Domain, outcome: &'static str, code: Option<&str>) {
        span.set(attribute::DOMAIN, domain.name());
        span.set(attribute::OUTCOME, outcome);
        if let Some(code) = code {
            span.fail(code);
        }
        span.stop();
        self.spans.push(span);
    }

    pub(crate) fn held(&self, state: &State, shared: &Shared, record: &Topical) -> Held {
        match self.held.get(record) {
            Some(held) => held.clone(),
            None => state.held(record.slot(shared.slots()), record).cloned().unwrap_or_default(),
        }
    }

    pub(crate) fn set_held(&mut self, record: Topical, held: Held) {
        self.held.insert(record, held);
    }

    /// Makes the batch part of the state. Returns the golden records that changed, and the keys on which something waits
    /// now.
    pub(crate) fn fold(&mut self, state: &mut State, shared: &Shared) -> (Vec<Changed>, Vec<Topical>) {
        let slots = shared.slots();
        let mut changed = Vec::with_capacity(self.golden.len());
        for (record, accepted) in self.golden.drain() {
            let (golden, bytes) = accepted.map(|accepted| (accepted.golden, accepted.bytes)).unzip();
            state.set_golden(record.slot(slots), &record, bytes);
            changed.push((record, golden));
        }
        let mut waiting = Vec::with_capacity(self.held.len());
        for (record, held) in self.held.drain() {
            let waits = !held.waiting.is_empty();
            state.set_held(record.slot(slots), &record, held);
            if waits {
                waiting.push(record);
            }
        }
        self.tally.tell();
        for span in self.spans.drain(..) {
            shared.traces.end(span);
        }
        (changed, waiting)
    }

    pub(crate) fn drop_all(&mut self) {
        self.tally.drop_all();
        *self = Self::default();
    }
}

/// References as this batch sees them: its own changes first, then codes as followed, then its own slots, then other slots.
pub(crate) struct Lookup<'a> {
    pub(crate) overlay: &'a Overlay,
    pub(crate) state: &'a State,
    pub(crate) shared: &'a Shared,
}

impl References for Lookup<'_> {
    fn golden(&self, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>> {
        if !self.overlay.golden.is_empty()
            && let Some(changed) = self.overlay.golden.get(&Topical::new(domain, key.clone()))
        {
            return changed.as_ref().map(|accepted| Arc::clone(&accepted.golden));
        }
        let reader = &self.shared.reader;
        let viewed = || self.shared.view.golden(reader, domain, key);
        if domain == Domain::Reference
            && let Some(golden) = viewed()
        {
            return Some(golden);
        }
        let slot = key.slot(domain, self.shared.slots());
        if self.state.owns(slot) {
            let bytes = self.state.golden(slot, domain, key)?;
            return reader.decode_golden(domain, bytes).ok().map(Arc::new);
        }
        viewed()
    }

    fn has_set(&self, set: &str) -> bool {
        self.shared.landscape.sets.contains(set)
    }
}
