//! The rule table: one row a rule. A new rule is one function and one row here, and a page in docs/errors.

use std::time::Duration;

use model::{Customer, Data, Domain, Finding, Item, Reference, Severity, Topical};

use crate::{
    Case, envelope,
    rules::{conversion, customer, identifier, item, reference, tax},
};

/// One rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// `ITM-02`: also the code of the letter it causes, and the name of its page in docs/errors.
    pub id: &'static str,
    pub severity: Severity,
    /// Set where an absent reference holds the record: how long, unless the landscape says otherwise.
    pub hold: Option<Duration>,
    pub needs: Needs,
    pub summary: &'static str,
    ceiling: Severity,
    check: Check,
}

/// What a rule must look at beside the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The record alone.
    Record,
    /// What the landscape says.
    Policy,
    /// The golden record of the same key.
    Golden,
    /// Golden records of other keys.
    References,
}

/// Which function judges, and with it which domains. `Change` rules judge the change, not the merged record: `decide` asks them.
#[derive(Clone, Copy)]
enum Check {
    Change,
    Any(fn(&Data, &Context<'_>, &mut Vec<Found>)),
    Customer(fn(&Customer, &Context<'_>, &mut Vec<Found>)),
    Item(fn(&Item, &Context<'_>, &mut Vec<Found>)),
    Reference(fn(&Reference, &Context<'_>, &mut Vec<Found>)),
}

/// What a rule sees beside the record it judges.
pub(crate) struct Context<'a> {
    pub(crate) case: &'a Case<'a>,
    /// The golden data before this change; none for a new record.
    pub(crate) previous: Option<&'a Data>,
}

/// What a rule found, before its severity is known.
#[derive(Default)]
pub(crate) struct Found {
    path: String,
    message: String,
    observed: Option<String>,
    reference_version: Option<String>,
    waits_for: Option<Topical>,
    lighter: Option<Severity>,
}

/// A finding with what the verdict needs to know of it.
pub(crate) struct Judged {
    pub(crate) finding: Finding,
    /// The record that would heal it, and for how long it may be waited for.
    pub(crate) waits_for: Option<(Topical, Duration)>,
}

impl Found {
    /// `path` points to the field in the words of the record.
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), ..Self::default() }
    }

    pub(crate) fn observed(mut self, value: impl ToString) -> Self {
        self.observed = Some(value.to_string());
        self
    }

    pub(crate) fn waits_for(mut self, record: Topical) -> Self {
        self.waits_for = Some(record);
        self
    }

    pub(crate) fn edition(mut self, edition: Option<&str>) -> Self {
        self.reference_version = edition.map(str::to_owned);
        self
    }

    /// This case is less than the rule's own severity.
    pub(crate) fn at_most(mut self, severity: Severity) -> Self {
        self.lighter = Some(severity);
        self
    }

    pub(crate) fn judged(self, id: &'static str, case: &Case<'_>) -> Judged {
        let rule = rule(id).expect("rules name rows of the table");
        let severity = case.policy.severity(rule, case.now.date());
        let severity = self.lighter.map_or(severity, |lighter| severity.min(lighter));
        let stops = severity >= Severity::Quarantine;
        let hold = case.policy.hold(rule).filter(|_| stops);
        Judged {
            waits_for: self.waits_for.zip(hold),
            finding: Finding {
                rule_id: rule.id.to_owned(),
                severity,
                path: self.path,
                message: self.message,
                observed: self.observed.map(shortened),
                reference_version: self.reference_version,
            },
        }
    }
}

/// Observed values go to screens and letters: enough to recognise, never the whole 2 MB.
fn shortened(text: String) -> String {
    const LIMIT: usize = 200;
    if text.chars().count() <= LIMIT {
        return text;
    }
    let mut short: String = text.chars().take(LIMIT).collect();
    short.push('…');
    short
}

/// All findings of the rules that judge a record of this kind.
pub(crate) fn judge(data: &Data, context: &Context<'_>) -> Vec<Judged> {
    let mut judged = Vec::new();
    let mut found = Vec::new();
    for rule in RULES {
        match (rule.check, data) {
            (Check::Any(check), data) => check(data, context, &mut found),
            (Check::Customer(check), Data::Customer(customer)) => check(customer, context, &mut found),
            (Check::Item(check), Data::Item(item)) => check(item, context, &mut found),
            (Check::Reference(check), Data::Reference(reference)) => check(reference, context, &mut found),
            (Check::Change | Check::Customer(_) | Check::Item(_) | Check::Reference(_), _) => {}
        }
        judged.extend(found.drain(..).map(|found| found.judged(rule.id, context.case)));
    }
    judged
}

/// The rule of this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

impl Rule {
    /// The heaviest severity that a landscape may give it.
    #[must_use]
    pub const fn ceiling(&self) -> Severity {
        self.ceiling
    }

    #[must_use]
    pub fn applies_to(&self, domain: Domain) -> bool {
        match self.check {
            Check::Change | Check::Any(_) => true,
            Check::Customer(_) => domain == Domain::Customer,
            Check::Item(_) => domain == Domain::Item,
            Check::Reference(_) => domain == Domain::Reference,
        }
    }

    const fn new(id: &'static str, severity: Severity, needs: Needs, check: Check, summary: &'static str) -> Self {
        Self { id, severity, hold: None, needs, summary, ceiling: Severity::Block, check }
    }

    const fn holds(mut self, seconds: u64) -> Self {
        self.hold = Some(Duration::from_secs(seconds));
        self
    }

    /// No landscape can make it heavier than it is.
    const fn capped(mut self) -> Self {
        self.ceiling = self.severity;
        self
    }
}

use Needs::{Golden, Policy, Record, References};
use Severity::{Block, Info, Quarantine, Warn};

const TWO_DAYS: u64 = 48 * 3600;

/// Every rule of this build, in the order of the documentation.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    Rule::new("ENV-01", Block, Policy, Check::Any(envelope::mandatory), "a mandatory field is missing"),
    Rule::new("ENV-02", Block, Policy, Check::Change, "the source does not own what it writes").holds(TWO_DAYS),
    Rule::new("ENV-03", Info, Golden, Check::Change, "the same change again").capped(),
    Rule::new("ENV-04", Warn, Golden, Check::Change, "older than what this source already sent").capped(),
    Rule::new("ENV-05", Quarantine, Golden, Check::Change, "same sequence, other content"),
    Rule::new("ENV-06", Block, Policy, Check::Change, "not approved by its owner"),
    Rule::new("ENV-07", Quarantine, Record, Check::Change, "approved by its author, or after it happened"),
    Rule::new("ENV-08", Block, Record, Check::Change, "the change came back to where it started"),
    Rule::new("ENV-09", Warn, Record, Check::Change, "happened in the future, or too long ago"),
    Rule::new("ENV-10", Quarantine, Record, Check::Change, "the key is not the one its data gives"),
    Rule::new("ENV-11", Block, Record, Check::Any(envelope::control_characters), "a text holds control characters"),
    Rule::new("CUS-01", Quarantine, Record, Check::Customer(tax::eu_vat), "an EU VAT number that no member state gives out"),
    Rule::new("CUS-02", Quarantine, Record, Check::Customer(tax::us_ein), "a US EIN with a prefix that is not given out"),
    Rule::new("CUS-04", Warn, Record, Check::Customer(tax::vat_country), "VAT number and legal address lie in different countries"),
    Rule::new("CUS-05", Block, Record, Check::Customer(customer::country), "a country code that ISO 3166 does not list"),
    Rule::new("CUS-09", Warn, Record, Check::Customer(customer::region), "a region of another country"),
    Rule::new("CUS-10", Block, References, Check::Customer(customer::parent_cycle), "the account hierarchy runs in a circle"),
    Rule::new("CUS-11", Quarantine, References, Check::Customer(customer::parent), "the parent customer is unknown").holds(TWO_DAYS),
    Rule::new("CUS-14", Quarantine, Record, Check::Customer(identifier::company), "an LEI, DUNS or GLN that is none"),
    Rule::new("CUS-15", Warn, Record, Check::Customer(customer::contact), "an e-mail address or phone number that is none"),
    Rule::new("CUS-16", Quarantine, Record, Check::Customer(identifier::bank), "an IBAN or BIC that is none"),
    Rule::new("CUS-17", Block, Record, Check::Customer(customer::currency), "a sales area's currency that ISO 4217 does not list"),
    Rule::new("CUS-18", Quarantine, Policy, Check::Customer(customer::active), "an active customer without a legal address"),
    Rule::new("CUS-19", Warn, Record, Check::Customer(customer::marketing), "an optional CRM field is missing").capped(),
    Rule::new("ITM-01", Block, References, Check::Item(item::units), "a unit that is unknown or withdrawn").holds(10),
    Rule::new("ITM-02", Block, Record, Check::Item(conversion::positive), "a unit conversion that is zero or negative"),
    Rule::new("ITM-03", Block, References, Check::Item(conversion::consistent), "unit conversions contradict each other"),
    Rule::new("ITM-04", Block, References, Check::Item(conversion::standard), "a conversion differs from the standard factor"),
    Rule::new("ITM-05", Quarantine, References, Check::Item(conversion::dimension), "units of different dimension without a conversion"),
    Rule::new("ITM-07", Quarantine, Record, Check::Item(identifier::gtin), "a GTIN with a wrong check digit"),
    Rule::new("ITM-09", Block, Record, Check::Item(item::validity), "valid from is not before valid to"),
    Rule::new("ITM-12", Block, Golden, Check::Item(item::lifecycle), "an illegal step in the life of an item"),
    Rule::new("ITM-13", Quarantine, References, Check::Item(item::weight), "net weight above gross weight, or not above zero"),
    Rule::new("ITM-15", Quarantine, Record, Check::Item(item::trade), "origin or commodity code invalid, or missing for export"),
    Rule::new("ITM-16", Quarantine, Record, Check::Item(identifier::hazard), "a CAS or UN number that is none"),
    Rule::new("REF-01", Block, Golden, Check::Reference(reference::edition), "older than the edition that is loaded"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_rule_has_its_page_and_every_id_one_row() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for (index, row) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|other| other.id != row.id), "{} twice", row.id);
            let page = std::fs::read_to_string(pages.join(format!("{}.md", row.id)));
            let page = page.unwrap_or_else(|_| panic!("docs/errors/{}.md is missing", row.id));
            for heading in ["## Meaning", "## Cause", "## What to do"] {
                assert!(page.contains(heading), "{}: {heading}", row.id);
            }
        }
    }
}
