//! The consumers of `deploy/subscribers`, built in: what a test runs against real topics is what a team starts from.

use clap::ValueEnum;

use super::Written;

/// A language that a consumer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Python,
    Java,
    Rust,
    Kcat,
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../deploy/subscribers/", $path)))),*]
    };
}

const README: &[(&str, &str)] = files!["README.md"];
const PYTHON: &[(&str, &str)] = files!["python/requirements.txt", "python/subscriber.py"];
const JAVA: &[(&str, &str)] = files![
    "java/pom.xml",
    "java/src/main/java/subscriber/Decoder.java",
    "java/src/main/java/subscriber/Store.java",
    "java/src/main/java/subscriber/Subscriber.java",
];
const RUST: &[(&str, &str)] = files!["rust/Cargo.toml", "rust/src/decode.rs", "rust/src/main.rs", "rust/src/store.rs"];
const KCAT: &[(&str, &str)] = files!["kcat/subscriber.sh"];

/// The files of one consumer, and the page that lists its settings.
pub(super) fn files(language: Language) -> Vec<Written> {
    let own = match language {
        Language::Python => PYTHON,
        Language::Java => JAVA,
        Language::Rust => RUST,
        Language::Kcat => KCAT,
    };
    own.iter()
        .chain(README)
        .map(|(path, text)| Written::new(format!("consumer/{path}"), *text, "consumer to start from"))
        .collect()
}
