//! Readers without a membership: follower, restore, fetch.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::topics;
use kafka::{Fetcher, FollowConfig, Followed, Follower, Start};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio_util::sync::CancellationToken;

use crate::harness::{Bench, SLOTS, eventually, topic, value};

fn follow(bench: &Bench, topics: Vec<(String, Start)>, stop: &CancellationToken) -> tokio::sync::mpsc::Receiver<Followed> {
    let config = FollowConfig { client: bench.client.clone(), group: bench.name.clone(), topics };
    Follower::spawn(config, stop.clone()).unwrap()
}

async fn until_caught_up(followed: &mut tokio::sync::mpsc::Receiver<Followed>) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(30), followed.recv()).await.unwrap().unwrap() {
            Followed::Record(record) => values.push(value(&record)),
            Followed::CaughtUp => return values,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_caught_up_once_on_empty_and_on_full_topics_and_then_goes_on() {
    let Some(bench) = Bench::new("follow") else { return };
    bench.make(&["full", "empty"]).await;
    bench.feed("full", 0, 700).await;
    let stop = CancellationToken::new();
    let mut empty = follow(&bench, vec![(bench.topic("empty"), Start::Beginning)], &stop);
    assert!(until_caught_up(&mut empty).await.is_empty());
    bench.feed("empty", 0, 1).await;
    assert!(matches!(empty.recv().await, Some(Followed::Record(_))), "it follows on");

    let both = vec![(bench.topic("full"), Start::Beginning), (bench.topic("empty"), Start::Beginning)];
    let mut full = follow(&bench, both, &stop);
    assert_eq!(until_caught_up(&mut full).await.len(), 701 * SLOTS as usize);

    let offsets = BTreeMap::from([(0, 700), (1, 699), (2, 1_000_000), (3, 0)]);
    let mut some = follow(&bench, vec![(bench.topic("full"), Start::Offsets(offsets))], &stop);
    let values = until_caught_up(&mut some).await;
    assert_eq!(values.iter().filter(|value| value.starts_with("0-")).count(), 0, "starts at the end");
    assert_eq!(values.iter().filter(|value| value.starts_with("1-")).collect::<Vec<_>>(), ["1-699"]);
    assert_eq!(values.iter().filter(|value| value.starts_with("2-")).count(), 700, "an offset past the end starts anew");
    stop.cancel();
    while some.recv().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_fetched_by_its_coordinates_and_markers_aborted_and_absent_ones_are_none() {
    let Some(bench) = Bench::new("fetch") else { return };
    bench.make(&["t"]).await;
    let topic = bench.topic("t");
    let producer = kafka::Producer::new(&bench.client).unwrap();
    let mut tombstone = bench.outgoing("t", 1, "gone", "");
    tombstone.value = None;
    tombstone.headers = vec![("name".to_owned(), b"first".to_vec()), ("name".to_owned(), b"last".to_vec())];
    assert_eq!(producer.send(&bench.outgoing("t", 1, "k", "zero")).await.unwrap(), 0);
    assert_eq!(producer.send(&tombstone).await.unwrap(), 1);
    assert_eq!(producer.send(&bench.outgoing("t", 1, "k", "")).await.unwrap(), 2);
    tokio::task::block_in_place(|| {
        let aborting = bench.raw_transactional(&bench.name);
        aborting.init_transactions(Duration::from_secs(10)).unwrap();
        aborting.begin_transaction().unwrap();
        aborting.send(BaseRecord::to(&topic).partition(1).key("k").payload("aborted")).map_err(|(e, _)| e).unwrap();
        aborting.flush(Duration::from_secs(10)).unwrap();
        aborting.abort_transaction(Duration::from_secs(10)).unwrap();
    });
    let fetcher = Fetcher::new(&bench.client, &bench.name).unwrap();
    let zero = fetcher.fetch(&topic, 1, 0).await.unwrap().unwrap();
    assert_eq!((value(&zero).as_str(), zero.key_text(), zero.offset), ("zero", Some("k"), 0));
    let gone = fetcher.fetch(&topic, 1, 1).await.unwrap().unwrap();
    assert_eq!(gone.value, None);
    assert_eq!(gone.header_text("name"), Some("last"));
    let empty = fetcher.fetch(&topic, 1, 2).await.unwrap().unwrap();
    assert_eq!(empty.value, Some(Vec::new()), "an empty value is not a tombstone");
    for (partition, offset, what) in [(1, 3, "aborted"), (1, 4, "a marker"), (1, 99, "absent"), (0, 0, "an empty partition")] {
        assert_eq!(fetcher.fetch(&topic, partition, offset).await.unwrap(), None, "{what}");
    }
    assert_eq!(fetcher.fetch(&topic, 1, 0).await.unwrap(), Some(zero), "again");
    let all = kafka::read_all(&bench.client, &bench.name, &topic, Some(vec![1])).await.unwrap();
    assert_eq!(all.len(), 3, "read to the end past the aborted record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_missing_is_named() {
    let Some(bench) = Bench::new("missing") else { return };
    let error = kafka::read_all(&bench.client, &bench.name, &bench.topic("nowhere"), None).await.unwrap_err();
    assert!(matches!(error, kafka::Error::MissingTopic(_)), "{error:?}");
    let error = kafka::read_all(&bench.client, &bench.name, &bench.topic("nowhere"), Some(vec![0])).await.unwrap_err();
    assert!(matches!(error, kafka::Error::MissingTopic(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_compacted_away_is_none_and_a_topic_with_holes_is_read_to_its_end() {
    let Some(bench) = Bench::new("compacted") else { return };
    let mut topic = topic(&bench.topic("t"), 1);
    for (name, value) in [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")] {
        topic.config.insert(name.to_owned(), value.to_owned());
    }
    let plan = topics::plan(&bench.client, [&topic]).await.unwrap();
    topics::apply(&bench.client, &plan).await.unwrap();
    let producer = kafka::Producer::new(&bench.client).unwrap();
    producer.send(&bench.outgoing("t", 0, "k", "old")).await.unwrap();
    producer.send(&bench.outgoing("t", 0, "k", "new")).await.unwrap();
    let fetcher = Fetcher::new(&bench.client, &bench.name).unwrap();
    eventually("the cleaner", || async {
        // A segment rolls only when something is written to it.
        producer.send(&bench.outgoing("t", 0, "other", "tick")).await.unwrap();
        fetcher.fetch(&topic.name, 0, 0).await.unwrap().is_none()
    })
    .await;
    assert_eq!(value(&fetcher.fetch(&topic.name, 0, 1).await.unwrap().unwrap()), "new");
    assert!(bench.values("t").await.starts_with(&["new".to_owned()]));
    let stop = CancellationToken::new();
    let mut followed = follow(&bench, vec![(topic.name.clone(), Start::Offsets(BTreeMap::from([(0, 0)])))], &stop);
    assert!(until_caught_up(&mut followed).await.starts_with(&["new".to_owned()]));
    stop.cancel();
}
