//! The kinds of master data.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of master data. A new variant breaks every match in the house on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    Customer,
    Item,
    WorkCenter,
    Reference,
}

impl Domain {
    pub const ALL: [Domain; 4] = [Domain::Customer, Domain::Item, Domain::WorkCenter, Domain::Reference];

    /// The name used in topics, files, metrics and on screen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Domain::Customer => "customer",
            Domain::Item => "item",
            Domain::WorkCenter => "work_center",
            Domain::Reference => "reference",
        }
    }

    /// Names of the key components in key order (domain.md 4.3).
    #[must_use]
    pub const fn key_fields(self) -> &'static [&'static str] {
        match self {
            Domain::Customer => &["customer_id"],
            Domain::Item => &["item_id", "revision"],
            Domain::WorkCenter => &["plant", "work_center_id"],
            Domain::Reference => &["set", "code"],
        }
    }

    /// How many leading key components name the entity whose revisions keep their order: the partition key.
    #[must_use]
    pub const fn entity_components(self) -> usize {
        match self {
            Domain::Customer | Domain::Item => 1,
            Domain::WorkCenter | Domain::Reference => 2,
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no domain.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a domain (customer, item, work_center, reference)")]
pub struct UnknownDomain(String);

impl FromStr for Domain {
    type Err = UnknownDomain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Domain::ALL.into_iter().find(|domain| domain.name() == text).ok_or_else(|| UnknownDomain(text.to_owned()))
    }
}
