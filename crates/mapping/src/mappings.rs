//! All mappings of a landscape, compiled once.

use std::{collections::BTreeMap, fmt};

use minijinja::{Environment, Value, value::Serde};
use model::{Data, Domain, Golden, RecordKey};

use crate::{Error, Problem, Tables, View, bounds, convert, engine, engine::Output};

/// Templates by name (`erp/item.j2`). Shared between threads.
pub struct Mappings {
    environment: Environment<'static>,
    /// With their guards, as the environment has them.
    sources: BTreeMap<String, String>,
}

/// A source's row as templates see it: `row`, `source`, and the tables behind `lookup`.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub row: &'a serde_json::Value,
    pub source: &'a str,
    pub tables: &'a Tables,
}

impl Mappings {
    /// Compiles texts by name; `tables` are those that every mapping may ask.
    ///
    /// # Errors
    /// Every text that is not a Jinja template.
    pub fn compile(texts: &BTreeMap<String, String>, tables: &Tables) -> Result<Self, Vec<Problem>> {
        let mut environment = engine::environment(tables);
        let mut problems = Vec::new();
        let mut sources = BTreeMap::new();
        for (name, text) in texts {
            // As it stands first: what is wrong with it has its place there.
            let guarded = environment
                .template_from_named_str(name, text)
                .and_then(|_| bounds::guarded(text, &engine::syntax()))
                .and_then(|guarded| environment.add_template_owned(name.clone(), guarded.clone()).map(|()| guarded));
            match guarded {
                Ok(guarded) => _ = sources.insert(name.clone(), guarded),
                Err(error) => problems.push(engine::problem(name, text, &error)),
            }
        }
        if problems.is_empty() { Ok(Self { environment, sources }) } else { Err(problems) }
    }

    #[must_use]
    pub fn contains(&self, mapping: &str) -> bool {
        self.sources.contains_key(mapping)
    }

    /// The canonical record of a source's row.
    ///
    /// # Errors
    /// When the row does not fit the mapping, or its output not the canonical model.
    pub fn to_canonical(&self, mapping: &str, domain: Domain, row: &serde_json::Value, source: &str) -> Result<Data, Error> {
        self.to_canonical_with(mapping, domain, Row { row, source, tables: &Tables::default() })
    }

    /// The same with the stream's side tables.
    ///
    /// # Errors
    /// As [`Mappings::to_canonical`].
    pub fn to_canonical_with(&self, mapping: &str, domain: Domain, row: Row<'_>) -> Result<Data, Error> {
        let text = self.canonical_text(mapping, row)?;
        convert::data(domain, &text).map_err(|error| Error { mapping: mapping.into(), ..error })
    }

    /// What the mapping of a source writes, before it is read as a record.
    ///
    /// # Errors
    /// When the row does not fit the mapping.
    pub fn canonical_text(&self, mapping: &str, row: Row<'_>) -> Result<String, Error> {
        let context = Value::from(BTreeMap::from([
            ("row", Value::from(Serde(row.row))),
            ("source", Value::from(row.source)),
            (engine::TABLES, Value::from_object(row.tables.clone())),
        ]));
        self.render(mapping, context)
    }

    /// The payload of a golden record. A delete has none: asking for it is an error.
    ///
    /// # Errors
    /// When the record does not fit the mapping, or a JSON mapping writes something else.
    pub fn to_payload(&self, mapping: &str, golden: &Golden, domain: Domain, key: &RecordKey) -> Result<String, Error> {
        self.to_payload_view(mapping, &View::new(golden, domain, key))
    }

    /// The same over a record that was prepared before.
    ///
    /// # Errors
    /// As [`Mappings::to_payload`].
    pub fn to_payload_view(&self, mapping: &str, view: &View) -> Result<String, Error> {
        if view.is_delete {
            return Err(failed(mapping, format!("the {} is deleted, there is nothing to map", view.domain)));
        }
        let text = self.render(mapping, view.context.clone())?;
        if Output::of(mapping) == Output::Json {
            convert::is_json(&text).map_err(|error| Error { mapping: mapping.into(), ..error })?;
        }
        Ok(text)
    }

    fn render(&self, mapping: &str, context: Value) -> Result<String, Error> {
        let template =
            self.environment.get_template(mapping).map_err(|_| failed(mapping, "there is no mapping of that name".to_owned()))?;
        let text = template
            .render(context)
            .map_err(|error| engine::translate(&error, mapping, |name| self.sources.get(name).map(String::as_str)))?;
        if text.len() > bounds::LARGEST {
            let message = format!("the mapping writes {} KiB, it may write {}", text.len() / 1024, bounds::LARGEST / 1024);
            return Err(Error { code: Error::TOO_LARGE, ..failed(mapping, message) });
        }
        Ok(text.trim().to_owned())
    }
}

impl Default for Mappings {
    /// No mapping at all.
    fn default() -> Self {
        Self { environment: engine::environment(&Tables::default()), sources: BTreeMap::new() }
    }
}

fn failed(mapping: &str, message: String) -> Error {
    Error { code: Error::FAILED, mapping: mapping.into(), line: None, field: None, observed: None, message }
}

impl fmt::Debug for Mappings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources.keys()).finish()
    }
}
