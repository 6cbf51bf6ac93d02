//! Jinja expressions over a golden record: scopes.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use minijinja::Environment;
use model::{Domain, Golden, RecordKey};

use crate::{Error, Problem, Tables, View, engine};

/// Shared by all expressions: they have the built-in filters and no tables of their own.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| engine::environment(&Tables::default()));

/// A compiled expression such as `'ulm' in item.plants | map(attribute='plant')`.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
}

impl Expression {
    /// # Errors
    /// When the text is not a Jinja expression; line and column count within the text.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let compiled =
            ENVIRONMENT.compile_expression_owned(text.to_owned()).map_err(|error| engine::problem("", text, &error))?;
        Ok(Self { text: text.into(), compiled: Arc::new(compiled) })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the record is meant. A delete is: whether a system holds the key is not in the record.
    ///
    /// # Errors
    /// When the expression uses a name that is undefined for this record, or takes too long.
    pub fn matches(&self, golden: &Golden, domain: Domain, key: &RecordKey) -> Result<bool, Error> {
        self.matches_view(&View::new(golden, domain, key))
    }

    /// The same over a record that was prepared before.
    ///
    /// # Errors
    /// As [`Expression::matches`].
    pub fn matches_view(&self, view: &View) -> Result<bool, Error> {
        if view.is_delete {
            return Ok(true);
        }
        match self.compiled.eval(view.context.clone()) {
            Ok(value) => Ok(value.is_true()),
            Err(error) => Err(Error { mapping: Box::default(), ..engine::translate(&error, "", |_| Some(&self.text)) }),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}
