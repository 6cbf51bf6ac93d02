//! Customer (domain.md 4.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Date, Degrees, Timestamp,
    shared::{ExternalId, Money, symbols},
};

symbols! {
    /// Standing with the company.
    CustomerStatus { Prospect, Active, Blocked, Archived }
}
symbols! {
    /// Place in the account hierarchy.
    HierarchyRole { Group, LegalEntity, Site, Department }
}

/// Key: `customer_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    pub customer_id: String,
    /// In daily use.
    #[serde(default)]
    pub name: Option<String>,
    /// Registered.
    #[serde(default)]
    pub legal_name: Option<String>,
    #[serde(default)]
    pub legal_form: Option<String>,
    #[serde(default)]
    pub search_terms: Vec<String>,
    #[serde(default)]
    pub status: CustomerStatus,
    #[serde(default)]
    pub parent_customer_id: Option<String>,
    /// Top of the hierarchy, computed by the validator.
    #[serde(default)]
    pub ultimate_parent_id: Option<String>,
    #[serde(default)]
    pub hierarchy_role: HierarchyRole,
    /// Optional CRM field: CUS-19.
    #[serde(default)]
    pub marketing_segment: Option<String>,
    #[serde(default)]
    pub credit_limit: Option<Money>,
    #[serde(default)]
    pub tax_ids: Vec<TaxId>,
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    #[serde(default)]
    pub addresses: Vec<Address>,
    #[serde(default)]
    pub contacts: Vec<Contact>,
    #[serde(default)]
    pub bank_accounts: Vec<BankAccount>,
    #[serde(default)]
    pub sales_areas: Vec<SalesArea>,
    #[serde(default)]
    pub external_ids: Vec<ExternalId>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// `EU_VAT`, `US_EIN`, `GB_UTR`, ...; value compact, without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxId {
    #[serde(rename = "type")]
    pub tax_type: String,
    pub country: String,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(default)]
    pub primary: bool,
    #[serde(default)]
    pub verified_at: Option<Timestamp>,
}

/// `LEI`, `DUNS`, `GLN`, `BPN`, `SIREN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    pub scheme: String,
    pub value: String,
    #[serde(default)]
    pub issuer: Option<String>,
}

/// Usage: `LEGAL`, `BILL_TO`, `SHIP_TO`, `PLANT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub address_id: String,
    #[serde(default)]
    pub usage: Vec<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(default)]
    pub country: Option<String>,
    /// ISO 3166-2.
    #[serde(default)]
    pub region: Option<String>,
    #[serde(default)]
    pub postal_code: Option<String>,
    #[serde(default)]
    pub city: Option<String>,
    #[serde(default)]
    pub district: Option<String>,
    #[serde(default)]
    pub house_number: Option<String>,
    #[serde(default)]
    pub po_box: Option<String>,
    #[serde(default)]
    pub street_lines: Vec<String>,
    #[serde(default)]
    pub gln: Option<String>,
    #[serde(default)]
    pub tax_jurisdiction: Option<String>,
    /// IANA.
    #[serde(default)]
    pub time_zone: Option<String>,
    #[serde(default)]
    pub latitude: Option<Degrees>,
    #[serde(default)]
    pub longitude: Option<Degrees>,
    #[serde(default)]
    pub valid_from: Option<Date>,
    #[serde(default)]
    pub valid_to: Option<Date>,
}

/// Personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub contact_id: String,
    #[serde(default)]
    pub given_name: Option<String>,
    #[serde(default)]
    pub family_name: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub language: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    /// E.164.
    #[serde(default)]
    pub phone: Option<String>,
    /// Null is not known.
    #[serde(default)]
    pub marketing_consent: Option<bool>,
    /// Class a destination must be cleared for: CUS-20.
    #[serde(default)]
    pub pii_class: Option<String>,
}

/// ERP-owned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankAccount {
    pub account_id: String,
    #[serde(default)]
    pub iban: Option<String>,
    #[serde(default)]
    pub bic: Option<String>,
    #[serde(default)]
    pub account_number: Option<String>,
    #[serde(default)]
    pub country: Option<String>,
    #[serde(default)]
    pub currency: Option<String>,
}

/// ERP-owned terms of one sales organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalesArea {
    pub sales_org: String,
    pub channel: String,
    pub division: String,
    #[serde(default)]
    pub currency: Option<String>,
    #[serde(default)]
    pub payment_terms: Option<String>,
    #[serde(default)]
    pub incoterm: Option<String>,
    #[serde(default)]
    pub price_list_id: Option<String>,
    #[serde(default)]
    pub delivering_plant: Option<String>,
    #[serde(default)]
    pub blocked: bool,
}
