//! The one Jinja environment of the house: fuel, strict undefined, the filters that operators need, nothing of the machine.

use std::{borrow::Cow, collections::BTreeMap};

use minijinja::{
    AutoEscape, Environment, ErrorKind, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, Rest, ValueKind},
};

use crate::{
    Error, Factor, Tables,
    bounds::{self, TooLarge},
    date, number,
};

/// Steps that one run may take: a mapping of a record with 200 nested rows needs some 20,000.
pub const FUEL: u64 = 1_000_000;

/// Where the side tables of a stream stand in the context.
pub(crate) const TABLES: &str = "__tables";

/// What a template writes, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Json,
    Xml,
    Text,
}

impl Output {
    #[must_use]
    pub fn of(mapping: &str) -> Self {
        let stem = mapping.strip_suffix(".j2").unwrap_or(mapping);
        match stem.rsplit_once('.').map(|(_, ending)| ending) {
            Some("xml") => Self::Xml,
            Some("csv" | "txt") => Self::Text,
            _ => Self::Json,
        }
    }
}

/// An environment without templates. `tables` are the landscape's own.
#[must_use]
pub fn environment(tables: &Tables) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(64);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|name| match Output::of(name) {
        Output::Json => AutoEscape::Json,
        Output::Xml => AutoEscape::Html,
        Output::Text => AutoEscape::None,
    });
    env.set_syntax(syntax());
    bounds::install(&mut env);
    env.remove_global("debug");
    env.add_filter("text", text);
    env.add_filter("strip_zeros", strip_zeros);
    env.add_filter("flag", flag);
    env.add_filter("decimal", number::decimal);
    env.add_filter("integer", number::integer);
    env.add_filter("number", number::number);
    env.add_filter("rational", number::rational);
    // Jinja's own would take `""` for 0, cut `12.7` to 12 and round in a double.
    env.add_filter("int", number::integer);
    env.add_filter("float", number::float);
    env.add_filter("date", date::date);
    env.add_filter("instant", date::instant);
    env.add_filter("exclusive_end", date::exclusive_end);
    env.add_filter("rec20_factor", rec20_factor);
    let own = tables.clone();
    env.add_filter(
        "lookup",
        move |state: &mut State<'_, '_>, key: Value, table: String, default: Rest<Value>, kwargs: Kwargs| {
            lookup(state, &own, &table, &key, default.first().cloned(), &kwargs)
        },
    );
    let own = tables.clone();
    env.add_function(
        "lookup",
        move |state: &mut State<'_, '_>, table: String, key: Value, default: Rest<Value>, kwargs: Kwargs| {
            lookup(state, &own, &table, &key, default.first().cloned(), &kwargs)
        },
    );
    let own = tables.clone();
    env.add_function("lookup_all", move |state: &mut State<'_, '_>, table: String, key: Value| {
        rows(state, &own, &table, &key).map(|rows| rows.into_iter().collect::<Value>())
    });
    env
}

/// How templates are written: Jinja, and a block on a line of its own leaves no line.
pub(crate) fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    syntax.expect("only white space handling differs from the default syntax")
}

/// A value that was refused; travels as the source of the engine's own error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) observed: String,
}

pub(crate) fn refuse(observed: &str, message: impl Into<String>) -> minijinja::Error {
    let message = message.into();
    minijinja::Error::new(ErrorKind::InvalidOperation, message.clone())
        .with_source(Refused { message, observed: observed.to_owned() })
}

/// The text of a scalar, trimmed; None for null and for an empty text.
pub(crate) fn scalar(value: &Value) -> Result<Option<Cow<'_, str>>, minijinja::Error> {
    match value.kind() {
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        ValueKind::None => Ok(None),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim();
            Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
        }
        ValueKind::Number | ValueKind::Bool => Ok(Some(Cow::Owned(value.to_string()))),
        kind => Err(refuse(&value.to_string(), format!("a {kind} is not a text or number"))),
    }
}

