//! Sources and destinations as they are meant, after every check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use model::Domain;

/// A system of record, read by one publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    /// Raised by hand when the source's own numbers began again (domain.md 1.1).
    pub epoch: i64,
    /// The people who answer for its data.
    pub office: String,
    /// A full file or sweep that would delete more deletes nothing.
    pub max_deletes: MaxDeletes,
    pub connector: SourceConnector,
    pub streams: Vec<Stream>,
}

impl Source {
    /// What it captures: one change topic each.
    #[must_use]
    pub fn domains(&self) -> BTreeSet<Domain> {
        self.streams.iter().map(|stream| stream.domain).collect()
    }
}

/// Share of the known keys, and never fewer than `at_least`. All of them only where the share is 100 %: a list that shows nothing of
/// what is known is rather another list, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxDeletes {
    pub percent: u32,
    pub at_least: usize,
}

impl MaxDeletes {
    /// Whether deleting `deletes` of `known` keys is ordinary business.
    #[must_use]
    pub fn allows(self, deletes: usize, known: usize) -> bool {
        if deletes >= known {
            return deletes == 0 || self.percent >= 100;
        }
        deletes <= self.at_least || deletes * 100 <= known * self.percent as usize
    }
}

/// How a source is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConnector {
    File {
        /// Relative to the landscape's folder, or absolute; `--endpoint` overrides it.
        folder: Option<String>,
        after: AfterPickup,
        /// A file without `.done` or `.sha256` is taken once it has not changed for so long.
        settle: Duration,
    },
    HttpPoll {
        /// `--endpoint` overrides it.
        url: Option<String>,
        interval: Duration,
        /// Re-read behind the cursor: rows become visible late.
        overlap: Duration,
        page_size: u32,
        timeout: Duration,
        /// Pages read in one poll at most: a source that never ends its paging is an error.
        max_pages: u32,
        /// How often all ids are listed, to find deletes; none: never.
        sweep: Option<Duration>,
        /// File whose text is sent as the `Authorization` header.
        authorization_file: Option<String>,
    },
}

/// What becomes of a file that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPickup {
    /// A standing file that people edit: taken again when its content changes.
    Keep,
    /// Moved to `done/`.
    Done,
}

/// One kind of record of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub name: String,
    pub domain: Domain,
    pub content: Content,
    /// The source's own key columns, joined by `/` into the source key.
    pub key: Vec<String>,
    /// File below `mappings/`.
    pub mapping: String,
    pub input: Input,
    /// Column with the source's time stamp: `occurred_at` and, in microseconds, the sequence. None: the capture's time.
    pub stamp: Option<String>,
    /// Format of the stamp (strptime) when it is not RFC 3339.
    pub stamp_format: Option<String>,
    /// Column with the source's own version, for people.
    pub version: Option<String>,
    /// Column with the person who changed it at the source.
    pub author: Option<String>,
    /// Column with the state of the source's release workflow (`DRAFT`, `APPROVED`, ...).
    pub approval: Option<String>,
    /// Side tables that the mapping may ask: `lookup(name, key)`, `lookup_all(name, key)`.
    pub lookups: Vec<Lookup>,
}

/// Whether an absent key means a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Every file (or sweep) holds all records.
    Full,
    /// Only what changed.
    Delta,
}

/// Where a stream's rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// File name pattern with `*`, below the connector's folder.
    Files { pattern: String, format: Format },
    /// Path below the connector's URL.
    Path { path: String },
}

/// How a text file is cut into rows and columns: declared, never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// One or more characters.
    pub delimiter: String,
    /// None: LF or CRLF. A line break that follows the terminator belongs to it.
    pub row_terminator: Option<String>,
    pub quoting: Quoting,
    /// Label of the encoding standard: `utf-8`, `windows-1252`, `utf-16le`.
    pub encoding: String,
    /// Whether the first row names the columns. Without `columns` it always does.
    pub header: bool,
    /// Without header row: the columns in order. With one: those that must be there.
    pub columns: Option<Vec<String>>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            delimiter: ",".to_owned(),
            row_terminator: None,
            quoting: Quoting::Standard,
            encoding: "utf-8".to_owned(),
            header: true,
            columns: None,
        }
    }
}

