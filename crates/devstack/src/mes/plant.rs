//! What a simulated plant holds, refuses and counts: no network, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call of the sink, as the plant understood it.
#[derive(Clone, Debug)]
pub struct Offer {
    pub domain: String,
    /// The record key as Millrace writes it: components percent-encoded, joined by `/`.
    pub key: String,
    pub revision: i64,
    pub idempotency_key: String,
    /// None deletes.
    pub body: Option<Value>,
}

/// What the plant did with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It changed what the plant holds.
    Applied,
    /// It had been done before: same idempotency key, or same revision.
    Already,
    /// The plant holds a higher revision and did nothing.
    Older,
    /// The plant cannot hold it.
    Refused,
    /// The plant was told to be unwell (slow calls end as one of the others).
    Failed,
}

/// Why the plant cannot hold a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub field: Option<String>,
    pub value: Option<Value>,
    pub message: String,
}

/// The plant's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Accepted { revision: i64, already: bool },
    HasNewer { revision: i64 },
    Refused(Refusal),
}

/// One limit of what a plant can hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub domain: String,
    /// Where in the payload, with dots: `unit`, `header.unit`.
    pub field: String,
    /// The values it knows; when absent, the field only has to be there.
    #[serde(default)]
    pub one_of: Option<BTreeSet<String>>,
    pub code: String,
}

/// One record of the plant. `body` is none once it was deleted: the revision is still known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub domain: String,
    pub key: String,
    pub revision: i64,
    pub body: Option<Value>,
    /// Number of the call that wrote it.
    pub call: u64,
}

/// One line of the call book.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Grows by one with every call that arrived.
    pub number: u64,
    /// Unix milliseconds of arrival.
    pub at: i64,
    pub domain: String,
    pub key: String,
    pub revision: i64,
    pub deed: Deed,
    pub status: u16,
    /// Where the caller says that the call stands in its trace.
    #[serde(default)]
    pub traceparent: Option<String>,
}

/// What a test asks for first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub calls: u64,
    pub applied: u64,
    pub already: u64,
    pub refused: u64,
    pub failed: u64,
    /// A lower revision was offered after a higher one of the same key had been applied.
    pub regressions: u64,
    /// One (key, revision) changed the plant more than once.
    pub second_effects: u64,
    /// A revision came again with other content.
    pub conflicts: u64,
    pub records: u64,
}

/// How careful the plant is itself. Tests that plant a bug in the sink need a plant that does not mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Answers a repeated idempotency key or revision without doing it again.
    pub honours_repeats: bool,
    /// Refuses a revision below the one it holds.
    pub fences: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { honours_repeats: true, fences: true }
    }
}

/// The plant.
#[derive(Debug, Default)]
pub struct Plant {
    manners: Manners,
    limits: Vec<Limit>,
    records: BTreeMap<(String, String), Stored>,
    refused_keys: BTreeSet<String>,
    done: HashMap<String, i64>,
    /// Highest revision that was ever applied, and how often each revision was.
    highest: HashMap<(String, String), i64>,
    effects: HashMap<(String, String, i64), u32>,
    calls: VecDeque<Call>,
    counts: Counts,
}

impl Plant {
    #[must_use]
    pub fn new(manners: Manners, limits: Vec<Limit>) -> Self {
        Self { manners, limits, ..Self::default() }
    }

    /// Puts back what an earlier run held; nothing of it counts as a call.
    pub fn restore(&mut self, stored: Stored) {
        let name = (stored.domain.clone(), stored.key.clone());
        self.highest.insert(name.clone(), stored.revision);
        self.records.insert(name, stored);
    }

    /// Numbers a call that has just arrived.
    pub fn arrive(&mut self) -> u64 {
        self.counts.calls += 1;
        self.counts.calls
    }

    /// Decides a call, applies it and counts.
    pub fn offer(&mut self, number: u64, offer: Offer) -> Answer {
        let name = (offer.domain.clone(), offer.key.clone());
        let highest = self.highest.get(&name).copied();
        if highest.is_some_and(|highest| offer.revision < highest) {
            self.counts.regressions += 1;
        }
        let repeats = self.done.get(&offer.idempotency_key) == Some(&offer.revision) || highest == Some(offer.revision);
        if self.manners.honours_repeats && repeats {
            let held = self.records.get(&name);
            if held.is_some_and(|held| held.revision == offer.revision && held.body != offer.body) {
                self.counts.conflicts += 1;
            }
            self.counts.already += 1;
            return Answer::Accepted { revision: offer.revision, already: true };
        }
        if let Some(highest) = highest.filter(|highest| self.manners.fences && offer.revision < *highest) {
            return Answer::HasNewer { revision: highest };
        }
        if let Some(refusal) = self.refuses(&offer) {
            self.counts.refused += 1;
            return Answer::Refused(refusal);
        }
        self.apply(number, name, offer)
    }

