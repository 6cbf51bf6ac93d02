//! Follows the JSON that a source's mapping writes between its expressions, and checks the names against the canonical record.
//!
//! Only what is plain text in the template is seen. A shape that cannot be followed (braces out of balance, because branches open
//! and close differently) ends the check silently: running the mapping finds the rest.

use avro::fields::{Field, Kind};

use crate::{template::Finding, text};

/// Where in the JSON the text has come to.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    stack: Vec<Frame>,
    root: Option<(Kind, String)>,
    /// A string that an expression interrupts.
    in_string: bool,
    lost: bool,
}

#[derive(Clone, Debug)]
struct Frame {
    is_object: bool,
    /// The record or element kind, where known.
    kind: Option<Kind>,
    name: String,
    /// The key whose value comes next.
    key: Option<String>,
}

impl Writes {
    pub(crate) fn new(fields: &[Field], name: &str) -> Self {
        Self { stack: Vec::new(), root: Some((Kind::Record(fields.to_vec()), name.to_owned())), in_string: false, lost: false }
    }

    /// An expression wrote a value.
    pub(crate) fn value(&mut self) {
        if let Some(frame) = self.stack.last_mut().filter(|_| !self.in_string) {
            frame.key = None;
        }
    }

    /// A piece of text that begins at `offset` of the template.
    pub(crate) fn raw(&mut self, raw: &str, offset: usize, findings: &mut Vec<Finding>) {
        let mut rest = raw;
        while let Some(letter) = rest.chars().next() {
            if self.lost {
                return;
            }
            let here = offset + raw.len() - rest.len();
            if self.in_string {
                let Some(end) = string_end(rest) else { return };
                self.in_string = false;
                self.value();
                rest = &rest[end + 1..];
                continue;
            }
            rest = &rest[letter.len_utf8()..];
            match letter {
                '{' => self.open(true),
                '[' => self.open(false),
                '}' => self.close(true),
                ']' => self.close(false),
                '"' => match string_end(rest) {
                    Some(end) => {
                        let written = &rest[..end];
                        rest = &rest[end + 1..];
                        self.string(written, rest.trim_start().starts_with(':'), here, findings);
                    }
                    None => self.in_string = true,
                },
                ',' => self.value(),
                _ => {}
            }
        }
    }

    fn next(&self) -> (Option<Kind>, String) {
        let Some(frame) = self.stack.last() else {
            return self.root.clone().map_or((None, String::new()), |(kind, name)| (Some(kind), name));
        };
        match (&frame.kind, &frame.key) {
            (Some(Kind::Record(fields)), Some(key)) => {
                let kind = fields.iter().find(|field| field.name == *key).map(|field| field.kind.clone());
                (kind, key.clone())
            }
            (Some(Kind::Map(inner) | Kind::List(inner)), _) => (Some((**inner).clone()), frame.name.clone()),
            _ => (None, frame.name.clone()),
        }
    }

    fn open(&mut self, is_object: bool) {
        let (kind, name) = self.next();
        self.root = None;
        self.stack.push(Frame { is_object, kind, name, key: None });
    }

    fn close(&mut self, is_object: bool) {
        match self.stack.pop() {
            Some(frame) if frame.is_object == is_object => self.value(),
            _ => self.lost = true,
        }
    }

    fn string(&mut self, written: &str, is_key: bool, offset: usize, findings: &mut Vec<Finding>) {
        if !is_key {
            if let (Some(Kind::Enum(symbols)), name) = self.next()
                && !symbols.iter().any(|symbol| symbol == written)
            {
                let hint =
                    text::nearest(written, symbols.iter().map(String::as_str)).map(|meant| format!("did you mean {meant}?"));
                findings.push(Finding { offset, message: format!("{written} is not a symbol of {name}"), hint });
            }
            self.value();
            return;
        }
        let Some(frame) = self.stack.last_mut().filter(|frame| frame.is_object) else {
            self.lost = true;
            return;
        };
        frame.key = Some(written.to_owned());
        if let Some(Kind::Record(fields)) = &frame.kind
            && !fields.iter().any(|field| field.name == written)
        {
            let hint = text::nearest(written, fields.iter().map(|field| field.name.as_str()))
                .map(|meant| format!("did you mean {meant}?"));
            findings.push(Finding { offset, message: format!("{written} is not a field of {}", frame.name), hint });
        }
    }
}

/// Where the string ends that `rest` is in.
fn string_end(rest: &str) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices().find_map(|(at, letter)| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}
