//! What a letter may hold: it has to fit into a Kafka record, whatever the record held that it is about. A letter that no broker takes
//! would stop everything behind it.

use std::{borrow::Cow, collections::BTreeMap};

use data_encoding::HEXLOWER;
use model::{DeadLetter, LONGEST_KEY, LetterId, abridged, clip};
use sha2::{Digest, Sha256};

use crate::headers::{MESSAGE_BYTES, PAYLOAD_BYTES};

/// Headers of the failed record, and where a source's row lies.
const HEADERS_BYTES: usize = 256 * 1024;
/// What was sent to a destination.
const SENT_BYTES: usize = 8 * 1024;
const OBSERVED_BYTES: usize = 1024;
/// Names: systems, offices, versions, codes, ids.
const NAME_BYTES: usize = 256;

/// A key of any length as the key of a record, a letter or a cursor entry. One above [`LONGEST_KEY`] keeps its beginning and gets a
/// digest of the whole: the same key is always the same, and no other one is.
#[must_use]
pub fn bounded_key(key: &str) -> Cow<'_, str> {
    const DIGEST: usize = 32;
    if key.len() <= LONGEST_KEY {
        return Cow::Borrowed(key);
    }
    let digest = HEXLOWER.encode(&Sha256::digest(key.as_bytes()));
    let beginning = &key[..key.floor_char_boundary(LONGEST_KEY - DIGEST - 1)];
    Cow::Owned(format!("{beginning}~{}", &digest[..DIGEST]))
}

/// The letter as it fits into a record. What had to be cut of payload or headers is said in `truncated`; texts end with a mark.
#[must_use]
pub fn bounded(letter: DeadLetter) -> DeadLetter {
    let name = |text: String| if text.len() > NAME_BYTES { clip(&text, NAME_BYTES) } else { text };
    let (headers, headers_cut) = bounded_headers(letter.headers);
    let (payload, payload_cut) = crate::clip_payload(letter.payload);
    DeadLetter {
        id: LetterId(name(letter.id.0)),
        system: name(letter.system),
        change_id: letter.change_id.map(name),
        source: letter.source.map(name),
        source_key: letter.source_key.map(|key| bounded_key(&key).into_owned()),
        code: name(letter.code),
        field: letter.field.map(name),
        observed: letter.observed.map(|observed| clip(&observed, OBSERVED_BYTES)),
        message: clip(&letter.message, MESSAGE_BYTES),
        owner: letter.owner.map(name),
        findings: abridged(&letter.findings),
        service: name(letter.service),
        policy_version: name(letter.policy_version),
        replaces: letter.replaces.map(|id| LetterId(name(id.0))),
        headers,
        payload,
        truncated: letter.truncated || headers_cut || payload_cut,
        sent: letter.sent.map(|sent| clip(&sent, SENT_BYTES)),
        ..letter
    }
}

fn bounded_headers(headers: BTreeMap<String, String>) -> (BTreeMap<String, String>, bool) {
    const FRAME: usize = 16;
    let all = headers.len();
    let mut room = HEADERS_BYTES;
    let kept: BTreeMap<String, String> = headers
        .into_iter()
        .filter(|(name, value)| {
            let size = name.len() + value.len() + FRAME;
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        })
        .collect();
    let is_cut = kept.len() < all;
    (kept, is_cut)
}

const _: () = assert!(PAYLOAD_BYTES + HEADERS_BYTES + SENT_BYTES + model::FINDINGS_BYTES + 64 * 1024 < model::Outgoing::LARGEST);

#[cfg(test)]
mod tests {
    use model::Outgoing;

    use super::*;
    use crate::state::tests::letter;

    #[test]
    fn a_short_key_stays_and_a_long_one_keeps_its_beginning_and_its_difference() {
        assert_eq!(bounded_key("4711/C"), "4711/C");
        let long = format!("4711/{}", "ä".repeat(300_000));
        let (one, other) = (bounded_key(&long).into_owned(), bounded_key(&format!("{long}x")).into_owned());
        assert!(one.len() <= LONGEST_KEY && one.starts_with("4711/ää"), "{one}");
        assert_ne!(one, other);
        assert_eq!(bounded_key(&one), one);
        assert_eq!(one, bounded_key(&long));
    }

    #[test]
    fn a_letter_about_anything_fits_into_a_record() {
        let huge = || "ä".repeat(600_000);
        let finding = model::Finding {
            rule_id: huge(),
            severity: model::Severity::Block,
            path: huge(),
            message: huge(),
            observed: Some(huge()),
            reference_version: Some(huge()),
        };
        let letter = bounded(DeadLetter {
            change_id: Some(huge()),
            source: Some(huge()),
            source_key: Some(huge()),
            code: huge(),
            field: Some(huge()),
            observed: Some(huge()),
            message: huge(),
            owner: Some(huge()),
            policy_version: huge(),
            replaces: Some(LetterId(huge())),
            findings: vec![finding; 20],
            headers: (0..2_000).map(|number| (format!("{number}"), "h".repeat(1_000))).collect(),
            payload: vec![0; 2_000_000],
            sent: Some(huge()),
            ..letter(&huge())
        });
        assert!(letter.truncated);
        let bytes =
            serde_json::to_vec(&DeadLetter { payload: Vec::new(), ..letter.clone() }).unwrap().len() + letter.payload.len();
        assert!(bytes < Outgoing::LARGEST, "{bytes} bytes");
        let small = bounded(crate::state::tests::letter("mes-ulm/item/3@1851"));
        assert_eq!(small, crate::state::tests::letter("mes-ulm/item/3@1851"));
    }
}
