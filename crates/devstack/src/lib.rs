//! The whole of Millrace on one machine, without containers: a real Apache Kafka and schema registry, the fleet as separate
//! processes, and simulated systems that speak HTTP. One library for the demo, the tests and the benches.
//!
//! What it guarantees: what it starts listens on loopback only, really answers before it is handed out, writes a log file of
//! its own, and ends with its owner, however that ends ([`supervise`]). What it does not: it is no way to run Millrace in
//! production; one broker keeps one copy.

pub mod apicurio;
pub mod base;
pub mod broker;
pub mod cache;
pub mod demo;
pub mod dev;
pub mod fetch;
pub mod fleet;
pub mod interrupt;
pub mod java;
pub mod mes;
pub mod pod;
pub mod ports;
pub mod progress;
pub mod prometheus;
pub mod provision;
pub mod rest;
pub mod secure;
mod server;
pub mod shared;
pub mod stack;
pub mod stock;
pub mod supervise;
pub mod systems;

pub use apicurio::{Registry, Storage};
pub use base::{Addresses, Base};
pub use broker::{Broker, BrokerOptions};
pub use fleet::{Fleet, FleetOptions};
pub use java::{Java, is_available};
pub use mes::{Mes, MesOptions, Mode};
pub use progress::Progress;
pub use rest::{RestMode, RestOptions, RestSource};
pub use secure::{Accounts, Authority, SecureOptions, Secured, Validity, Way};
pub use stack::{Secure, Stack, StackOptions};
pub use supervise::Supervisor;
pub use systems::{Systems, SystemsOptions};
