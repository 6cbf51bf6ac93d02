//! The declared HTTP probes of a container, asked when they are due, with the thresholds of the manifest.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::spec::{Container, Probe};
use crate::fetch;

/// One probe of one running container.
pub(super) struct Watch {
    probe: Probe,
    address: SocketAddr,
    begin: Instant,
    asked: Option<Instant>,
    successes: u32,
    failures: u32,
    /// What the last answer was, when it was none of success.
    pub(super) last: Option<String>,
}

/// What a probe says after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Often enough in a row.
    Good,
    /// Failed often enough in a row.
    Bad,
    Undecided,
}

impl Watch {
    /// None when the probe is not over HTTP or names no port.
    pub(super) fn new(probe: &Probe, container: &Container, address: Ipv4Addr, now: Instant) -> Option<Self> {
        let port = probe.http_get.as_ref()?.port_in(container)?;
        Some(Self {
            probe: probe.clone(),
            address: SocketAddr::from((address, port)),
            begin: now + Duration::from_secs(probe.initial_delay_seconds),
            asked: None,
            successes: 0,
            failures: 0,
            last: None,
        })
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let period = Duration::from_secs(self.probe.period_seconds.max(1));
        now >= self.begin && self.asked.is_none_or(|asked| now >= asked + period)
    }

    pub(super) fn ask(&mut self, now: Instant) -> Verdict {
        self.asked = Some(now);
        let path = self.probe.http_get.as_ref().map_or("/", |get| get.path.as_str());
        let limit = Duration::from_secs(self.probe.timeout_seconds.max(1));
        let answer = match fetch::get_at(self.address, path, limit) {
            Ok((status, _)) if (200..400).contains(&status) => Ok(()),
            Ok((status, body)) => Err(format!("{path} answers {status}: {}", body.trim())),
            Err(error) => Err(format!("{path} does not answer: {error}")),
        };
        self.count(answer)
    }

    fn count(&mut self, answer: Result<(), String>) -> Verdict {
        match answer {
            Ok(()) => {
                self.successes += 1;
                self.failures = 0;
                self.last = None;
                if self.successes >= self.probe.success_threshold { Verdict::Good } else { Verdict::Undecided }
            }
            Err(why) => {
                self.failures += 1;
                self.successes = 0;
                self.last = Some(why);
                if self.failures >= self.probe.failure_threshold { Verdict::Bad } else { Verdict::Undecided }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_probe_decides_at_its_thresholds_and_asks_in_its_period() {
        let container: Container = serde_json::from_value(json!({"ports": [{"name": "ops", "containerPort": 8081}]})).unwrap();
        let probe: Probe = serde_json::from_value(
            json!({"httpGet": {"path": "/readyz", "port": "ops"}, "initialDelaySeconds": 5, "periodSeconds": 3, "failureThreshold": 2}),
        )
        .unwrap();
        let now = Instant::now();
        let mut watch = Watch::new(&probe, &container, Ipv4Addr::LOCALHOST, now).unwrap();
        assert_eq!(watch.address.port(), 8081);
        assert!(!watch.is_due(now) && watch.is_due(now + Duration::from_secs(5)));
        watch.asked = Some(now + Duration::from_secs(5));
        assert!(!watch.is_due(now + Duration::from_secs(7)) && watch.is_due(now + Duration::from_secs(8)));
        assert_eq!(watch.count(Err("503".to_owned())), Verdict::Undecided);
        assert_eq!(watch.count(Err("503".to_owned())), Verdict::Bad);
        assert_eq!(watch.count(Ok(())), Verdict::Good);
        assert_eq!(watch.count(Err("503".to_owned())), Verdict::Undecided);
    }
}
