//! What a mapping can do wrong with one record, and what can be wrong with a mapping itself.

use std::fmt;

/// One record could not be mapped. `code` has its page in `docs/errors`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", Place { mapping: &self.mapping, line: self.line })]
pub struct Error {
    pub code: &'static str,
    /// `erp/item.j2`; empty for an expression.
    pub mapping: Box<str>,
    pub line: Option<u32>,
    /// RFC 6901 pointer into the canonical record, or the name that was undefined.
    pub field: Option<String>,
    /// The value that did not fit, where one value is to blame.
    pub observed: Option<String>,
    pub message: String,
}

impl Error {
    /// The template itself went wrong: a filter refused a value, a type did not fit.
    pub const FAILED: &'static str = "MAPPING_FAILED";
    /// The template used a name that is not there.
    pub const UNDEFINED: &'static str = "MAPPING_UNDEFINED";
    /// A number, date, factor or code could not be taken exactly.
    pub const VALUE: &'static str = "MAPPING_VALUE";
    /// The output is not JSON, or not an object of the canonical model.
    pub const OUTPUT: &'static str = "MAPPING_OUTPUT";
    /// The template ran longer than any mapping may.
    pub const ENDLESS: &'static str = "MAPPING_ENDLESS";
    /// The template built a value, or an output, larger or deeper than any mapping may.
    pub const TOO_LARGE: &'static str = "MAPPING_TOO_LARGE";

    /// All of them, for the test that each has its page.
    pub const CODES: [&'static str; 6] =
        [Self::FAILED, Self::UNDEFINED, Self::VALUE, Self::OUTPUT, Self::ENDLESS, Self::TOO_LARGE];
}

struct Place<'a> {
    mapping: &'a str,
    line: Option<u32>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mapping, self.line) {
            ("", _) => Ok(()),
            (mapping, None) => write!(f, " ({mapping})"),
            (mapping, Some(line)) => write!(f, " ({mapping}:{line})"),
        }
    }
}

/// A mapping that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{mapping}:{line}:{column}  {message}")]
pub struct Problem {
    pub mapping: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}
