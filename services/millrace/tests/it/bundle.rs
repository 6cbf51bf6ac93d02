//! `landscape check --bundle`: what is checked is what is installed, and nothing else can be.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::stub::run_in;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");

/// Runs it in a folder of its own: what was said, and the folder.
fn bundled(landscape: &Path, options: &str) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("landscape check {} {options}", landscape.display());
    (run_in(folder.path(), &line, None), folder)
}

fn small(owner: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("millrace.yaml", "version: '7'\nkafka: {topic_prefix: mdm., slots: 3, replication: 3}\n".to_owned()),
        ("domains/reference.yaml", format!("owner: {owner}\noffice: standards\n")),
        (
            "sources/erp.yaml",
            "office: ERP\nconnector: {type: file, folder: in}\nstreams:\n  - {name: units, domain: reference, files: units.csv, \
             content: full, key: [UNIT], mapping: erp/unit.j2}\n"
                .to_owned(),
        ),
        (
            "destinations/mes-ulm.yaml",
            "office: plant Ulm\nconnector: {type: http, url: \"https://mes.example.invalid\"}\ndomains:\n  reference: {mapping: mes-ulm/unit.j2}\n"
                .to_owned(),
        ),
        ("mappings/erp/unit.j2", fs::read_to_string(Path::new(SAMPLE).join("mappings/erp/unit.j2")).unwrap()),
        ("mappings/mes-ulm/unit.j2", fs::read_to_string(Path::new(SAMPLE).join("mappings/mes-ulm/unit.j2")).unwrap()),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn the_values_hold_files_topics_identities_and_what_each_sink_reads() {
    let landscape = small("erp");
    let (said, _) = bundled(landscape.path(), "--bundle -");
    // The settings of topics have their own test; here it counts that there are some.
    let said: Vec<String> = said
        .replace(&landscape.path().display().to_string(), "DIR")
        .lines()
        .map(|line| line.split_once("config: {\"").map_or(line.to_owned(), |(before, _)| format!("{before}config: {{ … }}}}")))
        .collect();
    let said = said.join("\n");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("bundle", said);
    });
}

#[test]
fn the_sample_company_comes_back_byte_for_byte_and_twice_the_same() {
    let (said, folder) = bundled(Path::new(SAMPLE), "--bundle landscape.values.yaml");
    assert!(said.contains("Wrote landscape.values.yaml: helm upgrade"), "{said}");
    let text = fs::read_to_string(folder.path().join("landscape.values.yaml")).unwrap();
    let values: BTreeMap<String, Value> = serde_saphyr::from_str(&text).unwrap();
    let files: BTreeMap<String, String> = serde_json::from_value(values["landscape"]["files"].clone()).unwrap();
    assert_eq!(files, service::landscape_files(Path::new(SAMPLE)).unwrap());
    assert!(said.contains(values["landscape"]["policyVersion"].as_str().unwrap()), "{said}");
    assert_eq!(values["landscape"]["sinks"]["mes-pune"]["group"], json!("mdm.sink.mes-pune"));
    let (again, folder) = bundled(Path::new(SAMPLE), "--bundle landscape.values.yaml");
    assert_eq!(fs::read_to_string(folder.path().join("landscape.values.yaml")).unwrap(), text, "{again}");
}

#[test]
fn a_landscape_with_problems_is_not_written() {
    let landscape = small("nobody");
    let (said, folder) = bundled(landscape.path(), "--bundle landscape.values.yaml");
    assert!(said.contains("landscape.values.yaml was not written: mend the landscape first."), "{said}");
    assert!(said.ends_with("--- exit 6\n"), "{said}");
    assert!(!folder.path().join("landscape.values.yaml").exists());
    let (said, _) = bundled(landscape.path(), "--bundle -");
    assert!(!said.contains("policyVersion") && said.ends_with("--- exit 6\n"), "{said}");
    let (said, folder) = bundled(Path::new(SAMPLE), "--bundle landscape.values.yaml -n");
    assert!(said.contains("Would write") && said.ends_with("--- exit 0\n"), "{said}");
    assert!(!folder.path().join("landscape.values.yaml").exists());
}
