//! Jinja mappings: a system's row → canonical record, golden record → a destination's payload, scope expressions, expressions over a
//! destination's answer.
//!
//! Guarantees: every run is bounded by fuel, every value by size and depth; an undefined name is an error that says which name, in which line; a field that the
//! canonical model lacks is an error that names its path; numbers, dates and enum symbols are taken exactly or refused, never
//! rounded or guessed. Two runs of one mapping over one row give the same text: there is no clock, no randomness, no environment.
//!
//! Templates whose name ends in `.xml.j2` escape XML, `.csv.j2` and `.txt.j2` escape nothing, all others write JSON: there
//! `{{ value }}` prints the value as JSON, quotes included.
//!
//! Not here: what is allowed in a record (`policy`), files (`landscape` hands texts over), and static checks of what a mapping
//! reads and writes (`landscape`).

mod answer;
mod bounds;
mod convert;
mod date;
mod engine;
mod error;
mod expression;
mod factor;
mod json;
mod mappings;
mod number;
mod tables;
mod view;

pub use answer::{AnswerExpression, AnswerView, KeyTemplate};
pub use convert::data as record;
pub use engine::{FUEL, Output, check_syntax, environment};
pub use error::{Error, Problem};
pub use expression::Expression;
pub use factor::{Factor, FactorError};
pub use json::{JsonError, is_exact, is_same_number, read_json};
pub use mappings::{Mappings, Row};
pub use tables::Tables;
pub use view::View;
