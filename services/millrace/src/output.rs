//! Data on stdout in the form that was asked for, everything else on stderr.
//!
//! `json` is one versioned object `{version, items, next, warnings}`, `jsonl` one item a line, `yaml` and `csv` the same items,
//! `name` only what one would type again. Colour only on a terminal, per stream; `NO_COLOR`, `CLICOLOR_FORCE` and `TERM=dumb` are
//! heeded by `anstream`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde_json::{Value, json};
use telemetry::secret;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Jsonl,
    Yaml,
    Csv,
    Name,
}

/// Where answers go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) headers: bool,
    pub(crate) quiet: bool,
}

/// One column of a table.
pub(crate) struct Column {
    title: &'static str,
    wide: bool,
    right: bool,
    text: fn(&Value, &Sight) -> String,
}

/// What turning a value into text may need: the instant that ages are counted from.
pub(crate) struct Sight {
    pub(crate) now: model::Timestamp,
}

impl Column {
    pub(crate) const fn new(title: &'static str, text: fn(&Value, &Sight) -> String) -> Self {
        Self { title, wide: false, right: false, text }
    }

    pub(crate) const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Shown with `-o wide` only.
    pub(crate) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// Items to show, and how.
pub(crate) struct List<'a> {
    pub(crate) items: &'a [Value],
    pub(crate) columns: &'a [Column],
    /// What one would type again: an id, a key.
    pub(crate) name: fn(&Value) -> String,
    pub(crate) next: Option<String>,
    pub(crate) sight: Sight,
}

impl Output {
    /// True where a person reads: then texts and hints are worth their lines.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    pub(crate) fn list(&self, list: &List<'_>) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Wide => self.table(list),
            Format::Csv => self.csv(list),
            Format::Name => write_lines(list.items.iter().map(list.name)),
            Format::Json | Format::Jsonl | Format::Yaml => self.data(list.items, list.next.as_deref()),
        }
    }

    /// One object: `text` where a person reads, the object itself elsewhere.
    pub(crate) fn object(&self, item: &Value, name: &str, text: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Wide => write_text(&text()),
            Format::Name => write_lines([name.to_owned()]),
            Format::Json | Format::Jsonl | Format::Yaml | Format::Csv => self.data(std::slice::from_ref(item), None),
        }
    }

    fn data(&self, items: &[Value], next: Option<&str>) -> io::Result<()> {
        let whole = json!({ "version": 1, "items": items, "next": next, "warnings": [] });
        match self.format {
            Format::Jsonl | Format::Csv => write_lines(items.iter().map(Value::to_string)),
            Format::Yaml => write_text(&serde_saphyr::to_string(&whole).map_err(io::Error::other)?),
            Format::Json | Format::Table | Format::Wide | Format::Name => {
                write_text(&serde_json::to_string_pretty(&whole).map_err(io::Error::other)?)
            }
        }
    }

    fn columns<'a>(&self, list: &'a List<'_>) -> impl Iterator<Item = &'a Column> {
        let all = self.format != Format::Table;
        list.columns.iter().filter(move |column| all || !column.wide)
    }

    fn table(&self, list: &List<'_>) -> io::Result<()> {
        let rows = list.items.iter().map(|item| self.columns(list).map(|column| (column.text)(item, &list.sight)).collect());
        let titles: Vec<&str> = self.columns(list).map(|column| column.title).collect();
        let right: Vec<bool> = self.columns(list).map(|column| column.right).collect();
        write_text(&grid(self.headers.then_some(titles.as_slice()), &right, rows))
    }

    /// RFC 4180.
    fn csv(&self, list: &List<'_>) -> io::Result<()> {
        let line = |fields: Vec<String>| fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
        let titles = line(self.columns(list).map(|column| column.title.to_lowercase().replace(' ', "_")).collect());
        let rows =
            list.items.iter().map(|item| line(self.columns(list).map(|column| (column.text)(item, &list.sight)).collect()));
        write_lines(self.headers.then_some(titles).into_iter().chain(rows))
    }

    /// What may help and is no part of the answer.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet && self.is_text() {
            note(text);
        }
    }
}

fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// Rows in columns that just fit, as `kubectl` and `docker` write them.
pub(crate) fn grid(titles: Option<&[&str]>, right: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(titles) = titles {
        table.set_header(titles.iter().map(Cell::new));
    }
    for row in rows {
        table.add_row(row.into_iter().map(|text| if text.is_empty() { "-".to_owned() } else { text }));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.get(index).copied().unwrap_or_default() {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Words of state in colour, beside the words themselves: colour never says anything alone.
pub(crate) fn paint(text: &str) -> String {
    let mut painted = text.to_owned();
    for (word, colour) in [
        ("REFUSED", "31"),
        ("LATE", "31"),
        ("UNAVAILABLE", "31"),
        ("SILENT", "31"),
        ("PAUSED", "33"),
        ("RESYNCING", "33"),
        ("waiting", "33"),
    ] {
        painted = painted.replace(word, &format!("\u{1b}[{colour}m{word}\u{1b}[0m"));
    }
    painted
}

pub(crate) fn write_text(text: &str) -> io::Result<()> {
    write_lines([text.trim_end().to_owned()])
}

fn write_lines(lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    for line in lines {
        writeln!(stdout, "{}", secret::scrub(&line))?;
    }
    stdout.flush()
}

/// A line for people, on stderr. Nobody to read it is no reason to fail.
pub(crate) fn note(text: &str) {
    let mut stderr = anstream::stderr().lock();
    // An answer may repeat the token that it was asked with.
    writeln!(stderr, "{}", secret::scrub(text)).ok();
}

/// Whether a person sits at the other end of stderr: progress bars and questions go there.
pub(crate) fn is_attended() -> bool {
    io::stderr().is_terminal()
}

/// The text at a path such as `meta.owner`; empty where there is none.
pub(crate) fn text(value: &Value, path: &str) -> String {
    match at(value, path) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

pub(crate) fn integer(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}

pub(crate) fn seconds(value: &Value, path: &str) -> Option<f64> {
    at(value, path).as_f64()
}

pub(crate) fn instant(value: &Value, path: &str) -> Option<model::Timestamp> {
    at(value, path).as_str()?.parse().ok()
}
