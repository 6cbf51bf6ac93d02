//! ITM-02 to ITM-05: unit conversions, in exact rationals. ITM-02 and ITM-03 stop before every plant.

use std::collections::HashMap;

use model::{Item, item::UomConversion};

use super::unit;
use crate::{
    ratio::Ratio,
    rule::{Context, Found},
};

/// ITM-02. 0 is also what a source that says nothing leaves.
pub(crate) fn positive(item: &Item, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, conversion) in item.uom_conversions.iter().enumerate() {
        for (field, value) in [("numerator", conversion.numerator), ("denominator", conversion.denominator)] {
            if value <= 0 {
                let unit = &conversion.alt_uom;
                let message = format!("{field} of the conversion of {unit} is {value}; it must be above zero");
                found.push(Found::new(format!("/uom_conversions/{index}/{field}"), message).observed(value));
            }
        }
    }
}

/// ITM-03: the product of factors round a circle is 1. Circles are a unit stated twice, the base unit stated in itself, and two
/// units that the standard table relates to each other but not to the base unit.
pub(crate) fn consistent(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(base) = &item.base_uom else { return };
    let stated: Vec<_> = stated(item).collect();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (position, (index, conversion, ratio)) in stated.iter().enumerate() {
        let path = format!("/uom_conversions/{index}");
        if conversion.alt_uom == *base {
            if !ratio.is(&one()) {
                let message = format!("1 {base} is said to be {} {base}", ratio.text());
                found.push(Found::new(path, message).observed(shown(conversion)));
            }
            continue;
        }
        let earlier = *first.entry(&conversion.alt_uom).or_insert(position);
        if earlier < position {
            let (_, other, other_ratio) = &stated[earlier];
            if !ratio.is(other_ratio) {
                let message =
                    format!("1 {} is said to be both {} and {} {base}", conversion.alt_uom, other_ratio.text(), ratio.text());
                found.push(Found::new(path, message).observed(format!("{} and {}", shown(other), shown(conversion))));
            }
            continue;
        }
        if let Some(message) = contradiction(&stated[..position], (conversion, ratio), base, context) {
            found.push(Found::new(path, message).observed(shown(conversion)));
        }
    }
}

/// Two alternative units of one dimension, the base unit of another: base → this → standard → other → base.
fn contradiction(
    earlier: &[(usize, &UomConversion, Ratio)],
    (conversion, ratio): (&UomConversion, &Ratio),
    base: &str,
    context: &Context<'_>,
) -> Option<String> {
    if earlier.is_empty() || !context.case.references.has_set(unit::SET) {
        return None;
    }
    let this = unit::find(context, &conversion.alt_uom)?;
    this.dimension()?;
    if unit::find(context, base).is_some_and(|base| unit::standard(&this, &base).is_some()) {
        // Each of them is held against the table by ITM-04.
        return None;
    }
    earlier.iter().find_map(|(_, other, other_ratio)| {
        let other_unit = unit::find(context, &other.alt_uom)?;
        let standard = unit::standard(&this, &other_unit)?;
        let implied = ratio.over(other_ratio);
        (!implied.is_within(&standard.tolerance, &standard.factor)).then(|| {
            format!(
                "by these conversions 1 {} would be {} {}, by the standard it is {}",
                conversion.alt_uom,
                implied.text(),
                other.alt_uom,
                standard.factor.text()
            )
        })
    })
}

/// ITM-04: within one dimension the standard factor counts.
pub(crate) fn standard(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(base) = &item.base_uom else { return };
    if item.uom_conversions.is_empty() || !context.case.references.has_set(unit::SET) {
        return;
    }
    let Some(base_unit) = unit::find(context, base) else { return };
    for (index, conversion, ratio) in stated(item) {
        if conversion.alt_uom == *base {
            continue;
        }
        let Some(alternative) = unit::find(context, &conversion.alt_uom) else { continue };
        let Some(standard) = unit::standard(&alternative, &base_unit) else { continue };
        if !ratio.is_within(&standard.tolerance, &standard.factor) {
            let message = format!(
                "1 {} is said to be {} {base}, by the standard it is {}",
                conversion.alt_uom,
                ratio.text(),
                standard.factor.text()
            );
            found.push(
                Found::new(format!("/uom_conversions/{index}"), message)
                    .observed(shown(conversion))
                    .edition(alternative.reference().edition.as_deref()),
            );
        }
    }
}

/// ITM-05: an issue or price unit of another dimension than the base unit, and no conversion that leads there.
pub(crate) fn dimension(item: &Item, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(base) = item.base_uom.as_ref().filter(|_| context.case.references.has_set(unit::SET)) else { return };
    let used = super::item::units_in_use(item);
    for (path, code) in used.iter().filter(|(path, code)| *code != base && !path.starts_with("/uom_conversions")) {
        if item.uom_conversions.iter().any(|conversion| conversion.alt_uom == **code) {
            continue;
        }
        let (Some(base_unit), Some(other)) = (unit::find(context, base), unit::find(context, code)) else { continue };
        if let (Some(one), Some(another)) = (base_unit.dimension(), other.dimension())
            && one != another
        {
            let message =
                format!("{code} measures {another}, {base} measures {one}, and the item has no conversion between them");
            found.push(Found::new(path, message).observed(code));
        }
    }
}

/// The conversions that say something (ITM-02 has the others).
fn stated(item: &Item) -> impl Iterator<Item = (usize, &UomConversion, Ratio)> {
    item.uom_conversions
        .iter()
        .enumerate()
        .filter_map(|(index, conversion)| Some((index, conversion, Ratio::new(conversion.numerator, conversion.denominator)?)))
}

fn shown(conversion: &UomConversion) -> String {
    format!("{}/{}", conversion.numerator, conversion.denominator)
}

fn one() -> Ratio {
    Ratio::new(1, 1).expect("1/1 is positive")
}
