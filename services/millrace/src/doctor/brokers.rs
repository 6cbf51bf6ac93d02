//! Do the brokers answer, who are we to them, and do their own settings lose nothing.

use std::{collections::BTreeMap, time::Duration};

use kafka::Client;

use super::{Line, reason};
use crate::{cluster::Cluster, words};

const PATIENCE: Duration = Duration::from_secs(8);
const THREE: usize = 3;

/// What a broker's setting must be.
enum Bar {
    False,
    AtLeast(i64),
}

impl Bar {
    fn is_met(&self, value: &str) -> bool {
        match self {
            Bar::False => value == "false",
            Bar::AtLeast(least) => value.parse::<i64>().is_ok_and(|value| value >= *least),
        }
    }
}

/// Setting, bar, and what is wanted and why (kafka.md 4).
const WANTED: &[(&str, Bar, &str)] = &[
    ("auto.create.topics.enable", Bar::False, "false: a mistyped name would become a topic with the wrong partitions"),
    ("offsets.retention.minutes", Bar::AtLeast(43_200), "43200 or more: a destination may be away for weeks"),
    ("transaction.max.timeout.ms", Bar::AtLeast(30_000), "30000 or more: the services' transactions need it"),
    ("unclean.leader.election.enable", Bar::False, "false: an unclean leader loses records"),
];

pub(super) async fn check(client: &Client, cluster: &Cluster) -> Vec<Line> {
    let found = match kafka::cluster::look(client, PATIENCE).await {
        Ok(found) => found,
        Err(error) => {
            let next = "check --brokers and, where they want it, --kafka-ca-file, --kafka-username, --kafka-password-file";
            return vec![Line::fail("brokers", reason(error), next)];
        }
    };
    let count = i64::try_from(found.brokers).unwrap_or(i64::MAX);
    let who = format!("{}, {}", words::count(count, "broker"), identity(cluster));
    let mut lines = Vec::new();
    if found.brokers < THREE && !cluster.is_development() {
        let text = format!("{who}; with fewer than three, one that fails stops the writers");
        lines.push(Line::warn("brokers", text, "add brokers, or say --development where one will do"));
    } else {
        lines.push(Line::ok("brokers", who));
    }
    if cluster.security().is_none_or(|security| security.ca_file.is_none()) && !cluster.is_local() {
        lines.push(Line::warn(
            "transport",
            "records and passwords travel unencrypted",
            "--kafka-ca-file FILE (docs/security.md)",
        ));
    }
    lines.extend(settings(found.settings.as_ref(), cluster.is_development()));
    lines
}

/// `TLS, SCRAM-SHA-512 as operator`.
fn identity(cluster: &Cluster) -> String {
    let Some(security) = cluster.security() else { return "no TLS, nobody in particular".to_owned() };
    let transport = if security.ca_file.is_some() { "TLS" } else { "no TLS" };
    match (&security.username, &security.certificate_file) {
        (Some(user), _) => format!("{transport}, {} as {user}", security.mechanism.as_deref().unwrap_or("SCRAM-SHA-512")),
        (None, Some(certificate)) => format!("{transport}, by the certificate {certificate}"),
        (None, None) => format!("{transport}, nobody in particular"),
    }
}

fn settings(found: Option<&BTreeMap<String, String>>, development: bool) -> Vec<Line> {
    let Some(found) = found else {
        return vec![Line::ok("settings", "the brokers' own settings are not visible to this identity, and need not be")];
    };
    let wrong: Vec<Line> = WANTED
        .iter()
        .filter_map(|(name, bar, wanted)| {
            let value = found.get(*name)?;
            let text = || format!("{name} is {value}, wanted {wanted}");
            (!bar.is_met(value)).then(|| Line::warn("settings", text(), format!("set {name} in the brokers' configuration")))
        })
        .collect();
    if development || wrong.is_empty() {
        vec![Line::ok(
            "settings",
            if wrong.is_empty() { "the brokers' own settings as wanted" } else { "not judged (--development)" },
        )]
    } else {
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn settings_of(pairs: &[(&str, &str)], development: bool) -> Vec<Line> {
        let found = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings(Some(&found), development)
    }

    #[test]
    fn a_setting_that_loses_something_is_named_with_its_reason() {
        let lines = settings_of(&[("offsets.retention.minutes", "10080"), ("auto.create.topics.enable", "false")], false);
        assert_eq!((lines.len(), lines[0].level), (1, Level::Warn));
        assert!(lines[0].text.starts_with("offsets.retention.minutes is 10080, wanted 43200 or more"), "{}", lines[0].text);
        assert_eq!(settings_of(&[("offsets.retention.minutes", "10080")], true)[0].level, Level::Ok);
        assert_eq!(settings_of(&[("offsets.retention.minutes", "43200")], false)[0].level, Level::Ok);
    }
}
