//! A slot against a plain world: a log, a destination that counts, topics that lose what was not acknowledged, crashes. Every run
//! comes from a seed that is printed when it fails; `SEEDS=n cargo test -p millrace-delivery` runs more of them.

mod absent;
mod cases;
mod checker;
mod plant;
mod world;

use checker::run;

/// A mistake built in on purpose, in this crate's tests only: the checker must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    NoFence,
    CommitBeforeEffect,
    LetterAfterCommit,
    SkipsInDoubt,
    DoubtOnlyInMemory,
    CrashLeavesNoDoubt,
    BelievesAnyRevision,
    BelievesTheFault,
}

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[test]
fn nothing_is_lost_doubled_or_turned_back_under_crashes_and_faults() {
    for seed in 0..seeds() {
        if let Err(broken) = run(seed, None) {
            panic!("seed {seed}: {broken}");
        }
    }
}

const RUNS: u64 = 2_000;

/// How many of the seeds show the mistake.
fn caught(bug: Bug) -> (usize, String) {
    let broken: Vec<String> = (0..RUNS).filter_map(|seed| run(seed, Some(bug)).err()).collect();
    (broken.len(), broken.first().cloned().unwrap_or_default())
}

#[test]
fn a_sink_without_fence_is_caught() {
    let (count, first) = caught(Bug::NoFence);
    assert!(count > 10, "only {count} of {RUNS} runs show it");
    assert!(first.contains("regression") || first.contains("second effect"), "{first}");
}

#[test]
fn an_offset_committed_before_the_effect_is_caught() {
    let (count, first) = caught(Bug::CommitBeforeEffect);
    assert!(count > 10, "only {count} of {RUNS} runs show it");
    assert!(first.contains("lost"), "{first}");
}

#[test]
fn a_dead_letter_after_the_commit_is_caught() {
    let (count, first) = caught(Bug::LetterAfterCommit);
    assert!(count > 10, "only {count} of {RUNS} runs show it");
    assert!(first.contains("without a letter"), "{first}");
}

#[test]
fn a_value_that_comes_back_while_an_answer_is_missing_is_caught_if_it_is_left_out() {
    for bug in [Bug::SkipsInDoubt, Bug::DoubtOnlyInMemory, Bug::CrashLeavesNoDoubt] {
        let (count, first) = caught(bug);
        assert!(count > 2, "{bug:?}: only {count} of {RUNS} runs show it");
        assert!(first.contains("lost"), "{bug:?}: {first}");
    }
}