    fn apply(&mut self, number: u64, name: (String, String), offer: Offer) -> Answer {
        let effects = self.effects.entry((name.0.clone(), name.1.clone(), offer.revision)).or_default();
        *effects += 1;
        if *effects > 1 {
            self.counts.second_effects += 1;
        }
        self.counts.applied += 1;
        self.done.insert(offer.idempotency_key, offer.revision);
        let highest = self.highest.entry(name.clone()).or_insert(offer.revision);
        *highest = (*highest).max(offer.revision);
        let revision = offer.revision;
        self.records.insert(name, Stored { domain: offer.domain, key: offer.key, revision, body: offer.body, call: number });
        Answer::Accepted { revision, already: false }
    }

    fn refuses(&self, offer: &Offer) -> Option<Refusal> {
        if self.refused_keys.contains(&offer.key) || self.refused_keys.contains(&format!("{}/{}", offer.domain, offer.key)) {
            return Some(Refusal {
                code: "REFUSED_BY_PLANT".to_owned(),
                field: None,
                value: None,
                message: format!("the plant was told to refuse {} {}", offer.domain, offer.key),
            });
        }
        let body = offer.body.as_ref()?;
        self.limits.iter().filter(|limit| limit.domain == offer.domain).find_map(|limit| limit.broken_by(body))
    }

    /// Writes a call into the book, once it is known how it ended.
    pub fn record(&mut self, call: Call) {
        if call.deed == Deed::Failed {
            self.counts.failed += 1;
        }
        self.calls.push_back(call);
    }

    /// Refuses one key (or `domain/key`) until it is accepted again.
    pub fn refuse(&mut self, key: String) {
        self.refused_keys.insert(key);
    }

    pub fn accept(&mut self, key: &str) {
        self.refused_keys.remove(key);
    }

    /// The records that are there, deleted ones left out.
    pub fn records(&self) -> impl Iterator<Item = &Stored> {
        self.records.values().filter(|stored| stored.body.is_some())
    }

    /// One record, also when it was deleted.
    #[must_use]
    pub fn record_of(&self, domain: &str, key: &str) -> Option<&Stored> {
        self.records.get(&(domain.to_owned(), key.to_owned()))
    }

    /// The call book from one number on.
    pub fn calls_since(&self, number: u64) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.number >= number)
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { records: self.records().count() as u64, ..self.counts.clone() }
    }
}

impl Limit {
    fn broken_by(&self, body: &Value) -> Option<Refusal> {
        let pointer = format!("/{}", self.field.replace('.', "/"));
        let value = body.pointer(&pointer).filter(|value| !value.is_null());
        let message = match (value, &self.one_of) {
            (None, _) => format!("{} is missing", self.field),
            (Some(_), None) => return None,
            (Some(Value::String(text)), Some(known)) if known.contains(text) => return None,
            (Some(value), Some(_)) => format!("{} {value} is unknown here", self.field),
        };
        Some(Refusal { code: self.code.clone(), field: Some(self.field.clone()), value: value.cloned(), message })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(key: &str, revision: i64, body: Value) -> Offer {
        Offer {
            domain: "item".to_owned(),
            key: key.to_owned(),
            revision,
            idempotency_key: format!("{key}@{revision}"),
            body: (!body.is_null()).then_some(body),
        }
    }

    fn accepted(revision: i64, already: bool) -> Answer {
        Answer::Accepted { revision, already }
    }

    #[test]
    fn a_repeat_has_no_second_effect() {
        let mut plant = Plant::default();
        assert_eq!(plant.offer(1, offer("a", 1, json!({"x": 1}))), accepted(1, false));
        assert_eq!(plant.offer(2, offer("a", 1, json!({"x": 1}))), accepted(1, true));
        let counts = plant.counts();
        assert_eq!((counts.applied, counts.already, counts.second_effects, counts.conflicts), (1, 1, 0, 0));
    }

    #[test]
    fn a_repeat_with_other_content_is_counted_as_a_conflict() {
        let mut plant = Plant::default();
        assert_eq!(plant.offer(1, offer("a", 1, json!({"x": 1}))), accepted(1, false));
        assert_eq!(plant.offer(2, offer("a", 1, json!({"x": 2}))), accepted(1, true));
        assert_eq!(plant.counts().conflicts, 1);
        assert_eq!(plant.record_of("item", "a").unwrap().body, Some(json!({"x": 1})));
    }

    #[test]
    fn a_lower_revision_is_answered_with_the_higher_one_and_counted() {
        let mut plant = Plant::default();
        assert_eq!(plant.offer(1, offer("a", 2, json!({}))), accepted(2, false));
        assert_eq!(plant.offer(2, offer("a", 1, json!({}))), Answer::HasNewer { revision: 2 });
        assert_eq!(plant.counts().regressions, 1);
    }

    #[test]
    fn a_careless_plant_shows_the_bugs_of_its_sink() {
        let mut plant = Plant::new(Manners { honours_repeats: false, fences: false }, Vec::new());
        for (number, revision) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
            assert_eq!(plant.offer(number, offer("a", revision, json!({}))), accepted(revision, false));
        }
        let counts = plant.counts();
        assert_eq!((counts.regressions, counts.second_effects), (1, 2));
        assert_eq!(plant.record_of("item", "a").unwrap().revision, 1);
    }

