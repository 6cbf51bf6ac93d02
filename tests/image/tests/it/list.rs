//! The list of what is in the image.

use std::{collections::BTreeSet, fs, path::Path};

use image::{PROGRAMS, crates::Crates, native, notices, sbom};
use serde_json::Value;

use crate::root;

/// An image as deploy/image/root.sh lays it out, with programs of nothing.
fn laid_out(image: &Path) {
    fs::create_dir_all(image.join("usr/local/bin")).unwrap();
    for program in PROGRAMS {
        fs::write(image.join("usr/local/bin").join(program), program).unwrap();
    }
    let folder = image.join("var/lib/dpkg/status.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("libc6"), "Package: libc6\nArchitecture: amd64\nVersion: 2.36-9+deb12u14\nDescription: x\n").unwrap();
}

fn list() -> Value {
    let image = tempfile::tempdir().unwrap();
    laid_out(image.path());
    sbom::list(&root(), image.path(), 1_700_000_000).unwrap()
}

fn component<'a>(list: &'a Value, name: &str) -> &'a Value {
    list["components"].as_array().unwrap().iter().find(|component| component["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn the_list_names_programs_crates_the_c_code_debians_files_and_rust_itself() {
    let list = list();
    for name in PROGRAMS {
        assert_eq!(component(&list, name)["type"], "application", "{name}");
    }
    for name in ["tokio", "rdkafka", "serde_avro_fast", "serde_serializer_quick_unsupported", "rust-std", "libc6"] {
        assert!(component(&list, name)["version"].is_string(), "{name}");
    }
    for name in ["librdkafka", "OpenSSL", "zlib", "zstd", "lz4", "SQLite", "mimalloc", "AWS-LC", "cJSON", "nanopb"] {
        let version = component(&list, name)["version"].as_str().unwrap_or_default();
        assert!(
            version.split('.').count() == 3 && version.starts_with(|digit: char| digit.is_ascii_digit()),
            "{name} {version:?}"
        );
    }
    assert!(component(&list, "snappy").is_object());
    // Where a crate's own version says it too, both say the same.
    for (library, holds, before) in
        [("OpenSSL", "openssl-src", "+"), ("librdkafka", "rdkafka-sys", "+"), ("zstd", "zstd-sys", "+zstd.")]
    {
        let version = component(&list, holds)["version"].as_str().unwrap();
        assert_eq!(component(&list, library)["version"].as_str(), version.split(before).nth(1), "{library}");
    }
    assert_eq!(component(&list, "tokio")["hashes"][0]["content"].as_str().map(str::len), Some(64));
}

#[test]
fn what_only_tests_use_is_not_in_the_list_and_what_only_builds_is_told_apart() {
    let list = list();
    for name in ["proptest", "insta", "millrace-devstack", "millrace-image", "ring", "windows-sys"] {
        assert!(component(&list, name).is_null(), "{name}");
    }
    for name in ["cc", "serde_derive", "openssl-src"] {
        assert_eq!(component(&list, name)["scope"], "excluded", "{name}");
    }
    assert!(component(&list, "serde")["scope"].is_null());
}

#[test]
fn every_reference_is_there_once_and_leads_somewhere() {
    let list = list();
    let mut references = BTreeSet::from(["millrace".to_owned()]);
    for component in list["components"].as_array().unwrap() {
        let reference = component["bom-ref"].as_str().unwrap().to_owned();
        assert!(references.insert(reference.clone()), "{reference} is there twice");
    }
    let mut reached = BTreeSet::new();
    for row in list["dependencies"].as_array().unwrap() {
        for needed in row["dependsOn"].as_array().unwrap() {
            assert!(references.contains(needed.as_str().unwrap()), "{} needs {needed}, which is not listed", row["ref"]);
            reached.insert(needed.as_str().unwrap().to_owned());
        }
    }
    for native in native::natives(&Crates::of(&root()).unwrap()).unwrap() {
        assert!(reached.contains(&format!("c:{}", native.name)), "no crate needs {}", native.name);
    }
}

#[test]
fn the_same_commit_gives_the_same_list() {
    assert_eq!(list(), list());
    assert_eq!(list()["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
}

#[test]
fn the_licence_texts_hold_those_that_ask_for_it() {
    let texts = notices::text(&Crates::of(&root()).unwrap()).unwrap();
    for words in [
        "Magnus Edenhill",                   // librdkafka
        "Yann Collet",                       // lz4
        "Jean-loup Gailly and Mark Adler",   // zlib
        "\nopenssl-src 300.",                // OpenSSL: the Apache licence, which names nobody
        "GNU LESSER GENERAL PUBLIC LICENSE", // serde_serializer_quick_unsupported
        ": MPL-2.0",                         // serde_avro_fast brings no text; deploy/image/root.sh adds Debian's
    ] {
        assert!(texts.contains(words), "{words}");
    }
}
