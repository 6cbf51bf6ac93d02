//! The fleet on a real Kafka and registry, with simulated systems: does it keep its promises through failures?
//!
//! Few tests, each long. They share one broker under topic prefixes of their own; those that restart it have one for themselves.

#![expect(clippy::print_stdout, reason = "seeds, counts and what was skipped belong to a test's output")]

mod adventureworks;
mod broker;
mod canary;
mod collector;
mod doctor;
mod documents;
mod edges;
mod grants;
mod kill;
mod listening;
mod observe;
mod outage;
mod pause_block;
mod publisher;
mod replay;
mod rights;
mod secure;
mod sharing;
mod sink;
mod starting;
mod subscribers;
mod telemetry;
mod told;
mod topics;
mod traces;
mod tracker;
mod validator;
mod world;
