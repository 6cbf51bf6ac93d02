//! What each identity may do on the broker, tried: everything that was granted works, and everything else is refused.
//!
//! Every identity tries, with its own password, every act on every topic, every group and every transactional id of the fleet. The grants
//! say what to expect of each; beside that, what delivery's table calls "never" stands here once more by hand, so that a grant too many
//! is found even where the grants themselves were wrong.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result, ensure};
use devstack::{Secure, Stack, StackOptions};
use kafka::Producer;
use landscape::{Grant, Operation, Pattern, Principal, Resource};
use model::{Outgoing, Slot};

const PROGRAM: &str = include_str!("../../java/Attempts.java");
/// What is tried on each topic.
const ON_TOPICS: [&str; 7] =
    ["read", "write", "describe-configs", "alter-configs", "delete-records", "delete", "more-partitions"];
/// What is tried on the cluster as a whole.
const ON_CLUSTER: [&str; 2] = ["see-grants", "see-users"];

/// The test landscape, with a destination whose name the others begin with: `mes` beside `mes-ulm` and `mes-pune`. It takes customers
/// and confirms them, with a secret.
pub(crate) fn with_a_neighbour(folder: &Path) -> Result<()> {
    for (name, text) in service::landscape_files(&millrace_e2e::landscape("load"))? {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, text)?;
    }
    let mes = "office: sales ledger
connector: {type: http, timeout: 5s, authorization_file: mes/authorization}
confirms: true
domains:
  customer: {mapping: plant/customer.j2, on_delete: delete}
";
    fs::write(folder.join("destinations/mes.yaml"), mes)?;
    // Each file of customers is all of them, so that one can go.
    let crm = folder.join("sources/crm.yaml");
    Ok(fs::write(&crm, fs::read_to_string(&crm)?.replace("content: delta", "content: full"))?)
}

/// One attempt and how it ended.
#[derive(Debug)]
struct Attempt {
    principal: String,
    act: String,
    on: String,
    answer: String,
}

impl Attempt {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').map(str::to_owned);
        let (principal, act, on, answer) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self { principal, act, on, answer })
    }

    /// Whether these grants let it happen.
    fn is_granted(&self, grants: &[Grant]) -> bool {
        let (resource, operation) = match self.act.as_str() {
            "read" => (Resource::Topic, Operation::Read),
            "write" => (Resource::Topic, Operation::Write),
            "describe-configs" => (Resource::Topic, Operation::DescribeConfigs),
            "alter-configs" => (Resource::Topic, Operation::AlterConfigs),
            "create" => (Resource::Topic, Operation::Create),
            "group" => (Resource::Group, Operation::Read),
            "transaction" => (Resource::TransactionalId, Operation::Write),
            // There is no word for them among the grants: nobody may.
            _ => return false,
        };
        grants.iter().any(|grant| {
            grant.resource == resource
                && grant.operations.contains(&operation)
                && match grant.pattern {
                    Pattern::Literal => grant.name == self.on,
                    Pattern::Prefixed => self.on.starts_with(&grant.name),
                }
        })
    }
}

/// What is tried: one line each, as `Attempts.java` reads it.
fn attempts(stack: &Stack, principals: &[Principal], names: &[String]) -> Result<String> {
    let secured = stack.secured().context("a secured stack")?;
    let mut text = String::new();
    for principal in principals {
        let password = secured.accounts.file(&principal.name, "kafka/password");
        writeln!(text, "as\t{}\t{}", principal.name, password.display())?;
    }
    let prefix = stack.topics.prefix();
    writeln!(text, "create\t{prefix}new-")?;
    ON_CLUSTER.iter().try_for_each(|act| writeln!(text, "{act}\tcluster"))?;
    for act in ON_TOPICS {
        names.iter().try_for_each(|topic| writeln!(text, "{act}\t{topic}"))?;
    }
    for (resource, act) in [(Resource::Group, "group"), (Resource::TransactionalId, "transaction")] {
        let of = principals.iter().flat_map(|principal| &principal.grants).filter(|grant| grant.resource == resource);
        let mut all: Vec<String> = of
            .map(|grant| match grant.pattern {
                Pattern::Literal => grant.name.clone(),
                Pattern::Prefixed => format!("{}0", grant.name),
            })
            .chain([format!("{prefix}somebody"), "quality.dashboards".to_owned()])
            .collect();
        all.sort();
        all.dedup();
        all.iter().try_for_each(|name| writeln!(text, "{act}\t{name}\t{}", names[0]))?;
    }
    Ok(text)
}

/// Something to read in every topic.
async fn fill(stack: &Stack, names: &[String]) -> Result<()> {
    let producer = Producer::new(&stack.client("filler"))?;
    for topic in names {
        let value = Some(b"to be read".to_vec());
        let record = Outgoing { topic: topic.clone(), slot: Slot(0), key: "k".to_owned(), value, headers: Vec::new() };
        producer.send(&record).await?;
    }
    Ok(())
}

