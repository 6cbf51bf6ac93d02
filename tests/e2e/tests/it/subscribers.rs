//! Every consumer that subscribers are given ends with exactly the golden state: updates, deletes, a record that came back, tombstones,
//! and old records that arrive again. They are run as their readers would run them, against the real topics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use avro::Schema;
use devstack::{Secure, Stack, StackOptions, stock};
use kafka::Producer;
use landscape::{Grant, Operation, Pattern, Principal, Resource};
use millrace_e2e::{Look, Seen, load, sample_data, sample_landscape, until};
use model::{Domain, Outgoing};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use crate::{
    documents::stock_folder,
    world::{PATIENCE, World},
};

const CHANGED: &str = "DN-50/A";
/// Both plants take it: a tombstone comes when every destination has the delete.
const DELETED: &str = "LA-100/A";
const CAME_BACK: &str = "SR-M12x60/A";

/// A consumer, and how it is started.
struct Consumer {
    name: &'static str,
    command: Vec<String>,
    environment: Vec<(String, String)>,
}

fn consumers() -> Result<Vec<Consumer>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/subscribers").canonicalize()?;
    let text = |path: PathBuf| path.display().to_string();
    let python = stock::python(&stock_folder().join("subscriber.txt"))?;
    let java = stock::java(&folder.join("java"))?;
    let command = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
    Ok(vec![
        Consumer {
            name: "python",
            command: command(&["python3", &text(folder.join("python/subscriber.py"))]),
            environment: vec![("PYTHONPATH".into(), text(python)), ("PYTHONDONTWRITEBYTECODE".into(), "1".into())],
        },
        Consumer {
            name: "java",
            command: command(&["java", "-Xmx128m", "-cp", &java, "subscriber.Subscriber"]),
            environment: Vec::new(),
        },
        Consumer {
            name: "rust",
            command: vec![text(devstack::dev::profile()?.join("golden-subscriber"))],
            environment: Vec::new(),
        },
    ])
}

struct Topic<'s> {
    stack: &'s Stack,
    name: String,
    /// The consumer's own copy of the schema.
    reader: Option<PathBuf>,
    /// Beginning of the group's name, which also names the store.
    team: &'static str,
    /// Who the consumer is and how it proves it, where somebody asks.
    identity: Vec<(&'static str, String)>,
}

impl Topic<'_> {
    fn start(&self, consumer: &Consumer, until_end: bool) -> Result<Child> {
        let mut command = Command::new(&consumer.command[0]);
        command
            .args(&consumer.command[1..])
            .envs(consumer.environment.iter().map(|(name, value)| (name, value)))
            .env("BROKERS", &self.stack.addresses.brokers)
            .env("REGISTRY", &self.stack.addresses.registry)
            .env("TOPIC", &self.name)
            .env("GROUP", format!("{}.{}.{}", self.team, consumer.name, self.name))
            .env("STORE", self.store(consumer))
            .envs(self.identity.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(reader) = &self.reader {
            command.env("READER_SCHEMA", reader);
        }
        if until_end {
            command.env("UNTIL_END", "yes");
        }
        command.spawn().with_context(|| format!("starting the {} consumer", consumer.name))
    }

    fn store(&self, consumer: &Consumer) -> PathBuf {
        self.stack.folder().join(format!("{}-{}-{}", self.team, consumer.name, self.name))
    }

    /// What the consumer has when it ends by itself at the end of the topic.
    async fn state(&self, consumer: &Consumer) -> Result<Value> {
        printed(consumer, self.start(consumer, true)?).await
    }
}

/// What a consumer that ends says last.
async fn printed(consumer: &Consumer, child: Child) -> Result<Value> {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.with_context(|| format!("the {} consumer never ends", consumer.name))??;
    let text = String::from_utf8(output.stdout)?;
    let state = serde_json::from_str(&text).with_context(|| format!("{}: {}, {text}", consumer.name, output.status))?;
    Ok(normal(state))
}

/// The state that a topic stands for: the highest revision of each key, of deleted ones too.
fn golden_state(seen: &[Seen]) -> Result<Value> {
    let mut newest: BTreeMap<String, (i64, Value)> = BTreeMap::new();
    for one in seen {
        let Some(golden) = &one.golden else { continue };
        let data = serde_json::to_value(golden)?["data"].clone();
        let entry = newest.entry(one.key.to_string()).or_default();
        if golden.meta.revision > entry.0 {
            *entry = (golden.meta.revision, data);
        }
    }
    Ok(normal(newest.into_iter().map(|(key, (revision, data))| (key, json!({ "revision": revision, "data": data }))).collect()))
}