pub(crate) fn none() -> Value {
    Value::from(())
}

/// Trimmed; null when nothing is left.
fn text(value: &Value) -> Result<Value, minijinja::Error> {
    Ok(scalar(value)?.map_or_else(none, |text| Value::from(text.as_ref())))
}

/// `000000000000004711` → `4711`. Only digits are a padded number: `00AB` stays as it is.
fn strip_zeros(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let stripped = match text.trim_start_matches('0') {
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => &text,
        "" => "0",
        digits => digits,
    };
    Ok(Value::from(stripped))
}

/// `flag("X")`: true for the text (or one of the list), false for nothing and for the texts of `no`. Anything else is refused.
fn flag(value: &Value, yes: &Value, kwargs: Kwargs) -> Result<Value, minijinja::Error> {
    let no: Option<Value> = kwargs.get("no")?;
    kwargs.assert_all_used()?;
    let Some(text) = scalar(value)? else { return Ok(Value::from(false)) };
    let (yes, no) = (texts(yes)?, no.map_or_else(|| Ok(Vec::new()), |no| texts(&no))?);
    let is_one_of = |list: &[String]| list.iter().any(|known| *known == text);
    match (is_one_of(&yes), is_one_of(&no)) {
        (true, _) => Ok(Value::from(true)),
        (_, true) => Ok(Value::from(false)),
        _ => {
            let known = [yes, no].concat().join("`, `");
            Err(refuse(&text, format!("`{text}` is not a flag; known are `{known}` and nothing")))
        }
    }
}

/// One text, or a list of texts.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, minijinja::Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|one| Ok(scalar(&one)?.unwrap_or_default().into_owned())).collect()
        }
        _ => Ok(vec![scalar(value)?.unwrap_or_default().into_owned()]),
    }
}

/// `{num, den, exp, exact, unit}` of a conversion text of UN/ECE Rec 20.
fn rec20_factor(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let factor = Factor::rec20(&text).map_err(|error| refuse(&text, error.to_string()))?;
    Ok(Value::from(BTreeMap::from([
        ("num", Value::from(factor.num)),
        ("den", Value::from(factor.den)),
        ("exp", Value::from(factor.exp)),
        ("exact", Value::from(factor.exact)),
        ("unit", Value::from(factor.unit)),
    ])))
}

/// The stream's own table of that name, else the landscape's.
fn rows(state: &State<'_, '_>, own: &Tables, table: &str, key: &Value) -> Result<Vec<Value>, minijinja::Error> {
    let key = scalar(key)?.unwrap_or(Cow::Borrowed(""));
    let context = state.lookup(TABLES);
    let of_stream =
        context.as_ref().and_then(|value| value.downcast_object_ref::<Tables>()).and_then(|tables| tables.rows(table, &key));
    match of_stream.or_else(|| own.rows(table, &key)) {
        Some(rows) => Ok(rows.to_vec()),
        None => Err(refuse(table, format!("there is no table `{table}`"))),
    }
}

fn lookup(
    state: &State<'_, '_>,
    own: &Tables,
    table: &str,
    key: &Value,
    default: Option<Value>,
    kwargs: &Kwargs,
) -> Result<Value, minijinja::Error> {
    // `default=none` is a default too, so its presence is asked for, not its value.
    let named = kwargs.has("default").then(|| kwargs.get::<Value>("default")).transpose()?;
    kwargs.assert_all_used()?;
    if let Some(row) = rows(state, own, table, key)?.into_iter().next() {
        return Ok(row);
    }
    default.or(named).ok_or_else(|| {
        let key = key.to_string();
        refuse(&key, format!("`{key}` is not in table `{table}`"))
    })
}

