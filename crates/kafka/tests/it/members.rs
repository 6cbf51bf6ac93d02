//! Groups: slots shared by range, hand-over, the reader's commits.

use std::collections::BTreeMap;

use kafka::{Bounds, Coordinate, Event, Reader, ReaderConfig, ReaderHandle};
use model::Slot;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::harness::{Bench, Copying, Running, SESSION, SLOTS, eventually, value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_whole_slots_and_one_takes_over_when_the_other_stops() {
    let Some(bench) = Bench::new("share") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let (first, second) = (Copying::new(&bench), Copying::new(&bench));
    let running = (Running::start(bench.worker("w0"), &first), Running::start(bench.worker("w1"), &second));
    let slots = |processor: &Copying| processor.look(|seen| seen.owned.keys().copied().collect::<Vec<Slot>>());
    let half = SLOTS as usize / 2;
    eventually("half of the slots each", || async { slots(&first).len() == half && slots(&second).len() == half }).await;
    let mut all = [slots(&first), slots(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..SLOTS).map(Slot).collect::<Vec<_>>());
    bench.feed("in", 0, 20).await;
    bench.feed("in2", 20, 20).await;
    eventually("both copied", || async { bench.read("out").await.len() == 40 * SLOTS as usize }).await;

    running.1.stop().await;
    bench.feed("in", 40, 10).await;
    eventually("taken over", || async { bench.read("out").await.len() == 50 * SLOTS as usize }).await;
    assert_eq!(slots(&first).len(), SLOTS as usize);
    running.0.stop().await;
    let mut seen = BTreeMap::new();
    for value in bench.values("out").await {
        *seen.entry(value).or_insert(0) += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "no record twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_lacks_a_topic_is_paused_and_the_member_that_knows_too_little_does_no_harm() {
    let Some(bench) = Bench::new("torn") else { return };
    bench.make(&["in", "in2", "state", "out"]).await;
    let (full, short) = (Copying::new(&bench), Copying::new(&bench));
    let mut config = bench.worker("w0");
    // As during a roll that adds a topic: this member does not know the second one yet.
    config.inputs.pop();
    let running = (Running::start(bench.worker("w1"), &full), Running::start(config, &short));
    // All of `in2` goes to the one that knows it, `in` is shared, so only the slots it has of both are whole there.
    eventually("whole slots only", || async {
        let full = full.look(|seen| seen.owned.len());
        let short = short.look(|seen| seen.owned.len());
        full == SLOTS as usize / 2 && short == SLOTS as usize / 2
    })
    .await;
    running.0.stop().await;
    running.1.stop().await;
}

fn reader(bench: &Bench, stop: &CancellationToken) -> (ReaderHandle, UnboundedReceiver<Event>) {
    let config = ReaderConfig {
        client: bench.client.clone(),
        group: bench.name.clone(),
        instance: "pod-0".to_owned(),
        topics: vec![bench.topic("in"), bench.topic("in2")],
        never_paused: vec![bench.topic("in2")],
        session_timeout: SESSION,
        bounds: Bounds::default(),
    };
    Reader::spawn(config, stop.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_commits_past_a_record_that_is_not_done() {
    let Some(bench) = Bench::new("reader") else { return };
    bench.make(&["in", "in2"]).await;
    bench.feed("in", 0, 10).await;
    let stop = CancellationToken::new();
    let (handle, mut events) = reader(&bench, &stop);
    let Some(Event::Assigned { slots, epoch }) = events.recv().await else { panic!("assigned first") };
    assert_eq!(slots, (0..SLOTS).map(Slot).collect::<Vec<_>>());
    let mut records = 0;
    while records < 10 * SLOTS {
        let Some(Event::Record { epoch: of, record, .. }) = events.recv().await else { panic!("only records") };
        assert_eq!(of, epoch);
        records += 1;
        // Number 4 of slot 1 never finishes.
        if value(&record) != "1-4" {
            handle.done(Coordinate { topic: record.topic, partition: record.partition, offset: record.offset, epoch });
        }
    }
    assert!(handle.may_call());
    stop.cancel();
    let Some(Event::Revoked { drained, .. }) = events.recv().await else { panic!("revoked at the end") };
    drained.send(()).unwrap();
    let Some(Event::Ended(Ok(()))) = events.recv().await else { panic!("ended") };
    assert!(events.recv().await.is_none());

    let stop = CancellationToken::new();
    let (handle, mut events) = reader(&bench, &stop);
    let Some(Event::Assigned { epoch, .. }) = events.recv().await else { panic!("assigned first") };
    bench.feed("in", 10, 1).await;
    let mut again = Vec::new();
    while again.len() < 6 + SLOTS as usize {
        let Some(Event::Record { record, .. }) = events.recv().await else { panic!("only records") };
        again.push(value(&record));
        handle.done(Coordinate { topic: record.topic, partition: record.partition, offset: record.offset, epoch: epoch + 7 });
    }
    again.sort_unstable();
    assert_eq!(again, ["0-10", "1-10", "1-4", "1-5", "1-6", "1-7", "1-8", "1-9", "2-10", "3-10"]);
    stop.cancel();
    while let Some(event) = events.recv().await {
        if let Event::Revoked { drained, .. } = event {
            drop(drained);
        }
    }
    // The completions of a foreign epoch committed nothing.
    let stop = CancellationToken::new();
    let (_, mut events) = reader(&bench, &stop);
    let mut again = 0;
    while again < 6 + SLOTS as usize {
        match events.recv().await {
            Some(Event::Record { .. }) => again += 1,
            Some(Event::Assigned { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    stop.cancel();
    while events.recv().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_reader_pauses_and_goes_on_when_half_is_done() {
    let Some(bench) = Bench::new("bounds") else { return };
    bench.make(&["in", "in2"]).await;
    let stop = CancellationToken::new();
    let config = ReaderConfig {
        client: bench.client.clone(),
        group: bench.name.clone(),
        instance: "pod-0".to_owned(),
        topics: vec![bench.topic("in"), bench.topic("in2")],
        never_paused: vec![bench.topic("in2")],
        session_timeout: SESSION,
        bounds: Bounds { records: 10, bytes: 1 << 20 },
    };
    let (handle, mut events) = Reader::spawn(config, stop.clone()).unwrap();
    let Some(Event::Assigned { epoch, .. }) = events.recv().await else { panic!("assigned first") };
    bench.feed("in", 0, 3000).await;
    let mut waiting = Vec::new();
    let (mut finished, mut most) = (0, 0);
    while finished < 3000 * SLOTS as usize {
        match tokio::time::timeout(std::time::Duration::from_millis(300), events.recv()).await {
            Ok(Some(Event::Record { record, .. })) => waiting.push(record),
            Ok(other) => panic!("{other:?}"),
            // Paused, or slow: nothing is finished before it stands still, so the pause has to be real.
            Err(_) => {
                most = most.max(waiting.len());
                finished += waiting.len();
                for record in waiting.drain(..) {
                    let (topic, partition) = (record.topic, record.partition);
                    handle.done(Coordinate { topic, partition, offset: record.offset, epoch });
                }
            }
        }
    }
    assert!(most < 3000, "{most} records at once with a bound of 10 per partition");
    stop.cancel();
    while events.recv().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_readers_with_one_name_the_older_one_ends_as_fenced_and_the_newer_one_reads_on() {
    let Some(bench) = Bench::new("twins") else { return };
    bench.make(&["in", "in2"]).await;
    let stop = CancellationToken::new();
    let (_older, mut older) = reader(&bench, &stop);
    assert!(matches!(older.recv().await, Some(Event::Assigned { .. })));
    let (_newer, mut newer) = reader(&bench, &stop);
    let error = loop {
        match older.recv().await {
            Some(Event::Ended(ended)) => break ended.unwrap_err(),
            Some(_) => {}
            None => panic!("an end without a reason"),
        }
    };
    assert!(error.is_fenced(), "{error:?}");
    bench.feed("in", 0, 1).await;
    let mut records = 0;
    while records < SLOTS {
        match newer.recv().await {
            Some(Event::Record { .. }) => records += 1,
            Some(Event::Ended(ended)) => panic!("{ended:?}"),
            Some(Event::Assigned { .. } | Event::Revoked { .. }) => {}
            None => panic!("an end without a reason"),
        }
    }
    stop.cancel();
}
