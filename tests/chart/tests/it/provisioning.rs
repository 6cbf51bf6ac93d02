//! Topics, schemas and users: an ordinary Job that runs again when its inputs change, or Strimzi's resources.

use chart::{Helm, Render};
use serde_json::json;

fn job(values: &str) -> String {
    let render = Render::install("restricted").unwrap().with(values);
    let manifest = Helm::newest().unwrap().template(&render).unwrap();
    manifest.kind("Job")[0].name().to_owned()
}

#[test]
fn the_job_is_ordinary_and_its_name_follows_from_its_inputs() {
    let manifest = Helm::newest().unwrap().template(&Render::install("restricted").unwrap()).unwrap();
    let [job_object] = manifest.kind("Job")[..] else { panic!("one Job") };
    assert!(job_object.at("/metadata/annotations").is_null(), "no hook");
    assert!(job_object.at("/spec/ttlSecondsAfterFinished").is_null(), "a Job that vanished would be made again");
    assert_eq!(job_object.at("/spec/template/spec/restartPolicy"), "OnFailure");
    let words: Vec<String> = job_object.containers().iter().map(|one| chart::Object::args(one)[..2].join(" ")).collect();
    assert_eq!(words, ["topics apply", "schemas register"]);
    let first = job("log: {filter: info}");
    assert_eq!(first, job_object.name(), "the same inputs are the same Job");
    assert_eq!(first, job("sink: {replicaCount: 3}"), "what it does not read does not run it again");
    let others = [
        job("landscape: {files: {cases/new.yaml: text}}"),
        job("image: {tag: 9.9.9}"),
        job("kafka: {bootstrapServers: 'other:9093'}"),
        job("provisioning: {schemas: none}"),
    ];
    for other in &others {
        assert_ne!(&first, other, "new inputs run it again");
    }
    let only =
        Helm::newest().unwrap().template(&Render::install("restricted").unwrap().with("provisioning: {topics: none}")).unwrap();
    assert_eq!(only.kind("Job")[0].containers().len(), 1);
    let none = Helm::newest().unwrap().template(&Render::install("minimal").unwrap()).unwrap();
    assert!(none.kind("Job").is_empty());
}

#[test]
fn strimzi_gets_every_topic_and_user_and_keeps_them() {
    let helm = Helm::newest().unwrap();
    let manifest = helm.template(&Render::install("strimzi").unwrap()).unwrap();
    let topics = manifest.kind("KafkaTopic");
    let golden = topics.iter().find(|one| one.at("/spec/topicName") == "mdm.golden.work_center").unwrap();
    assert_eq!(golden.name(), "mdm.golden.work-center", "a resource's name has no underscore");
    assert_eq!((golden.at("/spec/partitions"), golden.at("/spec/replicas")), (&json!(12), &json!(3)));
    assert_eq!(golden.at("/spec/config/cleanup.policy"), "compact");
    let users: Vec<&str> = manifest.kind("KafkaUser").iter().map(|one| one.name()).collect();
    for service in [
        "publisher-crm",
        "publisher-erp",
        "validator",
        "sink-mes-pune",
        "sink-mes-ulm",
        "replayer",
        "tracker",
        "provisioner",
        "operator",
    ] {
        assert!(users.contains(&format!("millrace-{service}").as_str()), "{service} in {users:?}");
    }
    let sink = manifest.get("KafkaUser", "millrace-sink-mes-ulm");
    let acls = sink.at("/spec/authorization/acls").as_array().unwrap();
    let ledger = acls.iter().find(|acl| acl["resource"]["name"] == "mdm.ledger.mes-ulm").unwrap();
    assert_eq!(ledger["operations"], json!(["Read", "Write", "DescribeConfigs"]));
    assert!(!acls.iter().any(|acl| acl["resource"]["name"].as_str().unwrap().contains("mes-pune")), "nothing of another plant");
    for object in topics.iter().chain(&manifest.kind("KafkaUser")) {
        assert_eq!(object.at("/metadata/annotations/helm.sh~1resource-policy"), "keep", "{}", object.name());
        assert_eq!(object.at("/metadata/labels/strimzi.io~1cluster"), "kafka", "{}", object.name());
        assert_eq!(object.at("/apiVersion"), "kafka.strimzi.io/v1beta2", "{}", object.name());
    }
    let mut newer = Render::install("strimzi").unwrap();
    newer.apis = vec!["kafka.strimzi.io/v1"];
    for object in helm.template(&newer).unwrap().kind("KafkaTopic") {
        assert_eq!(object.at("/apiVersion"), "kafka.strimzi.io/v1");
    }
}

#[test]
fn a_destination_that_does_not_run_gets_no_user() {
    let render = Render::install("strimzi").unwrap().with("destinations: {mes-pune: {enabled: false}}");
    let manifest = Helm::newest().unwrap().template(&render).unwrap();
    assert!(manifest.find("KafkaUser", "millrace-sink-mes-pune").is_none());
    assert!(manifest.find("KafkaUser", "millrace-sink-mes-ulm").is_some());
    assert!(manifest.kind("KafkaTopic").iter().any(|one| one.at("/spec/topicName") == "mdm.ledger.mes-pune"));
}
