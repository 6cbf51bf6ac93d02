//! What the operator decided about one domain: owners, approval, mandatory fields, severities.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use model::{Date, Domain, Severity};

use crate::{Rule, ownership, rule};

/// One domain of the landscape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPolicy {
    pub domain: Domain,
    /// Owner of the main group: every field that no group below names.
    pub owner: String,
    /// The people whom messages and "whose turn" name.
    pub office: Option<String>,
    /// Field groups of other owners. No two of them may cover one field.
    pub groups: Vec<Group>,
    pub approval: ApprovalDemand,
    /// Fields of the main group that golden must hold (ENV-01).
    pub mandatory: Vec<Pointer>,
    /// Rule id → what this landscape changes of it.
    pub rules: BTreeMap<String, RuleSetting>,
    /// Source commit → accepted.
    pub deadline: Option<Duration>,
}

/// A field group that another owner writes as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub owner: String,
    pub fields: Vec<Pointer>,
}

/// Whether only approved changes become golden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ApprovalDemand {
    #[default]
    None,
    Required,
}

/// What a landscape changes of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleSetting {
    pub severity: Option<Severity>,
    /// How long a record that lacks a reference waits; zero: not at all.
    pub hold: Option<Duration>,
    /// Exclusive: from this day on (UTC) the rule's own severity counts again.
    pub until: Option<Date>,
    /// Says that a severity above the rule's own is meant.
    pub raise: bool,
}

impl DomainPolicy {
    /// A domain with an owner and nothing else said.
    #[must_use]
    pub fn new(domain: Domain, owner: &str) -> Self {
        Self {
            domain,
            owner: owner.to_owned(),
            office: None,
            groups: Vec::new(),
            approval: ApprovalDemand::None,
            mandatory: Vec::new(),
            rules: BTreeMap::new(),
            deadline: None,
        }
    }

    /// Whether `source` may write any field of this domain.
    #[must_use]
    pub fn may_write(&self, source: &str) -> bool {
        self.owner == source || self.groups.iter().any(|group| group.owner == source)
    }

    /// Who is asked about this domain: its office, or the owner when none is named.
    #[must_use]
    pub fn turn(&self) -> &str {
        self.office.as_deref().unwrap_or(&self.owner)
    }

    /// The system that owns the field at a pointer into the data, such as a finding's; the main owner for the whole record.
    #[must_use]
    pub fn field_owner(&self, pointer: &str) -> &str {
        ownership::owner_of(self, pointer)
    }

    /// How heavy a violation of `rule` is on day `today`. Never above the rule's own severity unless the landscape says `raise`,
    /// and never above the rule's ceiling (CUS-19 passes, whatever a landscape says).
    #[must_use]
    pub fn severity(&self, rule: &Rule, today: Date) -> Severity {
        let Some(setting) = self.rules.get(rule.id).filter(|setting| setting.until.is_none_or(|until| today < until)) else {
            return rule.severity;
        };
        match setting.severity {
            None | Some(Severity::Unknown) => rule.severity,
            Some(severity) if severity <= rule.severity => severity,
            Some(severity) if setting.raise => severity.min(rule.ceiling()),
            Some(_) => rule.severity,
        }
    }

    /// How long a record waits for a reference that `rule` misses; none when the rule does not wait.
    #[must_use]
    pub fn hold(&self, rule: &Rule) -> Option<Duration> {
        let own = rule.hold?;
        let hold = self.rules.get(rule.id).and_then(|setting| setting.hold).unwrap_or(own);
        (!hold.is_zero()).then_some(hold)
    }

    /// What is wrong with one setting, as the landscape check tells it: an unknown rule, a rule of another domain, a severity that
    /// is raised silently, a hold of a rule that never waits.
    ///
    /// # Errors
    /// The problem in one sentence.
    pub fn check_setting(&self, id: &str, setting: &RuleSetting) -> Result<(), String> {
        let rule = rule(id).ok_or_else(|| format!("`{id}` is not a rule of this build"))?;
        if !rule.applies_to(self.domain) {
            return Err(format!("rule {id} does not judge records of {}", self.domain));
        }
        if let Some(severity) = setting.severity {
            if severity > rule.ceiling() {
                return Err(format!("rule {id} may not be heavier than {}", rule.ceiling().name()));
            }
            if severity > rule.severity && !setting.raise {
                return Err(format!(
                    "rule {id} is {} by itself; to make it {} say so with `raise: true`",
                    rule.severity.name(),
                    severity.name()
                ));
            }
        }
        if setting.hold.is_some() && rule.hold.is_none() {
            return Err(format!("rule {id} never holds a record, so `hold` means nothing"));
        }
        Ok(())
    }
}

/// A pointer into the data of a record (RFC 6901) whose segments may be `*`: every element of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(Vec<String>);

impl Pointer {
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            return Err(format!("`{text}` is not a pointer such as /sales_areas or /plants/*/storage_location"));
        };
        let segments: Vec<String> = rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        if segments.iter().any(String::is_empty) || segments.last().is_some_and(|last| last == "*") {
            return Err(format!("`{text}` must name a field in every segment and end in one"));
        }
        Ok(Self(segments))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1")))
    }
}
