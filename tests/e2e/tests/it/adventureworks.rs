//! Real data as it is: every row of AdventureWorks and UN/ECE Rec 20 ends accepted at every destination in scope, or as a dead
//! letter with a code. The counts are explained in `landscapes/adventureworks/README.md`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use devstack::{Stack, StackOptions};
use millrace_e2e::{Look, check, landscape, shared_data, until};
use model::Domain;

use crate::world::{PATIENCE, total};

/// Golden records by domain.
const GOLDEN: [(Domain, usize); 4] =
    [(Domain::Customer, 701), (Domain::Item, 504), (Domain::Reference, 2_135), (Domain::WorkCenter, 14)];

/// Accepted records by destination and domain.
const ACCEPTED: [(&str, Domain, usize); 10] = [
    ("erp", Domain::Customer, 701),
    ("erp", Domain::Item, 504),
    ("erp", Domain::Reference, 2_135),
    ("erp", Domain::WorkCenter, 14),
    ("mes-bothell", Domain::Item, 504),
    ("mes-bothell", Domain::Reference, 37),
    ("mes-bothell", Domain::WorkCenter, 12),
    ("mes-monterrey", Domain::Item, 239),
    ("mes-monterrey", Domain::Reference, 37),
    ("mes-monterrey", Domain::WorkCenter, 2),
];

/// The only rows that are no record: source, source key, code.
const LETTERS: [(&str, &str, &str); 2] = [("rec20", "MNJ", "MAPPING_VALUE"), ("aw", "M3", "KEY_TAKEN")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_adventureworks_is_accepted_or_a_letter_and_a_second_load_does_nothing() -> Result<()> {
    let (Some(tables), Some(units)) = (shared_data("adventureworks"), shared_data("uom")) else { return Ok(()) };
    let mut stack = Stack::start(StackOptions::new(landscape("adventureworks"))).await?;
    stack.systems.folders.insert("aw".into(), tables.clone());
    stack.systems.folders.insert("rec20".into(), units.clone());
    tokio::task::block_in_place(|| stack.start_fleet())?;
    let look = Look::at(&stack)?;

    until("every row to arrive", PATIENCE, || async {
        let missing = missing(&look).await.map_err(|error| format!("{error:#}"))?;
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    })
    .await?;
    assert_exact(&stack, &look).await?;

    // The same rows in files that differ: a row moved to the end, or a blank line more.
    let calls = calls(&stack);
    let golden = golden_records(&look).await?;
    let again = stack.folder().join("again");
    for (source, folder) in [("aw", &tables), ("rec20", &units)] {
        let copy = again.join(source);
        copy_differently(folder, &copy)?;
        let endpoint = copy.to_str().context("the copy's path")?.to_owned();
        tokio::task::block_in_place(|| -> Result<()> {
            let name = format!("publisher-{source}");
            stack.fleet.stop(&name)?;
            stack.fleet.publisher(source, &endpoint)
        })?;
    }
    until("the second load to be read", PATIENCE, || async {
        let duplicates = |source: &str| -> Result<f64> {
            let metrics = stack.fleet.metrics(&format!("publisher-{source}"))?;
            Ok(total(&metrics, "millrace_records_total", "outcome=\"duplicate\""))
        };
        let (aw, rec20) = (duplicates("aw").unwrap_or(0.0), duplicates("rec20").unwrap_or(0.0));
        if aw >= 504.0 + 37.0 + 14.0 + 701.0 && rec20 >= 2_135.0 { Ok(()) } else { Err(format!("{aw} and {rec20} rows dropped")) }
    })
    .await?;
    assert_eq!(golden_records(&look).await?, golden, "no new revision");
    assert_eq!(self::calls(&stack), calls, "no delivery");
    assert_exact(&stack, &look).await
}

async fn missing(look: &Look) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (domain, expected) in GOLDEN {
        let found = check::newest(&look.golden(domain).await?).len();
        if found < expected {
            missing.push(format!("golden.{domain} {found} of {expected}"));
        }
    }
    for (destination, domain, expected) in ACCEPTED {
        let found = accepted(look, destination).await?.get(domain.name()).copied().unwrap_or(0);
        if found < expected {
            missing.push(format!("{destination} {domain} {found} of {expected}"));
        }
    }
    // Units that AdventureWorks names carry its code only from revision 2 on.
    let units = check::newest(&look.golden(Domain::Reference).await?);
    let second = units.values().filter(|golden| golden.meta.revision == 2).count();
    if second < 37 {
        missing.push(format!("{second} of 37 units have both owners' fields"));
    }
    Ok(missing)
}

async fn accepted(look: &Look, destination: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for (key, entry) in look.ledger(destination).await? {
        if entry.accepted.is_some() {
            let domain = key.split('/').next().unwrap_or_default().to_owned();
            *counts.entry(domain).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

async fn assert_exact(stack: &Stack, look: &Look) -> Result<()> {
    for (domain, expected) in GOLDEN {
        let seen = look.golden(domain).await?;
        check::assert_none(&format!("golden.{domain}"), &check::revisions_rise_once(&seen));
        assert_eq!(check::newest(&seen).len(), expected, "golden.{domain}");
    }
    for destination in stack.landscape.destinations.keys() {
        let expected: BTreeMap<String, usize> = ACCEPTED
            .iter()
            .filter(|(name, _, _)| name == destination)
            .map(|(_, domain, count)| (domain.name().to_owned(), *count))
            .collect();
        assert_eq!(accepted(look, destination).await?, expected, "{destination}");
        assert_eq!(look.letters(destination).await?, [], "letters of {destination}");
        check::assert_none(destination, &check::plant_saw_order(destination, stack.systems.plant(destination)?));
    }
    assert_eq!(look.letters("validator").await?, [], "letters of the validator");
    for source in ["aw", "rec20"] {
        let letters = look.letters(source).await?;
        let found: Vec<_> =
            letters.iter().map(|letter| (source, letter.source_key.as_deref().unwrap_or("-"), letter.code.as_str())).collect();
        let expected: Vec<_> = LETTERS.into_iter().filter(|(name, _, _)| *name == source).collect();
        assert_eq!(found, expected);
    }
    Ok(())
}

async fn golden_records(look: &Look) -> Result<Vec<usize>> {
    let mut counts = Vec::new();
    for (domain, _) in GOLDEN {
        counts.push(look.golden(domain).await?.len());
    }
    Ok(counts)
}

fn calls(stack: &Stack) -> Vec<u64> {
    stack.systems.plants.values().map(|plant| plant.counts().calls).collect()
}

fn copy_differently(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file's name")?.to_owned();
        let mut bytes = fs::read(&path)?;
        let separator: &[u8] = if bytes.windows(3).any(|window| window == b"&|\n") { b"&|\n" } else { b"\n" };
        let has_header = name.to_string_lossy().starts_with("units-of-measure");
        if has_header {
            bytes.push(b'\n');
        } else if let Some(end) = bytes.windows(separator.len()).position(|window| window == separator) {
            bytes.rotate_left(end + separator.len());
        }
        fs::write(to.join(name), bytes)?;
    }
    Ok(())
}
