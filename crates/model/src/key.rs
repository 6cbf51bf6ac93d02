//! Record keys, slots and the one partitioner.

use std::{borrow::Cow, fmt};

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

use crate::{Domain, clip};

/// No key is longer, in bytes as it is written. A key is repeated in headers, letters, ledger entries and addresses, so what is too long
/// for one of them is refused where it comes in.
pub const LONGEST_KEY: usize = 512;
/// What an error shows of a key.
const SHOWN: usize = 80;

/// Natural key: percent-encoded components in Normalization Form C, joined by `/`; an absent optional component is `*` (domain.md 4.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordKey(String);

/// A text that is no key of its domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("key `{key}` has {found} components, a key of {domain} has {expected} ({fields})")]
    Components { key: String, domain: Domain, found: usize, expected: usize, fields: String },
    #[error("key component `{field}` of {domain} is empty")]
    Empty { domain: Domain, field: &'static str },
    #[error("key `{0}` is not percent-encoded UTF-8")]
    Encoding(String),
    #[error("`{0}` is not a domain/key")]
    Topical(String),
    #[error("the key of this {domain} has {bytes} bytes, a key has at most {LONGEST_KEY}; the longest part of it is `{field}`")]
    TooLong { domain: Domain, field: &'static str, bytes: usize },
}

impl RecordKey {
    /// Builds a key from its raw components in key order.
    ///
    /// # Errors
    /// When the number of components is wrong, one is empty, or the key is longer than [`LONGEST_KEY`].
    pub fn new(domain: Domain, components: &[&str]) -> Result<Self, KeyError> {
        let fields = domain.key_fields();
        if components.len() != fields.len() {
            return Err(KeyError::Components {
                key: clip(&components.join("/"), SHOWN),
                domain,
                found: components.len(),
                expected: fields.len(),
                fields: fields.join("/"),
            });
        }
        if let Some(index) = components.iter().position(|component| component.is_empty()) {
            return Err(KeyError::Empty { domain, field: fields[index] });
        }
        let encoded: Vec<String> = components.iter().map(|component| encode(&nfc(component))).collect();
        let key = encoded.join("/");
        if key.len() > LONGEST_KEY {
            let longest = fields.iter().zip(&encoded).max_by_key(|(_, part)| part.len());
            let field = longest.map_or("", |(field, _)| *field);
            return Err(KeyError::TooLong { domain, field, bytes: key.len() });
        }
        Ok(Self(key))
    }

    /// Reads a key as it stands on a topic or as a person typed it.
    ///
    /// # Errors
    /// When the number of components is wrong, one is empty, the encoding is not canonical, or the key is too long.
    pub fn parse(domain: Domain, text: &str) -> Result<Self, KeyError> {
        let unreadable = || KeyError::Encoding(clip(text, SHOWN));
        let raw = text.split('/').map(decode).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        Self::new(domain, &raw.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The decoded components in key order.
    #[must_use]
    pub fn components(&self) -> Vec<String> {
        self.0.split('/').map(|part| decode(part).unwrap_or_else(|| part.to_owned())).collect()
    }

    /// The entity part: what decides the partition, so that all revisions of one entity keep their order.
    #[must_use]
    pub fn partition_key(&self, domain: Domain) -> &str {
        let mut end = 0;
        for (index, part) in self.0.split('/').enumerate() {
            if index == domain.entity_components() {
                break;
            }
            end += part.len() + usize::from(index > 0);
        }
        &self.0[..end]
    }

    /// The slot of this key among `slots`.
    #[must_use]
    pub fn slot(&self, domain: Domain, slots: u32) -> Slot {
        Slot::of(self.partition_key(domain), slots)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one spelling of a text that names something (Unicode's Normalization Form C): `ä` as one letter, or as `a` and a mark, is one key.
///
/// Letters that only look alike, upper and lower case, and full-width forms stay what they are: there a source may mean a difference.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

fn encode(component: &str) -> String {
    component.bytes().fold(String::with_capacity(component.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn decode(component: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A record named on the topics that carry several domains: `domain/key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topical {
    pub domain: Domain,
    pub key: RecordKey,
}

impl Topical {
    #[must_use]
    pub fn new(domain: Domain, key: RecordKey) -> Self {
        Self { domain, key }
    }

    /// Reads `domain/key`.
    ///
    /// # Errors
    /// When the domain is unknown or the rest is no key of it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (domain, key) = text.split_once('/').ok_or_else(|| KeyError::Topical(clip(text, SHOWN)))?;
        let domain = domain.parse().map_err(|_| KeyError::Topical(clip(text, SHOWN)))?;
        Ok(Self { domain, key: RecordKey::parse(domain, key)? })
    }

    #[must_use]
    pub fn slot(&self, slots: u32) -> Slot {
        self.key.slot(self.domain, slots)
    }
}

impl fmt::Display for Topical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.key)
    }
}

/// Partition number p of every topic keyed by record: the unit of ownership, state and fencing (kafka.md 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub i32);

impl Slot {
    /// `(murmur2(text) & 0x7fffffff) mod slots`: the one partitioner of the house, never a client's default.
    #[must_use]
    pub fn of(partition_key: &str, slots: u32) -> Self {
        let positive = murmur2(partition_key.as_bytes()) & 0x7fff_ffff;
        Self(i32::try_from(positive % slots).expect("a remainder of a 31-bit number fits"))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Kafka's murmur2 (seed 0x9747b28c), as its Java producer computes it.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ u32::try_from(data.len()).expect("keys are far below 4 GiB");
    let chunks = data.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("chunks of four")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        for (text, hash, mod12, mod24) in [
            ("kafka", 0xd067_cf64_u32, 4, 4),
            ("giberish123456789", 0x8f55_2b0c, 8, 20),
            ("1234", 0x9fc9_7b14, 0, 12),
            ("21", 0xc5f2_f8ec, 0, 12),
            ("foobar", 0xd0e4_7bbe, 6, 6),
            ("a-little-bit-long-string", 0xc53b_1da0, 8, 8),
            ("a-little-bit-longer-string", 0xa768_c9c3, 11, 11),
            ("abc", 0x1c94_221b, 3, 3),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
            assert_eq!((Slot::of(text, 12).0, Slot::of(text, 24).0), (mod12, mod24), "{text}");
        }
        assert_eq!(murmur2(b""), 0x106e_08d9);
    }

    #[test]
    fn key_components_are_percent_encoded_and_come_back() {
        let key = RecordKey::new(Domain::Item, &["PUMP/01", "Ä +"]).unwrap();
        assert_eq!(key.as_str(), "PUMP%2F01/%C3%84%20%2B");
        assert_eq!(key.components(), ["PUMP/01", "Ä +"]);
        assert_eq!(RecordKey::parse(Domain::Item, key.as_str()).unwrap(), key);
        assert_eq!(key.partition_key(Domain::Item), "PUMP%2F01");
    }

    #[test]
    fn a_key_that_is_too_long_names_its_longest_field_and_the_bound() {
        let longest = "x".repeat(LONGEST_KEY - "/C".len());
        assert!(RecordKey::new(Domain::Item, &[&longest, "C"]).is_ok());
        // Encoded, which is how it is written: each of these takes three bytes.
        let error = RecordKey::new(Domain::Item, &["C", &"ä".repeat(LONGEST_KEY / 6 + 1)]).unwrap_err();
        assert_eq!(error, KeyError::TooLong { domain: Domain::Item, field: "revision", bytes: 518 });
        let error = RecordKey::parse(Domain::Item, &format!("{longest}x/C")).unwrap_err().to_string();
        assert_eq!(error, "the key of this item has 513 bytes, a key has at most 512; the longest part of it is `item_id`");
    }

    #[test]
    fn an_error_about_a_key_shows_only_the_beginning_of_it() {
        let stray = "x".repeat(600_000);
        for error in [
            RecordKey::parse(Domain::Item, &stray).unwrap_err(),
            RecordKey::parse(Domain::Item, &format!("{stray}%ZZ/C")).unwrap_err(),
            RecordKey::new(Domain::Item, &[&stray, "C"]).unwrap_err(),
            Topical::parse(&stray).unwrap_err(),
        ] {
            assert!(error.to_string().len() < 256, "{error}");
        }
    }

    #[test]
    fn two_spellings_of_one_text_are_one_key() {
        let (composed, decomposed) = ("Gew\u{e4}chs \u{c5}", "Gewa\u{308}chs \u{212b}");
        let key = RecordKey::new(Domain::Item, &[composed, "A"]).unwrap();
        assert_eq!(RecordKey::new(Domain::Item, &[decomposed, "A"]).unwrap(), key);
        assert_eq!(RecordKey::parse(Domain::Item, "Gewa%CC%88chs%20%E2%84%AB/A").unwrap(), key, "as somebody types it");
        assert_eq!(key.components()[0], composed);
        assert_ne!(RecordKey::new(Domain::Item, &["\u{ff21}", "A"]), RecordKey::new(Domain::Item, &["A", "A"]));
    }

    #[test]
    fn a_work_centers_partition_key_is_its_whole_key() {
        let key = RecordKey::new(Domain::WorkCenter, &["ulm", "MILL-1"]).unwrap();
        assert_eq!(key.partition_key(Domain::WorkCenter), "ulm/MILL-1");
    }

    #[test]
    fn wrong_keys_say_what_a_key_of_the_domain_holds() {
        let error = RecordKey::parse(Domain::Item, "4711").unwrap_err().to_string();
        assert_eq!(error, "key `4711` has 1 components, a key of item has 2 (item_id/revision)");
        assert!(RecordKey::parse(Domain::Item, "4711/").is_err());
        assert!(RecordKey::parse(Domain::Item, "4711/%ZZ").is_err());
        assert!(Topical::parse("bogus/x").is_err());
    }
}
