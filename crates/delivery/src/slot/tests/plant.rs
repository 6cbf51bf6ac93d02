//! Four slots, one destination and its limits, by the hour: who is blamed for what, and who waits for whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{ChangeId, Domain, LetterClass, Reason, RecordKey, Slot, Timestamp, Topical};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Bug,
    world::{at_slot, removal},
};
use crate::{
    Absence, Action, Answer, AnswerClass, Call, Grant, Offer, Operation, Permit, Place, Problem, SlotState, Ticket, Tolerance,
    Traffic,
};

const SLOTS: i32 = 4;
const TICK: i64 = 100;
const MINUTE: i64 = 60_000;

/// A problem as the connector words it.
fn trouble(class: AnswerClass, code: &str) -> Answer {
    let (letter, code) = (LetterClass::Internal, code.to_owned());
    let problem = Problem { class: letter, code: code.clone(), field: None, observed: None, message: format!("{code}: no") };
    Answer { code: Some(code), text: Some("no".to_owned()), problem: Some(problem), ..Answer::bare(class) }
}

fn fault(code: &str) -> Answer {
    trouble(AnswerClass::Destination, code)
}

fn yes() -> Answer {
    Answer { code: Some("200".to_owned()), ..Answer::bare(AnswerClass::Accepted) }
}

fn name(key: &Topical) -> &str {
    key.key.as_str().split('/').next().unwrap_or_default()
}

struct Plant {
    traffic: Traffic,
    slots: Vec<SlotState<i64>>,
    flying: Vec<(usize, Call<i64>, Permit)>,
    now: i64,
    random: StdRng,
    revisions: BTreeMap<String, i64>,
    /// Since when a record waits.
    waiting: BTreeMap<String, i64>,
    longest_wait: BTreeMap<String, i64>,
    letters: BTreeMap<String, (String, i64)>,
    calls: Vec<String>,
    /// What was offered, for whoever reads it again.
    golden: BTreeMap<i64, Offer<i64>>,
    offset: i64,
    down: i64,
}

