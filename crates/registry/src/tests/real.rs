//! Against the registry that `millrace-devstack up` keeps running; without one, skipped with a word.

use avro::{Reader, Schema};
use model::Cursor;

use super::{Config, Registry};
use crate::Error;

fn running() -> Option<Registry> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/dev/dev.json");
    let url = std::fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|dev| dev["registry"].as_str().map(ToOwned::to_owned));
    let Some(url) = url else {
        eprintln!("SKIPPED: no registry runs; start one with `millrace-devstack up`");
        return None;
    };
    Some(Registry::new(Config::new(vec![url])).unwrap())
}

fn unique(name: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("test.{}.{nanos}.{name}-value", std::process::id())
}

#[tokio::test]
async fn apicurio_registers_finds_and_returns_every_schema_of_ours() {
    let Some(registry) = running() else { return };
    for schema in Schema::ALL {
        let subject = unique(schema.record());
        registry.set_compatibility(&subject, "FULL_TRANSITIVE").await.unwrap();
        let id = registry.register(&subject, schema.text()).await.unwrap();
        assert_eq!(registry.register(&subject, schema.text()).await.unwrap(), id, "{schema:?}");
        assert_eq!(registry.id_of(&subject, schema.text()).await.unwrap(), id, "{schema:?}");
        let reader = Reader::default();
        registry.teach(&reader, id).await.unwrap();
        assert!(reader.knows(id));
        assert_eq!(registry.check_compatibility(&subject, schema.text()).await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn apicurio_refuses_an_incompatible_schema_and_a_record_survives_the_trip() {
    let Some(registry) = running() else { return };
    let topic = unique("cursor");
    let topic = topic.trim_end_matches("-value");
    let subject = avro::subject(topic);
    registry.set_compatibility(&subject, "FULL_TRANSITIVE").await.unwrap();
    registry.register(&subject, Schema::Cursor.text()).await.unwrap();
    let other = Schema::Cursor
        .text()
        .replace(r#"{"name": "epoch", "type": "long", "default": 0"#, r#"{"name": "epoch", "type": "string", "default": """#);
    assert_ne!(other, Schema::Cursor.text());
    let reasons = registry.check_compatibility(&subject, &other).await.unwrap();
    assert!(!reasons.is_empty());
    assert!(matches!(registry.register(&subject, &other).await, Err(Error::Incompatible { .. })));
    assert!(matches!(registry.id_of(&subject, &other).await, Err(Error::NotFound { .. })));

    let writer = registry.writer(&[(Schema::Cursor, topic.to_owned())]).await.unwrap();
    let cursor = Cursor { position: Some("2026-11-25T12:00:00Z".into()), sent: None, epoch: 7 };
    let bytes = writer.encode(&cursor).unwrap();
    let reader = Reader::default();
    registry.prepare(&reader, [&bytes[..]]).await.unwrap();
    assert_eq!(reader.decode::<Cursor>(&bytes).unwrap(), cursor);
}

#[tokio::test]
async fn apicurio_says_that_an_id_does_not_exist() {
    let Some(registry) = running() else { return };
    assert!(matches!(registry.schema(2_000_000_000).await, Err(Error::NotFound { .. })));
    assert!(matches!(registry.id_of(&unique("nobody"), Schema::Cursor.text()).await, Err(Error::NotFound { .. })));
}
