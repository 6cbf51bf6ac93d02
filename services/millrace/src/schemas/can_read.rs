//! `millrace schemas check FILE --can-read TOPIC`: what a subscriber asks in the pipeline of his own program, before a release of ours
//! or of his does. Every version counts, not the newest alone: a compacted topic keeps old bytes for years.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use avro::reading::{Mismatch, Reading, can_read};
use serde_json::{Value, json};

use crate::{
    cluster::Addresses,
    exit::{Done, Failure, Outcome},
    options::Global,
    schemas::failure,
    subscribe::Golden,
};

pub(super) async fn run(
    global: &Global,
    file: &Path,
    topic: &str,
    offline: Option<&Option<PathBuf>>,
    addresses: &Addresses,
) -> Outcome {
    let golden = Golden::named(topic)?;
    let reader = fs::read_to_string(file).map_err(|error| Failure::usage(format!("reading {}: {error}", file.display())))?;
    let versions = match offline {
        Some(folder) => released(&golden, folder.as_deref())?,
        None => {
            let registry = addresses.cluster(global)?.registry()?;
            registry.versions(&golden.subject()).await.map_err(|error| failure(&error))?
        }
    };
    if versions.is_empty() {
        return Err(Failure::not_found(format!("no version of {} is there to be read", golden.subject())));
    }
    let mut answers = Vec::new();
    for (number, text) in &versions {
        let reading = can_read(text, &reader)
            .map_err(|error| Failure::usage(format!("{} against version {number}: {error}", file.display())))?;
        answers.push((*number, reading));
    }
    report(global, &golden, &answers)
}

/// The versions that lie in a folder of releases, or in this program.
fn released(golden: &Golden, folder: Option<&Path>) -> Result<Vec<(u32, String)>, Failure> {
    let schema = golden.schema();
    let Some(folder) = folder else {
        return Ok(avro::released(schema).into_iter().map(|released| (released.number, released.text.to_owned())).collect());
    };
    let wrong = |error: std::io::Error| Failure::usage(format!("reading the releases in {}: {error}", folder.display()));
    let mut versions = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        if let (Some(number), Ok(text)) = (number, fs::read_to_string(path.join(schema.file()))) {
            versions.insert(number, text);
        }
    }
    Ok(versions.into_iter().collect())
}

fn report(global: &Global, golden: &Golden, answers: &[(u32, Reading)]) -> Outcome {
    let all = |pick: fn(&Reading) -> &[String]| {
        let mut paths: Vec<String> = Vec::new();
        for path in answers.iter().flat_map(|(_, reading)| pick(reading)) {
            let path = path.strip_prefix("data.").unwrap_or(path).to_owned();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    };
    let (ignored, fragile) = (all(|reading| &reading.ignored), all(|reading| &reading.fragile));
    let mut mismatches: BTreeMap<&Mismatch, Vec<u32>> = BTreeMap::new();
    for (number, reading) in answers {
        for mismatch in &reading.mismatches {
            mismatches.entry(mismatch).or_default().push(*number);
        }
    }
    let good = |bad: bool| {
        let numbers = answers.iter().filter(|(_, reading)| reading.mismatches.is_empty() != bad).map(|(number, _)| *number);
        numbers.collect::<Vec<u32>>()
    };
    let (reads, incompatible) = (good(false), good(true));
    let item = json!({
        "subject": golden.subject(), "reads": reads, "incompatible": incompatible, "ignores": ignored, "fragile": fragile,
        "mismatches": mismatches.iter().map(|(mismatch, versions)| json!({
            "path": mismatch.path, "what": mismatch.what, "fix": mismatch.fix, "versions": versions,
        })).collect::<Vec<Value>>(),
    });
    let out = global.output();
    out.object(&item, &golden.subject(), || {
        if incompatible.is_empty() {
            let ignores = if ignored.is_empty() { String::new() } else { format!("; ignores: {}", ignored.join(", ")) };
            return format!("OK: reads {}{ignores}", numbers(&reads));
        }
        let lines = mismatches.iter().map(|(mismatch, versions)| {
            let path = if mismatch.path.is_empty() { "the record" } else { &mismatch.path };
            let some = if versions.len() == answers.len() { String::new() } else { format!(" ({})", numbers(versions)) };
            format!("  {path}: {}{some}   fix: {}", mismatch.what, mismatch.fix)
        });
        let head = format!("INCOMPATIBLE with {} of {}", numbers(&incompatible), golden.subject());
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    })?;
    if !fragile.is_empty() {
        out.hint(&format!(
            "Enums without a default could not read a symbol that comes later: {}. Add \"default\": \"UNKNOWN\".",
            fragile.join(", ")
        ));
    }
    Ok(if incompatible.is_empty() { Done::Yes } else { Done::No })
}

/// `version 1`, `versions 1 to 4`, `versions 1 and 3`.
fn numbers(versions: &[u32]) -> String {
    let is_run = versions.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match versions {
        [] => "no version".to_owned(),
        [one] => format!("version {one}"),
        [first, .., last] if is_run && versions.len() > 2 => format!("versions {first} to {last}"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(u32::to_string).collect();
            format!("versions {} and {last}", most.join(", "))
        }
    }
}