/// Numbers and times in one form: consumers keep the zeros of a decimal's scale and of microseconds.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries.into_iter().map(|(name, value)| (name, normal(value))).collect(),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::String(text) => {
            let is_number = text.contains('.') && text.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.');
            match text.parse::<model::Timestamp>() {
                Ok(time) if text.ends_with('Z') => json!(time.to_string()),
                _ if is_number => json!(text.trim_end_matches('0').trim_end_matches('.')),
                _ => Value::String(text),
            }
        }
        other => other,
    }
}

/// A fleet on the sample company whose items were changed, deleted, and in one case brought back; it has stopped writing.
async fn history() -> Result<(Stack, Look)> {
    let mut stack = Stack::start(StackOptions { sample: Some(sample_data()), ..StackOptions::new(sample_landscape()) }).await?;
    tokio::task::block_in_place(|| stack.start_fleet())?;
    let look = Look::at(&stack)?;
    let folder = PathBuf::from(stack.systems.source_endpoint("erp")?);
    let first = fs::read_to_string(folder.join("items.csv"))?;
    golden_is(&look, "the first load", |last| [CHANGED, DELETED, CAME_BACK].iter().all(|key| last(key) == Some("data"))).await?;

    let without = |keys: &[&str], text: &str| -> String {
        let starts: Vec<String> = keys.iter().map(|key| format!("{};", key.replace('/', ";"))).collect();
        text.split_inclusive('\n').filter(|line| !starts.iter().any(|start| line.starts_with(start))).collect()
    };
    let changed = first.replace("Inline pump DN 50;", "Inline pump DN 50, mark 2;");
    assert_ne!(changed, first);
    load::drop_file(&folder, "items.csv", &without(&[DELETED, CAME_BACK], &changed))?;
    golden_is(&look, "both tombstones", |last| [DELETED, CAME_BACK].iter().all(|key| last(key) == Some("tombstone"))).await?;
    load::drop_file(&folder, "items.csv", &without(&[DELETED], &changed))?;
    golden_is(&look, "the record to come back", |last| last(CAME_BACK) == Some("data")).await?;
    tokio::task::block_in_place(|| stack.fleet.stop_all());
    Ok((stack, look))
}

