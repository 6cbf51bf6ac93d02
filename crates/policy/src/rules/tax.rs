//! CUS-01, -02, -04: tax numbers.

use model::{Customer, customer::Address};

use super::{digits::digits, vat};
use crate::rule::{Context, Found};

/// CUS-01. The number may carry its prefix or leave it to the field `country`.
pub(crate) fn eu_vat(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, id) in customer.tax_ids.iter().enumerate().filter(|(_, id)| id.tax_type == "EU_VAT") {
        let Some(value) = id.value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let state = vat::STATES.iter().find(|(country, prefix, _)| id.country == *country || id.country == *prefix);
        let Some((_, prefix, check)) = state else {
            let message = format!("{} gives out no EU VAT numbers", id.country);
            found.push(Found::new(format!("/tax_ids/{index}/country"), message).observed(&id.country));
            continue;
        };
        if !check(value.strip_prefix(prefix).unwrap_or(value)) {
            let message = format!("`{value}` is not a VAT number of {}: wrong format or check digit", id.country);
            found.push(Found::new(format!("/tax_ids/{index}/value"), message).observed(value));
        }
    }
}

/// CUS-02.
pub(crate) fn us_ein(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, id) in customer.tax_ids.iter().enumerate().filter(|(_, id)| id.tax_type == "US_EIN") {
        let Some(value) = id.value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let is_valid = digits(&value.replacen('-', "", 1)).filter(|digits| digits.len() == 9).is_some_and(|digits| {
            matches!(digits[0] * 10 + digits[1],
                1..=6 | 10..=16 | 20..=27 | 30..=48 | 50..=68 | 71..=77 | 80..=88 | 90..=95 | 98 | 99)
        });
        if !is_valid {
            let message = format!("`{value}` is not an EIN: nine digits with a prefix that the IRS gives out");
            found.push(Found::new(format!("/tax_ids/{index}/value"), message).observed(value));
        }
    }
}

/// CUS-04.
pub(crate) fn vat_country(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    let Some(legal) = customer.addresses.iter().find(|address| is_legal(address)) else { return };
    let Some(country) = legal.country.as_deref().filter(|country| !country.is_empty()) else { return };
    for (index, id) in customer.tax_ids.iter().enumerate().filter(|(_, id)| id.tax_type == "EU_VAT") {
        let same = id.country == country || matches!((id.country.as_str(), country), ("EL", "GR") | ("XI", "GB"));
        if !same {
            let message = format!("the VAT number is of {}, the legal address lies in {country}", id.country);
            found.push(Found::new(format!("/tax_ids/{index}/country"), message).observed(&id.country));
        }
    }
}

pub(crate) fn is_legal(address: &Address) -> bool {
    address.usage.iter().any(|usage| usage == "LEGAL")
}
