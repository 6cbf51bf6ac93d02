//! What a pass knows on its way, and what it leaves to be written.

use std::collections::{BTreeMap, HashSet, VecDeque};

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
    /// That this is all is the source's own word, not only where its bytes end.
    pub(crate) is_whole: bool,
    /// Side tables that were read along without a fault.
    pub(crate) sides: Vec<String>,
    /// A letter's row, captured again by command: a failure is told again.
    pub(crate) is_replay: bool,
    /// Kinds of notices that this pass would have met again, were they still true.
    pub(crate) proves: &'static [&'static str],
    pub(super) deferred: Vec<Deferred>,
    /// Rows that could be sent once more, to close letters that no change of this pass is left for.
    pub(super) spare: VecDeque<Row>,
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
            is_whole: true,
            sides: Vec::new(),
            is_replay: false,
            proves: &["file", "deletes", "row"],
            deferred: Vec::new(),
            spare: VecDeque::new(),
            is_final: false,
        }
    }

    /// Rows that wait for the end of the file.
    pub(crate) fn deferred(&self) -> Vec<u64> {
        self.deferred.iter().map(|deferred| deferred.row.number).collect()
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.cursor.is_empty()
    }
}