impl Plant {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let slot = |number| {
            let mut slot = at_slot(Slot(number), None, bug);
            slot.begin(0, Timestamp::from_millis(0));
            slot.caught_up(Timestamp::from_millis(0));
            slot
        };
        Self {
            traffic: Traffic::new(4, None, Tolerance::STANDARD),
            slots: (0..SLOTS).map(slot).collect(),
            flying: Vec::new(),
            now: 0,
            random: StdRng::seed_from_u64(seed),
            revisions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            longest_wait: BTreeMap::new(),
            letters: BTreeMap::new(),
            calls: Vec::new(),
            golden: BTreeMap::new(),
            offset: 0,
            down: 0,
        }
    }

    fn offer(&mut self, name: &str) {
        let revision = self.revisions.entry(name.to_owned()).or_insert(0);
        *revision += 1;
        self.offset += 1;
        self.waiting.entry(name.to_owned()).or_insert(self.now);
        let key = Topical::new(Domain::Item, RecordKey::new(Domain::Item, &[name, "A"]).unwrap());
        let change_id = ChangeId(uuid::Uuid::from_u128(u128::try_from(self.offset).unwrap()));
        let offer =
            Offer { revision: *revision, change_id, operation: Operation::Upsert, is_deleted: false, ..removal(self.offset) };
        self.golden.insert(self.offset, offer.clone());
        let slot = slot_of(name);
        let ticket = Ticket { topic: Arc::from("golden"), offset: self.offset };
        self.slots[slot].offer(key, offer, ticket, Timestamp::from_millis(self.now));
        self.carry_out(slot);
    }

    /// One tenth of a second: what was called is answered, what may start is called.
    fn tick(&mut self, answer: &mut dyn FnMut(&str, &mut StdRng) -> Answer) {
        self.now += TICK;
        let now = Timestamp::from_millis(self.now);
        for (slot, call, permit) in std::mem::take(&mut self.flying) {
            let name = name(&call.key).to_owned();
            let answer = answer(&name, &mut self.random);
            let (verdict, _) = self.traffic.finished(permit, &call.key, &answer, call.suspicion.as_ref(), now);
            if answer.class == AnswerClass::Accepted
                && self.revisions[&name] == call.offer.revision
                && let Some(since) = self.waiting.remove(&name)
            {
                let longest = self.longest_wait.entry(name).or_insert(0);
                *longest = (*longest).max(self.now - since);
            }
            let random = self.random.random();
            // Every revision has its own payload.
            self.slots[slot].answered(&call.key, &call.offer.revision.to_string(), answer, verdict, random, now);
            self.carry_out(slot);
        }
        for slot in 0..self.slots.len() {
            self.slots[slot].tick(now);
            self.carry_out(slot);
            while self.slots[slot].has_ready() {
                let number = Slot(i32::try_from(slot).unwrap());
                let Grant::Go(permit) = self.traffic.ask(number, self.slots[slot].has_fresh(), now) else { break };
                let call = self.slots[slot].take(permit.is_probe(), now);
                self.carry_out(slot);
                match call {
                    Some(call) => {
                        self.calls.push(name(&call.key).to_owned());
                        self.flying.push((slot, call, permit));
                    }
                    None => self.traffic.unused(permit),
                }
            }
        }
        self.down += if self.traffic.down_since().is_some() { TICK } else { 0 };
    }

    fn run(&mut self, time: i64, answer: &mut dyn FnMut(&str, &mut StdRng) -> Answer) {
        for _ in 0..time / TICK {
            self.tick(answer);
        }
    }

    /// One of `many` healthy records changes every so often.
    fn run_busy(&mut self, time: i64, every: i64, many: usize, answer: &mut dyn FnMut(&str, &mut StdRng) -> Answer) {
        for _ in 0..time / every {
            let name = format!("h{}", self.random.random_range(0..many));
            self.offer(&name);
            self.run(every, answer);
        }
    }

    /// Writes are acknowledged at once.
    fn carry_out(&mut self, slot: usize) {
        loop {
            let actions: Vec<_> = self.slots[slot].actions().collect();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                let job = match action {
                    Action::WriteLetter(job, letter) => {
                        let key = letter.key.expect("every record has one");
                        self.letters.insert(name(&key).to_owned(), (letter.problem.code, self.now));
                        job
                    }
                    Action::WriteReceipt(job, receipt) => {
                        self.slots[slot].receipt_written(&receipt);
                        job
                    }
                    Action::WriteLedger(job, ..) | Action::EraseLedger(job, _) | Action::WriteLease(job, _) => job,
                    Action::Fetch(key, place) => {
                        let Place::Golden(offset) = place else { panic!("no command asks for exact bytes") };
                        let found = self.golden.get(&offset).cloned();
                        self.slots[slot].fetched(&key, found, Timestamp::from_millis(self.now));
                        continue;
                    }
                    Action::Done(_) | Action::Count(..) => continue,
                };
                self.slots[slot].acknowledged(job, Timestamp::from_millis(self.now));
            }
        }
    }

    fn longest_wait_of_the_healthy(&self) -> i64 {
        self.longest_wait.iter().filter(|(name, _)| name.starts_with('h')).map(|(_, wait)| *wait).max().unwrap_or(0)
    }
}

fn slot_of(name: &str) -> usize {
    name.bytes().map(usize::from).sum::<usize>() % usize::try_from(SLOTS).unwrap()
}

