//! From a row to what a change holds: record, key, stamp, approval, and the hash that tells whether anything changed.

use std::time::Duration;

use connect::rows::{Fault, Row};
use model::{Approval, ApprovalState, Data, KeyError, RecordKey, Timestamp, nfc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Capture, Pass};
use crate::memory::NOTICE;

/// Author of what Millrace itself wrote into a source.
const OURSELVES: &str = "millrace";

/// A stamp further ahead of our clock is a mistake. A local time that is read as UTC is less than a day ahead.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// A row, mapped.
pub(super) struct Mapped {
    pub(super) data: Data,
    pub(super) key: RecordKey,
    pub(super) hash: String,
    pub(super) stamp: Option<Timestamp>,
    pub(super) version: Option<String>,
    pub(super) author: Option<String>,
    pub(super) approval: Option<Approval>,
    pub(super) is_echo: bool,
}

impl Capture {
    pub(super) fn map(&self, pass: &Pass, row: &Row, now: Timestamp) -> Result<Mapped, Fault> {
        let stream = self.stream(pass.stream);
        let text = |column: &Option<String>| column.as_ref().and_then(|column| row.value.get(column)).and_then(scalar);
        let stamp = match &stream.stamp {
            None => None,
            Some(column) => Some(
                stamp(text(&stream.stamp).as_deref(), stream.stamp_format.as_deref())
                    .map_err(|why| Fault::new("STAMP_MISSING", format!("stamp `{column}`: {why}")).field(column))?,
            ),
        };
        if let Some(stamp) = stamp.filter(|stamp| *stamp > now.plus(MOST_AHEAD)) {
            let message = format!("the stamp {stamp} lies more than {} hours ahead", MOST_AHEAD.as_secs() / 3600);
            let fault = Fault::new("STAMP_FUTURE", message).observed(stamp.to_string());
            return Err(match &stream.stamp {
                Some(column) => fault.field(column),
                None => fault,
            });
        }
        let approval = match text(&stream.approval) {
            None => None,
            Some(state) => Some(approval(&state).map_err(|fault| match &stream.approval {
                Some(column) => fault.field(column),
                None => fault,
            })?),
        };
        let value = Value::Object(row.value.clone());
        let input = mapping::Row { row: &value, source: &self.source.name, tables: &pass.tables };
        let data = self.landscape.mappings.to_canonical_with(&stream.mapping, stream.domain, input).map_err(|error| Fault {
            code: error.code,
            message: error.to_string(),
            field: error.field,
            observed: error.observed,
        })?;
        let key = data.key().map_err(keyless)?;
        let author = text(&stream.author);
        Ok(Mapped {
            hash: hash(&data, approval.as_ref()),
            key,
            stamp,
            approval,
            version: text(&stream.version),
            is_echo: author.as_deref().is_some_and(|author| author.eq_ignore_ascii_case(OURSELVES)),
            author,
            data,
        })
    }

    /// The key columns' values, joined, none longer than a key may be; none when one is empty.
    pub(crate) fn source_key(&self, stream: usize, value: &Map<String, Value>) -> Option<String> {
        let parts =
            self.stream(stream).key.iter().map(|column| value.get(column).and_then(scalar).filter(|part| !part.is_empty()));
        let key = parts.collect::<Option<Vec<_>>>()?.iter().map(|part| escape(part)).collect::<Vec<_>>().join("/");
        Some(deadletter::bounded_key(&key).into_owned())
    }
}

/// One spelling (Normalization Form C); `/` and `%` are escaped in a part, and so is a `!` that would make it a notice.
pub(crate) fn escape(part: &str) -> String {
    let part = nfc(part.trim()).replace('%', "%25").replace('/', "%2F");
    match part.strip_prefix(NOTICE) {
        Some(rest) => format!("%21{rest}"),
        None => part,
    }
}

fn scalar(value: &Value) -> Option<String> {
    connect::http_poll::scalar(value).map(|text| text.trim().to_owned())
}

fn hash(data: &Data, approval: Option<&Approval>) -> String {
    let bytes = serde_json::to_vec(&(data, approval)).expect("canonical records are plain data with text keys");
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

pub(super) fn stamp(text: Option<&str>, format: Option<&str>) -> Result<Timestamp, String> {
    let text = text.filter(|text| !text.is_empty()).ok_or("it is empty")?;
    let Some(format) = format else { return text.parse() };
    let wrong = |error: jiff::Error| format!("`{text}` does not fit `{format}`: {error}");
    let parsed = jiff::fmt::strtime::parse(format, text).map_err(wrong)?;
    let instant = match parsed.to_timestamp() {
        Ok(instant) => instant,
        Err(_) => {
            let local = parsed.to_datetime().or_else(|_| parsed.to_date().map(|date| date.at(0, 0, 0, 0))).map_err(wrong)?;
            // A stamp without zone is UTC.
            jiff::tz::TimeZone::UTC.to_timestamp(local).map_err(wrong)?
        }
    };
    Ok(Timestamp::from_micros(instant.as_microsecond()))
}

fn approval(state: &str) -> Result<Approval, Fault> {
    let known = serde_json::from_value(Value::String(state.to_ascii_uppercase())).unwrap_or(ApprovalState::Unknown);
    if known == ApprovalState::Unknown {
        let message = format!("`{state}` is no state of approval (DRAFT, PENDING, APPROVED, REJECTED, RETIRED)");
        return Err(Fault::new("MAPPING_VALUE", message).observed(state));
    }
    Ok(Approval { state: known, by: None, at: None, request: None })
}

/// The mapped record lacks a component of its key, or has a key that is too long.
fn keyless(error: KeyError) -> Fault {
    let code = if matches!(error, KeyError::TooLong { .. }) { "KEY_TOO_LONG" } else { "KEY_MISSING" };
    let fault = Fault::new(code, error.to_string());
    match error {
        KeyError::Empty { field, .. } | KeyError::TooLong { field, .. } => fault.field(format!("/{field}")),
        KeyError::Components { .. } | KeyError::Encoding(_) | KeyError::Topical(_) => fault,
    }
}