/// The expression to blame, cut out of the template. Where a filter complains it is what the filter was given: the engine points
/// at the filter.
pub(crate) fn culprit(source: &str, error: &minijinja::Error) -> Option<String> {
    let range = error.range()?;
    let before = source.get(..range.start)?.trim_end();
    let name = match before.strip_suffix('|') {
        Some(given) => filtered(given),
        None => source.get(range)?.split('|').next().unwrap_or_default().trim(),
    };
    (!name.is_empty() && name.len() <= 80 && !name.contains('\n')).then(|| name.to_owned())
}

/// `{{ row.a | text ` → `row.a`: what stands before the first filter.
fn filtered(given: &str) -> &str {
    let given = given.trim_end();
    let head = match given.strip_suffix(')') {
        // Over the arguments of a filter before.
        Some(inside) => inside.rfind('(').map_or(inside, |open| &inside[..open]),
        None => given,
    };
    let part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '[' | ']' | '"' | '\'');
    let name = &head[head.trim_end_matches(part).len()..];
    match head[..head.len() - name.len()].trim_end().strip_suffix('|') {
        Some(given) => filtered(given),
        None => name,
    }
}

/// Our error out of the engine's. `source_of` gives a template's text by name.
pub(crate) fn translate<'a>(error: &minijinja::Error, mapping: &str, source_of: impl Fn(&str) -> Option<&'a str>) -> Error {
    let inner = innermost(error);
    let name = inner.name().unwrap_or(mapping);
    let place = |code, message: String| Error {
        code,
        mapping: name.into(),
        line: inner.line().and_then(|line| u32::try_from(line).ok()),
        field: None,
        observed: None,
        message,
    };
    if inner.kind() == ErrorKind::OutOfFuel {
        return place(Error::ENDLESS, format!("the mapping does not end within {FUEL} steps"));
    }
    if inner.kind() == ErrorKind::UndefinedError {
        // The engine names the first part that is missing; a filter of ours does not know what it was given.
        let named =
            inner.detail().and_then(|detail| detail.strip_prefix('`')?.strip_suffix("` is undefined").map(ToOwned::to_owned));
        let field = named.or_else(|| source_of(name).and_then(|source| culprit(source, inner)));
        let message = format!("`{}` is undefined", field.as_deref().unwrap_or("a name"));
        return Error { field, ..place(Error::UNDEFINED, message) };
    }
    let refused = std::error::Error::source(inner).and_then(|source| source.downcast_ref::<Refused>());
    if let Some(refused) = refused {
        let field = source_of(name).and_then(|source| culprit(source, inner));
        return Error { field, observed: Some(refused.observed.clone()), ..place(Error::VALUE, refused.message.clone()) };
    }
    if let Some(too_large) = std::error::Error::source(inner).and_then(|source| source.downcast_ref::<TooLarge>()) {
        return place(Error::TOO_LARGE, too_large.0.clone());
    }
    let message = inner.detail().map_or_else(|| inner.kind().to_string(), |detail| format!("{}: {detail}", inner.kind()));
    place(Error::FAILED, message)
}

fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let mut inner = error;
    while let Some(next) = std::error::Error::source(inner).and_then(|source| source.downcast_ref::<minijinja::Error>()) {
        inner = next;
    }
    inner
}

/// A syntax error with its place.
pub(crate) fn problem(mapping: &str, text: &str, error: &minijinja::Error) -> crate::Problem {
    let inner = innermost(error);
    let line = inner.line().unwrap_or(1);
    let column = inner.range().map_or(1, |range| {
        let start = text.get(..range.start).unwrap_or_default();
        start.rsplit('\n').next().unwrap_or_default().chars().count() + 1
    });
    let message = inner.detail().map_or_else(|| inner.kind().to_string(), ToOwned::to_owned);
    crate::Problem { mapping: mapping.to_owned(), line, column, message }
}

/// Checks one text without keeping it.
///
/// # Errors
/// When the text is not a Jinja template.
pub fn check_syntax(name: &str, text: &str) -> Result<(), crate::Problem> {
    let environment = environment(&Tables::default());
    environment.template_from_named_str(name, text).map(drop).map_err(|error| problem(name, text, &error))
}
