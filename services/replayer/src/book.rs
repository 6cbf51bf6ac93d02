//! Letters, plans and the head of the audit chain: the replayer's own state, with a way back.
//!
//! Invariant: between [`Book::committed`] and [`Book::aborted`] every change is remembered with what was there before, so that an
//! aborted transaction leaves the book as the topics have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Domain, LetterId, LetterState, LetterStatus, Plan, PlanState, RecordKey, Topical};

/// Head of the audit chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: String,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    letters: BTreeMap<LetterId, LetterStatus>,
    /// Letters that may still move, by the key of their record: those that wait for an outcome, and discarded ones, which may be sent
    /// again.
    by_key: HashMap<Topical, BTreeSet<LetterId>>,
    plans: BTreeMap<String, Plan>,
    head: Head,
    before: Before,
}

/// What to put back.
#[derive(Debug, Default)]
struct Before {
    letters: HashMap<LetterId, Option<LetterStatus>>,
    plans: HashMap<String, Option<Plan>>,
    head: Option<Head>,
}

/// Whether something may still close the letter.
pub(crate) fn is_waiting(status: &LetterStatus) -> bool {
    matches!(status.state, LetterState::Open | LetterState::Replaying | LetterState::Expired)
}

fn topical(status: &LetterStatus) -> Option<Topical> {
    Some(Topical::new(status.domain?, status.key.clone()?))
}

impl Book {
    /// Forgets everything: a restore follows.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn letter(&self, id: &LetterId) -> Option<&LetterStatus> {
        self.letters.get(id)
    }

    pub(crate) fn letters(&self) -> impl Iterator<Item = &LetterStatus> {
        self.letters.values()
    }

    /// Letters of a record that wait for an outcome.
    pub(crate) fn waiting(&self, domain: Domain, key: &RecordKey) -> Vec<LetterStatus> {
        let ids = self.by_key.get(&Topical::new(domain, key.clone()));
        ids.into_iter().flatten().filter_map(|id| self.letters.get(id)).filter(|status| is_waiting(status)).cloned().collect()
    }

    /// Whether anything about this record may decide what becomes of a letter.
    pub(crate) fn has_movable(&self, topical: &Topical) -> bool {
        self.by_key.contains_key(topical)
    }

    pub(crate) fn put(&mut self, status: LetterStatus) {
        let id = status.id.clone();
        let old = self.letters.get(&id).cloned();
        self.before.letters.entry(id.clone()).or_insert(old);
        self.set(id, Some(status));
    }

    /// A letter that is closed for so long that even its state goes.
    pub(crate) fn forget(&mut self, id: &LetterId) {
        let old = self.letters.get(id).cloned();
        self.before.letters.entry(id.clone()).or_insert(old);
        self.set(id.clone(), None);
    }

    pub(crate) fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.get(id)
    }

    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values()
    }

    pub(crate) fn put_plan(&mut self, plan: Plan) {
        self.before.plans.entry(plan.id.clone()).or_insert_with(|| self.plans.get(&plan.id).cloned());
        self.plans.insert(plan.id.clone(), plan);
    }

    pub(crate) fn forget_plan(&mut self, id: &str) {
        self.before.plans.entry(id.to_owned()).or_insert_with(|| self.plans.get(id).cloned());
        self.plans.remove(id);
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn set_head(&mut self, head: Head) {
        self.before.head.get_or_insert_with(|| self.head.clone());
        self.head = head;
    }

    /// From the topics: nothing to undo.
    pub(crate) fn restore_letter(&mut self, id: LetterId, status: Option<LetterStatus>) {
        self.set(id, status);
    }

    pub(crate) fn restore_plan(&mut self, id: String, plan: Option<Plan>) {
        match plan {
            Some(plan) => drop(self.plans.insert(id, plan)),
            None => drop(self.plans.remove(&id)),
        }
    }

    pub(crate) fn restore_head(&mut self, seq: i64, hash: String) {
        if seq > self.head.seq {
            self.head = Head { seq, hash };
        }
    }

    pub(crate) fn committed(&mut self) {
        self.before = Before::default();
    }

    pub(crate) fn aborted(&mut self) {
        let before = std::mem::take(&mut self.before);
        for (id, old) in before.letters {
            self.set(id, old);
        }
        for (id, old) in before.plans {
            self.restore_plan(id, old);
        }
        if let Some(head) = before.head {
            self.head = head;
        }
    }

    /// Plans by state, for the metrics.
    pub(crate) fn plan_states(&self) -> BTreeMap<&'static str, i64> {
        let mut states = BTreeMap::from([("planned", 0), ("running", 0), ("done", 0), ("cancelled", 0)]);
        for plan in self.plans.values() {
            let name = match plan.state {
                PlanState::Planned => "planned",
                PlanState::Running => "running",
                PlanState::Done => "done",
                PlanState::Cancelled | PlanState::Unknown => "cancelled",
            };
            *states.entry(name).or_default() += 1;
        }
        states
    }

    fn set(&mut self, id: LetterId, status: Option<LetterStatus>) {
        if let Some(place) = self.letters.get(&id).and_then(topical)
            && let Some(ids) = self.by_key.get_mut(&place)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_key.remove(&place);
            }
        }
        match status {
            Some(status) => {
                if (is_waiting(&status) || status.state == LetterState::Discarded)
                    && let Some(place) = topical(&status)
                {
                    self.by_key.entry(place).or_default().insert(id.clone());
                }
                self.letters.insert(id, status);
            }
            None => drop(self.letters.remove(&id)),
        }
    }
}
