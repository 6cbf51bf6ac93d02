//! The tables. A change here raises [`VERSION`], and an older store is rebuilt from the topics.

/// Version of the tables below.
pub(super) const VERSION: i64 = 4;

/// Instants are microseconds since 1970 in UTC. Names of states and reasons are those of the topics (upper case).
pub(super) const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE position (topic TEXT, slot INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, slot)) WITHOUT ROWID;

-- The newest golden revision of a key. `text` is what a search looks through.
CREATE TABLE record (
  domain TEXT, key TEXT, revision INTEGER NOT NULL, deleted INTEGER NOT NULL, label TEXT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (domain, key)) WITHOUT ROWID;
CREATE TABLE revision (
  domain TEXT, key TEXT, revision INTEGER, change_id TEXT NOT NULL, occurred_at INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
  topic TEXT NOT NULL, slot INTEGER NOT NULL, position INTEGER NOT NULL, appended_at INTEGER NOT NULL, meta TEXT NOT NULL,
  data TEXT,
  PRIMARY KEY (domain, key, revision)) WITHOUT ROWID;
CREATE TABLE change (
  change_id TEXT PRIMARY KEY, domain TEXT NOT NULL, key TEXT NOT NULL, source TEXT NOT NULL, occurred_at INTEGER NOT NULL,
  captured_at INTEGER NOT NULL, topic TEXT NOT NULL, slot INTEGER NOT NULL, position INTEGER NOT NULL, meta TEXT NOT NULL
  ) WITHOUT ROWID;
CREATE INDEX change_by_key ON change (domain, key, captured_at);
CREATE INDEX change_by_age ON change (captured_at);
-- Per domain and source: how many changes were captured, and when the last one.
CREATE TABLE captured (
  domain TEXT, source TEXT, changes INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (domain, source)) WITHOUT ROWID;
CREATE TABLE held (
  domain TEXT, key TEXT, source TEXT, reason TEXT NOT NULL, waits_for TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,
  findings TEXT NOT NULL, PRIMARY KEY (domain, key, source)) WITHOUT ROWID;
-- How far the sources of a deleted record were judged, after its tombstone.
CREATE TABLE grave (domain TEXT, key TEXT, fence TEXT NOT NULL, PRIMARY KEY (domain, key)) WITHOUT ROWID;
CREATE TABLE finding (
  domain TEXT, key TEXT, change_id TEXT, source TEXT NOT NULL, outcome TEXT NOT NULL, policy_version TEXT NOT NULL,
  at INTEGER NOT NULL, findings TEXT NOT NULL, PRIMARY KEY (domain, key, change_id)) WITHOUT ROWID;
CREATE INDEX finding_by_age ON finding (at);

-- What a destination should have: one row per key and destination that serves the domain. `kind`: 0 out of scope, 1 in scope,
-- 2 deleted. What is out of scope or deleted is still owed where the ledger says that the destination holds the record.
CREATE TABLE wanted (
  destination TEXT, domain TEXT, key TEXT, revision INTEGER NOT NULL, kind INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (destination, domain, key)) WITHOUT ROWID;
-- Deadlines not yet counted, per revision: counted once, then gone.
CREATE TABLE deadline (
  destination TEXT, domain TEXT, key TEXT, revision INTEGER, due INTEGER NOT NULL,
  PRIMARY KEY (destination, domain, key, revision)) WITHOUT ROWID;
CREATE INDEX deadline_by_due ON deadline (due);
CREATE TABLE ledger (
  destination TEXT, domain TEXT, key TEXT, offered INTEGER, accepted INTEGER, accepted_at INTEGER, state TEXT NOT NULL,
  reason TEXT NOT NULL, detail TEXT, since INTEGER, until INTEGER, code TEXT, attempts INTEGER NOT NULL, letter TEXT,
  external_id TEXT, PRIMARY KEY (destination, domain, key)) WITHOUT ROWID;
CREATE TABLE receipt (
  destination TEXT, slot INTEGER, seq INTEGER, domain TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL,
  outcome TEXT NOT NULL, occurred_at INTEGER NOT NULL, answered_at INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (destination, slot, seq)) WITHOUT ROWID;
CREATE INDEX receipt_by_key ON receipt (domain, key, destination, revision);
CREATE INDEX receipt_recent ON receipt (destination, domain, answered_at);
CREATE TABLE source (source TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE destination (destination TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE letter (
  id TEXT PRIMARY KEY, topic TEXT NOT NULL, slot INTEGER NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL,
  payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE letter_status (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, stage TEXT NOT NULL, system TEXT NOT NULL, domain TEXT NOT NULL, key TEXT,
  class TEXT NOT NULL, code TEXT NOT NULL, opened_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, hops INTEGER NOT NULL,
  body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX letter_by_state ON letter_status (state, opened_at);
CREATE INDEX letter_by_key ON letter_status (domain, key);
CREATE TABLE letter_history (
  id TEXT, at INTEGER, state TEXT, by TEXT NOT NULL, reason TEXT, plan TEXT, PRIMARY KEY (id, at, state)) WITHOUT ROWID;
CREATE TABLE plan (id TEXT PRIMARY KEY, state TEXT NOT NULL, made_at INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE audit (writer TEXT, seq INTEGER, hash TEXT NOT NULL, object TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (writer, seq)) WITHOUT ROWID;
CREATE INDEX audit_by_object ON audit (object);
";
