//! Mapping output → canonical record: every field known, every number exact, every symbol one of the model's.

use std::borrow::Cow;

use model::{Data, Domain};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{Error, json::read_json};

/// Reads JSON, such as the output of a mapping, as a record of `domain`.
///
/// # Errors
/// When it is not JSON, has a field that the model lacks, or a value that its type cannot hold exactly.
pub fn data(domain: Domain, text: &str) -> Result<Data, Error> {
    match domain {
        Domain::Customer => {
            let mut record: model::Customer = read(text)?;
            one_spelling([&mut record.customer_id]);
            symbol(text, "status", record.status == model::customer::CustomerStatus::Unknown)?;
            symbol(text, "hierarchy_role", record.hierarchy_role == model::customer::HierarchyRole::Unknown)?;
            Ok(Data::Customer(Box::new(record)))
        }
        Domain::Item => {
            let mut record: model::Item = read(text)?;
            one_spelling([&mut record.item_id, &mut record.revision]);
            symbol(text, "item_type", record.item_type == model::item::ItemType::Unknown)?;
            symbol(text, "lifecycle", record.lifecycle == model::item::Lifecycle::Unknown)?;
            symbol(text, "make_or_buy", record.make_or_buy == model::item::MakeOrBuy::Unknown)?;
            Ok(Data::Item(Box::new(record)))
        }
        Domain::WorkCenter => {
            let mut record: model::WorkCenter = read(text)?;
            one_spelling([&mut record.plant, &mut record.work_center_id]);
            symbol(text, "level", record.level == model::work_center::Level::Unknown)?;
            Ok(Data::WorkCenter(Box::new(record)))
        }
        Domain::Reference => {
            let mut record: model::Reference = read(text)?;
            one_spelling([&mut record.set, &mut record.code]);
            symbol(text, "status", record.status == model::reference::ReferenceStatus::Unknown)?;
            Ok(Data::Reference(Box::new(record)))
        }
    }
}

/// The parts of a key stand in the record as they stand in the key.
fn one_spelling<const N: usize>(parts: [&mut String; N]) {
    for part in parts {
        if let Cow::Owned(normalized) = model::nfc(part) {
            *part = normalized;
        }
    }
}

/// A payload mapping that promises JSON must write JSON.
pub(crate) fn is_json(text: &str) -> Result<(), Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(|error| not_json(text, &error))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut unknown = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut note = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| pointer(&path.to_string()));
    };
    let record = T::deserialize(serde_ignored::Deserializer::new(&mut json, &mut note)).map_err(|_| misfit::<T>(text))?;
    json.end().map_err(|error| not_json(text, &error))?;
    match unknown {
        None => Ok(record),
        Some(path) => {
            let observed = observed(text, &path);
            Err(Error {
                observed,
                field: Some(path.clone()),
                ..output(Error::OUTPUT, format!("{path} is not a field of the record"))
            })
        }
    }
}

/// Reads a second time for the path: keeping it costs more than reading, and nearly all records fit.
fn misfit<T: DeserializeOwned>(text: &str) -> Error {
    let mut json = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut json) else {
        return output(Error::OUTPUT, "the mapping's output is not a record".to_owned());
    };
    let path = pointer(&error.path().to_string());
    let inner = error.into_inner();
    if inner.is_syntax() || inner.is_eof() {
        return not_json(text, &inner);
    }
    let observed = observed(text, &path);
    let message = without_position(&inner.to_string());
    let message = if path.is_empty() { message } else { format!("{path}: {message}") };
    let code = if path.is_empty() { Error::OUTPUT } else { Error::VALUE };
    Error { field: Some(path), observed, ..output(code, message) }
}

/// The model reads an unknown symbol as `UNKNOWN`, so that readers never break; a mapping that writes one has made a mistake.
fn symbol(text: &str, field: &str, is_unknown: bool) -> Result<(), Error> {
    if !is_unknown {
        return Ok(());
    }
    let written: serde_json::Value = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
    match written.get(field).and_then(serde_json::Value::as_str) {
        None | Some("UNKNOWN") => Ok(()),
        Some(symbol) => {
            let path = format!("/{field}");
            let message = format!("{path}: `{symbol}` is not one of the symbols of {field}");
            Err(Error { field: Some(path), observed: Some(symbol.to_owned()), ..output(Error::VALUE, message) })
        }
    }
}

fn output(code: &'static str, message: String) -> Error {
    Error { code, mapping: Box::default(), line: None, field: None, observed: None, message }
}

fn not_json(text: &str, error: &serde_json::Error) -> Error {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().trim();
    let shown: String = line.chars().take(80).collect();
    output(Error::OUTPUT, format!("the mapping's output is not JSON: {} in `{shown}`", without_position(&error.to_string())))
}

/// Positions count in the output, which nobody sees.
fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}

/// `uom_conversions[0].numerator` and `uom_conversions.0.numerator` → `/uom_conversions/0/numerator`.
fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "?");
    parts.fold(String::new(), |mut out, part| {
        out.push('/');
        out.push_str(part);
        out
    })
}

fn observed(text: &str, pointer: &str) -> Option<String> {
    // A record that is followed by something else has its values, too.
    let first = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().next()?.ok()?;
    let written = read_json(first.get()).ok()?;
    match written.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
