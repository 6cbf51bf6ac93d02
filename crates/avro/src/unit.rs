//! What a number of a golden record counts. Units are in the docs for people; this is the same for programs, and the documents that
//! subscribers get carry it as `mdm.unit`.
//!
//! A unit is a code of UN/ECE Recommendation 20 (`SEC`), the number itself (`1`), or the field that holds it: `field:uom` beside the
//! number, `field:/base_uom` of the record.

/// The unit of a numeric field; none where the field is no number.
#[must_use]
pub fn unit(record: &str, field: &str) -> Option<&'static str> {
    UNITS.iter().find(|(owner, name, _)| *owner == record && *name == field).map(|(_, _, unit)| *unit)
}

const UNITS: &[(&str, &str, &str)] = &[
    ("Address", "latitude", "DD"),
    ("Address", "longitude", "DD"),
    ("Capability", "high", "field:uom"),
    ("Capability", "low", "field:uom"),
    ("Cost", "amount", "field:currency"),
    ("Cost", "per_qty", "field:per_uom"),
    ("ItemPlant", "lead_time_days", "DAY"),
    ("ItemPlant", "lot_max", "field:/base_uom"),
    ("ItemPlant", "lot_min", "field:/base_uom"),
    ("ItemPlant", "lot_round", "field:/base_uom"),
    ("ItemPlant", "safety_stock", "field:/base_uom"),
    ("Money", "amount", "field:currency"),
    ("Quantity", "value", "field:uom"),
    ("Reference", "decimals", "1"),
    ("Reference", "factor_den", "1"),
    ("Reference", "factor_exp", "1"),
    ("Reference", "factor_num", "1"),
    ("Reference", "offset", "field:/base_code"),
    ("UomConversion", "denominator", "field:alt_uom"),
    ("UomConversion", "gross_weight", "field:weight_uom"),
    ("UomConversion", "numerator", "field:/base_uom"),
    ("WorkCenter", "capacity_per_day_s", "SEC"),
    ("WorkCenter", "efficiency_pct", "P1"),
];

#[cfg(test)]
mod tests {
    use model::Domain;

    use super::*;
    use crate::{
        Schema,
        fields::{self, Field, Kind},
    };

    fn walk(fields: &[Field], visit: &mut impl FnMut(&Field)) {
        for field in fields {
            visit(field);
            walk(field.kind.fields(), visit);
        }
    }

    #[test]
    fn every_number_of_a_golden_record_says_what_it_counts_and_nothing_else_does() {
        for domain in Domain::ALL {
            walk(fields::of(domain), &mut |field| {
                let is_number = matches!(field.kind, Kind::Int | Kind::Long | Kind::Decimal { .. });
                assert_eq!(field.unit.is_some(), is_number, "{domain} {}", field.name);
            });
        }
        for (owner, name, _) in UNITS {
            let named = |text: &str| [owner, name].iter().all(|part| text.contains(&format!("\"name\": \"{part}\"")));
            assert!(Domain::ALL.iter().any(|domain| named(Schema::golden(*domain).text())), "no field {owner}.{name}");
        }
    }
}
