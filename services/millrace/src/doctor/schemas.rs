//! The registry: does it answer, what is it, and does it hold what the services look up at start.

use std::collections::BTreeMap;

use registry::{Error, Registry};

use super::{Line, reason};
use crate::{cluster::Cluster, words};

pub(super) async fn check(registry: &Registry, cluster: &Cluster) -> Vec<Line> {
    let specs = cluster.specs();
    let (mut missing, mut loose) = (Vec::new(), BTreeMap::new());
    for spec in &specs {
        let subject = avro::subject(&spec.name);
        match registry.id_of(&subject, spec.schema.text()).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => {
                missing.push(subject);
                continue;
            }
            Err(error) => {
                let next = "check --registry and, where it wants them, --registry-username, --registry-password-file, --registry-ca-file";
                return vec![Line::fail("registry", reason(error), next)];
            }
        }
        // Golden topics are the ones that others build on.
        if spec.name.contains("golden.")
            && let Ok(level) = registry.compatibility(&subject).await
            && level != spec.compatibility.name()
        {
            loose.insert(subject, level);
        }
    }
    let kind = registry.kind().await;
    let mut lines = Vec::new();
    if let Some(first) = missing.first() {
        let more = match missing.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("{kind}: this build's schema is not registered under {first}{more}");
        lines.push(Line::fail("registry", text, "millrace schemas register"));
    }
    for (subject, level) in loose {
        let text = format!("{subject} is checked for {level}, promised is FULL_TRANSITIVE");
        lines.push(Line::warn("registry", text, "millrace schemas register"));
    }
    if lines.is_empty() {
        let count = i64::try_from(specs.len()).unwrap_or(i64::MAX);
        let habit = match kind.as_str() {
            "Karapace" => "; ids may be reused after a hard delete (handled)",
            _ => "",
        };
        lines.push(Line::ok("registry", format!("{kind}, {} as this build writes them{habit}", words::count(count, "schema"))));
    }
    lines
}
