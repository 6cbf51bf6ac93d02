//! `topics rights`: what a platform is asked to grant is what the secured stack and the chart grant.

use std::path::Path;

use crate::stub::run_in;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");

fn said(options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &format!("topics rights --landscape {SAMPLE} {options}"), None).replace(SAMPLE, "DIR")
}

#[test]
fn one_identity_is_told_in_the_forms_that_platforms_take() {
    let all = [
        said("--principal sink-mes-ulm --brokers kafka:9092"),
        said("--principal sink-mes-ulm --strimzi --strimzi-cluster plant"),
        said("--principal sink-mes-ulmm"),
    ];
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("rights", all.join("\n"));
    });
}

#[test]
fn every_identity_and_every_grant_is_told() {
    let files = service::landscape_files(Path::new(SAMPLE)).unwrap();
    let landscape = landscape::Landscape::parse(&files).unwrap();
    let rights = landscape::rights(&landscape, &avro::Topics::new("mdm."));
    let lines = said("--brokers kafka:9092");
    assert!(rights.len() > 7, "{rights:?}");
    for principal in rights {
        for grant in &principal.grants {
            let line = grant.kafka_acls(&principal.name).replacen("kafka-acls", "kafka-acls --bootstrap-server kafka:9092", 1);
            assert!(lines.contains(&line), "{line}");
        }
    }
}
