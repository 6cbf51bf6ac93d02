//! `millrace topics rights`: the fleet's identities and what each may do, in the forms that platforms take. It prints and grants nothing.

use landscape::{Grant, Principal};
use serde_json::{Value, json};

use crate::{
    cluster::Addresses,
    exit::{Done, Failure, Outcome},
    options::Global,
    subscribe::acl::{Authentication, strimzi_user},
    words,
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  millrace topics rights
  millrace topics rights --principal sink-mes-ulm
  millrace topics rights --strimzi | kubectl apply -f -")]
pub(crate) struct Args {
    /// Only this identity: validator, sink-mes-ulm, ...
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,

    /// As KafkaUser documents of Strimzi instead of lines for kafka-acls
    #[arg(long)]
    strimzi: bool,

    /// How the users prove who they are, with --strimzi
    #[arg(long, value_enum, default_value_t = Authentication::ScramSha512, requires = "strimzi")]
    authentication: Authentication,

    /// Name of the Strimzi cluster
    #[arg(long, value_name = "NAME", default_value = "kafka", requires = "strimzi")]
    strimzi_cluster: String,

    #[command(flatten)]
    addresses: Addresses,
}

impl Args {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let cluster = self.addresses.cluster(global)?;
        let mut principals = landscape::rights(&cluster.landscape, &cluster.topics);
        if let Some(name) = &self.principal {
            let names: Vec<String> = principals.iter().map(|principal| principal.name.clone()).collect();
            principals.retain(|principal| principal.name == *name);
            if principals.is_empty() {
                let near = words::nearest(name, names.iter().map(String::as_str)).map(|near| format!(", did you mean {near}?"));
                let near = near.unwrap_or_else(|| format!(" (it has {})", names.join(", ")));
                return Err(Failure::not_found(format!("this landscape has no identity {name}{near}")));
            }
        }
        let brokers = if cluster.brokers().is_empty() { "…".to_owned() } else { cluster.brokers().join(",") };
        let text = principals.iter().map(|principal| self.text(principal, &brokers)).collect::<Vec<_>>();
        let items: Vec<Value> = principals.iter().map(|principal| described(principal, &brokers)).collect();
        let out = global.output();
        if out.is_text() {
            // Documents are parted by their own lines.
            out.object(&json!(items), "", || text.join(if self.strimzi { "" } else { "\n\n" }))?;
        } else {
            let sight = crate::output::Sight { now: crate::options::now() };
            let name = |row: &Value| crate::output::text(row, "principal");
            out.list(&crate::output::List { items: &items, columns: COLUMNS, name, next: None, sight })?;
        }
        out.hint("Nothing was granted. A user's password or certificate is the platform's to make.");
        Ok(Done::Yes)
    }

    fn text(&self, principal: &Principal, brokers: &str) -> String {
        if self.strimzi {
            let document = strimzi_user(&principal.name, &self.strimzi_cluster, self.authentication, &principal.grants);
            return format!("---\n{document}");
        }
        let mut lines = vec![format!("# {}", principal.name)];
        lines.extend(principal.grants.iter().map(|grant| line(grant, &principal.name, brokers)));
        lines.join("\n")
    }
}

const COLUMNS: &[crate::output::Column] = &[
    crate::output::Column::new("PRINCIPAL", |row, _| crate::output::text(row, "principal")),
    crate::output::Column::new("SERVICE", |row, _| crate::output::text(row, "service")),
];

fn line(grant: &Grant, principal: &str, brokers: &str) -> String {
    grant.kafka_acls(principal).replacen("kafka-acls ", &format!("kafka-acls --bootstrap-server {brokers} "), 1)
}

fn described(principal: &Principal, brokers: &str) -> Value {
    let grants: Vec<Value> = principal
        .grants
        .iter()
        .map(|grant| {
            let operations: Vec<&str> = grant.operations.iter().map(|operation| operation.name()).collect();
            json!({
                "resource": { "type": grant.resource.name(), "name": grant.name, "patternType": grant.pattern.name() },
                "operations": operations,
                "kafka_acls": line(grant, &principal.name, brokers),
            })
        })
        .collect();
    json!({ "principal": principal.name, "service": principal.service, "system": principal.system, "grants": grants })
}
