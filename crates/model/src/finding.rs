//! Rule violations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ChangeId, Domain, RecordKey, Timestamp, clip};

/// What a finding does to the change that caused it (architecture.md 4). Ordered by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Counted.
    Info,
    /// Published with the finding attached.
    Warn,
    /// Waits in `held` until a steward decides.
    Quarantine,
    /// Never golden: dead letter.
    Block,
    /// A symbol that this build does not know: the heaviest, so that nothing passes by misreading.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Severity {
    /// As the landscape writes it and metrics label it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Quarantine => "quarantine",
            Severity::Block => "block",
        }
    }
}

/// One rule violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `ITM-02`.
    pub rule_id: String,
    pub severity: Severity,
    /// RFC 6901 pointer into data; empty for the whole record.
    #[serde(default)]
    pub path: String,
    pub message: String,
    #[serde(default)]
    pub observed: Option<String>,
    #[serde(default)]
    pub reference_version: Option<String>,
}

/// What one record carries of findings, in bytes: thousands of them would make it larger than any record may be.
pub const FINDINGS_BYTES: usize = 32 * 1024;
/// Kept free for the lines that say how many were left out.
const LEFT_OUT_BYTES: usize = 8 * 1024;
/// Of these lines; no change breaks more rules, for there are not so many.
const LEFT_OUT_LINES: usize = 64;

impl Finding {
    /// Each text cut to what a person takes in.
    fn short(&self) -> Self {
        Self {
            rule_id: clip(&self.rule_id, 32),
            severity: self.severity,
            path: clip(&self.path, 256),
            message: clip(&self.message, 512),
            observed: self.observed.as_deref().map(|observed| clip(observed, 1024)),
            reference_version: self.reference_version.as_deref().map(|version| clip(version, 64)),
        }
    }

    fn bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let framing = 32;
        self.rule_id.len()
            + self.path.len()
            + self.message.len()
            + optional(&self.observed)
            + optional(&self.reference_version)
            + framing
    }
}

/// Findings as a record carries them: the first ones, in their order, and for each rule how many more there are. At most
/// [`FINDINGS_BYTES`]; few findings stay as they are.
#[must_use]
pub fn abridged(findings: &[Finding]) -> Vec<Finding> {
    let short = |finding: &Finding| {
        let short = finding.short();
        (short.bytes(), short)
    };
    let (mut kept, mut bytes) = (Vec::new(), 0);
    let mut rest = findings.iter().peekable();
    while let Some((size, finding)) = rest.peek().map(|finding| short(finding)) {
        if bytes + size > FINDINGS_BYTES - LEFT_OUT_BYTES {
            break;
        }
        bytes += size;
        kept.push(finding);
        rest.next();
    }
    let mut left_out: BTreeMap<&str, (usize, Severity)> = BTreeMap::new();
    for finding in rest {
        let line = left_out.entry(&finding.rule_id).or_insert((0, finding.severity));
        *line = (line.0 + 1, line.1.max(finding.severity));
    }
    kept.extend(left_out.into_iter().take(LEFT_OUT_LINES).map(|(rule, (count, severity))| Finding {
        rule_id: clip(rule, 32),
        severity,
        path: String::new(),
        message: format!("and {} more", grouped(count)),
        observed: None,
        reference_version: None,
    }));
    kept
}

/// `4,400`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What became of the change that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingOutcome {
    Golden,
    Held,
    Refused,
    Stale,
    #[default]
    #[serde(other)]
    Unknown,
}

/// A record of topic `finding`: all findings of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingReport {
    pub domain: Domain,
    pub key: RecordKey,
    pub change_id: ChangeId,
    pub source: String,
    pub source_epoch: i64,
    pub source_sequence: i64,
    pub outcome: FindingOutcome,
    pub policy_version: String,
    pub at: Timestamp,
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule_id: &str, severity: Severity, size: usize) -> Finding {
        Finding {
            rule_id: rule_id.to_owned(),
            severity,
            path: "/gtins/17".to_owned(),
            message: "m".repeat(size),
            observed: Some("o".repeat(size)),
            reference_version: None,
        }
    }

    #[test]
    fn few_findings_stay_as_they_are() {
        let few = vec![finding("ITM-07", Severity::Quarantine, 80), finding("ITM-02", Severity::Block, 200)];
        assert_eq!(abridged(&few), few);
    }

    #[test]
    fn thousands_keep_the_first_and_count_the_rest_by_rule() {
        let mut many = vec![finding("ITM-02", Severity::Block, 80)];
        many.extend(std::iter::repeat_n(finding("ITM-07", Severity::Warn, 80), 4_600));
        let kept = abridged(&many);
        assert_eq!(kept[0], many[0]);
        let last = kept.last().unwrap();
        let left_out = many.len() - (kept.len() - 1);
        assert_eq!((last.rule_id.as_str(), last.severity), ("ITM-07", Severity::Warn));
        assert_eq!(last.message, format!("and 4,{} more", left_out - 4_000));
        assert!(kept.iter().map(Finding::bytes).sum::<usize>() <= FINDINGS_BYTES);
        assert_eq!(abridged(&kept), kept);
    }

    #[test]
    fn a_finding_of_any_size_is_cut() {
        let rules: Vec<String> = (0..2_000).map(|number| format!("{}{number}", "R".repeat(1_000))).collect();
        let hostile: Vec<Finding> = rules.iter().map(|rule| finding(rule, Severity::Unknown, 300_000)).collect();
        let kept = abridged(&hostile);
        assert!(kept.iter().map(Finding::bytes).sum::<usize>() <= FINDINGS_BYTES);
        assert!(kept[0].message.ends_with('…'));
    }
}
