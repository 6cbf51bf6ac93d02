//! Records inside records (domain.md 4.4). Field names follow the canonical model.

use serde::{Deserialize, Serialize};

use crate::{Money9, Qty};

/// A text in one language (BCP 47).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalText {
    pub lang: String,
    #[serde(default)]
    pub text: String,
}

/// A value with its UN/ECE Rec 20 unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity {
    #[serde(default)]
    pub value: Qty,
    #[serde(default)]
    pub uom: String,
}

/// An amount with its ISO 4217 currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    #[serde(default)]
    pub amount: Money9,
    #[serde(default)]
    pub currency: String,
}

/// The record's number in another system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalId {
    pub system: String,
    pub entity: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub primary: bool,
}

/// Declares an enum of the canonical model: unit symbols in upper snake case, `UNKNOWN` first and default.
macro_rules! symbols {
    ($(#[$doc:meta])* $name:ident { $($symbol:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, Default)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum $name {
            $($symbol,)*
            /// Not stated, or a symbol that this build does not know.
            #[default]
            #[serde(other)]
            Unknown,
        }

        impl $name {
            /// The symbols a mapping may write.
            pub const SYMBOLS: &'static [$name] = &[$($name::$symbol),*];
        }
    };
}
pub(crate) use symbols;
