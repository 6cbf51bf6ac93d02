//! Topics: plan, apply, check.

use kafka::topics::{self, TopicChange, TopicProblem};

use crate::harness::{Bench, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_made_true_once_and_what_cannot_be_changed_is_said() {
    let Some(bench) = Bench::new("topics") else { return };
    let client = &bench.client;
    let mut wanted = vec![topic(&bench.topic("a"), 3), topic(&bench.topic("b"), 3)];
    assert!(matches!(
        topics::check(client, &wanted, true).await.unwrap()[..],
        [TopicProblem::Missing { .. }, TopicProblem::Missing { .. }]
    ));
    let plan = topics::plan(client, &wanted).await.unwrap();
    assert!(matches!(plan[..], [TopicChange::Create(_), TopicChange::Create(_)]));
    topics::apply(client, &plan).await.unwrap();
    assert!(topics::plan(client, &wanted).await.unwrap().is_empty());
    assert!(topics::check(client, &wanted, true).await.unwrap().is_empty());
    assert_eq!(topics::probe(client, std::time::Duration::from_secs(10)).await.unwrap()[&bench.topic("a")], 3);

    // One setting changes, the others stay although the request sets all of them (T9).
    wanted[0].config.insert("retention.ms".to_owned(), "86400000".to_owned());
    let plan = topics::plan(client, &wanted).await.unwrap();
    assert!(matches!(&plan[..], [TopicChange::Configure { settings, .. }] if settings.len() == 1), "{plan:?}");
    topics::apply(client, &plan).await.unwrap();
    assert!(topics::plan(client, &wanted).await.unwrap().is_empty());

    let problems = topics::check(client, &wanted, false).await.unwrap();
    assert!(problems.iter().any(|problem| matches!(problem, TopicProblem::Wrong { what, .. } if what.contains("replication"))));
    wanted[1].partitions = 5;
    let plan = topics::plan(client, &wanted).await.unwrap();
    assert!(matches!(&plan[..], [TopicChange::Impossible { .. }]));
    assert!(topics::apply(client, &plan).await.is_err());
    let problems = topics::check(client, &wanted, true).await.unwrap();
    assert_eq!(problems, [TopicProblem::Wrong { topic: bench.topic("b"), what: "3 partitions, wanted 5".to_owned() }]);

    // What a start asks: the wrong one is told although another is missing; once none is wrong, every missing one is named.
    let patience = std::time::Duration::from_secs(10);
    wanted.push(topic(&bench.topic("c"), 3));
    wanted.push(topic(&bench.topic("d"), 3));
    let wrong = topics::wrong(client, &wanted, true, patience).await.unwrap();
    assert_eq!(wrong, [format!("topic {}: 3 partitions, wanted 5", bench.topic("b"))]);
    wanted[1].partitions = 3;
    let missing = topics::wrong(client, &wanted, true, patience).await.unwrap_err();
    assert!(missing.is_transient());
    let all = format!("missing: {}, {};", bench.topic("c"), bench.topic("d"));
    assert!(missing.to_string().starts_with(&all), "{missing}");
}
