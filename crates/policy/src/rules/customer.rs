//! Rules of customers beside tax numbers and identifiers.

use model::{Customer, Data, Domain, Golden, RecordKey, Topical, customer::CustomerStatus};

use super::tax;
use crate::{
    References, codes,
    rule::{Context, Found},
};

/// No hierarchy of customers is deeper than this; a longer walk is a circle that does not pass through this record.
const DEEPEST: usize = 64;

/// CUS-05.
pub(crate) fn country(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    let addresses = customer
        .addresses
        .iter()
        .enumerate()
        .filter_map(|(index, address)| Some((format!("/addresses/{index}/country"), address.country.as_ref()?)));
    let accounts = customer
        .bank_accounts
        .iter()
        .enumerate()
        .filter_map(|(index, account)| Some((format!("/bank_accounts/{index}/country"), account.country.as_ref()?)));
    let tax_ids = customer.tax_ids.iter().enumerate().map(|(index, id)| (format!("/tax_ids/{index}/country"), &id.country));
    for (path, country) in addresses.chain(accounts).chain(tax_ids).filter(|(_, country)| !country.is_empty()) {
        // VAT numbers of Greece and Northern Ireland have prefixes of their own.
        let is_vat_prefix = path.starts_with("/tax_ids") && matches!(country.as_str(), "EL" | "XI");
        if !codes::country_is_known(country) && !is_vat_prefix {
            let message = format!("country `{country}` is not in ISO 3166-1 alpha-2, or was withdrawn");
            found.push(Found::new(path, message).observed(country));
        }
    }
}

/// CUS-09, as far as it goes without the list of subdivisions: the region is one of the address's country.
pub(crate) fn region(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, address) in customer.addresses.iter().enumerate() {
        let (Some(country), Some(region)) = (&address.country, &address.region) else { continue };
        let is_subdivision = region.strip_prefix(country.as_str()).and_then(|rest| rest.strip_prefix('-')).is_some_and(|code| {
            (1..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        });
        if !region.is_empty() && !is_subdivision {
            let message = format!("region `{region}` is not a subdivision of {country} (ISO 3166-2, such as {country}-1)");
            found.push(Found::new(format!("/addresses/{index}/region"), message).observed(region));
        }
    }
}

/// CUS-11: waits for the parent.
pub(crate) fn parent(customer: &Customer, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(parent) = parent_id(customer) else { return };
    if golden(context, parent).is_some() || parent == customer.customer_id {
        return;
    }
    let miss = Found::new("/parent_customer_id", format!("parent customer {parent} is not known")).observed(parent);
    found.push(match RecordKey::new(Domain::Customer, &[parent]) {
        Ok(key) => miss.waits_for(Topical::new(Domain::Customer, key)),
        Err(_) => miss,
    });
}

/// CUS-10.
pub(crate) fn parent_cycle(customer: &Customer, context: &Context<'_>, found: &mut Vec<Found>) {
    let mut path = vec![customer.customer_id.clone()];
    let mut next = parent_id(customer).map(str::to_owned);
    while let Some(id) = next {
        let is_circle = path.contains(&id);
        path.push(id.clone());
        if is_circle || path.len() > DEEPEST {
            // A circle among its ancestors is their finding; it stops this record too, for its hierarchy has no top.
            let message = format!("the account hierarchy runs in a circle: {}", path.join(" > "));
            found.push(Found::new("/parent_customer_id", message).observed(customer.parent_customer_id.as_deref().unwrap_or("")));
            return;
        }
        next = golden(context, &id).and_then(|golden| match &golden.data {
            Some(Data::Customer(parent)) => parent_id(parent).map(str::to_owned),
            _ => None,
        });
    }
}

/// The top of the hierarchy, as far as golden knows it; none for a customer without parent.
pub(crate) fn ultimate_parent(customer: &Customer, references: &dyn References) -> Option<String> {
    let mut top = parent_id(customer)?.to_owned();
    for _ in 0..DEEPEST {
        let above = known(references, &top).and_then(|golden| match &golden.data {
            Some(Data::Customer(parent)) => parent_id(parent).map(str::to_owned),
            _ => None,
        });
        match above {
            Some(above) if above != customer.customer_id => top = above,
            _ => break,
        }
    }
    Some(top)
}

fn parent_id(customer: &Customer) -> Option<&str> {
    customer.parent_customer_id.as_deref().filter(|parent| !parent.is_empty())
}

pub(crate) fn parent_key(customer: &Customer) -> Option<RecordKey> {
    RecordKey::new(Domain::Customer, &[parent_id(customer)?]).ok()
}

fn golden(context: &Context<'_>, id: &str) -> Option<std::sync::Arc<Golden>> {
    known(context.case.references, id)
}

fn known(references: &dyn References, id: &str) -> Option<std::sync::Arc<Golden>> {
    let key = RecordKey::new(Domain::Customer, &[id]).ok()?;
    references.golden(Domain::Customer, &key).filter(|golden| golden.data.is_some())
}

/// CUS-15.
pub(crate) fn contact(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, contact) in customer.contacts.iter().enumerate() {
        if contact.email.as_deref().is_some_and(|email| !email.is_empty() && !is_email(email)) {
            found.push(Found::new(format!("/contacts/{index}/email"), "not an e-mail address"));
        }
        if contact.phone.as_deref().is_some_and(|phone| !phone.is_empty() && !is_phone(phone)) {
            found.push(Found::new(format!("/contacts/{index}/phone"), "not a phone number in E.164, such as +497311234567"));
        }
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    let has_blank = text.chars().any(|character| character.is_whitespace() || matches!(character, ',' | ';' | '<' | '>'));
    !has_blank
        && is_plain(local)
        && !local.contains('@')
        && is_plain(domain)
        && domain.contains('.')
        && domain.chars().all(|character| character.is_alphanumeric() || matches!(character, '.' | '-'))
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| {
        (7..=15).contains(&rest.len()) && !rest.starts_with('0') && rest.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// CUS-17.
pub(crate) fn currency(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    for (index, area) in customer.sales_areas.iter().enumerate() {
        if let Some(currency) = area.currency.as_deref().filter(|code| !code.is_empty() && !codes::currency_is_known(code)) {
            let message = format!("currency `{currency}` is not in ISO 4217");
            found.push(Found::new(format!("/sales_areas/{index}/currency"), message).observed(currency));
        }
    }
}

/// CUS-18. Which countries need a tax id is for the landscape to say, once it can.
pub(crate) fn active(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    if customer.status == CustomerStatus::Active && !customer.addresses.iter().any(tax::is_legal) {
        found.push(Found::new("/addresses", "an active customer needs a legal address"));
    }
}

/// CUS-19. A fact for the CRM's people, never a reason to stop.
pub(crate) fn marketing(customer: &Customer, _: &Context<'_>, found: &mut Vec<Found>) {
    if customer.marketing_segment.as_deref().is_none_or(str::is_empty) {
        found.push(Found::new("/marketing_segment", "the marketing segment is missing; the record passes without it"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_of_contacts() {
        for text in ["a@b.example", "first.last@sub.example.com", "o'neil+x@example.com"] {
            assert!(is_email(text), "{text}");
        }
        for text in ["", "a", "a@", "@b.example", "a b@c.example", "a@b", "a@b..c", "a@@b.example", "a@b.example;c@d.example"] {
            assert!(!is_email(text), "{text}");
        }
        assert!(is_phone("+497311234567"));
        for text in ["0731 1234567", "+49 731 1234567", "+0123456789", "+123", "+1234567890123456"] {
            assert!(!is_phone(text), "{text}");
        }
    }
}
