//! What downstream teams get on the screen and in files: documents, samples, rights, and the check of their own schema.

use std::{fs, path::Path};

use serde_json::Value;

use crate::stub::run_in;

const LANDSCAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");
const AVRO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../avro");

/// Runs lines in a folder with the sample landscape; the snapshot is what a person would have on the screen.
fn told(name: &str, folder: &Path, lines: &[&str]) {
    let text: Vec<String> = lines
        .iter()
        .map(|line| run_in(folder, &line.replace("LANDSCAPE", LANDSCAPE), None).replace(LANDSCAPE, "deploy/landscape"))
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text.join("\n"));
    });
}

#[test]
fn the_rights_of_a_team_are_printed_for_both_platforms_and_internal_topics_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    told(
        "subscribe_acl",
        folder.path(),
        &[
            "subscribe acl --team quality --topic mdm.golden.item --landscape LANDSCAPE",
            "subscribe acl --team quality --topic mdm.golden.item --topic mdm.golden.reference --authentication scram-sha512 \
             --brokers kafka:9093 --landscape LANDSCAPE -o json -q",
            "subscribe acl --team quality --topic mdm.change.erp.item --landscape LANDSCAPE",
            "subscribe acl --team quality --topic mdm.golden.itm --landscape LANDSCAPE",
            "subscribe acl --team quality --topic acme.golden.item --landscape LANDSCAPE",
            "subscribe acl --team mdm --topic mdm.golden.item --landscape LANDSCAPE",
            "subscribe acl --team validator --topic mdm.golden.item --landscape LANDSCAPE",
            "subscribe acl --team Quality --topic mdm.golden.item --landscape LANDSCAPE",
            "subscribe acl --team quality --landscape LANDSCAPE",
        ],
    );
}

#[test]
fn samples_are_listed_and_written_with_a_consumer_in_the_language_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    told(
        "subscribe_sample",
        folder.path(),
        &[
            "subscribe sample --topic mdm.golden.item",
            "subscribe sample --topic mdm.golden.reference -o json -q",
            "subscribe sample --topic mdm.golden.item --language rust --out rust",
            "subscribe sample --topic mdm.golden.item --language kcat --out kcat -q -n",
            "subscribe sample --topic mdm.golden.item --language cobol --out cobol",
            "subscribe sample --topic mdm.golden.item --language rust",
            "subscribe sample --topic mdm.dlq.erp",
        ],
    );
    assert!(!folder.path().join("kcat").exists(), "a dry run writes nothing");
    let manifest = fs::read_to_string(folder.path().join("rust/consumer/rust/Cargo.toml")).unwrap();
    assert!(!manifest.contains("workspace"), "it stands for itself: {manifest}");
    for name in ["usual", "optional-missing", "oldest-schema", "delete"] {
        let bytes = fs::read(folder.path().join(format!("rust/{name}.bin"))).unwrap();
        let about: Value = serde_json::from_slice(&fs::read(folder.path().join(format!("rust/{name}.json"))).unwrap()).unwrap();
        assert_eq!((bytes[0], i64::from(bytes[4])), (0, about["schema_id"].as_i64().unwrap()), "{name}");
    }
}

#[test]
fn documents_are_listed_and_a_dry_run_writes_none() {
    let folder = tempfile::tempdir().unwrap();
    told(
        "subscribe_docs",
        folder.path(),
        &[
            "subscribe docs --landscape LANDSCAPE -n",
            "subscribe docs --landscape LANDSCAPE --out contract --brokers kafka:9093 --registry https://registry.example -o name",
        ],
    );
    assert!(!folder.path().join("subscriber-docs").exists(), "a dry run writes nothing");
    for (name, file) in [
        ("contract_item", "contracts/mdm.golden.item.odcs.yaml"),
        ("changelog_item", "changelog/mdm.golden.item-value.md"),
        ("schema_work_center", "schemas/mdm.golden.work_center-value.avsc"),
    ] {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, fs::read_to_string(folder.path().join("contract").join(file)).unwrap());
        });
    }
}

#[test]
fn a_subscribers_schema_is_checked_offline_against_every_release() {
    let folder = tempfile::tempdir().unwrap();
    let released = format!("{AVRO}/released");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    // Three releases: the second has a new field, the third no longer has it.
    let first = fs::read_to_string(format!("{AVRO}/released/1/golden.item.avsc")).unwrap();
    let field = r#"{"name": "shelf_life_days", "type": ["null", "int"], "default": null, "doc": "Days."}"#;
    let second = first.replacen(r#"{"name": "gtins","#, &format!("{field},\n    {{\"name\": \"gtins\","), 1);
    assert_ne!(first, second);
    for (number, text) in [("1", &first), ("2", &second), ("3", &first)] {
        fs::create_dir_all(folder.path().join("releases").join(number)).unwrap();
        write(&format!("releases/{number}/golden.item.avsc"), text);
    }
    let mut reader: Value = serde_json::from_str(&second).unwrap();
    let fields = reader["fields"][1]["type"][1]["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "plants" && field["name"] != "costs");
    write("reader.avsc", &reader.to_string());
    let fields = reader["fields"][1]["type"][1]["fields"].as_array_mut().unwrap();
    for field in fields.iter_mut() {
        if field["name"] == "shelf_life_days" {
            *field = serde_json::json!({ "name": "shelf_life_days", "type": ["null", "int"] });
        }
        if field["name"] == "lifecycle" {
            field["type"].as_object_mut().unwrap().remove("default");
        }
    }
    write("strict.avsc", &reader.to_string());
    write("broken.avsc", "{");
    let lines = [
        "schemas check reader.avsc --can-read mdm.golden.item --offline releases",
        "schemas check strict.avsc --can-read mdm.golden.item --offline releases",
        "schemas check strict.avsc --can-read mdm.golden.item --offline releases -o json",
        "schemas check reader.avsc --can-read mdm.golden.item --offline",
        "schemas check reader.avsc --can-read mdm.golden.customer --offline",
        "schemas check broken.avsc --can-read mdm.golden.item --offline",
        "schemas check nowhere.avsc --can-read mdm.golden.item --offline",
        "schemas check reader.avsc --can-read mdm.golden.item --offline nowhere",
        "schemas check reader.avsc --can-read mdm.held --offline",
        "schemas check reader.avsc",
    ];
    told("schemas_can_read", folder.path(), &lines);
    let real = run_in(folder.path(), &format!("schemas check reader.avsc --can-read mdm.golden.item --offline {released}"), None);
    assert!(real.contains("OK: reads version 1") && real.ends_with("--- exit 0\n"), "{real}");
}

#[test]
fn help_of_subscribing_fits_and_shows_how() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["subscribe --help", "subscribe acl --help", "subscribe sample --help", "schemas check --help"];
    told("subscribe_help", folder.path(), &lines);
    for line in lines {
        for line in run_in(folder.path(), line, None).lines() {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
    }
}
