//! What may become golden, and why not: ownership, approval, rules, merge, next revision.
//!
//! [`decide`] is one pure function of (change, current state, references, policy, time): the validator, the replay plan and every
//! what-if call it. A rule is one function and one row of [`RULES`].
//!
//! Invariant: the same [`Case`] always gives the same [`Verdict`]; nothing here knows Kafka, Avro or a clock.
//! Invariant: a change of one owner never alters a field group of another owner.
//! Invariant: no number is ever a float; factors are compared as exact rationals.

mod codes;
mod confirm;
mod decide;
mod domain_policy;
mod envelope;
mod hierarchy;
mod merge;
mod ownership;
mod ratio;
mod rule;
mod rules;
mod walk;

pub use codes::{country_is_known, currency_is_known};
pub use confirm::confirm;
pub use decide::{Case, Verdict, decide};
pub use domain_policy::{ApprovalDemand, DomainPolicy, Group, Pointer, RuleSetting};
pub use hierarchy::{below_new_top, parent};
pub use rule::{Needs, RULES, Rule, rule};

use std::sync::Arc;

use model::{Domain, Golden, RecordKey};

/// The golden records that rules look up. A miss is not an error: the change is held for the record.
pub trait References {
    /// The newest golden record of the key; one whose data is none was deleted.
    fn golden(&self, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>>;

    /// Whether somebody in this landscape keeps the codes of `set` as reference records. Codes of a set that nobody keeps are not
    /// looked up.
    fn has_set(&self, set: &str) -> bool;
}
