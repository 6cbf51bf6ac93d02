//! Item (domain.md 4.6): one engineering revision of a material.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Date, Money9, Qty, Wt,
    shared::{ExternalId, LocalText, Quantity, symbols},
};

symbols! {
    /// What kind of thing the item is.
    ItemType { Raw, Component, Subassembly, Finished, Packaging, Service, Tool, Phantom }
}
symbols! {
    /// Lifecycle; legal steps: domain.md 4.14.
    Lifecycle { Design, Prototype, Released, PhaseOut, Obsolete }
}
symbols! {
    /// Procurement.
    MakeOrBuy { Make, Buy, Both }
}

/// Key: `item_id / revision`; the entity is `item_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub item_id: String,
    /// Engineering revision such as `C`, not the golden revision.
    pub revision: String,
    #[serde(default)]
    pub valid_from: Option<Date>,
    /// Exclusive.
    #[serde(default)]
    pub valid_to: Option<Date>,
    #[serde(default)]
    pub descriptions: Vec<LocalText>,
    #[serde(default)]
    pub item_type: ItemType,
    #[serde(default)]
    pub lifecycle: Lifecycle,
    #[serde(default)]
    pub make_or_buy: MakeOrBuy,
    /// UN/ECE Rec 20.
    #[serde(default)]
    pub base_uom: Option<String>,
    #[serde(default)]
    pub item_group: Option<String>,
    #[serde(default)]
    pub hierarchy: Option<String>,
    #[serde(default)]
    pub drawing_number: Option<String>,
    #[serde(default)]
    pub engineering_change: Option<String>,
    /// GTIN-8/12/13/14 of the base unit.
    #[serde(default)]
    pub gtins: Vec<String>,
    /// Of one base unit.
    #[serde(default)]
    pub net_weight: Option<Quantity>,
    #[serde(default)]
    pub gross_weight: Option<Quantity>,
    #[serde(default)]
    pub configurable: bool,
    #[serde(default)]
    pub batch_managed: bool,
    #[serde(default)]
    pub serialized: bool,
    #[serde(default)]
    pub replaces_item_id: Option<String>,
    #[serde(default)]
    pub superseded_by_item_id: Option<String>,
    #[serde(default)]
    pub uom_conversions: Vec<UomConversion>,
    #[serde(default)]
    pub compliance: Option<Compliance>,
    #[serde(default)]
    pub costs: Vec<Cost>,
    #[serde(default)]
    pub plants: Vec<ItemPlant>,
    #[serde(default)]
    pub external_ids: Vec<ExternalId>,
    /// The operator's own fields, canonical text.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// 1 `alt_uom` = `numerator`/`denominator` base units, an exact rational.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UomConversion {
    pub alt_uom: String,
    /// 0 when the source did not say: ITM-02.
    #[serde(default)]
    pub numerator: i64,
    #[serde(default)]
    pub denominator: i64,
    #[serde(default)]
    pub gtin: Option<String>,
    #[serde(default)]
    pub gross_weight: Option<Wt>,
    #[serde(default)]
    pub weight_uom: Option<String>,
    /// UN/ECE Rec 21.
    #[serde(default)]
    pub package_code: Option<String>,
}

/// Trade and hazard data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Compliance {
    /// ISO 3166-1 alpha-2.
    #[serde(default)]
    pub country_of_origin: Option<String>,
    #[serde(default)]
    pub commodity_code: Option<String>,
    #[serde(default)]
    pub export_relevant: bool,
    #[serde(default)]
    pub cas_numbers: Vec<String>,
    #[serde(default)]
    pub hazard_classes: Vec<String>,
    #[serde(default)]
    pub certificates: Vec<String>,
    #[serde(default)]
    pub un_number: Option<String>,
    #[serde(default)]
    pub eccn: Option<String>,
    #[serde(default)]
    pub rohs: Option<String>,
    #[serde(default)]
    pub reach_svhc: Option<bool>,
    #[serde(default)]
    pub conflict_minerals: Option<bool>,
}

/// A cost: `amount` per `per_qty` `per_uom`; plant null means the whole company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// `STANDARD`, `MOVING_AVG`, `PLANNED`.
    #[serde(rename = "type")]
    pub cost_type: String,
    #[serde(default)]
    pub plant: Option<String>,
    #[serde(default)]
    pub valid_from: Option<Date>,
    #[serde(default)]
    pub valid_to: Option<Date>,
    #[serde(default)]
    pub amount: Option<Money9>,
    #[serde(default)]
    pub currency: Option<String>,
    #[serde(default)]
    pub per_qty: Option<Qty>,
    #[serde(default)]
    pub per_uom: Option<String>,
}

/// The item as one plant plans it. Quantities in `base_uom`, times in days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemPlant {
    pub plant: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub procurement: Option<String>,
    #[serde(default)]
    pub mrp_type: Option<String>,
    #[serde(default)]
    pub lot_min: Option<Qty>,
    #[serde(default)]
    pub lot_max: Option<Qty>,
    #[serde(default)]
    pub lot_round: Option<Qty>,
    #[serde(default)]
    pub safety_stock: Option<Qty>,
    #[serde(default)]
    pub lead_time_days: Option<i32>,
    #[serde(default)]
    pub issue_uom: Option<String>,
    #[serde(default)]
    pub storage_location: Option<String>,
    #[serde(default)]
    pub profit_center: Option<String>,
    #[serde(default)]
    pub default_routing_id: Option<String>,
    #[serde(default)]
    pub default_bom_id: Option<String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}
