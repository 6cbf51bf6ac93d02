//! What a test of the whole stands on.

use std::time::Duration;

use devstack::{Stack, StackOptions, provision::provision};
use model::Domain;

const LANDSCAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/sample");

#[tokio::test]
async fn two_stacks_share_a_broker_and_do_not_meet() {
    if !devstack::is_available() {
        return;
    }
    let options = StackOptions { sample: Some(SAMPLE.into()), ..StackOptions::new(LANDSCAPE) };
    let one = Stack::start(options.clone()).await.unwrap();
    let two = Stack::start(options).await.unwrap();
    assert_ne!(one.topics.prefix(), two.topics.prefix());
    assert_ne!(one.folder(), two.folder());
    let topics = kafka::topics::probe(&one.client("test"), Duration::from_secs(10)).await.unwrap();
    for stack in [&one, &two] {
        let slots = i32::try_from(stack.landscape.kafka.slots).unwrap();
        assert_eq!(topics[&stack.topics.golden(Domain::Item)], slots);
        assert_eq!(topics[&stack.topics.command("replayer")], 1);
    }
    // What is there already stays.
    provision(&one.landscape, &one.topics, &one.addresses.brokers, &one.addresses.registry).await.unwrap();

    assert!(one.systems.folders["erp"].join("items.csv").is_file());
    assert_eq!(one.systems.rest["crm"].len("customers"), 40);
    assert_ne!(one.systems.plant("mes-ulm").unwrap().url(), two.systems.plant("mes-ulm").unwrap().url());
}
