//! How a command ends. One number never means two things; services have their own list in `docs/exit-codes.md`.

use std::process::ExitCode;

/// Printed below every `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done; the answer is yes         6    the check says no: problems, differences,
  1  failed                               \"not there yet\"
  2  wrong usage, or refused         69   tracker, broker or registry unreachable
  3  partly done                     124  --timeout passed
  4  not signed in, not allowed      130  interrupted
  5  not found";

/// An end that is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Done; the answer is yes.
    Yes,
    /// Some of it.
    Partly,
    /// The check says no.
    No,
}

/// A failure: what a script reads (the code) and what a person reads.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    pub(crate) fn denied(text: impl Into<String>) -> Self {
        Self { code: 4, text: text.into() }
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self { code: 5, text: text.into() }
    }

    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self { code: 69, text: text.into() }
    }

    pub(crate) fn timeout(text: impl Into<String>) -> Self {
        Self { code: 124, text: text.into() }
    }

    pub(crate) fn interrupted() -> Self {
        Self { code: 130, text: "interrupted".to_owned() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code == 5
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // `| head` has seen enough: no failure, and nobody to tell.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { code: 0, text: String::new() };
        }
        Self::failed(format!("writing the answer: {error}"))
    }
}

/// What every command ends with.
pub(crate) type Outcome = Result<Done, Failure>;

/// The process's exit code.
pub(crate) fn code(outcome: &Outcome) -> ExitCode {
    ExitCode::from(match outcome {
        Ok(Done::Yes) => 0,
        Ok(Done::Partly) => 3,
        Ok(Done::No) => 6,
        Err(failure) => failure.code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_help_is_explained_with_what_to_do() {
        let page = include_str!("../../../docs/exit-codes.md");
        let (_, own) = page.split_once("## The command line").unwrap();
        let codes = CODES.split_whitespace().filter(|word| word.parse::<u8>().is_ok());
        let mut explained = 0;
        for code in codes {
            let row =
                own.lines().find(|line| line.starts_with(&format!("| {code} |"))).unwrap_or_else(|| panic!("{code} has no row"));
            assert!(row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).count() == 3, "{row}");
            explained += 1;
        }
        assert_eq!(explained, 10);
    }
}
