//! Text tables as systems really write them: any delimiter and row end, quotes or none, declared encoding, header or none.
//!
//! Rows are streamed: memory is bounded by the longest row, not by the file. A row that breaks the rules is given back with its
//! line and its bytes, and reading goes on after the first row end that follows its start: an unclosed quote costs one row, not
//! the rest of the file. The `csv` crate knows only one-byte delimiters and swallows the rest of a file behind an unclosed quote.
//!
//! What is declared is never guessed. A first look at the file only finds that the declaration cannot be true, and says which one
//! could be. What spreadsheets add is no data: a first line `sep=;` that agrees with the declaration, rows without any value, and a
//! Ctrl-Z at the end.

use std::{
    collections::{HashSet, VecDeque},
    io::{self, Read as _},
};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde_json::{Map, Value};

use crate::rows::{Broken, Fault, Read, Row, cut};

mod split;

use split::{Cut, Splitter};

/// A row longer than this is given up and skipped.
pub const LONGEST_ROW: usize = 8 * 1024 * 1024;
/// Kept of a row that was given up.
const KEPT: usize = 512 * 1024;
const CHUNK: usize = 64 * 1024;
/// Rows of the first look.
const LOOK: usize = 20;
/// A header that names more is no table of records.
pub const MOST_COLUMNS: usize = 2_000;
/// Ends a text file of DOS; some tools still write it.
const CTRL_Z: u8 = 0x1a;
const LONGEST_SEPARATOR_LINE: usize = 64;

/// How the text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Between fields: `,`, `;`, a tab, `+|`.
    pub delimiter: String,
    /// After rows, with the line break that follows it; none: line feed, with or without carriage return.
    pub terminator: Option<String>,
    /// Fields may stand in double quotes, and then hold delimiters, line breaks and doubled quotes.
    pub quoting: bool,
    /// Declared. A byte order mark is skipped where it agrees, and refused where it does not.
    pub encoding: &'static Encoding,
    /// The first row names the columns.
    pub header: bool,
    /// Without header: the columns in order. With header: those that must be there.
    pub columns: Vec<String>,
}

impl Default for Format {
    fn default() -> Self {
        Self { delimiter: ",".into(), terminator: None, quoting: true, encoding: UTF_8, header: true, columns: Vec::new() }
    }
}

