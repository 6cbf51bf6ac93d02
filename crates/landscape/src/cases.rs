//! Cases: an input record and what a mapping must make of it, run by `millrace landscape test`.

use std::collections::BTreeMap;

use delivery::AnswerClass;
use mapping::{Error, Expression, Mappings, Tables};
use model::{Data, Domain, Golden};

use crate::{
    Destination, Landscape, Problem, Source, check,
    compare::{self, Strictness},
    input::Files,
    node::{Node, Value},
    reader::Reader,
    synthetic, text,
};

/// One file below `cases/<system>/<domain>/`.
#[derive(Clone, Debug)]
pub struct Case {
    /// `mes-ulm/item/bulk-unit`.
    pub name: String,
    pub file: String,
    /// The destination or source whose mapping is proved.
    pub system: String,
    pub domain: Domain,
    pub mapping: String,
    pub input: CaseInput,
    scope: Option<Expression>,
    expected: Expected,
}

/// What goes into the mapping.
#[derive(Clone, Debug)]
pub enum CaseInput {
    /// A golden record, for a destination's mapping.
    Record(Box<Golden>),
    /// A source's row with its side tables, for a source's mapping.
    Row(serde_json::Value, Tables),
    /// A destination's answer, which the connector reads: see [`AnswerCase`].
    Answer(Box<AnswerCase>),
}

/// An answer of a destination and what it has to be taken for. It is judged by who reads answers; here it is only read.
#[derive(Clone, Debug)]
pub struct AnswerCase {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: String,
    /// It answers a delete.
    pub is_delete: bool,
    /// The record that was sent, where the reading needs it.
    pub record: Option<Golden>,
    /// Name of what is expected (`class`, `code`, ...), the text, and its line.
    pub expected: Vec<(String, String, usize)>,
}

/// What a case of an answer may expect.
const ANSWERED: [&str; 6] = ["class", "code", "message", "field", "external_id", "waits_for"];

/// What must come out.
#[derive(Clone, Debug)]
enum Expected {
    Output(Node),
    /// The record is not for this destination.
    OutOfScope(usize),
    /// The mapping refuses it with this code.
    Refusal {
        code: String,
        line: usize,
    },
    /// See [`AnswerCase::expected`].
    Reading,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    pub name: String,
    pub file: String,
    /// Empty: as expected.
    pub differences: Vec<Difference>,
}

impl CaseResult {
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// `$.unit   expected "KG"   got "kg"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// JSON path: `$.unit`, `$.plants[0].status`.
    pub path: String,
    pub expected: String,
    pub got: String,
    /// Line of the expectation in the case's file.
    pub line: usize,
}

/// Runs every case of a mapping.
#[must_use]
pub fn test(landscape: &Landscape) -> Vec<CaseResult> {
    let of_mappings = landscape.cases.iter().filter(|case| !matches!(case.input, CaseInput::Answer(_)));
    of_mappings.map(|case| case.judge(&landscape.mappings)).collect()
}

/// What a case's mapping made of its input.
pub(crate) enum Outcome {
    Record(Box<Data>),
    Payload(String),
    OutOfScope,
}

impl Case {
    pub(crate) fn run(&self, mappings: &Mappings) -> Result<Outcome, Error> {
        match &self.input {
            CaseInput::Row(row, tables) => {
                let row = mapping::Row { row, source: &self.system, tables };
                mappings.to_canonical_with(&self.mapping, self.domain, row).map(|data| Outcome::Record(Box::new(data)))
            }
            CaseInput::Record(golden) => {
                let key = golden.data.as_ref().map(Data::key).and_then(Result::ok);
                let Some(key) = key else { return Ok(Outcome::OutOfScope) };
                if let Some(scope) = &self.scope
                    && !scope.matches(golden, self.domain, &key)?
                {
                    return Ok(Outcome::OutOfScope);
                }
                mappings.to_payload(&self.mapping, golden, self.domain, &key).map(Outcome::Payload)
            }
            CaseInput::Answer(_) => Ok(Outcome::OutOfScope),
        }
    }

