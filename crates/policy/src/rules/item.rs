//! Rules of items beside conversions and identifiers.

use model::{Data, Item, Severity, item::Lifecycle, reference::ReferenceStatus, shared::Quantity};

use super::unit;
use crate::{
    codes,
    rule::{Context, Found},
};

/// ITM-01: unknown waits for the unit, withdrawn is refused at once.
pub(crate) fn units(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    if !context.case.references.has_set(unit::SET) {
        return;
    }
    for (path, code) in units_in_use(item) {
        match unit::find(context, code) {
            None => {
                let message = format!("unit {code} is not among the units of measure");
                let miss = Found::new(path, message).observed(code);
                found.push(match unit::topical(code) {
                    Some(record) => miss.waits_for(record),
                    None => miss,
                });
            }
            Some(known) => {
                let reference = known.reference();
                let edition = reference.edition.as_deref();
                match reference.status {
                    ReferenceStatus::Deleted => {
                        let message = format!("unit {code} was withdrawn");
                        found.push(Found::new(path, message).observed(code).edition(edition));
                    }
                    ReferenceStatus::Deprecated => {
                        let message = format!("unit {code} is deprecated");
                        found.push(Found::new(path, message).observed(code).edition(edition).at_most(Severity::Warn));
                    }
                    ReferenceStatus::Active | ReferenceStatus::Unknown => {}
                }
            }
        }
    }
}

/// Every unit that the item's quantities are in, with where it stands.
pub(crate) fn units_in_use(item: &Item) -> Vec<(String, &String)> {
    let mut used = Vec::new();
    used.extend(item.base_uom.as_ref().map(|code| ("/base_uom".to_owned(), code)));
    for (index, conversion) in item.uom_conversions.iter().enumerate() {
        used.push((format!("/uom_conversions/{index}/alt_uom"), &conversion.alt_uom));
    }
    for (index, plant) in item.plants.iter().enumerate() {
        used.extend(plant.issue_uom.as_ref().map(|code| (format!("/plants/{index}/issue_uom"), code)));
    }
    for (index, cost) in item.costs.iter().enumerate() {
        used.extend(cost.per_uom.as_ref().map(|code| (format!("/costs/{index}/per_uom"), code)));
    }
    // An empty text is a missing field, except where it is the identity of a conversion.
    used.retain(|(path, code)| !code.is_empty() || path.starts_with("/uom_conversions"));
    used
}

/// ITM-09.
pub(crate) fn validity(item: &Item, _: &Context<'_>, found: &mut Vec<Found>) {
    let mut spans = vec![(String::new(), item.valid_from, item.valid_to)];
    for (index, cost) in item.costs.iter().enumerate() {
        spans.push((format!("/costs/{index}"), cost.valid_from, cost.valid_to));
    }
    for (path, from, to) in spans {
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            let message = format!("valid from {from} is not before valid to {to} (which is exclusive)");
            found.push(Found::new(format!("{path}/valid_to"), message).observed(to));
        }
    }
}

/// ITM-12: forward in any step, back only from PHASE_OUT to RELEASED.
pub(crate) fn lifecycle(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(Data::Item(previous)) = context.previous else { return };
    let rank = |lifecycle| match lifecycle {
        Lifecycle::Design => Some(0),
        Lifecycle::Prototype => Some(1),
        Lifecycle::Released => Some(2),
        Lifecycle::PhaseOut => Some(3),
        Lifecycle::Obsolete => Some(4),
        Lifecycle::Unknown => None,
    };
    let (Some(before), Some(after)) = (rank(previous.lifecycle), rank(item.lifecycle)) else { return };
    let is_revival = previous.lifecycle == Lifecycle::PhaseOut && item.lifecycle == Lifecycle::Released;
    if after < before && !is_revival {
        let step = format!("{} to {}", symbol(previous.lifecycle), symbol(item.lifecycle));
        found.push(Found::new("/lifecycle", format!("an item does not go from {step}")).observed(symbol(item.lifecycle)));
    }
}

/// ITM-13.
pub(crate) fn weight(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    for (field, weight) in [("net_weight", &item.net_weight), ("gross_weight", &item.gross_weight)] {
        if let Some(weight) = weight
            && weight.value.get() <= rust_decimal::Decimal::ZERO
        {
            let message = format!("{} is {} {}", field.replace('_', " "), weight.value, weight.uom);
            found.push(Found::new(format!("/{field}/value"), message).observed(weight.value));
        }
    }
    if let (Some(net), Some(gross)) = (&item.net_weight, &item.gross_weight)
        && is_above(net, gross, context)
    {
        let message = format!("net weight {} {} is above gross weight {} {}", net.value, net.uom, gross.value, gross.uom);
        found.push(Found::new("/net_weight/value", message).observed(net.value));
    }
    for (index, conversion) in item.uom_conversions.iter().enumerate() {
        if let Some(weight) = conversion.gross_weight.filter(|weight| weight.get() <= rust_decimal::Decimal::ZERO) {
            let message = format!("gross weight of one {} is {weight}", conversion.alt_uom);
            found.push(Found::new(format!("/uom_conversions/{index}/gross_weight"), message).observed(weight));
        }
    }
}

/// Compared in one unit; not at all where the table cannot convert.
fn is_above(net: &Quantity, gross: &Quantity, context: &Context<'_>) -> bool {
    if net.uom == gross.uom {
        return net.value > gross.value;
    }
    let (Some(net_unit), Some(gross_unit)) = (unit::find(context, &net.uom), unit::find(context, &gross.uom)) else {
        return false;
    };
    let Some(standard) = unit::standard(&net_unit, &gross_unit) else { return false };
    standard.factor.product_is_above(net.value.unscaled(), gross.value.unscaled())
}

/// ITM-15.
pub(crate) fn trade(item: &Item, _: &Context<'_>, found: &mut Vec<Found>) {
    let Some(compliance) = &item.compliance else { return };
    match compliance.country_of_origin.as_deref() {
        Some(country) if !codes::country_is_known(country) => {
            let message = format!("country of origin {country} is not in ISO 3166");
            found.push(Found::new("/compliance/country_of_origin", message).observed(country));
        }
        None | Some("") if compliance.export_relevant => {
            found.push(Found::new("/compliance/country_of_origin", "an item for export needs a country of origin"));
        }
        _ => {}
    }
    match compliance.commodity_code.as_deref() {
        Some(code) if !is_commodity(code) => {
            let message = "a commodity code has 6 to 11 digits";
            found.push(Found::new("/compliance/commodity_code", message).observed(code));
        }
        None | Some("") if compliance.export_relevant => {
            found.push(Found::new("/compliance/commodity_code", "an item for export needs a commodity code"));
        }
        _ => {}
    }
}

fn is_commodity(code: &str) -> bool {
    let digits: Vec<_> = code.chars().filter(|character| !matches!(character, ' ' | '.')).collect();
    code.is_empty() || ((6..=11).contains(&digits.len()) && digits.iter().all(char::is_ascii_digit))
}

const fn symbol(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Design => "DESIGN",
        Lifecycle::Prototype => "PROTOTYPE",
        Lifecycle::Released => "RELEASED",
        Lifecycle::PhaseOut => "PHASE_OUT",
        Lifecycle::Obsolete => "OBSOLETE",
        Lifecycle::Unknown => "UNKNOWN",
    }
}