/// Why a file as a whole gives no rows.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("reading the file")]
    Io(#[from] io::Error),
    /// The file's fault: one letter about all of it.
    #[error("{0}")]
    File(#[from] Fault),
}

/// Reads rows one by one.
pub struct Reader<R> {
    input: R,
    splitter: Splitter,
    /// UTF-16 and other wide encodings are turned into UTF-8 before they are split; the others are split as bytes, so that a letter has the row's own bytes.
    transcoder: Option<encoding_rs::Decoder>,
    encoding: &'static Encoding,
    /// Whether some text can be nothing but the declared encoding: from there on it is not doubted.
    is_proven: bool,
    columns: Vec<String>,
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
    skipping: bool,
    number: u64,
    line: u64,
    looked_at: VecDeque<Read>,
    is_ended: bool,
}

impl<R: io::Read> Reader<R> {
    /// Reads the byte order mark, the header and the first rows.
    ///
    /// # Errors
    /// When the declaration cannot be true: other encoding, other delimiter, `keys` or declared columns missing, nothing in it.
    pub fn open(input: R, format: &Format, keys: &[String]) -> Result<Self, OpenError> {
        let split_as = if is_split_as_bytes(format.encoding) { format.encoding } else { UTF_8 };
        let mut reader = Self {
            input,
            splitter: Splitter::new(
                split_as.encode(&format.delimiter).0.into_owned(),
                format.terminator.as_ref().map(|text| split_as.encode(text).0.into_owned()),
                format.quoting,
            ),
            transcoder: None,
            encoding: split_as,
            is_proven: !format.encoding.is_single_byte(),
            columns: Vec::new(),
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            skipping: false,
            number: 0,
            line: 1,
            looked_at: VecDeque::new(),
            is_ended: true,
        };
        reader.first_bytes(format.encoding)?;
        if reader.at_end && reader.buffer.is_empty() {
            return Err(Fault::new("FILE_EMPTY", "the file is empty").into());
        }
        reader.skip_separator_line(format)?;
        reader.name_columns(format, keys)?;
        reader.look(format)?;
        Ok(reader)
    }

    /// The next row; none at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_row(&mut self) -> io::Result<Option<Read>> {
        if let Some(row) = self.looked_at.pop_front() {
            return Ok(Some(row));
        }
        self.read_row()
    }

    /// Whether the last row of the file has its row end, as far as the file was read: without it the row may have been cut.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether every row was given.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at_end && self.looked_at.is_empty() && self.start == self.buffer.len()
    }

    /// The columns in their order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    fn first_bytes(&mut self, declared: &'static Encoding) -> Result<(), OpenError> {
        let mut first = Vec::new();
        self.input.by_ref().take(CHUNK as u64).read_to_end(&mut first)?;
        self.at_end = first.len() < CHUNK;
        let is_utf16 = |encoding: &'static Encoding| encoding == UTF_16LE || encoding == UTF_16BE;
        let mark = Encoding::for_bom(&first);
        if let Some((found, _)) = mark.filter(|(found, _)| *found != declared && !(is_utf16(found) && is_utf16(declared))) {
            return Err(Fault::new(
                "ENCODING",
                format!("the file begins with the byte order mark of {}, but {} is declared", found.name(), declared.name()),
            )
            .observed(found.name())
            .into());
        }
        let has_zeros = first.contains(&0);
        if !first.is_empty() && mark.is_none() && has_zeros != is_utf16(declared) {
            let what = if has_zeros { "zero bytes, as UTF-16 and binary files do" } else { "no zero byte, as UTF-16 would" };
            return Err(Fault::new("ENCODING", format!("the file holds {what}, but {} is declared", declared.name())).into());
        }
        first.drain(..mark.map_or(0, |(_, length)| length));
        if let Some(fault) = self.doubt(&first) {
            return Err(fault.into());
        }
        if is_split_as_bytes(declared) {
            self.buffer = first;
        } else {
            self.transcoder = Some(mark.map_or(declared, |(found, _)| found).new_decoder_without_bom_handling());
            self.transcode(&first);
        }
        self.end_of_text();
        Ok(())
    }

    /// Excel's own declaration of the delimiter, before the header: passed over where it agrees.
    fn skip_separator_line(&mut self, format: &Format) -> Result<(), OpenError> {
        let rest = &self.buffer[self.start..];
        let Some(end) = rest.iter().take(LONGEST_SEPARATOR_LINE).position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return Ok(());
        };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let text = line.trim_matches('"');
        let Some(found) = text.get(..4).filter(|word| word.eq_ignore_ascii_case("sep=")).map(|_| &text[4..]) else {
            return Ok(());
        };
        let is_declared =
            found.strip_prefix(&format.delimiter).is_some_and(|more| more.replace(&format.delimiter, "").is_empty());
        if !is_declared {
            let message = format!("the first line `{line}` names another delimiter than the declared {:?}", format.delimiter);
            return Err(Fault::new("DELIMITER_WRONG", message).observed(line).into());
        }
        let row_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        self.consume(end + row_end);
        Ok(())
    }

    fn name_columns(&mut self, format: &Format, keys: &[String]) -> Result<(), OpenError> {
        if !format.header {
            self.columns.clone_from(&format.columns);
            return Ok(());
        }
        let header = loop {
            match self.splitter.next(&self.buffer[self.start..], self.at_end) {
                Cut::Row { fields, count, length } => {
                    if count > MOST_COLUMNS {
                        let message = format!("the header has {count} columns, a table may have {MOST_COLUMNS}");
                        return Err(Fault::new("TOO_LARGE", message).into());
                    }
                    let bytes = &self.buffer[self.start..self.start + length];
                    self.line += lines(bytes);
                    self.is_ended = self.splitter.end_length(bytes) > 0;
                    self.start += length;
                    break fields;
                }
                Cut::More if self.buffer.len() - self.start < LONGEST_ROW && !self.at_end => self.fill()?,
                Cut::More | Cut::Broken { .. } => {
                    return Err(Fault::new("ROW_BROKEN", "the header row cannot be read").into());
                }
            }
        };
        let names = header
            .into_iter()
            .map(|field| {
                self.encoding.decode_without_bom_handling_and_without_replacement(&field.bytes).map(|name| name.trim().to_owned())
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::new("ENCODING", format!("the header row is not {}", format.encoding.name())))?;
        if format.terminator.is_none() && names.iter().any(|name| name.contains('\r')) {
            return Err(row_end_wrong(&names.join(&format.delimiter)).into());
        }
        let mut known = HashSet::new();
        if let Some((index, double)) = names.iter().enumerate().find(|(_, name)| !name.is_empty() && !known.insert(name.as_str()))
        {
            return Err(Fault::new(
                "ROW_BROKEN",
                format!("the header names column `{double}` twice, the second time as column {}", index + 1),
            )
            .field(double)
            .into());
        }
        if let Some(missing) = keys.iter().chain(&format.columns).find(|column| !known.contains(column.as_str())) {
            return Err(missing_column(missing, &names, format).into());
        }
        self.columns = names;
        Ok(())
    }

    /// Without one row of the right width among the first, the delimiter or the row end is another one: better one letter about
    /// the file than one a row.
    fn look(&mut self, format: &Format) -> Result<(), OpenError> {
        while self.looked_at.len() < LOOK {
            let Some(row) = self.read_row()? else { break };
            self.looked_at.push_back(row);
        }
        let is_width =
            |read: &Read| read.as_ref().is_err_and(|broken| matches!(broken.fault.code, "COLUMN_MISSING" | "COLUMN_EXTRA"));
        if let Some(Err(broken)) = self.looked_at.front().filter(|read| is_width(read))
            && format.terminator.is_none()
            && broken.raw.contains(&b'\r')
        {
            return Err(row_end_wrong(&String::from_utf8_lossy(&broken.raw)).into());
        }
        if let Some(Err(broken)) =
            self.looked_at.front().filter(|_| self.looked_at.len() > 1 && self.looked_at.iter().all(is_width))
        {
            let head = cut(&String::from_utf8_lossy(&broken.raw), 80);
            return Err(Fault::new(
                "DELIMITER_WRONG",
                format!(
                    "none of the first {} rows has {} columns when split at {:?} with rows ending in {:?}: {}",
                    self.looked_at.len(),
                    self.columns.len(),
                    format.delimiter,
                    format.terminator.as_deref().unwrap_or("\n"),
                    broken.fault.message,
                ),
            )
            .observed(head)
            .into());
        }
        Ok(())
    }

    fn read_row(&mut self) -> io::Result<Option<Read>> {
        loop {
            if self.skipping {
                match self.splitter.row_end(&self.buffer[self.start..]) {
                    Some(length) => {
                        self.consume(length);
                        self.is_ended = true;
                        self.skipping = false;
                    }
                    None if self.at_end => return Ok(None),
                    None => {
                        // The last bytes may be the beginning of a row end.
                        let keep = self.splitter.longest_end().min(self.buffer.len() - self.start);
                        self.consume(self.buffer.len() - self.start - keep);
                        self.fill()?;
                        continue;
                    }
                }
            }
            let rest = &self.buffer[self.start..];
            if rest.is_empty() && self.at_end {
                return Ok(None);
            }
            match self.splitter.next(rest, self.at_end) {
                Cut::More if self.at_end => return Ok(None),
                Cut::More if rest.len() >= LONGEST_ROW => return Ok(Some(self.give_up("a quote is opened and not closed"))),
                Cut::More => self.fill()?,
                Cut::Row { length, .. } if length > LONGEST_ROW => return Ok(Some(self.give_up("it is too long"))),
                Cut::Row { fields, count, length } => {
                    let end = self.splitter.end_length(&rest[..length]);
                    let raw = rest[..length - end].to_vec();
                    let line = self.line;
                    self.is_ended = end > 0;
                    self.consume(length);
                    // A row without any value says nothing about any record.
                    if count == fields.len() && fields.iter().all(|field| field.bytes.iter().all(u8::is_ascii_whitespace)) {
                        continue;
                    }
                    self.number += 1;
                    return Ok(Some(self.shape(fields, count, raw, line)));
                }
                Cut::Broken { .. } if !self.at_end && rest.len() < LONGEST_ROW && self.splitter.row_end(rest).is_none() => {
                    self.fill()?;
                }
                Cut::Broken { why } => return Ok(Some(self.give_up(why))),
            }
        }
    }

    /// A row that cannot be cut: its first line is the broken row, and reading goes on behind it.
    fn give_up(&mut self, why: &str) -> Read {
        let rest = &self.buffer[self.start..];
        let end = self.splitter.row_end(rest).or(self.at_end.then_some(rest.len())).filter(|end| *end <= LONGEST_ROW);
        let line = self.line;
        self.number += 1;
        let (raw, fault) = match end {
            Some(end) => {
                let length = self.splitter.end_length(&rest[..end]);
                let raw = rest[..end - length].to_vec();
                self.is_ended = length > 0;
                self.consume(end);
                let fault = Fault::new("ROW_BROKEN", format!("the row cannot be read: {why}"));
                (raw, fault)
            }
            None => {
                let raw = rest[..KEPT.min(rest.len())].to_vec();
                self.skipping = true;
                self.is_ended = false;
                let limit = LONGEST_ROW / 1024 / 1024;
                (raw, Fault::new("TOO_LARGE", format!("the row is longer than {limit} MiB, or its end is missing")))
            }
        };
        let fault = fault.observed(String::from_utf8_lossy(&raw[..raw.len().min(1024)]));
        Err(self.broken(fault, raw, line, Map::new()))
    }

    /// In a single-byte encoding every byte is a letter, so UTF-8 would be read without complaint, as `GrÃ¼n`. Text that is UTF-8 from end to
    /// end is not by chance; one that is not proves the declaration.
    fn doubt(&mut self, bytes: &[u8]) -> Option<Fault> {
        if self.is_proven || bytes.is_ascii() {
            return None;
        }
        let is_utf8 = match std::str::from_utf8(bytes) {
            Ok(_) => true,
            // Cut in the middle of its only letter that tells: what comes next will.
            Err(error) if error.error_len().is_none() && bytes[..error.valid_up_to()].is_ascii() => return None,
            Err(error) => error.error_len().is_none(),
        };
        self.is_proven = !is_utf8;
        is_utf8.then(|| {
            let declared = self.encoding.name();
            let message = format!(
                "the text is UTF-8, but {declared} is declared; declare `encoding: utf-8`, or write the file in {declared}"
            );
            Fault::new("ENCODING", message).observed("UTF-8")
        })
    }

    fn shape(&mut self, fields: Vec<split::Field>, found: usize, raw: Vec<u8>, line: u64) -> Read {
        let expected = self.columns.len();
        let mut value = Map::new();
        let mut unreadable = self.doubt(&raw);
        // What the row is supposed to be has to be right about its key: it is still there.
        let encoding = if unreadable.is_some() { UTF_8 } else { self.encoding };
        for (column, field) in self.columns.iter().zip(&fields) {
            let text = encoding.decode_without_bom_handling_and_without_replacement(&field.bytes);
            match text {
                // U+FFFD: whatever wrote the file had lost the character already.
                Some(text) if !text.contains('\u{fffd}') => {
                    if !column.is_empty() {
                        // CSV has no null: an empty cell is an empty text, which the mappings' filters take for absent.
                        value.insert(column.clone(), Value::String(text.into_owned()));
                    }
                }
                _ => {
                    unreadable.get_or_insert_with(|| {
                        Fault::new("ENCODING", format!("column `{column}` is not {}", self.encoding.name()))
                            .field(column)
                            .observed(String::from_utf8_lossy(&field.bytes))
                    });
                }
            }
        }
        let width = || format!("the row has {found} column{} instead of {expected}", if found == 1 { "" } else { "s" });
        let fault = if found < expected {
            Some(Fault::new("COLUMN_MISSING", width()).field(&self.columns[found]))
        } else if found > expected {
            let beyond = fields.get(expected).map(|field| String::from_utf8_lossy(&field.bytes)).unwrap_or_default();
            Some(Fault::new("COLUMN_EXTRA", width()).observed(beyond))
        } else {
            unreadable
        };
        match fault {
            Some(fault) => Err(self.broken(fault, raw, line, value)),
            None => Ok(Row { number: self.number, line, raw, value }),
        }
    }

    fn broken(&self, fault: Fault, raw: Vec<u8>, line: u64, supposed: Map<String, Value>) -> Box<Broken> {
        Box::new(Broken { number: self.number, line, raw, fault, supposed })
    }

    fn consume(&mut self, length: usize) {
        self.line += lines(&self.buffer[self.start..self.start + length]);
        self.start += length;
    }

    /// Reads at least as much again as is waiting, so that a long row is looked at a logarithmic number of times.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = self.buffer.len().max(CHUNK);
        let mut chunk = Vec::with_capacity(wanted);
        self.input.by_ref().take(wanted as u64).read_to_end(&mut chunk)?;
        self.at_end = chunk.len() < wanted;
        if self.transcoder.is_some() {
            self.transcode(&chunk);
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
        self.end_of_text();
        Ok(())
    }

    fn end_of_text(&mut self) {
        while self.at_end && self.buffer.len() > self.start && self.buffer.last() == Some(&CTRL_Z) {
            self.buffer.pop();
        }
    }

    fn transcode(&mut self, bytes: &[u8]) {
        let Some(decoder) = self.transcoder.as_mut() else { return };
        let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16));
        let (_, _, _) = decoder.decode_to_string(bytes, &mut text, self.at_end);
        self.buffer.extend_from_slice(text.as_bytes());
    }
}