    fn judge(&self, mappings: &Mappings) -> CaseResult {
        let differences = match (self.run(mappings), &self.expected) {
            (Ok(Outcome::Record(data)), Expected::Output(node)) => {
                let got = serde_json::to_value(&*data).unwrap_or_default();
                compare::trees(node, &got, Strictness::DefaultsMayBeLeftOut)
            }
            (Ok(Outcome::Payload(text)), Expected::Output(node)) => payload(node, &text),
            (Ok(Outcome::OutOfScope), Expected::OutOfScope(_)) => Vec::new(),
            (Ok(Outcome::OutOfScope), Expected::Output(node)) => {
                one("$", "a payload", "nothing: the record is not in scope", node.line)
            }
            (Ok(_), Expected::OutOfScope(line)) => one("$", "nothing: not in scope", "a payload", *line),
            (Ok(_), Expected::Refusal { code, line }) => one("$", code, "a record", *line),
            (Err(error), Expected::Refusal { code, line }) if error.code != code => one("$", code, &refusal(&error), *line),
            (Err(_), Expected::Refusal { .. }) => Vec::new(),
            (Err(error), Expected::Output(node)) => one("$", "an output", &refusal(&error), node.line),
            (Err(error), Expected::OutOfScope(line)) => one("$", "nothing: not in scope", &refusal(&error), *line),
            // Judged by the connector.
            (_, Expected::Reading) => Vec::new(),
        };
        CaseResult { name: self.name.clone(), file: self.file.clone(), differences }
    }
}

fn refusal(error: &Error) -> String {
    format!("{} {error}", error.code)
}

fn one(path: &str, expected: &str, got: &str, line: usize) -> Vec<Difference> {
    vec![Difference { path: path.to_owned(), expected: expected.to_owned(), got: got.to_owned(), line }]
}

fn payload(node: &Node, text: &str) -> Vec<Difference> {
    match (&node.value, mapping::read_json(text)) {
        (Value::Text(expected), _) if expected.trim() == text => Vec::new(),
        (Value::Text(expected), _) => one("$", expected.trim(), text, node.line),
        (_, Ok(got)) => compare::trees(node, &got, Strictness::Exact),
        (_, Err(_)) => one("$", "JSON", text, node.line),
    }
}

/// Reads all cases; each must belong to a system that has a mapping for its domain.
pub(crate) fn read(
    files: &Files<'_>,
    sources: &BTreeMap<String, Source>,
    destinations: &BTreeMap<String, Destination>,
    problems: &mut Vec<Problem>,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, [system, domain, name]) in &files.cases {
        let Some(text) = files.texts.get(path) else { continue };
        let Some(domain) = check::case_domain(path, domain, problems) else { continue };
        let source = sources.get(*system);
        let destination = destinations.get(*system);
        if source.is_none() && destination.is_none() {
            let names = sources.keys().chain(destinations.keys()).map(String::as_str);
            let hint = text::nearest(system, names).map(|meant| format!("did you mean cases/{meant}/?"));
            // A system whose own file is broken is reported there.
            if !files.sources.contains_key(system) && !files.destinations.contains_key(system) {
                problems.push(Problem::in_file(path, format!("{system:?} is neither a source nor a destination")).hinted(hint));
            }
            continue;
        }
        // What is missing there may be missing only because of a problem that is reported already.
        let of_system = [files.sources.get(system), files.destinations.get(system)];
        if of_system.iter().flatten().any(|(path, _)| problems.iter().any(|problem| problem.file == *path)) {
            continue;
        }
        let identity = Identity { path, system, domain, name: format!("{system}/{domain}/{name}") };
        let read = |reader: &mut Reader<'_>, node: &Node| identity.read(reader, node, source, destination);
        cases.extend(check::with_reader(path, text, problems, read));
    }
    cases
}