/// Waits until the last record of keys in `golden.item` is what is wanted: `data`, `delete`, `tombstone`.
async fn golden_is(look: &Look, what: &str, is_so: impl Fn(&dyn Fn(&str) -> Option<&'static str>) -> bool) -> Result<()> {
    until(what, PATIENCE, || async {
        let seen = look.golden(Domain::Item).await.map_err(|error| format!("{error:#}"))?;
        let last = |key: &str| {
            let last = seen.iter().rfind(|one| one.key.as_str() == key)?;
            Some(match &last.golden {
                None => "tombstone",
                Some(golden) if golden.data.is_none() => "delete",
                Some(_) => "data",
            })
        };
        if is_so(&last) { Ok(()) } else { Err(format!("{:?}", [CHANGED, DELETED, CAME_BACK].map(last))) }
    })
    .await
}

/// Sends the first record of a key once more: what a producer that forgot everything, or a mirror, might do.
async fn repeat_first(stack: &Stack, look: &Look, topic: &str, keys: &[&str]) -> Result<()> {
    let producer = Producer::new(&stack.client("repeater"))?;
    let records = look.records(topic).await?;
    for key in keys {
        let first = records.iter().find(|record| record.key_text() == Some(key) && record.value.is_some());
        let first = first.with_context(|| format!("{key} is not in {topic}"))?;
        let headers = first.headers.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or_default())).collect();
        let again =
            Outgoing { topic: topic.to_owned(), slot: first.slot(), key: (*key).to_owned(), value: first.value.clone(), headers };
        producer.send(&again).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_consumer_ends_with_exactly_the_golden_state() -> Result<()> {
    let consumers = tokio::task::block_in_place(consumers)?;
    let (stack, look) = history().await?;
    let items = stack.topics.golden(Domain::Item);
    let expected = golden_state(&look.golden(Domain::Item).await?)?;
    assert!(expected.as_object().is_some_and(|state| state.len() > 250), "nearly all sample items are golden");
    assert_eq!((&expected[DELETED]["revision"], &expected[DELETED]["data"]), (&json!(2), &Value::Null));
    assert_eq!((&expected[CHANGED]["revision"], &expected[CAME_BACK]["revision"]), (&json!(2), &json!(3)));
    repeat_first(&stack, &look, &items, &[CHANGED, DELETED, CAME_BACK]).await?;

    let topic = Topic { stack: &stack, name: items.clone(), reader: None, team: "quality", identity: Vec::new() };
    for consumer in &consumers {
        follows_ends_and_goes_on(&topic, consumer, &expected).await?;
    }
    assert_same("kcat", &kcat(&stack, &items, &[]).await?, &without_data(&expected));

    // Another domain, with times, groups of owners and personal data.
    let customers = golden_state(&look.golden(Domain::Customer).await?)?;
    let topic =
        Topic { stack: &stack, name: stack.topics.golden(Domain::Customer), reader: None, team: "quality", identity: Vec::new() };
    for consumer in &consumers {
        assert_same(consumer.name, &topic.state(consumer).await?, &customers);
    }
    assert_same("kcat", &kcat(&stack, &topic.name, &[]).await?, &without_data(&customers));

    // A subscriber who upgrades late: his schema knows fewer symbols and fields than what is written.
    let reader = stack.folder().join("reader.avsc");
    fs::write(&reader, older_reader()?)?;
    assert_eq!(checked(&stack, &reader, &items)?, "OK: reads version 1; ignores: plants");
    let topic = Topic { stack: &stack, name: items, reader: Some(reader), team: "late", identity: Vec::new() };
    let narrowed = narrowed(&expected)?;
    for consumer in &consumers {
        assert_same(consumer.name, &topic.state(consumer).await?, &narrowed);
    }
    Ok(())
}

/// Only what differs is worth reading.
fn assert_same(name: &str, found: &Value, expected: &Value) {
    let keys = |state: &Value| state.as_object().map(|rows| rows.keys().cloned().collect::<BTreeSet<_>>()).unwrap_or_default();
    let all: BTreeSet<String> = keys(found).union(&keys(expected)).cloned().collect();
    let different: Vec<String> = all
        .iter()
        .filter(|key| found[key.as_str()] != expected[key.as_str()])
        .map(|key| format!("{key}\n  has      {}\n  must have {}", found[key], expected[key]))
        .collect();
    assert!(different.is_empty(), "{name}: {} of {} keys differ:\n{}", different.len(), all.len(), different.join("\n"));
}

/// Follows until it has all keys, ends on SIGTERM with the state, and has nothing left to do when it is started again.
async fn follows_ends_and_goes_on(topic: &Topic<'_>, consumer: &Consumer, expected: &Value) -> Result<()> {
    let child = topic.start(consumer, false)?;
    let id = child.id().context("a running process has an id")?;
    let keys: Vec<&String> = expected.as_object().context("a state is an object")?.keys().collect();
    until(&format!("the {} consumer to store every key", consumer.name), PATIENCE, || async {
        let stored = fs::read(topic.store(consumer)).unwrap_or_default();
        let text = String::from_utf8_lossy(&stored);
        match keys.iter().find(|key| !text.contains(key.as_str())) {
            None => Ok(()),
            Some(missing) => Err(format!("{missing} is missing")),
        }
    })
    .await?;
    kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)?;
    printed(consumer, child).await?;
    assert_same(consumer.name, &topic.state(consumer).await?, expected);
    Ok(())
}

