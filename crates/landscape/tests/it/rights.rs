//! The grants of the sample company, held against delivery.md 14.1: what each identity needs, and what it must never have.

use std::collections::BTreeMap;

use crate::{
    folder,
    landscape::{Grant, Operation, Pattern, Principal, Resource, rights},
};
use avro::Topics;

fn all() -> BTreeMap<String, Principal> {
    let landscape = folder::landscape("deploy/landscape");
    rights(&landscape, &Topics::new("mdm.")).into_iter().map(|principal| (principal.name.clone(), principal)).collect()
}

fn may(principal: &Principal, operation: Operation, topic: &str) -> bool {
    principal.grants.iter().any(|grant| {
        grant.resource == Resource::Topic
            && grant.operations.contains(&operation)
            && match grant.pattern {
                Pattern::Literal => grant.name == topic,
                Pattern::Prefixed => topic.starts_with(&grant.name),
            }
    })
}

#[test]
fn there_is_one_identity_per_service_source_and_destination() {
    let names: Vec<String> = all().into_keys().collect();
    for name in ["publisher-crm", "publisher-erp", "validator", "replayer", "tracker", "provisioner", "operator"] {
        assert!(names.contains(&name.to_owned()), "{name} of {names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("sink-")));
}

#[test]
fn nobody_but_the_validator_writes_golden_and_nobody_but_its_sink_a_ledger_or_a_receipt() {
    for (name, principal) in all() {
        for grant in principal.grants.iter().filter(|grant| grant.operations.contains(&Operation::Write)) {
            if grant.name.starts_with("mdm.golden.") {
                assert_eq!(name, "validator", "{}", grant.name);
            }
            for family in ["mdm.ledger.", "mdm.receipt."] {
                if let Some(destination) = grant.name.strip_prefix(family) {
                    assert_eq!(name, format!("sink-{destination}"), "{}", grant.name);
                }
            }
        }
    }
}

#[test]
fn an_identity_of_one_system_has_nothing_of_another_and_no_prefix() {
    for principal in all().values().filter(|principal| principal.system.is_some()) {
        let own = principal.system.as_deref().unwrap();
        for grant in &principal.grants {
            assert_eq!(grant.pattern, Pattern::Literal, "{}: {}", principal.name, grant.name);
            for family in ["change.", "golden.", "destination"] {
                if grant.name.starts_with(&format!("mdm.{family}")) {
                    assert_eq!(grant.resource, Resource::Topic);
                }
            }
            let of_a_system = ["ledger", "receipt", "command", "dlq", "cursor", "sink", "publisher"]
                .iter()
                .find_map(|family| grant.name.strip_prefix(&format!("mdm.{family}.")));
            if let Some(system) = of_a_system {
                assert_eq!(system, own, "{}: {}", principal.name, grant.name);
            }
        }
    }
}

#[test]
fn the_provisioner_touches_no_record_and_the_operator_only_proofs() {
    let all = all();
    assert!(
        all["provisioner"]
            .grants
            .iter()
            .all(|grant| { !grant.operations.contains(&Operation::Read) && !grant.operations.contains(&Operation::Write) })
    );
    let operator = &all["operator"];
    assert!(operator.grants.iter().all(|grant| !grant.operations.contains(&Operation::Write)));
    assert!(may(operator, Operation::Read, "mdm.audit"));
    assert!(!may(operator, Operation::Read, "mdm.golden.item"));
}

#[test]
fn a_grant_is_printed_as_the_command_that_gives_it() {
    let grant = Grant {
        resource: Resource::TransactionalId,
        name: "mdm.validator.".into(),
        pattern: Pattern::Prefixed,
        operations: vec![Operation::Write, Operation::Describe],
    };
    assert_eq!(
        grant.kafka_acls("validator"),
        "kafka-acls --add --allow-principal User:validator --operation Write --operation Describe --transactional-id mdm.validator. \
         --resource-pattern-type prefixed"
    );
}
