//! Producer and transactor.

use kafka::{Error, Producer, TransactError, Transactor};
use rdkafka::producer::Producer as _;
use std::time::Duration;

use crate::harness::{Bench, SLOTS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_one_caller_keep_their_order_through_a_full_queue() {
    let Some(bench) = Bench::new("order") else { return };
    bench.make(&["t"]).await;
    let producer = Producer::new(&bench.client).unwrap();
    let mut deliveries = Vec::new();
    // Three times what the queue holds.
    for number in 0..30_000 {
        deliveries.push(producer.enqueue(&bench.outgoing("t", 0, "k", &format!("{number:06}"))).await.unwrap());
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.unwrap(), number as i64);
    }
    producer.flush(Duration::from_secs(10)).await.unwrap();
    let values = bench.values("t").await;
    assert_eq!(values.len(), 30_000);
    assert!(values.is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_no_retry_can_write_is_told_from_one_that_got_lost() {
    let Some(bench) = Bench::new("large") else { return };
    bench.make(&["t"]).await;
    let producer = Producer::new(&bench.client).unwrap();
    let large = bench.outgoing("t", 0, "k", &"x".repeat(2 << 20));
    assert!(matches!(producer.send(&large).await, Err(Error::Unwritable { .. })));
    producer.send(&bench.outgoing("t", 0, "k", "small")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_transactor_of_one_id_fences_the_first() {
    let Some(bench) = Bench::new("transactor") else { return };
    bench.make(&["t", "cursor"]).await;
    let batch = |value: &str| {
        let mut records: Vec<_> = (0..SLOTS).map(|slot| bench.outgoing("t", slot, "k", value)).collect();
        records.push(bench.outgoing("cursor", 0, "stream", value));
        records
    };
    let mut first = Transactor::new(&bench.client, &bench.name, "publisher").await.unwrap();
    first.commit(batch("a")).await.unwrap();
    first.commit(Vec::new()).await.unwrap();
    first.commit(batch("b")).await.unwrap();
    assert_eq!(bench.read("t").await.len(), 2 * SLOTS as usize);

    // Once may be the broker's transaction timeout: the outcome is unknown, the state has to be read back.
    let intruder = bench.raw_transactional(&bench.name);
    tokio::task::block_in_place(|| intruder.init_transactions(Duration::from_secs(10))).unwrap();
    assert!(matches!(first.commit(batch("c")).await, Err(TransactError::Unknown(_))));
    assert_eq!(bench.read("t").await.len(), 2 * SLOTS as usize);
    first.commit(batch("c")).await.unwrap();
    // Twice within a minute is another instance.
    let mut second = Transactor::new(&bench.client, &bench.name, "publisher").await.unwrap();
    let fenced = first.commit(batch("d")).await;
    assert!(matches!(fenced, Err(TransactError::Fenced { .. })), "{fenced:?}");
    second.commit(batch("d")).await.unwrap();
    let mut cursors = bench.values("cursor").await;
    cursors.dedup();
    assert_eq!(cursors, ["a", "b", "c", "d"]);
}
