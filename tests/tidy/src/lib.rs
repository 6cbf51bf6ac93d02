//! The house rules of ARCHITECTURE.md as data and small scanners; the tests under `tests/it` apply them.
//!
//! A message always says what to do instead. Known exceptions stand in a table with their reason, and the table shrinks.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Layers from the inside out. A crate imports its own layer's inner ones only as [`may_import`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Words,
    Decisions,
    Talkers,
    Services,
    Proofs,
}

/// Every package of the workspace and its layer. A new crate starts with a line here.
pub const LAYER: &[(&str, Layer)] = &[
    ("millrace-model", Layer::Words),
    ("millrace-telemetry", Layer::Words),
    ("millrace-avro", Layer::Decisions),
    ("millrace-landscape", Layer::Decisions),
    ("millrace-mapping", Layer::Decisions),
    ("millrace-policy", Layer::Decisions),
    ("millrace-delivery", Layer::Decisions),
    ("millrace-deadletter", Layer::Decisions),
    ("millrace-kafka", Layer::Talkers),
    ("millrace-registry", Layer::Talkers),
    ("millrace-connect", Layer::Talkers),
    ("millrace-service", Layer::Talkers),
    ("millrace-publisher", Layer::Services),
    ("millrace-validator", Layer::Services),
    ("millrace-sink", Layer::Services),
    ("millrace-replayer", Layer::Services),
    ("millrace-tracker", Layer::Services),
    ("millrace", Layer::Services),
    ("millrace-devstack", Layer::Proofs),
    ("millrace-tidy", Layer::Proofs),
    ("millrace-contract", Layer::Proofs),
    ("millrace-e2e", Layer::Proofs),
    ("millrace-bench", Layer::Proofs),
    ("millrace-chart", Layer::Proofs),
    ("millrace-cluster", Layer::Proofs),
    ("millrace-image", Layer::Proofs),
];

/// Heavy dependencies and the packages that may name them.
pub const OWNER: &[(&str, &[&str])] = &[
    ("rdkafka", &["millrace-kafka"]),
    ("schema_registry_converter", &["millrace-registry"]),
    ("serde_avro_fast", &["millrace-avro"]),
    ("apache-avro", &["millrace-avro", "millrace-registry", "millrace-contract"]),
    ("minijinja", &["millrace-mapping", "millrace-landscape"]),
    ("serde-saphyr", &["millrace-landscape", "millrace-avro", "millrace", "millrace-chart"]),
    ("rusqlite", &["millrace-tracker"]),
    ("csv", &["millrace-connect", "millrace-devstack", "millrace-e2e"]),
    ("reqwest", &["millrace-connect", "millrace-registry", "millrace", "millrace-devstack", "millrace-e2e", "millrace-bench"]),
    ("axum", &["millrace-service", "millrace-tracker", "millrace-devstack", "millrace-bench", "millrace-e2e"]),
    ("tracing-subscriber", &["millrace-service", "millrace-devstack"]),
    ("rcgen", &["millrace-devstack"]),
    ("tokio-rustls", &["millrace-devstack"]),
    ("opentelemetry", &["millrace-service"]),
    ("opentelemetry-otlp", &["millrace-service"]),
    ("opentelemetry_sdk", &["millrace-service"]),
    ("opentelemetry-proto", &["millrace-e2e"]),
    (
        "prometheus",
        &[
            "millrace-telemetry",
            "millrace-service",
            "millrace-kafka",
            "millrace-registry",
            "millrace-connect",
            "millrace-publisher",
            "millrace-validator",
            "millrace-sink",
            "millrace-replayer",
            "millrace-tracker",
        ],
    ),
    (
        "clap",
        &[
            "millrace-service",
            "millrace",
            "millrace-devstack",
            "millrace-bench",
            "millrace-image",
            "millrace-publisher",
            "millrace-validator",
            "millrace-sink",
            "millrace-replayer",
            "millrace-tracker",
        ],
    ),
];

/// Programs that other teams copy: they stand for themselves, so they inherit nothing from the workspace, own what they depend on and
/// are named for what they are. Members of it all the same, so that they are built and run with what everything else is.
pub const SAMPLES: &[&str] = &["golden-subscriber"];

/// What a decision crate must not name: time, bytes and files come in as values.
pub const IMPURE: &[(&str, &str)] = &[
    ("tokio", "decisions are synchronous: return what you need and let the service ask"),
    ("rdkafka", "only crates/kafka knows Kafka"),
    ("reqwest", "only talkers do HTTP"),
    ("std::fs", "files come in as text, read by the service"),
    ("std::env", "configuration comes in as values"),
    ("std::net", "only talkers open sockets"),
    ("SystemTime", "time comes in as a value"),
    ("Instant::now", "time comes in as a value"),
    ("Timestamp::now", "time comes in as a value"),
];

/// Everything that may lie at the root.
pub const ROOT: &[&str] = &[
    ".ci",
    ".git",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "avro",
    "clippy.toml",
    "crates",
    "deny.toml",
    "deploy",
    "docs",
    "helm",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "services",
    "target",
    "tests",
];

/// The workspace root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/tidy lies two below the root").to_owned()
}

/// Layer of a package.
#[must_use]
pub fn layer(package: &str) -> Option<Layer> {
    LAYER.iter().find(|(name, _)| *name == package).map(|(_, layer)| *layer)
}

/// Whether `from` may import `to`, and if not, what to do.
///
/// # Errors
/// The rule that the import breaks.
pub fn may_import(from: &str, to: &str) -> Result<(), String> {
    let (Some(outer), Some(inner)) = (layer(from), layer(to)) else {
        return Err(format!("{from} or {to} has no layer: add it to LAYER in tests/tidy"));
    };
    let allowed = match outer {
        // `avro` is the one decision that the others build on: it embeds the schemas. `landscape` checks files against all.
        Layer::Words => inner == Layer::Words,
        Layer::Decisions => inner == Layer::Words || from == "millrace-landscape" && inner == Layer::Decisions,
        Layer::Talkers => inner <= Layer::Decisions,
        Layer::Services => inner <= Layer::Talkers,
        Layer::Proofs => true,
    };
    if allowed {
        return Ok(());
    }
    Err(format!(
        "{from} ({outer:?}) imports {to} ({inner:?}): move the shared type to the lowest layer that understands it, or pass the value in"
    ))
}

/// Every tracked-looking file below `dir` with one of `endings`, build output and hidden folders left out.
#[must_use]
pub fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, endings));
            }
        } else if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A path as a reader of the message types it.
#[must_use]
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Source without its `#[cfg(test)] mod` at the end: tests may do what code may not.
#[must_use]
pub fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |start| &text[..start])
}
