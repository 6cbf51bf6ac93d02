//! Side tables: files that the mapping of a stream asks.

use std::{fs, time::Instant};

use connect::{
    csv::{OpenError, Reader},
    file::{self, Hashing, Ready, matches},
    rows::Fault,
};
use landscape::Lookup;
use mapping::Tables;
use model::Transient;

use super::{Due, Files, Trouble};
use crate::{
    capture::{Capture, Pass},
    writer::now,
};

/// A side table and one of its files.
pub(super) struct Side {
    lookup: Lookup,
    file: Ready,
    pub(super) sha256: String,
}

impl Files {
    /// Side tables of a stream, for a letter's row.
    pub(crate) fn tables(&mut self, lookups: &[Lookup]) -> Result<Tables, Trouble> {
        let missing = || Trouble::Source(Transient { what: "source", detail: "a side table is not there".to_owned() });
        let ready = self.folder.scan(Instant::now()).map_err(|error| self.away(&error))?;
        let side = self.side_files(lookups, &ready)?.ok_or_else(missing)?;
        self.load(&side, |_, _| {})?.ok_or_else(missing)
    }

    /// None while a side table is not there yet.
    pub(super) fn side_files(&mut self, lookups: &[Lookup], ready: &[Ready]) -> Result<Option<Vec<Side>>, Trouble> {
        let mut side = Vec::new();
        for lookup in lookups {
            let before = side.len();
            for file in ready.iter().filter(|file| matches(&lookup.files, &file.name)) {
                let Some(sha256) = self.sha256(file)? else { return Ok(None) };
                side.push(Side { lookup: lookup.clone(), file: file.clone(), sha256 });
            }
            if side.len() > before {
                self.missed.remove(&lookup.name);
                continue;
            }
            if self.missed.insert(lookup.name.clone()) {
                tracing::warn!(table = %lookup.name, files = %lookup.files, "waiting for a side table; its stream is not read before");
            }
            return Ok(None);
        }
        Ok(Some(side))
    }

    /// The tables of a pass. False: one changed while it was read.
    pub(super) fn load_side(&self, due: &Due, side: &[Side], pass: &mut Pass, capture: &mut Capture) -> Result<bool, Trouble> {
        let mut faults = Vec::new();
        let Some(tables) = self.load(side, |name, fault| faults.push((name.to_owned(), fault)))? else { return Ok(false) };
        pass.tables = tables;
        pass.sides = side.iter().map(|side| side.file.name.clone()).collect();
        for (name, fault) in faults {
            pass.sides.retain(|side| *side != name);
            let mut whole = Pass::new(due.stream, name, pass.changed_at);
            capture.refuse_whole(&mut whole, &fault, &due.fingerprint, now());
            // Its letter stays open behind this pass.
            pass.seen.extend(whole.seen);
        }
        Ok(true)
    }

    fn load(&self, side: &[Side], mut refuse: impl FnMut(&str, Fault)) -> Result<Option<Tables>, Trouble> {
        let mut tables = Tables::default();
        for side in side {
            tables.declare(&side.lookup.name);
            let input = file::open(&side.file.path).map_err(|error| self.away(&error))?;
            let passed = input.passed();
            match load_one(&mut tables, &side.lookup, input) {
                Ok(fault) => {
                    if passed.sha256() != side.sha256 {
                        return Ok(None);
                    }
                    if let Some(fault) = fault {
                        refuse(&side.file.name, fault);
                    }
                }
                Err(OpenError::File(fault)) => refuse(&side.file.name, fault),
                Err(OpenError::Io(error)) => return Err(self.away(&error)),
            }
        }
        Ok(Some(tables))
    }
}

/// A broken row of a side table is the side table's fault: the rows that need it say so themselves.
fn load_one(tables: &mut Tables, lookup: &Lookup, input: Hashing<fs::File>) -> Result<Option<Fault>, OpenError> {
    let mut reader = Reader::open(input, &(&lookup.format).into(), &lookup.key)?;
    let mut first = None;
    while let Some(read) = reader.next_row()? {
        match read {
            Ok(row) => {
                let part = |column: &String| row.value.get(column).and_then(serde_json::Value::as_str).unwrap_or("").trim();
                let key = lookup.key.iter().map(part).collect::<Vec<_>>().join("/");
                tables.insert(&lookup.name, &key, &serde_json::Value::Object(row.value.clone()));
            }
            Err(broken) => {
                let mut fault = broken.fault;
                fault.message = format!("side table `{}`, line {}: {}", lookup.name, broken.line, fault.message);
                first.get_or_insert(fault);
            }
        }
    }
    Ok(first)
}
