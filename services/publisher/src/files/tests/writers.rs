//! Random writers: whatever they do, what is known in the end is the last whole file, and no key goes that the next state still has.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

type State = BTreeMap<u32, u32>;

struct Story {
    world: World,
    random: StdRng,
    /// What the list held since all was quiet, the newest state last.
    states: Vec<State>,
    golden: State,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::full(if random.random_bool(0.5) { "keep" } else { "done" });
        Self { world, random, states: vec![State::new()], golden: State::new() }
    }

    /// The list some time later: some rows come, some go, some change.
    fn next_state(&mut self) -> State {
        let mut state = self.states[self.states.len() - 1].clone();
        for _ in 0..self.random.random_range(1..4) {
            let key = self.random.random_range(0..12);
            if state.len() > 6 && self.random.random_bool(0.4) {
                state.remove(&key);
            } else {
                state.insert(key, self.random.random_range(0..1_000));
            }
        }
        for key in 0..6 {
            state.entry(key).or_insert(0);
        }
        state
    }

    /// Some time passes, and the publisher may be killed in it.
    fn pause(&mut self, time: Duration) {
        let turns = self.random.random_range(1..4);
        for _ in 0..turns {
            self.world.now += time / turns;
            let dies_at = if self.random.random_bool(0.1) { self.random.random_range(1..4) } else { usize::MAX };
            self.world.turn_with(|_, number| number < dies_at);
            if self.random.random_bool(0.1) {
                self.world.crash();
            }
            self.look();
        }
    }

    fn look(&mut self) {
        for change in std::mem::take(&mut self.world.changes) {
            let key: u32 = change.meta.source_key[2..].parse().unwrap();
            match change.data {
                Some(_) => _ = self.golden.insert(key, text(&change).parse().unwrap_or(0)),
                None => {
                    self.golden.remove(&key);
                    let has_left = self.states.iter().any(|state| !state.contains_key(&key));
                    assert!(has_left, "{key} goes, but it is in every list: {:?}", self.states);
                }
            }
        }
    }

    fn write(&mut self) {
        let state = self.next_state();
        let mut rows: Vec<_> = state.iter().map(|(key, value)| format!("P-{key},{value}\n")).collect();
        for _ in 0..3 {
            let (one, other) = (self.random.random_range(0..rows.len()), self.random.random_range(0..rows.len()));
            rows.swap(one, other);
        }
        let text = rows.concat();
        self.states.push(state);
        match self.random.random_range(0..3) {
            0 => self.world.put("items.csv", &text),
            1 => self.world.replace("items.csv", &text),
            _ => self.write_slowly(&format!("{HEADER}{text}")),
        }
        // What was claimed meanwhile is not there to be marked.
        if self.random.random_bool(0.3) && self.world.path("items.csv").exists() {
            self.world.mark("items.csv.done", "");
        }
    }

    /// Piece by piece into the open file: short pauses anywhere, long ones in the middle of a row.
    fn write_slowly(&mut self, text: &str) {
        let mut file = fs::File::create(self.world.path("items.csv")).unwrap();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(self.random.random_range(1..=rest.len().min(40)));
            rest = after;
            file.write_all(piece).unwrap();
            self.world.time += 1;
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.world.time)).unwrap();
            let longest = if piece.ends_with(b"\n") { SETTLE - Duration::from_secs(1) } else { SETTLE * 3 };
            if self.random.random_bool(0.3) {
                let pause = longest.mul_f64(self.random.random_range(0.01..1.0));
                self.pause(pause);
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..12 {
            self.write();
            if self.random.random_bool(0.5) {
                let pause = SETTLE.mul_f64(self.random.random_range(0.01..0.9));
                self.pause(pause);
                continue;
            }
            for _ in 0..4 {
                self.pause(SETTLE);
            }
            for _ in 0..3 {
                self.world.rest();
            }
            self.look();
            let last = self.states.pop().unwrap();
            assert_eq!(self.golden, last);
            self.states = vec![last];
        }
    }
}

#[test]
fn what_is_known_in_the_end_is_the_last_whole_file_and_no_key_goes_that_is_still_there() {
    let seeds: Vec<u64> = match std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..100).map(|_| rand::rng().random()).collect(),
    };
    for seed in seeds {
        println!("seed: MILLRACE_SEED={seed}");
        Story::new(seed).run();
    }
}
