//! The operator's description of everything: domains with owners and rules, sources, destinations, mappings, cases.
//!
//! Guarantees: a [`Landscape`] that exists has no problem that can be found offline. [`Landscape::parse`] reports every problem at
//! once, each with file, line, column and, where a name was probably mistyped, a suggestion. Unknown keys are problems.
//! The same files give the same `policy_version`; any changed byte gives another.
//!
//! Pure: files come in as relative path → text; who reads them from disk is `service::landscape_files`. Secrets never stand in these
//! files, only the names of files that hold them.

mod answers;
mod cases;
mod check;
mod compare;
mod destinations;
mod domains;
mod input;
mod landscape;
mod mappings;
mod node;
mod problem;
mod reader;
mod rights;
mod shape;
mod sources;
mod stream;
mod synthetic;
mod systems;
mod template;
mod text;
mod writes;

pub use cases::{AnswerCase, Case, CaseInput, CaseResult, Difference, test};
pub use check::{Report, check};
pub use landscape::{Kafka, Landscape, Registry, Security};
pub use mapping::{Expression, Mappings};
pub use problem::Problem;
pub use rights::{Grant, Operation, Pattern, Principal, Resource, rights};
pub use systems::{
    Absent, AfterPickup, Answers, Breaker, Content, Delivery, Destination, DestinationConnector, Format, Gate, Input, Lookup,
    MaxDeletes, OnDelete, Quoting, Rate, Retry, Source, SourceConnector, Stream,
};
pub use text::{nearest, no_login, without_login};
