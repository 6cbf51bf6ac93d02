//! Numbers with check digits: LEI, DUNS, GLN, IBAN, BIC, GTIN, CAS, UN.

use model::{Customer, Item};

use super::digits::{digits, gs1, mod_97};
use crate::{
    codes,
    rule::{Context, Found},
};

/// CUS-14.
pub(crate) fn company(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, identifier) in customer.identifiers.iter().enumerate() {
        let value = identifier.value.as_str();
        let is_valid = match identifier.scheme.as_str() {
            "LEI" => value.len() == 20 && mod_97(value) == Some(1),
            "DUNS" => digits(value).is_some_and(|digits| digits.len() == 9),
            "GLN" => gs1(value, &[13]),
            _ => true,
        };
        if !is_valid {
            let message = format!("`{value}` is not a {}: wrong length or check digit", identifier.scheme);
            found.push(Found::new(format!("/identifiers/{index}/value"), message).observed(value));
        }
    }
    for (index, address) in customer.addresses.iter().enumerate() {
        if let Some(gln) = address.gln.as_deref().filter(|gln| !gln.is_empty() && !gs1(gln, &[13])) {
            let message = format!("`{gln}` is not a GLN: wrong length or check digit");
            found.push(Found::new(format!("/addresses/{index}/gln"), message).observed(gln));
        }
    }
}

/// CUS-16.
pub(crate) fn bank(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, account) in customer.bank_accounts.iter().enumerate() {
        if let Some(iban) = account.iban.as_deref().filter(|iban| !iban.is_empty() && !is_iban(iban)) {
            let message = "not an IBAN: wrong country, length or check digits";
            found.push(Found::new(format!("/bank_accounts/{index}/iban"), message).observed(masked(iban)));
        }
        if let Some(bic) = account.bic.as_deref().filter(|bic| !bic.is_empty() && !is_bic(bic)) {
            let message = format!("`{bic}` is not a BIC");
            found.push(Found::new(format!("/bank_accounts/{index}/bic"), message).observed(bic));
        }
    }
}

/// Letters and screens need not know a whole account number.
fn masked(iban: &str) -> String {
    let shown: String = iban.chars().take(4).collect();
    format!("{shown}… ({} characters)", iban.chars().count())
}

/// Length of an IBAN by country.
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22), ("BI", 27),
    ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27), ("DK", 18), ("DO", 28),
    ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27), ("GB", 22), ("GE", 22), ("GI", 23),
    ("GL", 18), ("GR", 27), ("GT", 28), ("HR", 21), ("HU", 28), ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27),
    ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28), ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25),
    ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19), ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18),
    ("NO", 15), ("OM", 23), ("PK", 24), ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33),
    ("SA", 24), ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28),
    ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];

fn is_iban(iban: &str) -> bool {
    if !iban.is_ascii() || iban.len() < 5 {
        return false;
    }
    let length = IBAN_LENGTHS.iter().find(|(country, _)| *country == &iban[..2]).map(|(_, length)| *length);
    length == Some(iban.len()) && mod_97(&format!("{}{}", &iban[4..], &iban[..4])) == Some(1)
}

fn is_bic(bic: &str) -> bool {
    let bytes = bic.as_bytes();
    matches!(bytes.len(), 8 | 11)
        && bytes[..6].iter().all(u8::is_ascii_uppercase)
        && bytes[6..].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && (&bic[4..6] == "XK" || codes::country_is_known(&bic[4..6]))
}

/// ITM-07.
pub(crate) fn gtin(item: &Item, _: &Context<'_>, found: &mut Vec<Found>) {
    let base = item.gtins.iter().enumerate().map(|(index, gtin)| (format!("/gtins/{index}"), gtin));
    let packs = item
        .uom_conversions
        .iter()
        .enumerate()
        .filter_map(|(index, pack)| Some((format!("/uom_conversions/{index}/gtin"), pack.gtin.as_ref()?)));
    for (path, gtin) in base.chain(packs).filter(|(_, gtin)| !gtin.is_empty()) {
        if !gs1(gtin, &[8, 12, 13, 14]) {
            let message = format!("`{gtin}` is not a GTIN: wrong length or check digit");
            found.push(Found::new(path, message).observed(gtin));
        }
    }
}

/// ITM-16.
pub(crate) fn hazard(item: &Item, _: &Context<'_>, found: &mut Vec<Found>) {
    let Some(compliance) = &item.compliance else { return };
    for (index, cas) in compliance.cas_numbers.iter().enumerate().filter(|(_, cas)| !is_cas(cas)) {
        let message = format!("`{cas}` is not a CAS number: wrong form or check digit");
        found.push(Found::new(format!("/compliance/cas_numbers/{index}"), message).observed(cas));
    }
    if let Some(number) = compliance.un_number.as_deref().filter(|number| !number.is_empty())
        && digits(number).is_none_or(|digits| digits.len() != 4)
    {
        let message = format!("`{number}` is not a UN number: four digits");
        found.push(Found::new("/compliance/un_number", message).observed(number));
    }
}

fn is_cas(cas: &str) -> bool {
    let parts: Vec<_> = cas.split('-').collect();
    let [first, second, check] = parts[..] else { return false };
    let (Some(first), Some(second), Some(check)) = (digits(first), digits(second), digits(check)) else { return false };
    if !(2..=7).contains(&first.len()) || second.len() != 2 || check.len() != 1 {
        return false;
    }
    let sum: u32 = (1..).zip(first.iter().chain(&second).rev()).map(|(weight, digit)| weight * digit).sum();
    sum % 10 == check[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_numbers_pass_and_changed_ones_do_not() {
        assert!(is_iban("DE89370400440532013000") && is_iban("GB82WEST12345698765432") && is_iban("FR1420041010050500013M02606"));
        for iban in ["DE88370400440532013000", "DE8937040044053201300", "XX89370400440532013000", "DE", "ÄÖ89370400"] {
            assert!(!is_iban(iban), "{iban}");
        }
        assert!(is_bic("DEUTDEFF") && is_bic("DEUTDEFF500"));
        assert!(!is_bic("DEUTXYFF") && !is_bic("DEUTDEF") && !is_bic("deutdeff") && !is_bic("DEUTÄFF"));
        assert!(is_cas("7732-18-5") && is_cas("64-17-5"));
        assert!(!is_cas("7732-18-4") && !is_cas("7732185") && !is_cas("1-2-3-4"));
        assert!(mod_97("5493001KJTIIGC8Y1R12") == Some(1));
    }
}
