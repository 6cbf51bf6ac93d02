//! Mappings as the landscape uses them: they compile, they read and write what exists, they end.

use std::collections::{BTreeMap, BTreeSet};

use mapping::{Error, Mappings, Tables, Tables as Side};
use model::{Data, Domain, Golden};

use crate::{
    Destination, Format, Input, Problem, Source, Stream,
    input::Files,
    node::{Node, Value},
    shape::Shape,
    synthetic,
    template::{self, Surroundings},
};

/// Compiles all mappings; those that cannot be are reported and left out, so that the others can still be checked.
pub(crate) fn compile(files: &Files<'_>, tables: &Tables, problems: &mut Vec<Problem>) -> Mappings {
    let mut texts: BTreeMap<String, String> =
        files.mappings.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let broken: Vec<mapping::Problem> = texts.iter().filter_map(|(name, text)| mapping::check_syntax(name, text).err()).collect();
    for problem in broken {
        texts.remove(&problem.mapping);
        problems.push(Problem {
            file: format!("mappings/{}", problem.mapping),
            line: problem.line,
            column: problem.column,
            message: problem.message,
            hint: None,
        });
    }
    Mappings::compile(&texts, tables).unwrap_or_else(|_| Mappings::default())
}

/// The landscape's own tables: a flat mapping of code to value (or to a row).
pub(crate) fn tables(files: &Files<'_>, problems: &mut Vec<Problem>) -> Tables {
    let mut tables = Tables::default();
    for (name, (path, text)) in &files.tables {
        tables.declare(name);
        let node = match Node::parse(path, text) {
            Ok(node) => node,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(key, value)| tables.insert(name, &key.text, &value.json())),
            Value::Null => {}
            _ => problems.push(Problem::in_file(path, format!("a table is a mapping of codes, not {}", node.kind()))),
        }
    }
    tables
}

/// Checks every use of every mapping.
pub(crate) fn check(
    files: &Files<'_>,
    mappings: &Mappings,
    tables: &Tables,
    sources: &BTreeMap<String, Source>,
    destinations: &BTreeMap<String, Destination>,
    problems: &mut Vec<Problem>,
) {
    let names = files.mapping_names();
    for source in sources.values() {
        for stream in &source.streams {
            let tables = stream_tables(stream, tables);
            let around = source_surroundings(stream, tables.clone(), &names);
            if let Some(learned) = reads(files, &stream.mapping, &around, problems) {
                runs_source(mappings, stream, &tables, &learned, problems);
            }
        }
    }
    let uses: BTreeSet<(Domain, &str)> = destinations
        .values()
        .flat_map(|destination| destination.domains.iter().map(|(domain, delivery)| (*domain, delivery.mapping.as_str())))
        .collect();
    for (domain, name) in uses {
        let own = tables.names().map(|table| (table, None)).collect();
        let around = Surroundings { names: template::record_names(domain), tables: own, mappings: &names, writes: None };
        if reads(files, name, &around, problems).is_some() {
            runs_payload(mappings, domain, name, problems);
        }
    }
}

fn stream_tables<'a>(stream: &'a Stream, tables: &'a Tables) -> BTreeMap<&'a str, Option<&'a [String]>> {
    let mut known: BTreeMap<&str, Option<&[String]>> = tables.names().map(|table| (table, None)).collect();
    known.extend(stream.lookups.iter().map(|lookup| (lookup.name.as_str(), lookup.format.columns.as_deref())));
    known
}

fn source_surroundings<'a>(
    stream: &'a Stream,
    tables: BTreeMap<&'a str, Option<&'a [String]>>,
    mappings: &'a BTreeSet<&'a str>,
) -> Surroundings<'a> {
    let columns = match &stream.input {
        Input::Files { format: Format { columns, .. }, .. } => columns.as_deref(),
        Input::Path { .. } => None,
    };
    let row = Shape::row(&format!("stream {}", stream.name), columns);
    Surroundings {
        names: BTreeMap::from([("row", row), ("source", Shape::Any)]),
        tables,
        mappings,
        writes: Some((avro::fields::of(stream.domain), template::record_name(stream.domain).to_owned())),
    }
}

/// Reports what the text uses wrongly; what it reads, when there is such a text.
fn reads(files: &Files<'_>, name: &str, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<BTreeSet<Vec<String>>> {
    let source = files.mappings.get(name)?;
    let learned = template::template(source, around);
    for finding in learned.findings {
        let (line, column) = template::place(source, finding.offset);
        problems.push(Problem { file: format!("mappings/{name}"), line, column, message: finding.message, hint: finding.hint });
    }
    Some(learned.columns)
}

/// A made-up row may be refused for good reasons; a mapping that does not end is wrong for every row.
fn runs_source(
    mappings: &Mappings,
    stream: &Stream,
    tables: &BTreeMap<&str, Option<&[String]>>,
    columns: &BTreeSet<Vec<String>>,
    problems: &mut Vec<Problem>,
) {
    let own: BTreeMap<&str, Option<&[String]>> = tables
        .iter()
        .filter(|(name, _)| stream.lookups.iter().any(|lookup| lookup.name == **name))
        .map(|(name, columns)| (*name, *columns))
        .collect();
    const VALUES: [&str; 3] = ["1", "2026-01-02", ""];
    let side: Side = synthetic::tables(&own, &VALUES);
    for value in VALUES {
        let row = synthetic::row(columns, value);
        let outcome = mappings.canonical_text(&stream.mapping, mapping::Row { row: &row, source: "check", tables: &side });
        if let Err(error) = outcome
            && endless(&error, problems)
        {
            return;
        }
    }
}

fn runs_payload(mappings: &Mappings, domain: Domain, name: &str, problems: &mut Vec<Problem>) {
    let Some(golden) = synthetic::golden(domain) else { return };
    let Some(Ok(key)) = golden.data.as_ref().map(Data::key) else { return };
    if let Err(error) = payload(mappings, name, &golden, domain, &key)
        && !endless(&error, problems)
        && error.code == Error::OUTPUT
    {
        problems.push(Problem::in_file(
            &format!("mappings/{name}"),
            format!("for a record with every field filled: {}", error.message),
        ));
    }
}

fn payload(mappings: &Mappings, name: &str, golden: &Golden, domain: Domain, key: &model::RecordKey) -> Result<String, Error> {
    mappings.to_payload(name, golden, domain, key)
}

/// Reports a mapping that ran out of fuel.
pub(crate) fn endless(error: &Error, problems: &mut Vec<Problem>) -> bool {
    if error.code != Error::ENDLESS {
        return false;
    }
    let line = error.line.and_then(|line| usize::try_from(line).ok()).unwrap_or(0);
    let problem = Problem {
        file: format!("mappings/{}", error.mapping),
        line,
        column: usize::from(line > 0),
        message: error.message.clone(),
        hint: None,
    };
    problems.push(problem);
    true
}
