//! One thing that is wrong with a landscape, where it stands, and what was probably meant.

use std::fmt;

/// `domains/item.yaml:3:1  unknown key "onwer", did you mean "owner"?`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path relative to the landscape's folder.
    pub file: String,
    /// From 1; 0 when the problem concerns the whole file.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    /// What was probably meant, as a sentence part: `did you mean "owner"?`.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn in_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into(), hint: None }
    }

    pub(crate) fn hinted(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn place(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}:{}:{}", self.file, self.line, self.column) }
    }

    /// The message with its hint.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}, {hint}", self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.place(), self.text())
    }
}

impl std::error::Error for Problem {}
