//! How a process ends, and with which number.

use std::process::ExitCode;

/// An end that is not a drain. The codes are documented in `docs/exit-codes.md`; one number never means two things.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    error: anyhow::Error,
}

impl Exit {
    /// 2: the arguments cannot be used.
    #[must_use]
    pub fn arguments(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 2, error: error.into() }
    }

    /// 69: a dependency was not there within `--start-timeout`.
    #[must_use]
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 69, error: error.into() }
    }

    /// 70: a part of the process ended that must not end.
    #[must_use]
    pub fn died(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 70, error: error.into() }
    }

    /// 75: start me again: the drain deadline passed, or another instance took over this identity.
    #[must_use]
    pub fn again(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 75, error: error.into() }
    }

    /// 78: the configuration, the landscape or a topic is wrong; starting again will not help.
    #[must_use]
    pub fn config(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 78, error: error.into() }
    }

    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The whole chain of causes on one line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl From<&Exit> for ExitCode {
    fn from(exit: &Exit) -> Self {
        ExitCode::from(exit.code)
    }
}
