//! The house rules, applied.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree should say so loudly")]

use std::{collections::BTreeSet, fs};

use cargo_metadata::{DependencyKind, MetadataCommand};
use millrace_tidy::{IMPURE, LAYER, Layer, OWNER, ROOT, SAMPLES, files, layer, may_import, root, shown, without_tests};

fn metadata() -> cargo_metadata::Metadata {
    let mut metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    metadata.packages.retain(|package| !SAMPLES.contains(&package.name.as_str()));
    metadata
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problem(s):\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn imports_follow_the_layers() {
    let mut problems = Vec::new();
    let metadata = metadata();
    for package in &metadata.packages {
        if layer(&package.name).is_none() {
            problems.push(format!("{} has no layer: add it to LAYER in tests/tidy", package.name));
            continue;
        }
        for dependency in &package.dependencies {
            let own = LAYER.iter().any(|(name, _)| *name == dependency.name);
            if own && let Err(problem) = may_import(&package.name, &dependency.name) {
                problems.push(problem);
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn heavy_dependencies_have_their_owners() {
    let mut problems = Vec::new();
    for package in metadata().packages {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal) {
            if let Some((name, owners)) = OWNER.iter().find(|(name, _)| *name == dependency.name)
                && !owners.contains(&package.name.as_str())
            {
                problems.push(format!(
                    "{} depends on {name}, which belongs to {}: ask that crate",
                    package.name,
                    owners.join(", ")
                ));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_package_inherits_the_lints_and_keeps_its_folder_as_its_name() {
    let mut problems = Vec::new();
    for package in metadata().packages {
        let manifest = package.manifest_path.as_std_path();
        if !fs::read_to_string(manifest).unwrap().contains("[lints]\nworkspace = true") {
            problems.push(format!("{}: add `[lints]` with `workspace = true`", shown(manifest)));
        }
        let folder = manifest.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let expected = if folder == "millrace" { folder.clone() } else { format!("millrace-{folder}") };
        if *package.name != expected {
            problems.push(format!("{}: package `{}` should be called `{expected}`", shown(manifest), package.name));
        }
    }
    assert_none(&problems);
}

#[test]
fn decisions_are_pure() {
    let mut problems = Vec::new();
    for (package, layer) in LAYER {
        if *layer > Layer::Decisions {
            continue;
        }
        let folder = root().join("crates").join(package.trim_start_matches("millrace-")).join("src");
        for file in files(&folder, &["rs"]) {
            if file.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for (word, instead) in IMPURE {
                    if code.contains(word) {
                        problems.push(format!("{}:{}: `{word}`: {instead}", shown(&file), number + 1));
                    }
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let problems: Vec<_> = ["crates", "services", "tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &["rs"]))
        .filter(|file| file.file_name().is_some_and(|name| name != "tests.rs"))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .map(|file| format!("{}: begin with a `//!` line that says what it guarantees", shown(&file)))
        .collect();
    assert_none(&problems);
}

#[test]
fn the_root_is_tidy() {
    let allowed: BTreeSet<_> = ROOT.iter().copied().collect();
    let problems: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !allowed.contains(name.as_str()))
        .map(|name| format!("{name}: has no place at the root; ARCHITECTURE.md shows the rooms"))
        .collect();
    assert_none(&problems);
    let lines = fs::read_to_string(root().join("Makefile")).unwrap().lines().count();
    assert!(lines <= 100, "the Makefile is an index of commands; move logic into Rust ({lines} lines)");
}

#[test]
fn nothing_is_left_half_done() {
    // Spelled in halves so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimple", "mented!"),
        concat!("to", "do!("),
        concat!("#[ig", "nore"),
    ];
    let mut problems = Vec::new();
    for file in ["crates", "services", "tests"].iter().flat_map(|folder| files(&root().join(folder), &["rs"])) {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                problems.push(format!("{}:{}: {mark}: finish it, or write an open point in docs/adr", shown(&file), number + 1));
            }
        }
    }
    assert_none(&problems);
}

/// A proxy of the environment would see credentials and records, and nobody configured it in the landscape.
#[test]
fn no_client_asks_the_environment_for_a_proxy() {
    let mut problems = Vec::new();
    for file in ["crates", "services"].iter().flat_map(|folder| files(&root().join(folder), &["rs"])) {
        let text = without_tests(&fs::read_to_string(&file).unwrap()).to_owned();
        let made = text.matches("Client::builder()").count() + text.matches("reqwest::Client::new()").count();
        let is_ours =
            text.contains("reqwest") && ["/tests/", "/devstack/", "/tests.rs"].iter().all(|part| !shown(&file).contains(part));
        if is_ours && text.matches(".no_proxy()").count() < made {
            problems.push(format!("{}: build the client with `.no_proxy()`", shown(&file)));
        }
    }
    assert_none(&problems);
}

#[test]
fn every_grab_bag_is_refused() {
    let problems: Vec<_> = ["crates", "services"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &["rs"]))
        .filter(|file| {
            file.file_stem()
                .is_some_and(|stem| ["util", "utils", "common", "helpers", "misc", "types"].iter().any(|bad| stem == *bad))
        })
        .map(|file| format!("{}: name it for what it does", shown(&file)))
        .collect();
    assert_none(&problems);
}

#[test]
fn nothing_names_a_folder_of_one_machine() {
    let marks = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let endings = ["rs", "toml", "md", "yaml", "yml", "sh", "avsc", "j2", "csv", "json", "xml"];
    let mut problems = Vec::new();
    for folder in ["crates", "services", "tests", "avro", "deploy", "docs"] {
        for file in files(&root().join(folder), &endings) {
            let text = fs::read_to_string(&file).unwrap();
            if let Some(mark) = marks.iter().find(|mark| text.contains(**mark)) {
                problems.push(format!("{}: names `{mark}`", shown(&file)));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_error_page_has_its_three_parts() {
    let mut problems = Vec::new();
    for page in files(&root().join("docs/errors"), &["md"]) {
        let text = fs::read_to_string(&page).unwrap();
        for part in ["Meaning", "Cause", "What to do"] {
            if !text.contains(part) {
                problems.push(format!("{}: has no part `{part}`", shown(&page)));
            }
        }
    }
    assert_none(&problems);
}
