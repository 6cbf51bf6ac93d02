//! The sample company has no problem, and every sample record is accepted.

use std::{collections::HashMap, fs};

use serde_json::Value;

use crate::{
    folder,
    landscape::{self, Input, Landscape, Stream},
    simulation,
};

fn sample() -> Landscape {
    folder::landscape("deploy/landscape")
}

/// All rows of a stream.
fn rows(stream: &Stream) -> Vec<Value> {
    match &stream.input {
        Input::Files { pattern, format } => {
            let path = folder::of_repository("deploy/sample/erp").join(pattern);
            let mut reader = csv::ReaderBuilder::new().delimiter(format.delimiter.as_bytes()[0]).from_path(path).unwrap();
            let rows = reader.deserialize::<std::collections::BTreeMap<String, String>>();
            rows.map(|row| serde_json::to_value(row.unwrap()).unwrap()).collect()
        }
        Input::Path { path } => {
            let text = fs::read_to_string(folder::of_repository("deploy/sample/crm").join(format!("{path}.json"))).unwrap();
            serde_json::from_str(&text).unwrap()
        }
    }
}

#[test]
fn every_sample_record_is_accepted_and_maps_to_every_destination_in_scope() {
    let landscape = sample();
    let inputs = landscape
        .sources
        .values()
        .flat_map(|source| source.streams.iter().map(move |stream| (source, stream)))
        .flat_map(|(source, stream)| {
            rows(stream).into_iter().map(|row| simulation::Input { source: source.name.clone(), stream: stream.clone(), row })
        })
        .collect();
    let outcome = simulation::run(&landscape, inputs, &HashMap::new());
    assert!(outcome.letters.is_empty(), "{:#?}", outcome.letters);
    // The missing marketing segments are there on purpose: CUS-19 warns and stops nothing.
    assert_eq!(format!("{:?}", outcome.warnings), r#"{"CUS-19": 6}"#);
    assert_eq!(format!("{:?}", outcome.golden), r#"{"customer": 40, "item": 300, "reference": 22, "work_center": 20}"#);
    assert_eq!(
        format!("{:?}", outcome.delivered),
        r#"{"mes-pune item": 215, "mes-pune reference": 20, "mes-pune work_center": 10, "mes-ulm item": 251, "mes-ulm reference": 20, "mes-ulm work_center": 10}"#
    );
}

#[test]
fn every_sample_case_gives_what_it_expects() {
    let landscape = sample();
    assert!(landscape.cases.len() >= 16, "{} cases", landscape.cases.len());
    for result in landscape::test(&landscape) {
        assert!(result.passed(), "{}: {:#?}", result.name, result.differences);
    }
}
