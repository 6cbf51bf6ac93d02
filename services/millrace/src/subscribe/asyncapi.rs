//! All golden topics of a landscape as one AsyncAPI 3.1 document with Kafka bindings 0.5.0.

use super::{
    catalogue::{Catalogue, Entry, GENERATION_DAYS},
    schema_file,
    tree::Node,
};
use crate::words;

const BINDINGS: &str = "0.5.0";

/// The document.
pub(super) fn document(catalogue: &Catalogue) -> Node {
    let mut document = Node::map([
        ("asyncapi", "3.1.0".into()),
        (
            "info",
            Node::map([
                ("title", "Millrace golden records".into()),
                ("version", catalogue.version.as_str().into()),
                ("description", about().into()),
            ]),
        ),
        ("defaultContentType", "application/avro".into()),
    ]);
    document.put_some("servers", servers(catalogue));
    let each = |make: fn(&Entry) -> (String, Node)| Node::Map(catalogue.topics.iter().map(make).collect());
    document.put("channels", each(channel));
    document.put("operations", each(operation));
    let mut components = Node::map([("messages", each(message))]);
    components.put_some("securitySchemes", catalogue.security.as_ref().map(|security| Node::map([("kafka", scheme(security))])));
    document.put("components", components);
    document
}

fn about() -> String {
    format!(
        "Accepted master data, one compacted topic per domain. Every record is the full current state of one key. `meta.revision` only \
         grows for a key, also over a delete; delivery is at least once: keep the highest revision of each key and ignore the rest. \
         `data` = null is a delete; the null value that may follow it is clean-up. Read with `isolation.level=read_committed`, from the \
         beginning. Schemas are FULL_TRANSITIVE; a break is a new topic, and both are written for at least {GENERATION_DAYS} days. \
         Internal topics are not listed and carry no promise."
    )
}

fn servers(catalogue: &Catalogue) -> Option<Node> {
    let first = catalogue.brokers.first()?;
    let protocol = if catalogue.security.is_some() { "kafka-secure" } else { "kafka" };
    let mut server = Node::map([("host", first.as_str().into()), ("protocol", protocol.into())]);
    server.put("description", format!("Bootstrap servers: {}", catalogue.brokers.join(", ")));
    if catalogue.security.is_some() {
        server.put("security", Node::List(vec![reference("#/components/securitySchemes/kafka")]));
    }
    if let Some(registry) = catalogue.registry.first() {
        let kafka = Node::map([
            ("schemaRegistryUrl", registry.as_str().into()),
            ("schemaRegistryVendor", "confluent".into()),
            ("bindingVersion", BINDINGS.into()),
        ]);
        server.put("bindings", Node::map([("kafka", kafka)]));
    }
    Some(Node::map([("kafka", server)]))
}

fn scheme((protocol, mechanism): &(String, Option<String>)) -> Node {
    let kind = match (protocol.as_str(), mechanism.as_deref()) {
        ("ssl", _) => "X509",
        (_, Some("PLAIN")) => "plain",
        (_, Some("SCRAM-SHA-256")) => "scramSha256",
        _ => "scramSha512",
    };
    Node::map([("type", kind.into())])
}

fn reference(to: &str) -> Node {
    Node::map([("$ref", to.into())])
}

/// `goldenWorkCenter`.
fn channel_id(entry: &Entry) -> String {
    format!("golden{}", entry.record())
}