#[test]
fn random_faults_for_an_hour_leave_no_letter_and_everything_arrives() {
    for seed in 0..4 {
        let mut plant = Plant::new(seed, None);
        let mut flaky = |_: &str, random: &mut StdRng| match random.random_range(0..20) {
            0..3 => fault("HTTP_503"),
            3..6 => Answer { retry_after: Some(Duration::from_secs(1)), ..trouble(AnswerClass::Throttled, "HTTP_503") },
            _ => yes(),
        };
        plant.run_busy(60 * MINUTE, 2_000, 30, &mut flaky);
        assert_eq!(plant.letters, BTreeMap::new(), "seed {seed}");
        plant.run(5 * MINUTE, &mut |_, _| yes());
        assert!(plant.waiting.is_empty(), "seed {seed}: {:?}", plant.waiting);
    }
}

/// Two hours of a destination that fails with these records always, and with no other.
fn with_bad(bad: &[&str], answer: &Answer, bug: Option<Bug>) -> Plant {
    let mut plant = Plant::new(1, bug);
    let mut answers = |name: &str, _: &mut StdRng| if bad.contains(&name) { answer.clone() } else { yes() };
    plant.run_busy(MINUTE, 2_000, 30, &mut answers);
    for name in bad {
        plant.offer(name);
    }
    plant.run_busy(120 * MINUTE, 2_000, 30, &mut answers);
    plant
}

#[test]
fn a_record_that_a_gateway_stops_is_parked_and_nobody_waits_for_it() {
    let throttled = Answer { retry_after: Some(Duration::from_secs(5)), ..trouble(AnswerClass::Throttled, "HTTP_429") };
    for (bad, answer) in [
        (vec!["a"], fault("HTTP_403")),
        (vec!["a"], fault("HTTP_504")),
        (vec!["a"], fault("REDIRECT")),
        (vec!["a", "b"], fault("HTTP_403")),
        (vec!["a", "b", "c"], fault("HTTP_502")),
        (vec!["a"], throttled),
    ] {
        let plant = with_bad(&bad, &answer, None);
        let code = answer.problem.as_ref().unwrap().code.clone();
        let named: BTreeSet<&str> = plant.letters.keys().map(String::as_str).collect();
        assert_eq!(named, bad.iter().copied().collect(), "{code}");
        for (of, at) in plant.letters.values() {
            assert_eq!(*of, code);
            assert!(*at >= 30 * MINUTE, "{code}: parked after {at} ms");
        }
        let wait = plant.longest_wait_of_the_healthy();
        assert!(wait <= 20_000, "{code} {bad:?}: a healthy record waited for {wait} ms");
        assert!(plant.down <= MINUTE, "{code} {bad:?}: down for {} ms", plant.down);
    }
}

#[test]
fn a_sink_that_believes_every_fault_is_caught() {
    let plant = with_bad(&["a"], &fault("HTTP_403"), Some(Bug::BelievesTheFault));
    assert!(plant.letters.is_empty(), "{:?}", plant.letters);
}

#[test]
fn a_healthy_record_does_not_wait_for_one_that_took_the_destination_down_alone() {
    let mut plant = Plant::new(1, None);
    let mut answers = |name: &str, _: &mut StdRng| if name == "a" { fault("HTTP_403") } else { yes() };
    plant.offer("a");
    plant.run(60 * MINUTE, &mut answers);
    assert!(plant.traffic.down_since().is_some(), "nobody else says otherwise");
    for name in ["h1", "h2", "e"] {
        plant.offer(name);
        plant.run(2_000, &mut answers);
        assert!(!plant.waiting.contains_key(name), "{name}");
    }
    plant.run(60 * MINUTE, &mut answers);
    assert!(plant.traffic.down_since().is_none(), "one record is not the destination");
}

#[test]
fn probes_go_round_over_keys_and_slots() {
    let mut plant = Plant::new(1, None);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        plant.offer(name);
    }
    plant.run(20 * MINUTE, &mut |_, _| fault("HTTP_502"));
    assert!(plant.letters.is_empty());
    let probes = &plant.calls[16..];
    assert!(probes.len() >= 8, "{probes:?}");
    for pair in probes.windows(2) {
        assert_ne!(pair[0], pair[1], "twice in a row: {probes:?}");
    }
    for four in probes.chunks_exact(4) {
        let slots: BTreeSet<usize> = four.iter().map(|name| slot_of(name)).collect();
        assert_eq!(slots.len(), 4, "{probes:?}");
    }
}

