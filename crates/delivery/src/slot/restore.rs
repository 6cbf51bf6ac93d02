//! Reading a slot's ledger back: what was durable when its last owner stopped, cleanly or not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use model::{Lease, LedgerEntry, LedgerState, Reason, Timestamp, Topical};

use super::{Action, Counted, Setup, SlotState, known::Known, lane::Step};
use crate::Chain;

impl<P: Clone> SlotState<P> {
    /// An empty slot. `owner` names this ownership and no other. What the newest lease says is needed from the start: receipts that
    /// were written need not be kept while the ledger is read, and which entries are in doubt.
    #[must_use]
    pub fn new(setup: Setup, owner: String, newest: Option<&Lease>) -> Self {
        Self {
            setup,
            known: HashMap::new(),
            parked: BTreeMap::new(),
            awaited: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            tried: VecDeque::new(),
            takes_tried: false,
            timers: BTreeSet::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            chain: Chain::default(),
            head: None,
            receipt_acknowledged: Chain::at(newest.map_or(0, |lease| lease.receipt_seq), String::new()),
            unsent: BTreeMap::new(),
            owner,
            epoch: -1,
            restored_epoch: -1,
            was_clean: None,
            doubt_epoch: newest.and_then(|lease| lease.doubt_epoch),
            paused: None,
            caught_up_at: None,
            outstanding: BTreeMap::new(),
            graves: Vec::new(),
            resends: Some(Vec::new()),
            is_draining: false,
            actions: VecDeque::new(),
            #[cfg(test)]
            bug: None,
        }
    }

    /// A lease record found at this offset of the ledger.
    pub fn restore_lease(&mut self, offset: i64, lease: Lease) {
        let epoch = lease.epoch.unwrap_or(offset);
        if epoch < self.restored_epoch {
            // A former owner that woke up late; the slot is no longer its own.
            return;
        }
        self.restored_epoch = epoch;
        self.was_clean = Some(lease.clean);
        self.paused = lease.paused;
        self.caught_up_at = lease.caught_up_at;
        self.unsent.retain(|seq, _| *seq > lease.receipt_seq);
        if lease.receipt_seq >= self.chain.seq() {
            self.chain = Chain::at(lease.receipt_seq, lease.receipt_hash.clone());
        }
        self.receipt_acknowledged = Chain::at(lease.receipt_seq, lease.receipt_hash);
    }

    /// An entry, or its tombstone, in the order of the ledger. One that a former owner wrote after its lease was taken over is
    /// ignored: its revision is offered again under the same idempotency key.
    pub fn restore(&mut self, key: Topical, entry: Option<LedgerEntry>) {
        let Some(mut entry) = entry else {
            return self.remember(key, None);
        };
        if entry.lease_epoch < self.restored_epoch {
            self.actions.push_back(Action::Count(key.domain, Counted::LateEntry));
            return;
        }
        let is_old = self.doubt_epoch.is_some_and(|epoch| entry.lease_epoch <= epoch);
        if let Some(receipt) = entry.receipt.take() {
            if receipt.seq > self.receipt_acknowledged.seq() {
                self.unsent.insert(receipt.seq, (key.clone(), receipt.clone()));
            }
            if receipt.seq > self.chain.seq() {
                self.chain = Chain::at(receipt.seq, receipt.hash.clone());
                self.head = Some(receipt);
            } else if receipt.seq == self.chain.seq() {
                self.head = Some(receipt);
            }
        }
        let mut known = Known::of(entry);
        known.in_doubt |= is_old;
        self.remember(key, Some(known));
    }

    /// True when the last owner may still have a call on its way: one request timeout has to pass before the first call.
    #[must_use]
    pub fn was_unclean(&self) -> bool {
        self.was_clean == Some(false)
    }

    /// True while a removal may be all that is left of what the last owner called: it did not hand over, and golden was not yet read
    /// up to where it may have been.
    pub(super) fn is_unsure(&self) -> bool {
        self.was_unclean() && self.resends.is_some()
    }

    /// True while there may be doubt that no entry names: what the last owner called and did not finish is still to be read, or to be
    /// sent. A hand-over in this state is not clean.
    pub(super) fn has_unnamed_doubt(&self) -> bool {
        self.was_unclean() && (self.resends.is_some() || self.lanes.values().any(|lane| lane.next.is_some()))
    }

    /// Restored, and the own lease lies at `epoch`: receipts that may be missing are sent again as they were, timers run, and what
    /// only waited for a place is taken up.
    pub fn begin(&mut self, epoch: i64, now: Timestamp) {
        self.epoch = epoch;
        if self.was_unclean() {
            // A call of which the ledger says nothing may have had its effect, and its record may be compacted away by now.
            self.doubt_epoch = Some(self.restored_epoch);
            self.known.values_mut().for_each(|known| known.in_doubt = true);
        }
        #[cfg(test)]
        if self.bug == Some(super::tests::Bug::CrashLeavesNoDoubt) {
            self.known.values_mut().for_each(|known| known.in_doubt = false);
        }
        for (_, (key, receipt)) in std::mem::take(&mut self.unsent) {
            self.start(Some(key), [Step::Repeat(Box::new(receipt))], now);
        }
        self.timers.extend(self.paused.as_ref().and_then(|paused| paused.until).map(|until| (until, None)));
        let mut woken = Vec::new();
        for (key, known) in &self.known {
            let Some(standing) = known.standing.as_deref() else { continue };
            match standing.state {
                LedgerState::Waiting if standing.reason == Reason::Queued => woken.push(key.clone()),
                LedgerState::Waiting | LedgerState::Delivered | LedgerState::Blocked => {
                    self.timers.extend(standing.until.map(|until| (until, Some(key.clone()))));
                }
                LedgerState::Clear | LedgerState::Parked | LedgerState::Deleted | LedgerState::Unknown => {}
            }
        }
        woken.sort_unstable();
        for key in woken {
            self.wake(&key);
        }
    }

    /// True where the destination is known to have accepted something.
    #[must_use]
    pub fn has_accepted(&self) -> bool {
        self.known.values().any(|known| known.accepted.is_some())
    }

    /// Keys that wait for a gate, so that the ones of a gate which the landscape dropped can be woken.
    pub fn waiting(&self) -> impl Iterator<Item = (&Topical, Reason)> {
        self.known.iter().filter_map(|(key, known)| {
            let standing = known.standing.as_deref().filter(|standing| standing.state == LedgerState::Waiting)?;
            Some((key, standing.reason))
        })
    }
}
