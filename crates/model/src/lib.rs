//! The words of the house: domains, keys, slots, canonical records, meta, findings, receipts, ledger entries, letters, commands.
//!
//! Plain data with the rules that belong to one value alone (a decimal fits its type, a key component is encoded). No I/O, no
//! clock, no async: time and bytes come in as values. Every type that travels on a topic has its Avro schema in `/avro`; the
//! `avro` crate turns one into the other, so `serde` names here are field names there.
//!
//! Invariant: serde output depends on `is_human_readable()` only for decimals, dates and timestamps (text in JSON, numbers and
//! bytes in Avro); both forms are accepted on the way in.

pub mod audit;
pub mod command;
pub mod cursor;
pub mod customer;
pub mod data;
pub mod decimal;
pub mod destination;
pub mod domain;
pub mod finding;
pub mod held;
pub mod item;
pub mod key;
pub mod ledger;
pub mod letter;
pub mod meta;
pub mod outcome;
pub mod plan;
pub mod receipt;
pub mod reference;
pub mod shared;
pub mod source;
pub mod text;
pub mod time;
pub mod work_center;

pub use audit::AuditEntry;
pub use command::{Act, Command};
pub use cursor::Cursor;
pub use customer::Customer;
pub use data::{Change, Data, Golden};
pub use decimal::{Degrees, Money9, Offset9, Pct, Qty, Wt};
pub use destination::{DestinationState, DestinationStatus};
pub use domain::Domain;
pub use finding::{FINDINGS_BYTES, Finding, FindingOutcome, FindingReport, Severity, abridged};
pub use held::{Grave, Held, HeldChange, Reason};
pub use item::Item;
pub use key::{KeyError, LONGEST_KEY, RecordKey, Slot, Topical, murmur2, nfc};
pub use ledger::{Lease, Ledger, LedgerEntry, LedgerState};
pub use letter::{DeadLetter, LetterClass, LetterId, LetterState, LetterStatus, Stage};
pub use meta::{Approval, ApprovalState, ChangeId, ChangeMeta, Confirmation, Fence, GoldenMeta, Operation};
pub use outcome::{Outcome, Outgoing, Rejection, SkipReason, Transient};
pub use plan::{Plan, PlanFilter, PlanState};
pub use receipt::{Cause, Receipt, ReceiptOutcome};
pub use reference::Reference;
pub use source::{SourceState, SourceStatus, StreamStatus};
pub use text::clip;
pub use time::{Date, Timestamp};
pub use work_center::WorkCenter;
