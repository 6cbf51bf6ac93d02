//! What the validator keeps waiting (kafka.md 6.2).

use serde::{Deserialize, Serialize};

use crate::{Finding, Timestamp, shared::symbols};

symbols! {
    /// Why something waits or is late: the closed list of experience.md 4, names as on screen and in metrics.
    Reason {
        Source, Rule, Approval, Steward, Record, Dependency, Confirmation, Effective, Window, Queued, Paused, Unavailable,
        Retrying, Refused, Blocked, Receipt, Resync, NotNeeded
    }
}

impl Reason {
    /// The label used in metrics, JSON and on screen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Source => "source",
            Reason::Rule => "rule",
            Reason::Approval => "approval",
            Reason::Steward => "steward",
            Reason::Record => "record",
            Reason::Dependency => "dependency",
            Reason::Confirmation => "confirmation",
            Reason::Effective => "effective",
            Reason::Window => "window",
            Reason::Queued => "queued",
            Reason::Paused => "paused",
            Reason::Unavailable => "unavailable",
            Reason::Retrying => "retrying",
            Reason::Refused => "refused",
            Reason::Blocked => "blocked",
            Reason::Receipt => "receipt",
            Reason::Resync => "resync",
            Reason::NotNeeded => "not_needed",
            Reason::Unknown => "unknown",
        }
    }
}

/// A record of `held`, one per key. Empty becomes a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Held {
    /// At most one entry per source, its newest.
    #[serde(default)]
    pub waiting: Vec<HeldChange>,
    /// The last revision and fence of a deleted key whose tombstone erased them from `golden`.
    #[serde(default)]
    pub grave: Option<Grave>,
}

/// One change that waits for something named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldChange {
    pub source: String,
    pub source_epoch: i64,
    pub source_sequence: i64,
    /// The change as it came, framed Avro.
    #[serde(with = "crate::held::bytes")]
    pub change: Vec<u8>,
    pub reason: Reason,
    /// What it waits for: `domain/key` for `record`, an owner for `steward`.
    pub waits_for: String,
    #[serde(default)]
    pub findings: Vec<Finding>,
    pub since: Timestamp,
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Where the change lies.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// What survives a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grave {
    pub revision: i64,
    pub fence: std::collections::BTreeMap<String, crate::Fence>,
}

/// `Vec<u8>` as Avro bytes; base-16 text in JSON.
pub mod bytes {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(&Hex(bytes)) } else { serializer.serialize_bytes(bytes) }
    }

    /// # Errors
    /// When the value is neither bytes nor base-16 text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let digits = text.as_bytes();
                if !digits.len().is_multiple_of(2) {
                    return Err(E::custom("odd number of base-16 digits"));
                }
                digits
                    .chunks(2)
                    .map(|pair| {
                        std::str::from_utf8(pair)
                            .ok()
                            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                            .ok_or_else(|| E::custom("not base-16"))
                    })
                    .collect()
            }
        }
        deserializer.deserialize_any(Visitor)
    }

    struct Hex<'a>(&'a [u8]);

    impl fmt::Display for Hex<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}
