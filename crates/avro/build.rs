//! Lists the released golden schemas, so that documents, samples and `schemas check --can-read` need no files at run time.

use std::{collections::BTreeMap, env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../avro/released").canonicalize()?;
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut releases = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let Some(number) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        println!("cargo:rerun-if-changed={}", path.display());
        let mut files = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        files.sort();
        releases.insert(number, files);
    }
    let mut list =
        String::from("/// Release, file name, text; in the order of the releases.\nconst RELEASED: &[(u32, &str, &str)] = &[\n");
    for (number, files) in releases {
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("golden.") && name.ends_with(".avsc") {
                writeln!(list, "    ({number}, {name:?}, include_str!({:?})),", file.display().to_string())?;
            }
        }
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("released.rs"), list)?;
    Ok(())
}
