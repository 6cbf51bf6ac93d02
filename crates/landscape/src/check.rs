//! The check: every problem of all files at once.

use std::collections::BTreeMap;

use crate::{Landscape, Problem};

/// What `millrace landscape check` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In order of file and line.
    pub problems: Vec<Problem>,
    pub files: usize,
    /// None when there are problems.
    pub policy_version: Option<String>,
}

/// Checks without keeping the landscape.
#[must_use]
pub fn check(files: &BTreeMap<String, String>) -> Report {
    match landscape(files) {
        Ok(landscape) => Report { problems: Vec::new(), files: files.len(), policy_version: Some(landscape.policy_version) },
        Err(problems) => Report { problems, files: files.len(), policy_version: None },
    }
}

pub(crate) fn landscape(files: &BTreeMap<String, String>) -> Result<Landscape, Vec<Problem>> {
    let _ = files;
    Err(Vec::new())
}
