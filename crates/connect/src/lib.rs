//! Clients of the systems around Millrace: sources that are read, destinations that are called.
//!
//! A connector says what the other side did, in closed types; what follows from it is decided elsewhere. Trouble of the other side
//! ([`model::Transient`]) is never a record's fault, and one bad record never takes its neighbours along.

pub mod answer;
pub mod csv;
pub mod file;
pub mod http;
pub mod http_poll;
mod outside;
pub mod rows;
