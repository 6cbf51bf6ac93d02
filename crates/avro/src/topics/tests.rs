//! The list of topics against what kafka.md and the schemas say.

use super::*;

fn sources() -> BTreeMap<&'static str, BTreeSet<Domain>> {
    [("erp", BTreeSet::from(Domain::ALL)), ("crm", BTreeSet::from([Domain::Customer]))].into()
}

fn sample() -> Vec<TopicSpec> {
    topic_specs(&Topics::new("mdm."), 12, 3, &Domain::ALL, &sources(), &["mes-ulm", "erp"])
}

#[test]
fn every_name_leads_back_to_its_kind() {
    let topics = Topics::new("t1.mdm.");
    for spec in topic_specs(&topics, 12, 3, &Domain::ALL, &sources(), &["mes-ulm"]) {
        assert_eq!(topics.kind(&spec.name).as_ref(), Some(&spec.kind), "{}", spec.name);
        assert_eq!(Topics::new("mdm.").kind(&spec.name), None, "another prefix is another landscape");
    }
    // `golden.item.v2`: a generation that this release does not know is somebody else's.
    for stranger in ["", "change.", "change.item", "change..item", "change.erp", "change.erp.", "change.erp.pump"]
        .into_iter()
        .chain(["change.erp.item.v2", "change.erp.x.item", "change.item.item.", "other", "plan.x", "golden.item.v2"])
    {
        assert_eq!(topics.kind(&format!("t1.mdm.{stranger}")), None, "{stranger}");
    }
}

#[test]
fn every_source_has_change_topics_of_its_own_for_what_it_captures() {
    let changes: Vec<_> = sample().into_iter().filter(|spec| spec.kind.family() == "change").map(|spec| spec.name).collect();
    assert_eq!(
        changes,
        [
            "mdm.change.crm.customer",
            "mdm.change.erp.customer",
            "mdm.change.erp.item",
            "mdm.change.erp.work_center",
            "mdm.change.erp.reference"
        ]
    );
    // Named like a domain: what stands between the dots is the source.
    let kind = Topics::new("mdm.").kind("mdm.change.item.customer");
    assert_eq!(kind, Some(TopicKind::Change { source: "item".to_owned(), domain: Domain::Customer }));
    // A domain without a source has golden, and nothing that anybody could propose.
    let specs = topic_specs(&Topics::new("mdm."), 12, 3, &[Domain::Item], &BTreeMap::new(), &[]);
    assert!(specs.iter().any(|spec| spec.name == "mdm.golden.item"));
    assert!(specs.iter().all(|spec| spec.kind.family() != "change"));
}

#[test]
fn topics_keyed_by_record_share_one_partition_count() {
    for spec in sample() {
        let one = matches!(
            spec.kind,
            TopicKind::Cursor(_)
                | TopicKind::Destination
                | TopicKind::Source
                | TopicKind::Deadletter
                | TopicKind::Plan
                | TopicKind::Audit
        ) || spec.name == "mdm.command.replayer";
        assert_eq!(spec.partitions, if one { 1 } else { 12 }, "{}", spec.name);
    }
}

#[test]
fn policies_and_retention_are_those_of_the_list() {
    let all: BTreeMap<_, _> = sample().into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    for (name, policy, key, days) in [
        ("mdm.change.erp.item", "delete", "retention.ms", 14_u64),
        ("mdm.golden.item", "compact", "delete.retention.ms", 90),
        ("mdm.dlq.erp", "delete", "retention.ms", 90),
        ("mdm.receipt.mes-ulm", "delete", "retention.ms", 400),
        ("mdm.command.validator", "delete", "retention.ms", 7),
        ("mdm.audit", "delete", "retention.ms", 400),
    ] {
        let config = &all[name].config;
        assert_eq!(config["cleanup.policy"], policy, "{name}");
        assert_eq!(config[key], (days * 86_400_000).to_string(), "{name}");
        assert_eq!(config["message.timestamp.type"], "LogAppendTime", "{name}");
        assert_eq!(config["min.insync.replicas"], "2", "{name}");
    }
}

#[test]
fn an_acknowledged_record_is_on_two_brokers_however_many_copies_there_are() {
    for (replication, in_sync) in [(1, "1"), (2, "1"), (3, "2"), (4, "2"), (5, "2")] {
        for spec in topic_specs(&Topics::new("mdm."), 12, replication, &Domain::ALL, &sources(), &["mes-ulm"]) {
            assert_eq!(spec.config["min.insync.replicas"], in_sync, "{} with {replication} copies", spec.name);
        }
    }
}

#[test]
fn the_development_profile_changes_copies_and_nothing_else() {
    for spec in sample() {
        let one = spec.clone().for_one_broker();
        assert_eq!((one.replication, one.config["min.insync.replicas"].as_str()), (1, "1"));
        let back = TopicSpec { replication: spec.replication, config: spec.config.clone(), ..one.clone() };
        assert_eq!(back, spec);
        let other = |config: &BTreeMap<String, String>| {
            config.clone().into_iter().filter(|(name, _)| name != "min.insync.replicas").collect::<Vec<_>>()
        };
        assert_eq!(other(&one.config), other(&spec.config), "{}", spec.name);
    }
}

#[test]
fn a_system_that_is_source_and_destination_has_one_dlq_and_one_command() {
    let names: Vec<_> = sample().into_iter().map(|spec| spec.name).collect();
    for name in ["mdm.dlq.erp", "mdm.command.erp"] {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
}

#[test]
fn the_list_names_the_schema_that_the_code_writes() {
    for declaration in declared_topics() {
        for spec in sample().iter().filter(|spec| spec.kind.family() == declaration.name.split('.').next().unwrap_or_default()) {
            let domain = spec.kind.domain().map_or("", Domain::name);
            assert_eq!(declaration.schema.replace("<domain>", domain), spec.schema.file(), "{}", spec.name);
        }
    }
}
