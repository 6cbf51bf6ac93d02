//! Stands for your database: one row per key, with the revision beside the data. Kept as a journal that is read at the start.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

pub struct Store {
    rows: BTreeMap<String, (i64, Value)>,
    journal: File,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self> {
        let mut rows = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let row: Value = serde_json::from_str(line).context("reading the journal")?;
            insert(
                &mut rows,
                row["key"].as_str().unwrap_or_default(),
                row["revision"].as_i64().unwrap_or(0),
                row["data"].clone(),
            );
        }
        let journal =
            File::options().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { rows, journal })
    }

    /// Keeps the row of a deleted key with its revision: without it, an older record could bring the key back.
    pub fn apply(&mut self, key: &str, revision: i64, data: Value) -> Result<()> {
        let line = json!({ "key": key, "revision": revision, "data": data });
        if insert(&mut self.rows, key, revision, data) {
            writeln!(self.journal, "{line}").context("writing the journal")?;
        }
        Ok(())
    }

    pub fn keep(&mut self) -> Result<()> {
        self.journal.sync_data().context("writing the journal")
    }

    /// Sorted by key.
    pub fn state(&self) -> Value {
        self.rows.iter().map(|(key, (revision, data))| (key.clone(), json!({ "revision": revision, "data": data }))).collect()
    }
}

fn insert(rows: &mut BTreeMap<String, (i64, Value)>, key: &str, revision: i64, data: Value) -> bool {
    if rows.get(key).is_some_and(|(stored, _)| revision <= *stored) {
        return false;
    }
    rows.insert(key.to_owned(), (revision, data));
    true
}
