//! The list of topics against what kafka.md and the schemas say.

use super::*;

fn sample() -> Vec<TopicSpec> {
    topic_specs(&Topics::new("mdm."), 12, 3, &Domain::ALL, &["erp", "crm"], &["mes-ulm", "erp"])
}

#[test]
fn every_name_leads_back_to_its_kind() {
    let topics = Topics::new("t1.mdm.");
    for spec in topic_specs(&topics, 12, 3, &Domain::ALL, &["erp"], &["mes-ulm"]) {
        assert_eq!(topics.kind(&spec.name).as_ref(), Some(&spec.kind), "{}", spec.name);
        assert_eq!(Topics::new("mdm.").kind(&spec.name), None, "another prefix is another landscape");
    }
    // `golden.item.v2`: a generation that this release does not know is somebody else's.
    for stranger in ["t1.mdm.", "t1.mdm.change.", "t1.mdm.change.pump", "t1.mdm.other", "t1.mdm.plan.x", "t1.mdm.golden.item.v2"]
    {
        assert_eq!(topics.kind(stranger), None, "{stranger}");
    }
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
        ("mdm.change.item", "delete", "retention.ms", 14_u64),
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
        for spec in topic_specs(&Topics::new("mdm."), 12, replication, &Domain::ALL, &["erp"], &["mes-ulm"]) {
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
        for spec in sample().iter().filter(|spec| spec.kind.parts().0 == declaration.name.split('.').next().unwrap_or_default()) {
            let domain = match spec.kind {
                TopicKind::Change(domain) | TopicKind::Golden(domain) => domain.name(),
                _ => "",
            };
            assert_eq!(declaration.schema.replace("<domain>", domain), spec.schema.file(), "{}", spec.name);
        }
    }
}