/// Reads the row of a dead letter again, under the columns that its file had.
///
/// # Errors
/// When the row is still broken, or is not one row.
pub fn read_again(raw: &[u8], format: &Format, columns: &[String]) -> Result<Row, Box<Broken>> {
    // The letter's bytes are UTF-8 where the file was transcoded.
    let encoding = if is_split_as_bytes(format.encoding) { format.encoding } else { UTF_8 };
    let format = Format { header: false, columns: columns.to_vec(), encoding, ..format.clone() };
    let nothing = |message: String| {
        let fault = Fault::new("ROW_BROKEN", message);
        Box::new(Broken { number: 1, line: 1, raw: raw.to_vec(), fault, supposed: Map::new() })
    };
    let mut reader = Reader::open(raw, &format, &[]).map_err(|error| match error {
        OpenError::File(fault) if fault.code == "ENCODING" => Box::new(Broken { fault, ..*nothing(String::new()) }),
        other => nothing(other.to_string()),
    })?;
    match reader.next_row() {
        Ok(Some(read)) => read,
        Ok(None) => Err(nothing("the letter holds no row".into())),
        Err(error) => Err(nothing(error.to_string())),
    }
}

/// Whether a delimiter's bytes can only be a delimiter.
fn is_split_as_bytes(encoding: &'static Encoding) -> bool {
    encoding == UTF_8 || encoding.is_single_byte()
}

