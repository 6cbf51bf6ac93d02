//! Filters for dates and instants: by their declared form, or refused.

use jiff::{civil, fmt::strtime};
use minijinja::{Value, value::Kwargs};
use model::Timestamp;

use crate::engine::{none, refuse, scalar, texts};

/// `date("%d.%m.%Y")`; `empty="31.12.2999"`, or a list, names the source's ways of saying nothing.
pub(crate) fn date(value: &Value, format: Option<String>, kwargs: Kwargs) -> Result<Value, minijinja::Error> {
    let Some(text) = said(value, kwargs)? else { return Ok(none()) };
    let format = format.as_deref().unwrap_or("%Y-%m-%d");
    let date = strtime::parse(format, &text).and_then(|parsed| parsed.to_date());
    match date {
        Ok(date) => Ok(Value::from(date.to_string())),
        Err(_) => Err(refuse(&text, format!("`{text}` is not a date of the form {format}"))),
    }
}

/// An instant as RFC 3339 in UTC. Without a format: RFC 3339. A format without an offset is read as UTC.
pub(crate) fn instant(value: &Value, format: Option<String>, kwargs: Kwargs) -> Result<Value, minijinja::Error> {
    let Some(text) = said(value, kwargs)? else { return Ok(none()) };
    let micros = match format.as_deref() {
        None => text.parse::<Timestamp>().ok(),
        Some(format) => strtime::parse(format, &text)
            .ok()
            .and_then(|parsed| {
                parsed
                    .to_timestamp()
                    .or_else(|_| parsed.to_datetime().and_then(|local| local.in_tz("UTC")).map(|zoned| zoned.timestamp()))
                    .ok()
            })
            .map(|instant| Timestamp::from_micros(instant.as_microsecond())),
    };
    match micros {
        Some(instant) => Ok(Value::from(instant.to_string())),
        None => Err(refuse(
            &text,
            format!("`{text}` is not a time{}", format.map(|f| format!(" of the form {f}")).unwrap_or_default()),
        )),
    }
}

/// The day after: sources write the last valid day, the canonical model the first one that is not. The last day that there is means
/// no end.
pub(crate) fn exclusive_end(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    match text.parse::<civil::Date>() {
        Ok(civil::Date::MAX) => Ok(none()),
        Ok(date) => date.tomorrow().map(|date| Value::from(date.to_string())).map_err(|error| refuse(&text, error.to_string())),
        Err(_) => Err(refuse(&text, format!("`{text}` is not a date"))),
    }
}

/// The text, unless it says nothing: empty, one of `empty`, or zeros only (`00.00.0000`), which are no date in any form.
fn said(value: &Value, kwargs: Kwargs) -> Result<Option<String>, minijinja::Error> {
    let empty: Option<Value> = kwargs.get("empty")?;
    kwargs.assert_all_used()?;
    let Some(text) = scalar(value)? else { return Ok(None) };
    let is_zeros = text.contains('0') && text.chars().all(|letter| letter == '0' || !letter.is_alphanumeric());
    let is_empty =
        is_zeros || empty.map_or_else(|| Ok(false), |empty| texts(&empty).map(|empty| empty.contains(&text.to_string())))?;
    Ok((!is_empty).then(|| text.into_owned()))
}