async fn kcat(stack: &Stack, topic: &str, identity: &[(&'static str, String)]) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/subscribers/kcat/subscriber.sh");
    let mut command = Command::new(script);
    command.env("BROKERS", &stack.addresses.brokers).env("TOPIC", topic);
    let output = command.envs(identity.iter().map(|(name, value)| (name, value))).output().await?;
    ensure!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What can be told without decoding.
fn without_data(state: &Value) -> Value {
    let entries = state.as_object().into_iter().flatten();
    entries.map(|(key, row)| (key.clone(), json!({ "revision": row["revision"], "deleted": row["data"].is_null() }))).collect()
}

/// The schema of a subscriber who knows no finished products and no plants.
fn older_reader() -> Result<String> {
    let mut schema: Value = serde_json::from_str(Schema::golden(Domain::Item).text())?;
    let data = &mut schema["fields"][1]["type"][1];
    let fields = data["fields"].as_array_mut().context("a record has fields")?;
    fields.retain(|field| field["name"] != "plants");
    for field in fields {
        if field["name"] == "item_type" {
            field["type"]["symbols"].as_array_mut().context("an enum has symbols")?.retain(|symbol| symbol != "FINISHED");
        }
    }
    Ok(schema.to_string())
}

/// What the check in a subscriber's own pipeline says, asking the real registry.
fn checked(stack: &Stack, reader: &Path, topic: &str) -> Result<String> {
    let output = std::process::Command::new(devstack::dev::profile()?.join("millrace"))
        .args(["schemas", "check", "--can-read", topic, "--registry", &stack.addresses.registry])
        .arg(reader)
        .arg("--landscape")
        .arg(sample_landscape())
        .current_dir(stack.folder())
        .output()
        .context("running millrace")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn narrowed(state: &Value) -> Result<Value> {
    let mut state = state.as_object().cloned().context("a state is an object")?;
    let mut unknown = 0;
    for row in state.values_mut() {
        let Some(data) = row["data"].as_object_mut() else { continue };
        data.remove("plants");
        if data.get("item_type") == Some(&json!("FINISHED")) {
            data.insert("item_type".into(), json!("UNKNOWN"));
            unknown += 1;
        }
    }
    ensure!(unknown > 10, "the sample has finished products");
    Ok(Value::Object(Map::from_iter(state)))
}

/// The grants that `millrace subscribe acl` prints, as the broker gets them.
fn printed_grants(stack: &Stack, topic: &str) -> Result<Principal> {
    let output = std::process::Command::new(devstack::dev::profile()?.join("millrace"))
        .args(["subscribe", "acl", "--team", TEAM, "-o", "json", "--topic", topic, "--topic-prefix", stack.topics.prefix()])
        .arg("--landscape")
        .arg(millrace_e2e::landscape("load"))
        .current_dir(stack.folder())
        .output()
        .context("running millrace")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let acls = answer["items"][0]["user"]["spec"]["authorization"]["acls"].as_array().context("a user has grants")?;
    let grant = |acl: &Value| -> Result<Grant> {
        let resource = &acl["resource"];
        let operations = acl["operations"].as_array().into_iter().flatten();
        Ok(Grant {
            resource: if resource["type"] == "topic" { Resource::Topic } else { Resource::Group },
            name: resource["name"].as_str().context("a name")?.to_owned(),
            pattern: if resource["patternType"] == "literal" { Pattern::Literal } else { Pattern::Prefixed },
            operations: operations.map(|name| if name == "Read" { Operation::Read } else { Operation::Describe }).collect(),
        })
    };
    let grants = acls.iter().map(grant).collect::<Result<Vec<_>>>()?;
    Ok(Principal { name: TEAM.to_owned(), service: "subscriber", system: None, grants })
}

const TEAM: &str = "quality";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_an_identity_and_the_printed_rights_consumers_read_their_topic_and_no_other() -> Result<()> {
    let consumers = tokio::task::block_in_place(consumers)?;
    let mut world = World::start(|options| options.secure = Some(Secure::default())).await?;
    world.write_items(0..20)?;
    world.golden_complete(PATIENCE).await?;
    tokio::task::block_in_place(|| world.stack.fleet.stop_all());
    let (stack, look) = (&world.stack, &world.look);
    let items = stack.topics.golden(Domain::Item);
    let expected = golden_state(&look.golden(Domain::Item).await?)?;
    let base = stack.base.as_ref().context("a base of its own")?;
    let secured = stack.secured().context("a secured stack")?;
    let mut principals = landscape::rights(&stack.landscape, &stack.topics);
    principals.push(printed_grants(stack, &items)?);
    tokio::task::block_in_place(|| -> Result<()> {
        secured.enrol(TEAM)?;
        secured.admit(&base.java, &base.broker, &principals)
    })?;

    let file = |name: &str| secured.accounts.file(TEAM, name).display().to_string();
    let registry = [
        ("REGISTRY_USERNAME", TEAM.to_owned()),
        ("REGISTRY_PASSWORD_FILE", file("registry/password")),
        ("REGISTRY_CA_FILE", file("registry/ca.crt")),
        ("KAFKA_CA_FILE", file("kafka/ca.crt")),
    ];
    let password = [("KAFKA_USERNAME", TEAM.to_owned()), ("KAFKA_PASSWORD_FILE", file("kafka/password"))];
    let certificate = [
        ("KAFKA_CERTIFICATE_FILE", file("kafka/user.crt")),
        ("KAFKA_KEY_FILE", file("kafka/user.key")),
        ("BROKERS", base.broker.certificates().context("a listener for certificates")?),
    ];
    let all = |own: &[(&'static str, String)]| registry.iter().chain(own).cloned().collect::<Vec<_>>();
    let topic = |name: &str, team, identity| Topic { stack, name: name.to_owned(), reader: None, team, identity };
    for consumer in &consumers {
        assert_same(consumer.name, &topic(&items, "quality", all(&password)).state(consumer).await?, &expected);
        assert_same(consumer.name, &topic(&items, "quality.mtls", all(&certificate)).state(consumer).await?, &expected);
    }
    assert_same("kcat", &kcat(stack, &items, &all(&password)).await?, &without_data(&expected));

    // Neither an internal topic, nor another golden one, nor somebody else's group.
    for name in [stack.topics.change("erp", Domain::Item), stack.topics.golden(Domain::Reference)] {
        let refused = kcat(stack, &name, &all(&password)).await.expect_err("nobody granted it").to_string();
        assert!(refused.contains("authorization failed"), "{refused}");
    }
    let stranger = topic(&items, "logistics", all(&password));
    let output = stranger.start(&consumers[2], true)?.wait_with_output().await?;
    assert!(!output.status.success(), "a group of another team is taken");
    Ok(())
}