    #[test]
    fn a_plant_refuses_what_it_cannot_hold_and_says_which_field() {
        let limit = |field: &str, one_of: Option<&[&str]>, code: &str| Limit {
            domain: "item".to_owned(),
            field: field.to_owned(),
            one_of: one_of.map(|known| known.iter().map(|unit| (*unit).to_owned()).collect()),
            code: code.to_owned(),
        };
        let limits = vec![limit("head.unit", Some(&["PCE"]), "UNIT_UNKNOWN"), limit("name", None, "FIELD_MISSING")];
        let mut plant = Plant::new(Manners::default(), limits);
        let Answer::Refused(refusal) = plant.offer(1, offer("a", 1, json!({"name": "A", "head": {"unit": "SET"}}))) else {
            panic!("a set was held")
        };
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), ("UNIT_UNKNOWN", Some("head.unit")));
        assert_eq!(refusal.value, Some(json!("SET")));
        let Answer::Refused(refusal) = plant.offer(2, offer("a", 1, json!({"head": {"unit": "PCE"}}))) else {
            panic!("a nameless item was held")
        };
        assert_eq!(refusal.code, "FIELD_MISSING");
        assert_eq!(plant.offer(3, offer("a", 1, json!({"name": "A", "head": {"unit": "PCE"}}))), accepted(1, false));
        assert_eq!(plant.offer(4, offer("a", 2, Value::Null)), accepted(2, false));
    }

    #[test]
    fn a_refused_key_is_refused_until_it_is_accepted() {
        let mut plant = Plant::default();
        plant.refuse("a".to_owned());
        assert!(
            matches!(plant.offer(1, offer("a", 1, json!({}))), Answer::Refused(refusal) if refusal.code == "REFUSED_BY_PLANT")
        );
        assert_eq!(plant.offer(2, offer("b", 1, json!({}))), accepted(1, false));
        plant.accept("a");
        assert_eq!(plant.offer(3, offer("a", 1, json!({}))), accepted(1, false));
    }

    #[test]
    fn a_deleted_record_is_gone_but_its_revision_is_known() {
        let mut plant = Plant::default();
        assert_eq!(plant.offer(1, offer("a", 1, json!({}))), accepted(1, false));
        assert_eq!(plant.offer(2, offer("a", 3, Value::Null)), accepted(3, false));
        assert_eq!(plant.counts().records, 0);
        assert_eq!(plant.offer(3, offer("a", 2, json!({}))), Answer::HasNewer { revision: 3 });
    }

    #[test]
    fn what_an_earlier_run_held_is_fenced_too() {
        let mut plant = Plant::default();
        plant.restore(Stored { domain: "item".to_owned(), key: "a".to_owned(), revision: 5, body: Some(json!({})), call: 0 });
        assert_eq!(plant.offer(1, offer("a", 5, json!({}))), accepted(5, true));
        assert_eq!(plant.offer(2, offer("a", 4, json!({}))), Answer::HasNewer { revision: 5 });
    }
}