fn channel(entry: &Entry) -> (String, Node) {
    let record = entry.record();
    let key = entry.golden.domain.key_fields();
    let mut description = format!(
        "Owner: {} (system {}). Key: {}, UTF-8, components percent-encoded. Full state in every record; records of one {} keep their order.",
        entry.office,
        entry.owner,
        key.join("/"),
        key[..entry.golden.domain.entity_components()].join("/"),
    );
    for (field, owner) in &entry.groups {
        description.push_str(&format!(" {field} is owned by {owner}."));
    }
    if let Some(deadline) = entry.deadline {
        description.push_str(&format!(" Accepted within {} of the commit at its source.", words::age(deadline.as_secs_f64())));
    }
    let mut settings = Node::map([("cleanup.policy", Node::list(["compact"]))]);
    settings.put("delete.retention.ms", entry.config("delete.retention.ms"));
    let kafka = Node::map([
        ("topic", entry.golden.name().into()),
        ("partitions", i64::from(entry.spec.partitions).into()),
        ("replicas", i64::from(entry.spec.replication).into()),
        ("topicConfiguration", settings),
        ("bindingVersion", BINDINGS.into()),
    ]);
    let node = Node::map([
        ("address", entry.golden.name().into()),
        ("title", entry.title().into()),
        ("description", description.into()),
        ("messages", Node::map([(record, reference(&format!("#/components/messages/{record}")))])),
        ("tags", Node::List(vec![Node::map([("name", entry.golden.domain.name().into())])])),
        ("bindings", Node::map([("kafka", kafka)])),
    ]);
    (channel_id(entry), node)
}

fn operation(entry: &Entry) -> (String, Node) {
    let (channel, record) = (channel_id(entry), entry.record());
    let node = Node::map([
        ("action", "receive".into()),
        ("channel", reference(&format!("#/channels/{channel}"))),
        ("summary", format!("Follow {}.", entry.title().to_lowercase()).into()),
        ("messages", Node::List(vec![reference(&format!("#/channels/{channel}/messages/{record}"))])),
    ]);
    (format!("receive{record}"), node)
}

fn message(entry: &Entry) -> (String, Node) {
    let kafka = Node::map([
        ("key", Node::map([("type", "string".into()), ("description", entry.golden.domain.key_fields().join("/").into())])),
        ("schemaIdLocation", "payload".into()),
        ("schemaIdPayloadEncoding", "confluent".into()),
        ("schemaLookupStrategy", "TopicNameStrategy".into()),
        ("bindingVersion", BINDINGS.into()),
    ]);
    let payload =
        Node::map([("schemaFormat", "application/vnd.apache.avro;version=1.9.0".into()), ("schema", schema_file::schema(entry))]);
    let node = Node::map([
        ("name", entry.golden.schema().record().into()),
        ("title", entry.title().into()),
        ("contentType", "application/avro".into()),
        ("headers", headers(entry)),
        ("payload", payload),
        ("bindings", Node::map([("kafka", kafka)])),
    ]);
    (entry.record().to_owned(), node)
}

/// CloudEvents 1.0 in Kafka's binary mode: a reader can route without decoding.
fn headers(entry: &Entry) -> Node {
    let domain = entry.golden.domain.name();
    let text = |description: &str| Node::map([("type", "string".into()), ("description", description.into())]);
    let always = |value: &str| Node::map([("type", "string".into()), ("const", value.into())]);
    let with = |mut node: Node, name: &str, value: Node| {
        node.put(name, value);
        node
    };
    let types = ["upserted", "deleted", "snapshot"].map(|what| format!("mdm.{domain}.{what}"));
    let properties = Node::map([
        ("ce_specversion", always("1.0")),
        ("ce_id", text("Id of the change that caused it, a UUIDv7.")),
        ("ce_source", always(avro::headers::SOURCE)),
        ("ce_type", Node::map([("type", "string".into()), ("enum", Node::list(types))])),
        ("ce_time", with(text("When the source committed the change."), "format", "date-time".into())),
        ("ce_subject", text("The record key.")),
        ("ce_dataschema", text("Name of the record's schema.")),
        ("ce_partitionkey", text("What the partition follows from: the entity, so that its records keep their order.")),
        ("ce_sequence", with(text("The revision: text order is number order."), "pattern", "^[0-9]{20}$".into())),
        ("content-type", always("application/avro")),
        ("traceparent", text("W3C trace context of the change.")),
    ]);
    let required = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_sequence", "content-type"];
    Node::map([("type", "object".into()), ("required", Node::list(required)), ("properties", properties)])
}
