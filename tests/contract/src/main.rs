//! `cargo run -p millrace-contract -- <n>` freezes release n in `avro/released/<n>`; a release that exists is never touched.
#![expect(clippy::print_stdout, reason = "says what it wrote")]

use std::fs;

use anyhow::{Context as _, ensure};
use avro::Schema;
use contract::{SAMPLES, SUMS, arbitrary::Fill, avro_folder, sample::sample, sums};
use data_encoding::HEXLOWER;
use serde_json::{Map, json};

fn main() -> anyhow::Result<()> {
    let number: u32 =
        std::env::args().nth(1).context("name the release: 2")?.parse().context("reading the number of the release")?;
    let folder = avro_folder().join("released").join(number.to_string());
    ensure!(!folder.exists(), "release {number} exists; released schemas never change");
    fs::create_dir_all(&folder)?;
    let mut samples = Map::new();
    for schema in Schema::ALL {
        fs::write(folder.join(schema.file()), schema.text())?;
        let all = [Fill::All, Fill::Nothing].map(|fill| {
            let (record, bytes) = sample(*schema, fill);
            json!({"record": record, "bytes": HEXLOWER.encode(&bytes)})
        });
        samples.insert(schema.file().to_owned(), json!(all));
    }
    fs::copy(avro_folder().join("topics.yaml"), folder.join("topics.yaml"))?;
    fs::write(folder.join(SAMPLES), serde_json::to_string_pretty(&samples)? + "\n")?;
    fs::write(folder.join(SUMS), sums(&folder)?)?;
    println!("frozen: avro/released/{number}; review it as a diff");
    Ok(())
}
