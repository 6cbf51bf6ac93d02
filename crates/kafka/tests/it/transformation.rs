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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_no_broker_takes_is_handed_back_and_the_others_go_on() {
    let Some(bench) = Bench::new("unwritable") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let producer = kafka::Producer::new(&bench.client).unwrap();
    bench.feed("in", 0, 2).await;
    producer.send(&bench.outgoing("in", 1, "k", "huge-1")).await.unwrap();
    bench.feed("in", 2, 2).await;
    let processor = Copying::new(&bench);
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("all of them", || async { bench.read("out").await.len() == 1 + 4 * SLOTS as usize }).await;
    let mut wanted = expected(0, 4);
    wanted.push("small-1".to_owned());
    assert_eq!(sorted(bench.values("out").await), sorted(wanted));
    assert_eq!(processor.look(|seen| seen.unwritable.clone()), [("k".to_owned(), Some("huge-1".to_owned()))]);

    // What is due by itself is handed back, too.
    let large = kafka_large(&bench);
    processor.look(|seen| seen.due = vec![(Slot(2), vec![large])]);
    eventually("handed back", || async { processor.look(|seen| seen.unwritable.len()) == 2 }).await;
    bench.feed("in", 4, 1).await;
    eventually("reading goes on", || async { bench.read("out").await.len() == 1 + 5 * SLOTS as usize }).await;
    running.stop().await;
}

fn kafka_large(bench: &Bench) -> model::Outgoing {
    model::Outgoing { value: Some(vec![0; model::Outgoing::LARGEST]), ..bench.outgoing("out", 2, "k", "") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_takes_less_than_it_should_is_waited_for_and_nothing_is_lost() {
    let Some(bench) = Bench::new("not-taken") else { return };
    bench.make(&["in", "in2", "state"]).await;
    let mut small = crate::harness::topic(&bench.topic("out"), SLOTS);
    small.config.insert("max.message.bytes".to_owned(), "1000".to_owned());
    let apply = async |topic: &kafka::topics::Topic| {
        let plan = kafka::topics::plan(&bench.client, [topic.clone()]).await.unwrap();
        kafka::topics::apply(&bench.client, &plan).await.unwrap();
    };
    apply(&small).await;
    let wrong = kafka::topics::wrong(&bench.client, [small.clone()], true, Duration::from_secs(10)).await.unwrap();
    assert_eq!(wrong, [format!("topic {}: max.message.bytes is 1000, wanted at least 1048588", bench.topic("out"))]);

    let processor = Copying::new(&bench);
    let producer = kafka::Producer::new(&bench.client).unwrap();
    let text: String =
        (0..20_000_u32).map(|number| char::from_u32(0x4e00 + number.wrapping_mul(7919) % 20_000).unwrap()).collect();
    producer.send(&bench.outgoing("in", 1, "k", &text)).await.unwrap();
    let running = Running::start(bench.worker("w0"), &processor);
    eventually("refused more than once", || async { processor.look(|seen| seen.aborted) >= 2 }).await;
    small.config.insert("max.message.bytes".to_owned(), "1048588".to_owned());
    apply(&small).await;
    eventually("the record", || async { bench.values("out").await == [text.clone()] }).await;
    running.stop().await;
    assert!(processor.look(|seen| seen.unwritable.is_empty()), "no fault of the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_lacks_a_schema_waits_alone_and_keeps_its_order() {
    let Some(bench) = Bench::new("slot-waits") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let processor = Copying::new(&bench);
    processor.look(|seen| _ = seen.without_schema.insert(Slot(2)));
    bench.feed("in", 0, 5).await;
    let running = Running::start(bench.worker("w0"), &processor);
    let others = (SLOTS - 1) as usize;
    eventually("the other slots", || async { bench.read("out").await.len() == 5 * others }).await;
    bench.feed("in", 5, 5).await;
    eventually("and what comes later", || async { bench.read("out").await.len() == 10 * others }).await;
    assert!(bench.values("out").await.iter().all(|value| !value.starts_with("2-")));
    // Longer than offsets are committed when idle: what waits is not passed over by a restart.
    running.stop().await;
    let running = Running::start(bench.worker("w0"), &processor);
    bench.feed("in", 10, 1).await;
    eventually("the other slots again", || async { bench.read("out").await.len() == 11 * others }).await;
    processor.look(|seen| seen.without_schema.clear());
    eventually("the slot that waited", || async { bench.read("out").await.len() == 11 * SLOTS as usize }).await;
    bench.feed("in", 11, 1).await;
    eventually("reading goes on", || async { bench.read("out").await.len() == 12 * SLOTS as usize }).await;
    running.stop().await;
    let of_slot: Vec<String> = bench.values("out").await.into_iter().filter(|value| value.starts_with("2-")).collect();
    assert_eq!(of_slot, (0..12).map(|number| format!("2-{number}")).collect::<Vec<_>>());
}