/// Whether `"` has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// RFC 4180: doubled quotes, line breaks inside quotes.
    Standard,
    /// `"` is an ordinary character.
    None,
}

/// A side table of a stream, loaded before the stream's files are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub name: String,
    /// File name pattern with `*`, below the connector's folder.
    pub files: String,
    pub format: Format,
    /// Columns whose values, joined by `/`, are the key. Several rows may share one: `lookup_all`.
    pub key: Vec<String>,
}

/// A receiving system, served by one sink.
#[derive(Clone, Debug)]
pub struct Destination {
    pub name: String,
    pub office: String,
    pub connector: DestinationConnector,
    /// Calls in flight at most.
    pub concurrency: usize,
    pub rate: Option<Rate>,
    /// Its receipts become confirmations in the golden record.
    pub confirms: bool,
    pub breaker: Breaker,
    pub retry: Retry,
    /// None: its answers are read as the house reads them.
    pub answers: Option<Answers>,
    pub domains: BTreeMap<Domain, Delivery>,
}

/// How a destination is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationConnector {
    Http {
        /// `--endpoint` overrides it.
        url: Option<String>,
        timeout: Duration,
        /// File whose text is sent as the `Authorization` header.
        authorization_file: Option<String>,
        /// Its `ETag` is the revision that it holds. Any other ETag says nothing about ours.
        etag_is_revision: bool,
    },
}

/// Calls per time, written `50/s`, `600/min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub per: Duration,
}

impl Rate {
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.calls) / self.per.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "min",
            3600 => "h",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.calls)
    }
}

/// When a destination counts as down, and how often it is asked whether it is back (delivery.md 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Consecutive failures of the destination itself.
    pub failures: u32,
    pub probe_first: Duration,
    pub probe_max: Duration,
}

/// What a destination's answers mean, as far as it says so itself. The first that is true counts, in this order: a no comes first.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub refused: Option<mapping::AnswerExpression>,
    /// It may work later.
    pub retry: Option<mapping::AnswerExpression>,
    /// It was applied before.
    pub duplicate: Option<mapping::AnswerExpression>,
    /// Once declared, a 2xx answer that nothing matches is not a yes.
    pub accepted: Option<mapping::AnswerExpression>,
    pub code: Option<mapping::AnswerExpression>,
    pub message: Option<mapping::AnswerExpression>,
    pub field: Option<mapping::AnswerExpression>,
    pub value: Option<mapping::AnswerExpression>,
    pub external_id: Option<mapping::AnswerExpression>,
}

/// A refusal that says: something is missing here. The record waits for it instead of becoming a dead letter.
#[derive(Clone, Debug)]
pub struct Absent {
    /// The code of the refusal, where one is named.
    pub code: Option<String>,
    pub when: Option<mapping::AnswerExpression>,
    /// Name of the record that is missing.
    pub waits_for: mapping::KeyTemplate,
    /// Its domain, which the template says in so many words.
    pub domain: Domain,
    /// Then it becomes a dead letter.
    pub hold: Duration,
}

/// How often one record is tried before it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    pub first: Duration,
    pub max: Duration,
}

/// What one destination gets of one domain.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// None: every record.
    pub scope: Option<mapping::Expression>,
    /// File below `mappings/`.
    pub mapping: String,
    pub gates: Vec<Gate>,
    pub on_delete: OnDelete,
    /// Refusals after which a record waits for another one.
    pub absent: Vec<Absent>,
    /// Source commit → accepted here.
    pub deadline: Duration,
}

/// What must be true before a record is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The owner has released it: `meta.approval.state` is APPROVED, or the owner has no workflow.
    Approval,
}

/// What a delete means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    Delete,
    /// The destination keeps the record; the receipt says so.
    Ignore,
}
