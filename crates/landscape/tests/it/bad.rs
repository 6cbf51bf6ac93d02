//! One file per trap below `bad/`: files that replace those of `good/`, then the lines that the check must print.
//!
//! ```text
//! --- domains/item.yaml        (the new text follows; `--- path (gone)` removes the file)
//! === expected
//! domains/item.yaml:1:1  unknown key "onwer", did you mean "owner"?
//! ```
//! `BLESS=1 cargo test -p millrace-landscape` writes what came out; the difference is then read as any other.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{folder, landscape};

const EXPECTED: &str = "=== expected\n";

fn good() -> BTreeMap<String, String> {
    folder::read(&folder::of_repository("crates/landscape/tests/it/good"))
}

#[test]
fn the_landscape_under_the_traps_is_good() {
    let files = good();
    let landscape = landscape::Landscape::parse(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(landscape::test(&landscape).iter().all(landscape::CaseResult::passed));
    assert!(landscape.policy_version.starts_with("2026-11-20.3-") && landscape.policy_version.len() == 21);
}

#[test]
fn every_trap_is_found_with_its_place_and_a_hint() {
    let root = folder::of_repository("crates/landscape/tests/it/bad");
    let mut failures = Vec::new();
    let mut traps: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    traps.sort();
    assert!(traps.len() >= 40, "{} traps", traps.len());
    for path in traps {
        let text = fs::read_to_string(&path).unwrap();
        let (given, expected) = text.split_once(EXPECTED).unwrap_or((&text, ""));
        let got = lines(given);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, format!("{given}{EXPECTED}{got}")).unwrap();
        } else if got != expected {
            failures.push(format!("{}\nexpected:\n{expected}got:\n{got}", name(&path)));
        } else if expected.is_empty() {
            failures.push(format!("{}: the trap is not a problem", name(&path)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What the check prints for the good landscape with the given files put over it.
fn lines(given: &str) -> String {
    let mut files = good();
    for section in given.split("--- ").skip(1) {
        let (head, text) = section.split_once('\n').unwrap();
        match head.strip_suffix(" (gone)") {
            Some(path) => {
                files.remove(path);
            }
            None => {
                files.insert(head.to_owned(), text.to_owned());
            }
        }
    }
    let report = landscape::check(&files);
    report.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn any_changed_byte_gives_another_policy_version() {
    let mut files = good();
    let before = landscape::check(&files).policy_version.unwrap();
    files.get_mut("mappings/mes/item.j2").unwrap().push('\n');
    assert_ne!(landscape::check(&files).policy_version.unwrap(), before);
}

#[test]
fn a_case_that_differs_says_where_and_what() {
    let mut files = good();
    let case = files.get_mut("cases/mes/item/plain.yaml").unwrap();
    *case = case.replace("unit: KGM\n", "unit: kg\n").replace("lot: \"5\"", "lot: \"6\", extra: 1");
    let landscape = landscape::Landscape::parse(&files).unwrap();
    let results = landscape::test(&landscape);
    let shown: Vec<String> = results[0]
        .differences
        .iter()
        .map(|difference| {
            format!("{} expected {} got {} :{}", difference.path, difference.expected, difference.got, difference.line)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "$.unit expected \"kg\" got \"KGM\" :4",
            "$.plants[0].lot expected \"6\" got \"5\" :5",
            "$.plants[0].extra expected 1 got nothing :5"
        ]
    );
}
