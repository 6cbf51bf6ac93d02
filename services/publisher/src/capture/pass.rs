//! What a pass knows on its way, and what it leaves to be written.

use std::collections::{BTreeMap, HashSet};

use connect::rows::Row;
use mapping::Tables;
use model::{Cursor, Outgoing, RecordKey, Timestamp};
use service::Span;

/// What goes into one transaction.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Outgoing>,
    /// The newest entry of each cursor key.
    pub(crate) cursor: BTreeMap<String, Option<Cursor>>,
    /// What the cursor topic holds of these keys before the transaction.
    pub(crate) before: BTreeMap<String, Option<Cursor>>,
    pub(crate) tally: Tally,
    /// Of the sampled changes; they end once the batch is durable.
    pub(crate) spans: Vec<Span>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// What to count once the batch is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// (domain, outcome) → rows.
    pub(crate) outcomes: BTreeMap<(&'static str, &'static str), u64>,
    /// (domain, class, code).
    pub(crate) letters: Vec<(&'static str, &'static str, String)>,
    /// When each change was captured.
    pub(crate) captured: Vec<(&'static str, Timestamp)>,
}

/// A row whose record another source key stands for, as yet.
pub(super) struct Deferred {
    pub(super) source_key: String,
    pub(super) key: RecordKey,
    pub(super) row: Row,
}

/// One pass over one stream.
pub(crate) struct Pass {
    pub(crate) stream: usize,
    /// File name or path.
    pub(crate) name: String,
    /// Of a file: its columns as JSON, so that a letter's row can be read again.
    pub(crate) columns: Option<String>,
    /// When the source last changed, where rows have no stamp of their own.
    pub(crate) changed_at: Timestamp,
    /// Nothing was ever captured of this stream.
    pub(crate) is_first: bool,
    pub(crate) tables: Tables,
    /// Keys met, and notices that are still true.
    pub(crate) seen: HashSet<String>,
    /// Every row told its key: only then does absence mean delete.
    pub(crate) is_complete: bool,
    /// A letter's row, captured again by command: a failure is told again.
    pub(crate) is_replay: bool,
    /// Kinds of notices that this pass would have met again, were they still true.
    pub(crate) proves: &'static [&'static str],
    pub(super) deferred: Vec<Deferred>,
    pub(super) is_final: bool,
}

impl Pass {
    pub(crate) fn new(stream: usize, name: impl Into<String>, changed_at: Timestamp) -> Self {
        Self {
            stream,
            name: name.into(),
            columns: None,
            changed_at,
            is_first: false,
            tables: Tables::default(),
            seen: HashSet::new(),
            is_complete: true,
            is_replay: false,
            proves: &["file", "deletes", "row"],
            deferred: Vec::new(),
            is_final: false,
        }
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cursor.is_empty()
    }
}