/// What nobody may, whatever the grants say.
fn is_never(attempt: &Attempt, prefix: &str) -> bool {
    let Attempt { principal, act, on, .. } = attempt;
    let on = on.strip_prefix(prefix).unwrap_or(on);
    let family = on.split('.').next().unwrap_or_default();
    let system = |service: &str| principal.strip_prefix(&format!("{service}-")).map(str::to_owned);
    // `erp` of `change.erp.item` and of `dlq.erp`.
    let named = on.split('.').nth(1).unwrap_or_default();
    let is_of_another = |own: &str| {
        ["change", "ledger", "dlq", "receipt", "command", "cursor", "publisher", "sink"].contains(&family) && named != own
    };
    match act.as_str() {
        "see-grants" | "see-users" | "delete" | "delete-records" | "more-partitions" => true,
        "create" | "alter-configs" => principal != "provisioner",
        "write" if family == "golden" => principal != "validator",
        "write" if ["ledger", "receipt"].contains(&family) => *principal != format!("sink-{named}"),
        // Who wrote a change or a letter, its topic says. The replayer sends a change back to where it lay.
        "write" if family == "change" => principal != "replayer" && *principal != format!("publisher-{named}"),
        "write" if family == "dlq" => {
            let authors = [named.to_owned(), format!("publisher-{named}"), format!("sink-{named}")];
            !authors.contains(principal)
        }
        "write" if ["deadletter", "plan"].contains(&family) => principal != "replayer",
        "read" | "write" if principal == "provisioner" => true,
        "write" if principal == "operator" => true,
        "read" if principal == "validator" && family == "ledger" => true,
        "read" | "write" if principal == "validator" && family == "command" => on != "command.validator" || act == "write",
        "transaction" if system("sink").is_some() || principal == "tracker" => true,
        "read" | "write" | "group" | "transaction" => {
            [system("publisher"), system("sink")].into_iter().flatten().any(|own| is_of_another(&own))
        }
        _ => false,
    }
}

fn judge(tried: &[Attempt], principals: &[Principal], prefix: &str) -> Vec<String> {
    let grants: BTreeMap<&str, &[Grant]> =
        principals.iter().map(|principal| (principal.name.as_str(), principal.grants.as_slice())).collect();
    let mut wrong = Vec::new();
    for attempt in tried {
        let Attempt { principal, act, on, answer } = attempt;
        let is_granted = grants.get(principal.as_str()).is_some_and(|grants| attempt.is_granted(grants));
        if is_granted && is_never(attempt, prefix) {
            wrong.push(format!("{principal} is granted to {act} {on}, which nobody but its owner may ever have"));
        }
        let wanted = if is_granted { "yes" } else { "no" };
        if answer != wanted {
            wrong.push(format!("{principal}: {act} {on}: wanted {wanted}, the broker says {answer}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_do_more_than_was_granted_and_everything_that_was_granted_works() -> Result<()> {
    let folder = tempfile::tempdir()?;
    with_a_neighbour(folder.path())?;
    let options = StackOptions { secure: Some(Secure::default()), ..StackOptions::new(folder.path()) };
    let stack = Stack::start(options).await?;
    let names: Vec<String> = stack.landscape.topic_specs(&stack.topics).into_iter().map(|spec| spec.name).collect();
    fill(&stack, &names).await?;
    let principals = landscape::rights(&stack.landscape, &stack.topics);
    ensure!(principals.len() == 10, "{principals:?}");

    let text = attempts(&stack, &principals, &names)?;
    let base = stack.base.as_ref().context("a base of its own")?;
    let source = folder.path().join("Attempts.java");
    fs::write(&source, PROGRAM)?;
    let authority = stack.secured().context("a secured stack")?.accounts.file("operator", "kafka/ca.crt");
    let arguments = [stack.addresses.brokers.as_str(), authority.to_str().context("a path")?];
    let said = tokio::task::block_in_place(|| base.java.program("trying everything", &source, &arguments, &text))?;

    let tried: Vec<Attempt> = said.lines().filter_map(Attempt::read).collect();
    let refused = tried.iter().filter(|attempt| attempt.answer == "no").count();
    println!("{} attempts of {} identities on {} topics, {refused} refused", tried.len(), principals.len(), names.len());
    ensure!(tried.len() > principals.len() * names.len() * ON_TOPICS.len(), "only {} attempts:\n{said}", tried.len());
    ensure!(refused > tried.len() / 2, "only {refused} refused");
    let wrong = judge(&tried, &principals, stack.topics.prefix());
    assert!(wrong.is_empty(), "{} of them ended otherwise:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn a_grant_too_many_is_found_where_the_grants_themselves_are_wrong() {
    let landscape = service::landscape_files(&millrace_e2e::landscape("load")).map(|files| landscape::Landscape::parse(&files));
    let landscape = landscape.unwrap().unwrap();
    let topics = avro::Topics::new("mdm.");
    for (principal, act, on) in [
        ("publisher-crm", "write", "mdm.change.erp.item"),
        ("publisher-crm", "read", "mdm.change.erp.item"),
        ("publisher-crm", "write", "mdm.dlq.erp"),
        ("publisher-crm", "write", "mdm.dlq.validator"),
        ("sink-mes-ulm", "write", "mdm.change.erp.item"),
        ("sink-mes-ulm", "write", "mdm.receipt.mes-pune"),
        ("sink-mes-ulm", "write", "mdm.dlq.mes-pune"),
        ("validator", "write", "mdm.change.erp.item"),
        ("validator", "write", "mdm.dlq.mes-ulm"),
        ("tracker", "write", "mdm.change.erp.item"),
        ("tracker", "write", "mdm.dlq.validator"),
        ("tracker", "write", "mdm.deadletter"),
        ("replayer", "write", "mdm.dlq.validator"),
    ] {
        let mut principals = landscape::rights(&landscape, &topics);
        let operation = if act == "read" { Operation::Read } else { Operation::Write };
        let grant = Grant { resource: Resource::Topic, name: on.into(), pattern: Pattern::Literal, operations: vec![operation] };
        principals.iter_mut().find(|each| each.name == principal).unwrap().grants.push(grant);
        // The broker grants what it was told to.
        let attempt = Attempt { principal: principal.into(), act: act.into(), on: on.into(), answer: "yes".into() };
        let wrong = judge(&[attempt], &principals, "mdm.");
        assert_eq!(wrong.len(), 1, "{principal} {act} {on}: {wrong:?}");
    }
}
