//! The real broker and registry.

use devstack::{Base, Progress};

const SCHEMA: &str = r#"{"type":"record","name":"Pump","fields":[{"name":"id","type":"string"}]}"#;

fn registry(base: &Base) -> registry::Registry {
    registry::Registry::new(registry::Config::new(vec![base.addresses().registry])).unwrap()
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_goes_on_with_the_same_schema_ids() {
    if !devstack::is_available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let first = tokio::task::spawn_blocking(move || Base::lasting(&path, Progress::Quiet, None)).await.unwrap().unwrap();
    let other = registry(&first).register("other-value", &SCHEMA.replace("Pump", "Valve")).await.unwrap();
    let id = registry(&first).register("pump-value", SCHEMA).await.unwrap();
    assert_ne!(id, other);
    // One process in its folder at a time; the second one finds what the first one wrote.
    tokio::task::spawn_blocking(move || drop(first)).await.unwrap();
    let path = folder.path().to_owned();
    let second = tokio::task::spawn_blocking(move || Base::lasting(&path, Progress::Quiet, None)).await.unwrap().unwrap();
    assert_eq!(registry(&second).id_of("pump-value", SCHEMA).await.unwrap(), id);
}
