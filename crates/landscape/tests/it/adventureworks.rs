//! AdventureWorks and Rec 20 as they are, through the landscape of the end-to-end test: what that test must find, computed without
//! a fleet. Skipped, loudly, where the shared data is not there.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use mapping::Tables;
use serde_json::{Map, Value};

use crate::{
    folder,
    landscape::{Format, Input, Landscape, Quoting},
    simulation,
};

const LANDSCAPE: &str = "tests/e2e/landscapes/adventureworks";

fn data(source: &str) -> PathBuf {
    folder::of_repository("../shared/data").join(if source == "rec20" { "uom" } else { "adventureworks" })
}

/// A reader of its own, so that this count does not lean on the connector it checks.
fn rows(path: &std::path::Path, format: &Format) -> Vec<Value> {
    if format.quoting == Quoting::Standard {
        let mut reader = csv::Reader::from_path(path).unwrap();
        return reader.deserialize::<BTreeMap<String, String>>().map(|row| serde_json::to_value(row.unwrap()).unwrap()).collect();
    }
    let text = fs::read_to_string(path).unwrap();
    let end = format.row_terminator.as_ref().map_or_else(|| "\n".to_owned(), |end| format!("{end}\n"));
    let columns = format.columns.as_ref().unwrap();
    text.split(end.as_str())
        .filter(|row| !row.is_empty())
        .map(|row| {
            let cells: Vec<&str> = row.split(format.delimiter.as_str()).collect();
            assert_eq!(cells.len(), columns.len(), "{row}");
            Value::Object(columns.iter().zip(cells).map(|(name, cell)| (name.clone(), cell.into())).collect::<Map<_, _>>())
        })
        .collect()
}

fn load(landscape: &Landscape) -> (Vec<simulation::Input>, HashMap<String, Tables>) {
    let mut inputs = Vec::new();
    let mut tables = HashMap::new();
    for source in landscape.sources.values() {
        for stream in &source.streams {
            let Input::Files { pattern, format } = &stream.input else { panic!("{}", stream.name) };
            let rows_of_stream = rows(&data(&source.name).join(pattern), format);
            inputs.extend(rows_of_stream.into_iter().map(|row| simulation::Input {
                source: source.name.clone(),
                stream: stream.clone(),
                row,
            }));
            let mut side = Tables::default();
            for lookup in &stream.lookups {
                side.declare(&lookup.name);
                for row in rows(&data(&source.name).join(&lookup.files), &lookup.format) {
                    let key: Vec<_> = lookup.key.iter().map(|column| row[column].as_str().unwrap().trim().to_owned()).collect();
                    side.insert(&lookup.name, &key.join("/"), &row);
                }
            }
            tables.insert(stream.name.clone(), side);
        }
    }
    (inputs, tables)
}

#[test]
fn its_landscape_has_no_problem() {
    folder::landscape(LANDSCAPE);
}

#[test]
fn every_row_ends_accepted_or_as_a_letter_and_the_counts_are_known() {
    if !data("aw").exists() {
        eprintln!("SKIPPED: ../shared/data is not here, so AdventureWorks was not counted");
        return;
    }
    let landscape = folder::landscape(LANDSCAPE);
    let (inputs, tables) = load(&landscape);
    let outcome = simulation::run(&landscape, inputs, &tables);
    let shown = |map: &BTreeMap<String, usize>| map.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
    assert_eq!(
        outcome.letters.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            // CBM and M3 are both MTQ: the second source key of one record.
            "aw/units/M3 : KEY_TAKEN",
            // The one row of Rec 20 with a stray sign as its status.
            "rec20/units/MNJ: MAPPING_VALUE `¦` is not in table `rec20/status`",
        ]
    );
    assert_eq!(shown(&outcome.accepted), ["aw/items 504", "aw/locations 14", "aw/stores 701", "aw/units 37", "rec20/units 2135"]);
    assert_eq!(
        outcome.golden.into_iter().collect::<Vec<_>>(),
        [("customer", 701), ("item", 504), ("reference", 2135), ("work_center", 14)]
    );
    assert_eq!(
        shown(&outcome.delivered),
        [
            "erp customer 701",
            "erp item 504",
            "erp reference 2135",
            "erp work_center 14",
            "mes-bothell item 504",
            "mes-bothell reference 37",
            "mes-bothell work_center 12",
            "mes-monterrey item 239",
            "mes-monterrey reference 37",
            "mes-monterrey work_center 2",
        ]
    );
    assert_eq!(shown(&outcome.warnings), ["CUS-19 701"]);
}