struct Identity<'a> {
    path: &'a str,
    system: &'a str,
    domain: Domain,
    name: String,
}

impl Identity<'_> {
    fn read(
        &self,
        reader: &mut Reader<'_>,
        node: &Node,
        source: Option<&Source>,
        destination: Option<&Destination>,
    ) -> Option<Case> {
        let mut keys = reader.fields(node, "a case")?;
        let stream = keys.get("stream").and_then(|node| Some((node, reader.text(node, "stream")?)));
        let (row, record, meta, lookups) = (keys.get("row"), keys.get("record"), keys.get("meta"), keys.get("lookups"));
        let (expect, error, in_scope) = (keys.get("expect"), keys.get("error"), keys.get("in_scope"));
        let answer = keys.get("answer");
        keys.end(reader);
        if let Some(answer) = answer {
            return self.answer(reader, node, answer, (record, meta), expect, destination);
        }
        let expected = self.expected(reader, node, expect, error, in_scope);
        let (input, mapping, scope) = match (row, record, source, destination) {
            (Some(row), None, Some(source), _) => {
                let mapping = self.stream(reader, node, source, stream)?;
                (CaseInput::Row(row.json(), tables(reader, lookups)), mapping, None)
            }
            (None, Some(record), _, Some(destination)) => {
                let Some(delivery) = destination.domains.get(&self.domain) else {
                    reader.problem(node, format!("{} gets no {}", self.system, self.domain), None);
                    return None;
                };
                let golden = self.golden(reader, record, meta)?;
                (CaseInput::Record(Box::new(golden)), delivery.mapping.clone(), delivery.scope.clone())
            }
            _ => {
                let message = "a case has `row` (of a source), or `record` or `answer` (of a destination), and `expect`";
                reader.problem(node, message, None);
                return None;
            }
        };
        Some(Case {
            name: self.name.clone(),
            file: self.path.to_owned(),
            system: self.system.to_owned(),
            domain: self.domain,
            mapping,
            input,
            scope,
            expected: expected?,
        })
    }

    /// `answer: {status: 200, body: {ok: false}}`, `expect: {class: permanent}`
    fn answer(
        &self,
        reader: &mut Reader<'_>,
        case: &Node,
        answer: &Node,
        (record, meta): (Option<&Node>, Option<&Node>),
        expect: Option<&Node>,
        destination: Option<&Destination>,
    ) -> Option<Case> {
        let Some(delivery) = destination.and_then(|destination| destination.domains.get(&self.domain)) else {
            reader.problem(answer, format!("{} is no destination of {}", self.system, self.domain), None);
            return None;
        };
        let mut keys = reader.fields(answer, "answer")?;
        let status = keys.need(reader, "status", "the answer");
        let status = reader.number(status, "status", 100..=599, 200);
        let content_type = keys.text(reader, "content_type");
        let methods = [("PUT", false), ("DELETE", true)];
        let is_delete = keys.get("method").and_then(|node| reader.choice(node, "method", &methods)).unwrap_or(false);
        let body = keys.get("body").map(|node| match &node.value {
            Value::Text(text) => text.clone(),
            _ => node.json().to_string(),
        });
        keys.end(reader);
        let record = match record {
            Some(record) => Some(self.golden(reader, record, meta)?),
            None => None,
        };
        let Some(Node { value: Value::Map(entries), .. }) = expect else {
            reader.problem(case, "a case of an answer has `expect` with a `class`", None);
            return None;
        };
        let mut expected = Vec::new();
        for (key, node) in entries {
            if !ANSWERED.contains(&key.text.as_str()) {
                let hint = text::did_you_mean(&key.text, ANSWERED);
                reader.at(key.line, key.column, format!("unknown key {:?}", key.text), hint);
            } else if key.text == "class" {
                let words = AnswerClass::ALL.map(|class| (class.name(), class.name()));
                let class = reader.choice(node, "class", &words)?;
                expected.push((key.text.clone(), class.to_owned(), node.line));
            } else {
                expected.push((key.text.clone(), reader.text(node, &key.text)?, node.line));
            }
        }
        let answer = AnswerCase {
            status: u16::try_from(status).unwrap_or(200),
            content_type,
            body: body.unwrap_or_default(),
            is_delete,
            record,
            expected,
        };
        Some(Case {
            name: self.name.clone(),
            file: self.path.to_owned(),
            system: self.system.to_owned(),
            domain: self.domain,
            mapping: delivery.mapping.clone(),
            input: CaseInput::Answer(Box::new(answer)),
            scope: None,
            expected: Expected::Reading,
        })
    }

    fn expected(
        &self,
        reader: &mut Reader<'_>,
        case: &Node,
        expect: Option<&Node>,
        error: Option<&Node>,
        in_scope: Option<&Node>,
    ) -> Option<Expected> {
        match (expect, error, in_scope) {
            (Some(node), None, _) => Some(Expected::Output(node.clone())),
            (None, Some(node), None) => {
                let words = Error::CODES.map(|code| (code, code));
                let code = reader.choice(node, "error", &words)?;
                Some(Expected::Refusal { code: code.to_owned(), line: node.line })
            }
            (None, None, Some(node)) if node.value == Value::Bool(false) => Some(Expected::OutOfScope(node.line)),
            _ => {
                reader.problem(case, "a case has one of `expect`, `error` and `in_scope: false`", None);
                None
            }
        }
    }

    fn stream(&self, reader: &mut Reader<'_>, case: &Node, source: &Source, named: Option<(&Node, String)>) -> Option<String> {
        let mut streams = source.streams.iter().filter(|stream| stream.domain == self.domain);
        if let Some((node, name)) = named {
            let found = streams.find(|stream| stream.name == name);
            if found.is_none() {
                let hint = text::did_you_mean(&name, source.streams.iter().map(|stream| stream.name.as_str()));
                reader.problem(node, format!("{} has no stream {name:?} of {}", self.system, self.domain), hint);
            }
            return found.map(|stream| stream.mapping.clone());
        }
        match (streams.next(), streams.next()) {
            (Some(stream), None) => Some(stream.mapping.clone()),
            (None, _) => {
                reader.problem(case, format!("{} has no stream of {}", self.system, self.domain), None);
                None
            }
            (Some(_), Some(_)) => {
                reader.problem(
                    case,
                    format!("{} has several streams of {}; say which: `stream`", self.system, self.domain),
                    None,
                );
                None
            }
        }
    }

    fn golden(&self, reader: &mut Reader<'_>, record: &Node, meta: Option<&Node>) -> Option<Golden> {
        let data = mapping::record(self.domain, &record.json().to_string());
        let data = data.map_err(|error| reader.problem(record, format!("record: {}", error.message), None)).ok()?;
        if let Err(error) = data.key() {
            reader.problem(record, format!("record: {error}"), None);
        }
        let given = meta.map_or(serde_json::Value::Null, Node::json);
        let found = synthetic::meta(&given);
        if let (None, Some(node)) = (&found, meta) {
            reader.problem(node, "meta does not fit the golden meta", None);
        }
        Some(Golden { meta: found?, data: Some(data) })
    }
}

/// `lookups: {addresses: {"4711": [{City: Ulm}]}}`
fn tables(reader: &mut Reader<'_>, node: Option<&Node>) -> Tables {
    let mut tables = Tables::default();
    let Some(node) = node else { return tables };
    let Value::Map(entries) = &node.value else {
        reader.problem(node, format!("lookups must be a mapping of table names, not {}", node.kind()), None);
        return tables;
    };
    for (table, rows) in entries {
        tables.declare(&table.text);
        let Value::Map(keys) = &rows.value else { continue };
        for (key, rows) in keys {
            for row in reader.list(Some(rows), "rows of a lookup") {
                tables.insert(&table.text, &key.text, &row.json());
            }
        }
    }
    tables
}
