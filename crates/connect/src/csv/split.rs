//! Where a row and its fields end, on bytes.

use super::MOST_COLUMNS;

/// Cuts rows off a buffer.
pub(super) struct Splitter {
    delimiter: Vec<u8>,
    /// None: `\n`, a `\r` before it belongs to it. Some: a line break behind it belongs to it.
    terminator: Option<Vec<u8>>,
    quoting: bool,
}

/// One field, quotes taken off.
pub(super) struct Field {
    pub(super) bytes: Vec<u8>,
}

pub(super) enum Cut {
    /// `length` includes the row end. Of `count` fields the first [`MOST_COLUMNS`] and one more are given.
    Row {
        fields: Vec<Field>,
        count: usize,
        length: usize,
    },
    /// The row goes on behind the buffer.
    More,
    Broken {
        why: &'static str,
    },
}

impl Splitter {
    pub(super) fn new(delimiter: Vec<u8>, terminator: Option<Vec<u8>>, quoting: bool) -> Self {
        Self { delimiter, terminator, quoting }
    }

    /// The first row of `bytes`.
    pub(super) fn next(&self, bytes: &[u8], at_end: bool) -> Cut {
        let mut fields = Vec::new();
        let mut count = 0;
        let mut at = 0;
        loop {
            let (field, mut after) = if self.quoting && bytes.get(at) == Some(&b'"') {
                match closing_quote(bytes, at + 1) {
                    Some((field, after)) => (field, after),
                    None if at_end => return Cut::Broken { why: "a quote is opened and never closed" },
                    None => return Cut::More,
                }
            } else {
                let end = self.field_end(bytes, at);
                if end == bytes.len() && !at_end {
                    return Cut::More;
                }
                (Field { bytes: bytes[at..end].to_vec() }, end)
            };
            // A row end or delimiter cut in two by the end of the buffer.
            if !at_end && bytes.len() - after < self.longest_end().max(self.delimiter.len()) {
                return Cut::More;
            }
            count += 1;
            if count <= MOST_COLUMNS + 1 {
                fields.push(field);
            }
            let rest = &bytes[after..];
            if rest.is_empty() {
                return Cut::Row { fields, count, length: after };
            }
            if let Some(length) = self.ends_here(rest) {
                return Cut::Row { fields, count, length: after + length };
            }
            if !rest.starts_with(&self.delimiter) {
                return Cut::Broken { why: "text follows a closing quote" };
            }
            after += self.delimiter.len();
            at = after;
        }
    }

    /// Length up to and with the first row end, quotes not regarded.
    pub(super) fn row_end(&self, bytes: &[u8]) -> Option<usize> {
        (0..bytes.len()).find_map(|at| self.ends_here(&bytes[at..]).map(|length| at + length))
    }

    /// Length of the row end that `row` has at its end; 0 for the last row of a file.
    pub(super) fn end_length(&self, row: &[u8]) -> usize {
        let line_break = |row: &[u8]| if row.ends_with(b"\r\n") { 2 } else { usize::from(row.ends_with(b"\n")) };
        match &self.terminator {
            None => line_break(row),
            Some(end) if row.ends_with(end) => end.len(),
            Some(end) => {
                let length = line_break(row);
                if row[..row.len() - length].ends_with(end) { end.len() + length } else { 0 }
            }
        }
    }

    /// A row end is at most this long: with less behind a field, more must be read before it is judged.
    pub(super) fn longest_end(&self) -> usize {
        self.terminator.as_ref().map_or(2, |end| end.len() + 2)
    }

    fn ends_here(&self, rest: &[u8]) -> Option<usize> {
        let line_break = |rest: &[u8]| {
            if rest.starts_with(b"\r\n") { Some(2) } else { rest.starts_with(b"\n").then_some(1) }
        };
        match &self.terminator {
            None => line_break(rest),
            Some(end) if rest.starts_with(end) => Some(end.len() + line_break(&rest[end.len()..]).unwrap_or(0)),
            Some(_) => None,
        }
    }

    fn field_end(&self, bytes: &[u8], start: usize) -> usize {
        (start..bytes.len())
            .find(|at| bytes[*at..].starts_with(&self.delimiter) || self.ends_here(&bytes[*at..]).is_some())
            .unwrap_or(bytes.len())
    }
}

/// From behind the opening quote: the field, and where it ends.
fn closing_quote(bytes: &[u8], start: usize) -> Option<(Field, usize)> {
    let mut field = Vec::new();
    let mut at = start;
    loop {
        let quote = at + bytes[at..].iter().position(|byte| *byte == b'"')?;
        field.extend_from_slice(&bytes[at..quote]);
        // At the end of the buffer a second quote may follow; the caller asks again when there is more.
        if bytes.get(quote + 1) == Some(&b'"') {
            field.push(b'"');
            at = quote + 2;
        } else {
            return Some((Field { bytes: field }, quote + 1));
        }
    }
}
