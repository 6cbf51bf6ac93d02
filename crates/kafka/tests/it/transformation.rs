//! The exactly-once loop: what it answers and the offsets become visible together, through aborts, fencing and restarts.

use std::time::Duration;

use kafka::Error;
use model::Slot;
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::harness::{Bench, Copying, Running, SLOTS, eventually};

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values
}

fn expected(from: usize, count: usize) -> Vec<String> {
    sorted((from..from + count).flat_map(|number| (0..SLOTS).map(move |slot| format!("{slot}-{number}"))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_copied_once_and_in_order_across_a_restart() {
    let Some(bench) = Bench::new("once") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    bench.feed("in", 0, 100).await;
    let processor = Copying::new(&bench);
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("the first hundred", || async { bench.read("out").await.len() == 100 * SLOTS as usize }).await;
    let drained = running.stop().await;
    assert_eq!(drained.records, 100 * SLOTS as u64);
    assert!(drained.transactions > 0);
    assert_eq!(drained.hurried, 0, "no commit with a message outstanding, each would cost 100 ms");

    bench.feed("in", 100, 50).await;
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("the rest", || async { bench.read("out").await.len() == 150 * SLOTS as usize }).await;
    let drained = running.stop().await;
    assert_eq!(drained.records, 50 * SLOTS as u64, "offsets were committed with the output");
    for slot in 0..SLOTS {
        let numbers: Vec<String> =
            bench.values("out").await.into_iter().filter(|value| value.starts_with(&format!("{slot}-"))).collect();
        let wanted: Vec<String> = (0..150).map(|number| format!("{slot}-{number}")).collect();
        assert_eq!(numbers, wanted, "slot {slot}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_transaction_shows_nothing_and_its_batch_is_processed_again() {
    let Some(bench) = Bench::new("abort") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    bench.feed("in", 0, 5).await;
    let processor = Copying::new(&bench);
    // Nobody made this topic, so its delivery runs into the deadline of the batch.
    processor.look(|seen| seen.poison = Some(bench.outgoing("missing", 0, "k", "v")));
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("the abort", || async { processor.look(|seen| seen.aborted) == 1 }).await;
    eventually("the second try", || async { bench.read("out").await.len() == 5 * SLOTS as usize }).await;
    let drained = running.stop().await;
    assert_eq!(drained.aborted, 1);
    assert_eq!(sorted(bench.values("out").await), expected(0, 5));
    assert_eq!(processor.look(|seen| seen.processed.len()), 10 * SLOTS as usize, "everything was processed twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_producer_recycles_reads_back_and_goes_on_where_the_broker_says() {
    let Some(bench) = Bench::new("recycle") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    bench.feed("in", 0, 5).await;
    let processor = Copying::new(&bench);
    let config = bench.worker("w0");
    let id = config.transactional_id.clone();
    let running = Running::start(config, &processor);
    eventually("the first five", || async { bench.read("out").await.len() == 5 * SLOTS as usize }).await;
    let intruder = bench.raw_transactional(&id);
    tokio::task::block_in_place(|| intruder.init_transactions(Duration::from_secs(10))).unwrap();
    bench.feed("in", 5, 5).await;
    eventually("the next five", || async { bench.read("out").await.len() == 10 * SLOTS as usize }).await;
    let drained = running.stop().await;
    assert_eq!(drained.recycled, 1);
    assert_eq!(sorted(bench.values("out").await), expected(0, 10));
    let restored = processor.look(|seen| seen.restored.len());
    assert_eq!(restored, 2 * SLOTS as usize, "state was read again after the doubt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactional_id_that_somebody_else_keeps_taking_ends_the_worker_as_fenced() {
    let Some(bench) = Bench::new("fenced") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let processor = Copying::new(&bench);
    let config = bench.worker("w0");
    let id = config.transactional_id.clone();
    let mut running = Running::start(config, &processor);
    eventually("restored", || async { processor.look(|seen| seen.restored.len()) == SLOTS as usize }).await;
    let mut number = 0;
    let error = loop {
        let intruder = bench.raw_transactional(&id);
        tokio::task::block_in_place(|| intruder.init_transactions(Duration::from_secs(10))).unwrap();
        bench.feed("in", number, 1).await;
        number += 1;
        let round = async { bench.read("out").await.len() == number * SLOTS as usize };
        tokio::select! {
            ended = &mut running.ended => break ended.unwrap().unwrap_err(),
            () = eventually("the round", || async { bench.read("out").await.len() == number * SLOTS as usize }) => {}
        }
        drop(round);
        assert!(number < 5, "never gave up");
    };
    assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
    assert!(error.is_fenced());
    assert_eq!(number, 2, "the second time within a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_waits_while_prepare_lacks_something_and_wake_ups_still_run() {
    let Some(bench) = Bench::new("prepare") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let processor = Copying::new(&bench);
    processor.look(|seen| seen.is_registry_down = true);
    bench.feed("in", 0, 3).await;
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("three refusals", || async { processor.look(|seen| seen.refused_prepares) >= 3 }).await;
    processor.look(|seen| seen.due = vec![(Slot(2), vec![bench.outgoing("out", 2, "k", "released")])]);
    eventually("the release", || async { bench.values("out").await == ["released"] }).await;
    assert!(processor.look(|seen| seen.processed.is_empty()));
    processor.look(|seen| seen.is_registry_down = false);
    eventually("the batch", || async { bench.read("out").await.len() == 1 + 3 * SLOTS as usize }).await;
    bench.feed("in", 3, 1).await;
    eventually("reading goes on", || async { bench.read("out").await.len() == 1 + 4 * SLOTS as usize }).await;
    running.stop().await;
    assert_eq!(processor.look(|seen| seen.processed.len()), 4 * SLOTS as usize, "once each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_restored_to_the_uncommitted_end_without_what_was_aborted() {
    let Some(bench) = Bench::new("restore") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let state = bench.topic("state");
    bench.feed("state", 0, 3).await;
    let open = bench.raw_transactional(&format!("{}.open", bench.name));
    tokio::task::block_in_place(|| {
        let send = |value: &str| {
            open.send(BaseRecord::to(&state).partition(1).key("k").payload(value)).map_err(|(error, _)| error).unwrap();
            open.flush(Duration::from_secs(10)).unwrap();
        };
        open.init_transactions(Duration::from_secs(10)).unwrap();
        open.begin_transaction().unwrap();
        send("aborted");
        open.abort_transaction(Duration::from_secs(10)).unwrap();
        open.begin_transaction().unwrap();
        send("in doubt");
    });
    let processor = Copying::new(&bench);
    let running = Running::start(bench.worker("w0"), &processor);
    // Slots start together, so while one waits for the open transaction none has started.
    eventually("the other slots read", || async {
        processor.look(|seen| seen.owned.get(&Slot(3)).is_some_and(|state| state.len() == 3))
    })
    .await;
    assert!(processor.look(|seen| seen.restored.is_empty()));
    tokio::task::block_in_place(|| open.commit_transaction(Duration::from_secs(10)).unwrap());
    eventually("restored", || async { processor.look(|seen| seen.restored.len()) == SLOTS as usize }).await;
    assert_eq!(processor.look(|seen| seen.owned[&Slot(1)].clone()), ["1-0", "1-1", "1-2", "in doubt"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_records_without_output_are_committed_when_idle() {
    let Some(bench) = Bench::new("idle") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    for slot in 0..SLOTS {
        let producer = kafka::Producer::new(&bench.client).unwrap();
        producer.send(&bench.outgoing("in", slot, "k", "skip")).await.unwrap();
    }
    let processor = Copying::new(&bench);
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("skipped", || async { processor.look(|seen| seen.processed.len()) == SLOTS as usize }).await;
    running.stop().await;
    let running = Running::start(bench.worker("w0"), &processor);
    bench.feed("in", 0, 1).await;
    eventually("copied", || async { bench.read("out").await.len() == SLOTS as usize }).await;
    running.stop().await;
    assert_eq!(processor.look(|seen| seen.processed.len()), 2 * SLOTS as usize);
}
