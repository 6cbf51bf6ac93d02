//! Reference codes (domain.md 4.12): units, plants, packages, ...

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Date, Offset9,
    shared::{LocalText, symbols},
};

symbols! {
    /// Whether the code may still be used.
    ReferenceStatus { Active, Deprecated, Deleted }
}

/// Key: `set / code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub set: String,
    pub code: String,
    #[serde(default)]
    pub names: Vec<LocalText>,
    /// System or standard → code there.
    #[serde(default)]
    pub alt_codes: BTreeMap<String, String>,
    /// uom: quantity kind.
    #[serde(default)]
    pub dimension: Option<String>,
    /// uom: the unit that the factor leads to.
    #[serde(default)]
    pub base_code: Option<String>,
    /// uom: 1 code = num/den · 10^exp base_code + offset.
    #[serde(default)]
    pub factor_num: Option<i64>,
    #[serde(default)]
    pub factor_den: Option<i64>,
    #[serde(default)]
    pub factor_exp: i32,
    #[serde(default)]
    pub offset: Option<Offset9>,
    /// False: the table's factor is rounded (ITM-04).
    #[serde(default)]
    pub factor_exact: bool,
    /// currency: minor units.
    #[serde(default)]
    pub decimals: Option<i32>,
    #[serde(default)]
    pub status: ReferenceStatus,
    #[serde(default)]
    pub edition: Option<String>,
    #[serde(default)]
    pub valid_from: Option<Date>,
    #[serde(default)]
    pub valid_to: Option<Date>,
    /// What only this set has.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}