impl From<&landscape::Format> for Format {
    fn from(declared: &landscape::Format) -> Self {
        Self {
            delimiter: declared.delimiter.clone(),
            terminator: declared.row_terminator.clone(),
            quoting: declared.quoting == landscape::Quoting::Standard,
            encoding: Encoding::for_label(declared.encoding.as_bytes()).unwrap_or(UTF_8),
            header: declared.header,
            columns: declared.columns.clone().unwrap_or_default(),
        }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Old Macs, and tools that were told so, end rows with a carriage return alone.
fn row_end_wrong(observed: &str) -> Fault {
    let message = "rows end in a carriage return alone; write line feeds, or declare `row_terminator: \"\\r\"`";
    Fault::new("DELIMITER_WRONG", message).observed(observed.replace('\r', "\\r"))
}

fn missing_column(missing: &str, names: &[String], format: &Format) -> Fault {
    let header = names.join(&format.delimiter);
    let other = [",", ";", "\t", "|", "+|"].into_iter().find(|candidate| {
        *candidate != format.delimiter && names.len() == 1 && header.split(candidate).any(|name| name.trim() == missing)
    });
    let fault = match other {
        Some(other) => Fault::new(
            "DELIMITER_WRONG",
            format!("the header is one column when split at {:?}; it looks like {other:?}", format.delimiter),
        ),
        None => {
            let near = names.iter().find(|name| name.eq_ignore_ascii_case(missing));
            let hint = near.map(|name| format!(", did it mean `{name}`?")).unwrap_or_default();
            Fault::new("COLUMN_MISSING", format!("the header has no column `{missing}`{hint}")).field(missing)
        }
    };
    fault.observed(header)
}
