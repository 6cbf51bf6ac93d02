//! Users and grants on the broker. Made by a small Java program: the Kafka library of the fleet knows no call for them.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};
use landscape::{Grant, Operation, Pattern, Principal, Resource};

use super::Accounts;
use crate::java::Java;

const PROGRAM: &str = include_str!("../../java/Grants.java");

/// Makes users and grants exactly these; what is not listed goes.
pub(super) fn apply(java: &Java, bootstrap: &Path, accounts: &Accounts, principals: &[Principal]) -> Result<()> {
    let program = bootstrap.with_file_name("Grants.java");
    std::fs::write(&program, PROGRAM).with_context(|| format!("writing {}", program.display()))?;
    let bootstrap = bootstrap.to_str().context("reading the path of the bootstrap identity")?;
    java.program("making users and grants", &program, &[bootstrap], &list(accounts, principals)).map(drop)
}

/// As `Grants.java` reads it.
fn list(accounts: &Accounts, principals: &[Principal]) -> String {
    let mut text = String::new();
    for Principal { name, grants, .. } in principals {
        let password = accounts.file(name, "kafka/password");
        writeln!(text, "user\t{name}\t{}", password.display()).ok();
        for Grant { resource, name: on, pattern, operations } in grants {
            for operation in operations {
                let [resource, pattern, operation] =
                    [resource_name(*resource), pattern_name(*pattern), operation_name(*operation)];
                writeln!(text, "grant\t{name}\t{resource}\t{on}\t{pattern}\t{operation}").ok();
            }
        }
    }
    text
}

const fn resource_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Topic => "TOPIC",
        Resource::Group => "GROUP",
        Resource::TransactionalId => "TRANSACTIONAL_ID",
    }
}

const fn pattern_name(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Literal => "LITERAL",
        Pattern::Prefixed => "PREFIXED",
    }
}

const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "READ",
        Operation::Write => "WRITE",
        Operation::Create => "CREATE",
        Operation::Describe => "DESCRIBE",
        Operation::DescribeConfigs => "DESCRIBE_CONFIGS",
        Operation::AlterConfigs => "ALTER_CONFIGS",
    }
}
