//! The tracker's overview as a table on a terminal and as one line elsewhere.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The part of `GET /api/v1/overview` that the demo shows.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Overview {
    #[serde(default)]
    pub(crate) caught_up: bool,
    pub(crate) domains: Vec<Row>,
    pub(crate) dead_letters: Letters,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Letters {
    pub(crate) open: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) domain: String,
    pub(crate) golden: u64,
    #[serde(default)]
    pub(crate) held: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) refused: u64,
    pub(crate) cells: BTreeMap<String, Cell>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(crate) enum Cell {
    Source {},
    Destination(Counts),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) sent: u64,
    pub(crate) waiting: u64,
    pub(crate) refused: u64,
    #[serde(default)]
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) p50_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
}

impl Overview {
    /// Everything that changes while records travel; two equal ones some seconds apart mean that nothing travels.
    pub(crate) fn fingerprint(&self) -> Vec<u64> {
        let rows = self.domains.iter().flat_map(|row| {
            let cells =
                row.destinations().flat_map(|(_, counts)| [counts.accepted, counts.sent + counts.waiting, counts.refused]);
            [row.golden, row.held.values().sum(), row.refused].into_iter().chain(cells).collect::<Vec<_>>()
        });
        rows.chain([self.dead_letters.open]).collect()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.destinations().map(|(_, counts)| counts.accepted).sum()
    }

    pub(crate) fn travelling(&self) -> u64 {
        self.destinations().map(|(_, counts)| counts.sent + counts.waiting).sum()
    }

    fn destinations(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.domains.iter().flat_map(Row::destinations)
    }
}

impl Row {
    fn destinations(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.cells.iter().filter_map(|(name, cell)| match cell {
            Cell::Source {} => None,
            Cell::Destination(counts) => Some((name.as_str(), counts)),
        })
    }
}

/// The table: per domain what the validator accepted, then each destination.
pub(crate) fn table(overview: &Overview) -> String {
    let width = overview.destinations().map(|(name, _)| name.len()).max().unwrap_or_default().max(12);
    let line = |cells| line(width, cells);
    let mut lines = vec![line(["DOMAIN", "AT", "ACCEPTED", "WAITING", "REFUSED", "P50", "P99"].map(str::to_owned))];
    for row in &overview.domains {
        let held = waiting(row.held.values().sum(), &row.held);
        let golden = row.golden.to_string();
        lines.push(line([
            row.domain.clone(),
            "golden".to_owned(),
            golden,
            held,
            number(row.refused),
            String::new(),
            String::new(),
        ]));
        for (name, counts) in row.destinations() {
            lines.push(line([
                String::new(),
                name.to_owned(),
                counts.accepted.to_string(),
                waiting(counts.waiting + counts.sent, &counts.reasons),
                number(counts.refused),
                seconds(counts.p50_seconds),
                seconds(counts.p99_seconds),
            ]));
        }
    }
    lines.join("\n")
}

/// What one destination has of all domains.
#[derive(Default)]
struct Sum {
    accepted: u64,
    travelling: u64,
    refused: u64,
    reasons: BTreeMap<String, u64>,
    worst_p99: Option<f64>,
}

/// One line: the sums of each destination.
pub(crate) fn one_line(overview: &Overview) -> String {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (name, counts) in overview.destinations() {
        let sum = sums.entry(name).or_default();
        sum.accepted += counts.accepted;
        sum.travelling += counts.waiting + counts.sent;
        sum.refused += counts.refused;
        for (reason, count) in &counts.reasons {
            *sum.reasons.entry(reason.clone()).or_default() += count;
        }
        sum.worst_p99 = sum.worst_p99.into_iter().chain(counts.p99_seconds).reduce(f64::max);
    }
    let golden: u64 = overview.domains.iter().map(|row| row.golden).sum();
    let mut parts = vec![format!("golden {golden}")];
    for (name, sum) in sums {
        let (travelling, refused) = (waiting(sum.travelling, &sum.reasons), number(sum.refused));
        let p99 = seconds(sum.worst_p99);
        parts.push(format!("{name} {} accepted, waiting {travelling}, refused {refused}, p99 {p99}", sum.accepted));
    }
    parts.push(format!("dead letters {}", number(overview.dead_letters.open)));
    parts.join("; ")
}

fn line(width: usize, [domain, at, accepted, waiting, refused, p50, p99]: [String; 7]) -> String {
    format!("{domain:<12} {at:<width$} {accepted:>8}  {waiting:<34} {refused:>7} {p50:>9} {p99:>9}").trim_end().to_owned()
}

fn waiting(count: u64, reasons: &BTreeMap<String, u64>) -> String {
    if count == 0 {
        return "-".to_owned();
    }
    if reasons.is_empty() {
        return count.to_string();
    }
    let named: Vec<String> = match reasons.len() {
        1 => reasons.keys().map(|reason| reason.replace('_', " ")).collect(),
        _ => reasons.iter().map(|(reason, count)| format!("{count} {}", reason.replace('_', " "))).collect(),
    };
    format!("{count} ({})", named.join(", "))
}

fn number(count: u64) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 1.0 => format!("{:.0} ms", value * 1000.0),
        Some(value) => format!("{value:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Overview {
        serde_json::from_value(serde_json::json!({
            "version": 1, "caught_up": true,
            "domains": [
                {"domain": "customer", "golden": 40, "held": {}, "refused": 0, "cells": {"crm": {"role": "source", "changes": 40}}},
                {"domain": "item", "golden": 300, "held": {"record": 1}, "refused": 2, "cells": {
                    "erp": {"role": "source", "changes": 303},
                    "mes-ulm": {"role": "destination", "accepted": 297, "sent": 1, "waiting": 2, "refused": 1,
                                "reasons": {"queued": 2, "answer_due": 1}, "p50_seconds": 0.041, "p99_seconds": 1.26},
                    "mes-pune": {"role": "destination", "accepted": 0, "sent": 0, "waiting": 12, "refused": 0,
                                 "reasons": {"destination_unavailable": 12}, "p50_seconds": null, "p99_seconds": null}}}
            ],
            "dead_letters": {"open": 3, "replaying": 0, "oldest_open_seconds": 1.0}
        }))
        .unwrap()
    }

    #[test]
    fn the_table_says_how_many_wait_and_why() {
        let expected = "\
DOMAIN       AT           ACCEPTED  WAITING                            REFUSED       P50       P99
customer     golden             40  -                                        -
item         golden            300  1 (record)                               2
             mes-pune            0  12 (destination unavailable)             -         -         -
             mes-ulm           297  3 (1 answer due, 2 queued)               1     41 ms     1.3 s";
        assert_eq!(table(&sample()), expected);
    }

    #[test]
    fn the_line_sums_each_destination() {
        assert_eq!(
            one_line(&sample()),
            "golden 340; mes-pune 0 accepted, waiting 12 (destination unavailable), refused -, p99 -; \
             mes-ulm 297 accepted, waiting 3 (1 answer due, 2 queued), refused 1, p99 1.3 s; dead letters 3"
        );
    }

    #[test]
    fn what_travels_shows_in_the_fingerprint() {
        let (mut before, after) = (sample(), sample());
        assert_eq!(before.fingerprint(), after.fingerprint());
        assert_eq!((before.accepted(), before.travelling()), (297, 15));
        before.dead_letters.open += 1;
        assert_ne!(before.fingerprint(), after.fingerprint());
    }
}
