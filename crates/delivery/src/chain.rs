//! The hash chain of a destination's receipts in one slot: a receipt that was removed or edited shows (delivery.md 6.4).
//!
//! Invariant: numbers rise by one in the order in which receipts are sealed, and each hash covers the one before. A receipt is
//! sealed at the moment its ledger entry is handed to the producer, never earlier: entries of one partition are written in that
//! order, so a crash cannot leave a later link without its predecessor.

use data_encoding::HEXLOWER;
use model::Receipt;
use sha2::{Digest, Sha256};

/// Head of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Chain {
    seq: i64,
    hash: String,
}

impl Chain {
    /// The chain as the ledger left it.
    #[must_use]
    pub fn at(seq: i64, hash: String) -> Self {
        Self { seq, hash }
    }

    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Gives the receipt its place in the chain.
    #[must_use]
    pub fn seal(&mut self, mut receipt: Receipt) -> Receipt {
        receipt.seq = self.seq + 1;
        receipt.previous_hash.clone_from(&self.hash);
        receipt.hash = hash_of(&receipt);
        self.seq = receipt.seq;
        self.hash.clone_from(&receipt.hash);
        receipt
    }
}

/// SHA-256 over the previous hash and every field of the receipt, each with its name and length.
#[must_use]
pub fn hash_of(receipt: &Receipt) -> String {
    let mut hash = Sha256::new();
    let mut field = |name: &str, value: Option<&str>| {
        hash.update(name.as_bytes());
        match value {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
    };
    field("previous", Some(&receipt.previous_hash));
    field("seq", Some(&receipt.seq.to_string()));
    field("destination", Some(&receipt.destination));
    field("domain", Some(receipt.domain.name()));
    field("key", Some(receipt.key.as_str()));
    field("change_id", Some(&receipt.change_id.to_string()));
    field("revision", Some(&receipt.revision.to_string()));
    field("outcome", Some(&format!("{:?}", receipt.outcome)));
    field("note", receipt.note.as_deref());
    field("attempt", Some(&receipt.attempt.to_string()));
    field("connector", Some(&receipt.connector));
    field("reference", receipt.reference.as_deref());
    field("external_id", receipt.external_id.as_deref());
    field("code", receipt.code.as_deref());
    field("text", receipt.text.as_deref());
    field("occurred_at", Some(&receipt.occurred_at.micros().to_string()));
    field("offered_at", Some(&receipt.offered_at.micros().to_string()));
    field("answered_at", Some(&receipt.answered_at.micros().to_string()));
    field("cause", Some(&format!("{:?}", receipt.cause)));
    field("letter", receipt.letter.as_deref());
    HEXLOWER.encode(&hash.finalize())
}

/// Where a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("receipt {seq} was edited: its hash does not match its content")]
    Edited { seq: i64 },
    #[error("receipt {seq} does not follow receipt {before}: its previous hash differs")]
    Unlinked { seq: i64, before: i64 },
    #[error("receipt {seq} follows receipt {before}: some are missing in between")]
    Missing { seq: i64, before: i64 },
    #[error("two different receipts carry number {seq}: the chain forks")]
    Fork { seq: i64 },
}

/// Checks receipts of one destination and slot in the order in which they lie on the topic. Identical repeats, which a crash
/// leaves behind, are one link. The first one is taken as the start: older ones may have aged out.
///
/// # Errors
/// The first bad link.
pub fn verify<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> Result<Chain, Broken> {
    let mut head: Option<Chain> = None;
    let mut seen = std::collections::BTreeMap::new();
    for receipt in receipts {
        let seq = receipt.seq;
        if hash_of(receipt) != receipt.hash {
            return Err(Broken::Edited { seq });
        }
        if let Some(before) = seen.get(&seq) {
            if *before == receipt.hash {
                continue;
            }
            return Err(Broken::Fork { seq });
        }
        if let Some(chain) = &head {
            let before = chain.seq;
            if seq != before + 1 {
                return Err(Broken::Missing { seq, before });
            }
            if receipt.previous_hash != chain.hash {
                return Err(Broken::Unlinked { seq, before });
            }
        }
        seen.insert(seq, receipt.hash.clone());
        head = Some(Chain::at(seq, receipt.hash.clone()));
    }
    Ok(head.unwrap_or_default())
}
