//! Codes that nobody in a landscape needs to own: countries and currencies as ISO lists them.

mod countries;
mod currencies;

/// ISO 3166-1 alpha-2, without withdrawn codes.
#[must_use]
pub fn country_is_known(code: &str) -> bool {
    countries::ALPHA2.binary_search(&code).is_ok()
}

/// ISO 4217, without withdrawn codes.
#[must_use]
pub fn currency_is_known(code: &str) -> bool {
    currencies::CODES.binary_search(&code).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_complete() {
        assert!(countries::ALPHA2.is_sorted() && currencies::CODES.is_sorted());
        assert_eq!(countries::ALPHA2.len(), 249);
        for code in ["DE", "US", "IN", "GB", "SS", "CW", "AX", "ZW"] {
            assert!(country_is_known(code), "{code}");
        }
        for code in ["UK", "EL", "YU", "AN", "SU", "de", "XX", "", "DEU"] {
            assert!(!country_is_known(code), "{code}");
        }
        for code in ["EUR", "USD", "INR", "CHF", "XAU", "ZWG"] {
            assert!(currency_is_known(code), "{code}");
        }
        for code in ["DEM", "ITL", "eur", "EU", ""] {
            assert!(!currency_is_known(code), "{code}");
        }
    }
}
