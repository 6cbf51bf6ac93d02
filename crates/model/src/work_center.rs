//! Work center (domain.md 4.10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Date, Pct, Qty,
    shared::{ExternalId, Money, symbols},
};

symbols! {
    /// ISA-95 equipment level.
    Level { Site, Area, ProcessCell, ProductionLine, ProductionUnit, WorkCell, WorkCenter, WorkUnit, StorageZone }
}

/// Key: `plant / work_center_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkCenter {
    pub plant: String,
    pub work_center_id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub level: Level,
    /// `work_center_id` at the same plant.
    #[serde(default)]
    pub parent_id: Option<String>,
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    #[serde(default)]
    pub category: Option<String>,
    #[serde(default)]
    pub calendar_id: Option<String>,
    /// ERP-owned.
    #[serde(default)]
    pub cost_center: Option<String>,
    /// ERP-owned, per `rate_uom` (HUR).
    #[serde(default)]
    pub rate: Option<Money>,
    #[serde(default)]
    pub rate_uom: Option<String>,
    /// Seconds.
    #[serde(default)]
    pub capacity_per_day_s: Option<Qty>,
    #[serde(default)]
    pub efficiency_pct: Option<Pct>,
    #[serde(default)]
    pub active: bool,
    #[serde(default)]
    pub valid_from: Option<Date>,
    #[serde(default)]
    pub valid_to: Option<Date>,
    #[serde(default)]
    pub external_ids: Vec<ExternalId>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// The range that an execution parameter may use here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    pub name: String,
    #[serde(default)]
    pub low: Option<Qty>,
    #[serde(default)]
    pub high: Option<Qty>,
    #[serde(default)]
    pub uom: Option<String>,
}
