//! `millrace subscribe acl`: the rights of a subscribing team, in the two forms that platforms take. It prints and grants nothing: access
//! is a reviewed change, approved by the owner of the data.

use clap::ValueEnum;
use landscape::{Grant, Operation, Pattern, Resource};
use serde_json::{Value, json};

use super::{Golden, tree::Node};
use crate::{
    cluster::{Addresses, Cluster},
    exit::{Done, Failure, Outcome},
    options::Global,
    words,
};

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  millrace subscribe acl --team quality --topic mdm.golden.item --topic mdm.golden.reference")]
pub(crate) struct Args {
    /// The team: its Kafka user, and the prefix of its consumer groups
    #[arg(long, value_name = "NAME")]
    team: String,

    /// Golden topic; more than once for several
    #[arg(long = "topic", required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// How the user proves who it is
    #[arg(long, value_enum, default_value_t = Authentication::Tls)]
    authentication: Authentication,

    /// Name of the Strimzi cluster
    #[arg(long, value_name = "NAME", default_value = "kafka")]
    strimzi_cluster: String,

    #[command(flatten)]
    addresses: Addresses,
}

/// How a user of Strimzi proves who it is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Authentication {
    Tls,
    ScramSha512,
}

impl Authentication {
    fn name(self) -> &'static str {
        match self {
            Authentication::Tls => "tls",
            Authentication::ScramSha512 => "scram-sha-512",
        }
    }
}

impl Args {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let cluster = self.addresses.cluster(global)?;
        let golden = self.topics.iter().map(|topic| known(&cluster, topic)).collect::<Result<Vec<_>, _>>()?;
        checked(&self.team, &cluster)?;
        let grants = grants(&self.team, &golden);
        let brokers = if cluster.brokers().is_empty() { "…".to_owned() } else { cluster.brokers().join(",") };
        let acls: Vec<String> = grants
            .iter()
            .map(|grant| {
                grant.kafka_acls(&self.team).replacen("kafka-acls ", &format!("kafka-acls --bootstrap-server {brokers} "), 1)
            })
            .collect();
        let registry: Vec<String> =
            golden.iter().map(|golden| format!("registry: read on subject {}", golden.subject())).collect();
        let user = user(&self.team, &self.strimzi_cluster, self.authentication, &grants);
        let approvers: Vec<Value> = golden.iter().map(|golden| approver(&cluster, golden)).collect();
        let item = json!({
            "team": self.team, "user": user, "kafka_acls": acls, "registry": registry, "approvers": approvers,
        });
        let out = global.output();
        out.object(&item, &self.team, || format!("{}\n{}\n\n{}", user_text(&user), acls.join("\n"), registry.join("\n")))?;
        for approver in &approvers {
            let text = |name: &str| approver[name].as_str().unwrap_or_default().to_owned();
            out.hint(&format!("Nothing was granted. {} is approved by: {}", text("topic"), text("office")));
        }
        Ok(Done::Yes)
    }
}

/// One user of Strimzi with these grants, as a document of YAML.
pub(crate) fn strimzi_user(name: &str, strimzi_cluster: &str, authentication: Authentication, grants: &[Grant]) -> String {
    user_text(&user(name, strimzi_cluster, authentication, grants))
}

fn user(name: &str, strimzi_cluster: &str, authentication: Authentication, grants: &[Grant]) -> Node {
    let acls = grants.iter().map(|grant| {
        let resource = Node::map([
            ("type", grant.resource.name().into()),
            ("name", grant.name.as_str().into()),
            ("patternType", grant.pattern.name().into()),
        ]);
        let operations = Node::list(grant.operations.iter().map(|operation| operation.name()));
        Node::map([("resource", resource), ("operations", operations)])
    });
    let labels = Node::map([("strimzi.io/cluster", strimzi_cluster.into())]);
    Node::map([
        ("apiVersion", "kafka.strimzi.io/v1".into()),
        ("kind", "KafkaUser".into()),
        ("metadata", Node::map([("name", name.into()), ("labels", labels)])),
        (
            "spec",
            Node::map([
                ("authentication", Node::map([("type", authentication.name().into())])),
                ("authorization", Node::map([("type", "simple".into()), ("acls", Node::List(acls.collect()))])),
            ]),
        ),
    ])
}

fn user_text(user: &Node) -> String {
    user.yaml("KafkaUser of Strimzi; apiVersion kafka.strimzi.io/v1beta2 with older operators")
}

/// A golden topic of this landscape.
fn known(cluster: &Cluster, topic: &str) -> Result<Golden, Failure> {
    let golden = Golden::named(topic)?;
    let names: Vec<String> = cluster.landscape.domains.keys().map(|domain| cluster.topics.golden(*domain)).collect();
    if names.contains(&golden.name()) {
        return Ok(golden);
    }
    let near = words::nearest(topic, names.iter().map(String::as_str)).map(|near| format!(", did you mean {near}?"));
    let near = near.unwrap_or_else(|| format!(" (it has {})", names.join(", ")));
    Err(Failure::not_found(format!("this landscape has no topic {topic}{near}")))
}

/// The team's name becomes a Kafka user and a prefix: it must be one name in both worlds, and cover nobody else's groups.
fn checked(team: &str, cluster: &Cluster) -> Result<(), Failure> {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "-.".contains(character);
    let ends = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if team.is_empty() || !team.chars().all(plain) || !team.starts_with(ends) || !team.ends_with(ends) {
        return Err(Failure::usage(format!(
            "`{team}` cannot be a user: small letters, digits, `-` and `.`, as in quality or quality-lab"
        )));
    }
    let (prefix, own) = (cluster.topics.prefix(), format!("{team}."));
    if prefix.starts_with(&own) || own.starts_with(prefix) && !prefix.is_empty() {
        return Err(Failure::usage(format!(
            "the groups `{own}…` would be those of Millrace itself, whose names begin with `{prefix}`: choose another name"
        )));
    }
    let fleet = landscape::rights(&cluster.landscape, &cluster.topics);
    match fleet.iter().find(|principal| principal.name == team) {
        Some(principal) => {
            Err(Failure::usage(format!("`{team}` is the identity of a service ({}): choose another name", principal.service)))
        }
        None => Ok(()),
    }
}

fn grants(team: &str, golden: &[Golden]) -> Vec<Grant> {
    let grant = |resource, name: String, pattern, operations: &[Operation]| Grant {
        resource,
        name,
        pattern,
        operations: operations.to_vec(),
    };
    let mut grants: Vec<Grant> = golden
        .iter()
        .map(|golden| grant(Resource::Topic, golden.name(), Pattern::Literal, &[Operation::Read, Operation::Describe]))
        .collect();
    grants.sort();
    grants.dedup();
    grants.push(grant(Resource::Group, format!("{team}."), Pattern::Prefixed, &[Operation::Read]));
    grants
}

fn approver(cluster: &Cluster, golden: &Golden) -> Value {
    let policy = &cluster.landscape.domains[&golden.domain];
    let office = policy.office.clone().unwrap_or_else(|| format!("owner of {}", policy.owner));
    json!({ "topic": golden.name(), "office": office, "owner": policy.owner })
}