#[test]
fn a_wrong_address_is_one_problem_of_the_destination_and_no_letter() {
    let mut plant = Plant::new(1, None);
    let names: Vec<String> = (0..17).map(|number| format!("i{number}")).collect();
    for name in &names {
        plant.offer(name);
    }
    plant.run(30 * MINUTE, &mut |_, _| trouble(AnswerClass::Permanent, "HTTP_404"));
    assert_eq!(plant.letters, BTreeMap::new());
    assert!(plant.traffic.down_since().is_some());
    plant.run(2 * MINUTE, &mut |_, _| yes());
    assert!(plant.waiting.is_empty() && plant.traffic.down_since().is_none());
}

#[test]
fn a_destination_that_begins_to_refuse_everything_alike_gets_no_flood_and_what_it_refuses_after_all_is_parked() {
    let mut plant = Plant::new(1, None);
    plant.run_busy(MINUTE, 1_000, 30, &mut |_, _| yes());
    let bad: Vec<String> = (0..50).map(|number| format!("i{number}")).collect();
    for name in &bad {
        plant.offer(name);
    }
    let mut refuses = |name: &str, _: &mut StdRng| {
        if name.starts_with('i') { trouble(AnswerClass::Permanent, "HTTP_422") } else { yes() }
    };
    plant.run(5 * MINUTE, &mut refuses);
    assert!(plant.letters.len() < 5, "{}", plant.letters.len());
    assert!(plant.traffic.down_since().is_some());
    // One that is accepted proves that it is the records.
    plant.offer("h1");
    plant.run(5 * MINUTE, &mut refuses);
    assert!(!plant.waiting.contains_key("h1"));
    assert_eq!(plant.letters.len(), 50);
    assert!(plant.traffic.down_since().is_none());
}

#[test]
fn one_record_that_is_refused_is_parked_at_once() {
    for is_stranger in [true, false] {
        let mut plant = Plant::new(1, None);
        if !is_stranger {
            plant.run_busy(10_000, 1_000, 5, &mut |_, _| yes());
        }
        plant.offer("a");
        plant.run(1_000, &mut |_, _| trouble(AnswerClass::Permanent, "UNIT_UNKNOWN"));
        assert_eq!(plant.letters.len(), 1, "{is_stranger}");
    }
}

#[test]
fn many_records_that_wait_for_one_that_is_missing_there_do_not_take_the_destination_down() {
    let unit = Topical::parse("reference/uom/PAL").unwrap();
    let hold = Duration::from_secs(3600);
    let mut plant = Plant::new(1, None);
    let mut lacks = |name: &str, _: &mut StdRng| {
        let absence = Some(Absence { record: unit.clone(), hold, is_there: false });
        if name.starts_with('i') { Answer { absence, ..trouble(AnswerClass::Permanent, "HTTP_422") } } else { yes() }
    };
    for number in 0..50 {
        plant.offer(&format!("i{number}"));
    }
    plant.run(MINUTE, &mut lacks);
    assert_eq!(plant.down, 0);
    let awaits = plant.slots.iter().flat_map(SlotState::waiting).filter(|(_, reason)| *reason == Reason::Dependency);
    assert_eq!(awaits.count(), 50, "each says what it waits for");
    assert_eq!(plant.calls.len(), 50, "and is called once");
    assert_eq!(plant.letters, BTreeMap::new());
    for slot in 0..plant.slots.len() {
        plant.slots[slot].arrived(&unit, Timestamp::from_millis(plant.now));
        plant.carry_out(slot);
    }
    plant.run(MINUTE, &mut |_, _| yes());
    assert!(plant.waiting.is_empty(), "{:?}", plant.waiting);
}
