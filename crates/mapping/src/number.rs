//! Filters for numbers: exact, or refused. What a text says in two ways is never guessed.

use std::{borrow::Cow, collections::BTreeMap};

use minijinja::{Value, value::ValueKind};
use rust_decimal::Decimal;

use crate::{
    Factor,
    engine::{none, refuse, scalar},
};

/// `decimal(",")`, `decimal(",", ".")`: decimal sign and thousands separator. Canonical text, every digit kept.
///
/// A separator stands before every group of three digits or nowhere. The sign may stand behind: `12,5-`. A number (of a JSON source)
/// has no spelling, so the signs do not concern it.
pub(crate) fn decimal(value: &Value, point: Option<String>, thousands: Option<String>) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let point = point.as_deref().unwrap_or(".");
    let thousands = thousands.as_deref().filter(|separator| !separator.is_empty());
    let number = match value.kind() {
        ValueKind::Number => of_number(&text),
        _ => plain(&text, point, thousands).and_then(|plain| Decimal::from_str_exact(&plain).ok()),
    };
    match (number, thousands) {
        (Some(number), _) => Ok(Value::from(number.normalize().to_string())),
        (None, Some(separator)) if text.contains(separator) => Err(refuse(
            &text,
            format!("`{text}` is not a decimal number with `{point}`, and `{separator}` before each group of three digits"),
        )),
        (None, _) => Err(refuse(&text, format!("`{text}` is not a decimal number with `{point}`"))),
    }
}

/// A whole number of 64 bits.
pub(crate) fn integer(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let number =
        exact(value, &text).filter(|number| number.normalize().scale() == 0).and_then(|number| i64::try_from(number).ok());
    number.map(Value::from).ok_or_else(|| refuse(&text, format!("`{text}` is not a whole number")))
}

/// A decimal as a number of JSON, digit for digit, for destinations that want no text. It is meant to be printed, not calculated with.
pub(crate) fn number(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let number = exact(value, &text).ok_or_else(|| refuse(&text, format!("`{text}` is not a decimal number")))?;
    Ok(Value::from_safe_string(number.normalize().to_string()))
}

/// A double to calculate with, where it holds the number exactly.
pub(crate) fn float(value: &Value) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let number = exact(value, &text).ok_or_else(|| refuse(&text, format!("`{text}` is not a decimal number")))?.normalize();
    match number.to_string().parse::<f64>() {
        Ok(double) if Decimal::from_str_exact(&double.to_string()).is_ok_and(|back| back.normalize() == number) => {
            Ok(Value::from(double))
        }
        _ => Err(refuse(&text, format!("`{text}` has more digits than a floating-point number holds; print it with `number`"))),
    }
}

/// `{num, den}` of a decimal or fraction, in lowest terms.
pub(crate) fn rational(value: &Value, point: Option<String>) -> Result<Value, minijinja::Error> {
    let Some(text) = scalar(value)? else { return Ok(none()) };
    let plain = match point.as_deref() {
        None | Some(".") => text.to_string(),
        Some(_) if value.kind() == ValueKind::Number => text.to_string(),
        Some(point) => text.replace('.', "?").replace(point, "."),
    };
    match Factor::rational(&plain) {
        Ok((num, den)) => Ok(Value::from(BTreeMap::from([("num", num), ("den", den)]))),
        Err(_) => Err(refuse(&text, format!("`{text}` is not a number or fraction"))),
    }
}

fn exact(value: &Value, text: &str) -> Option<Decimal> {
    match value.kind() {
        ValueKind::Number => of_number(text),
        _ => Decimal::from_str_exact(&plain(text, ".", None)?).ok(),
    }
}

/// A number's own text may have an exponent.
fn of_number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// `1.234,5-` → `-1234.5`. None where the text is no number, or not by these signs.
fn plain(text: &str, point: &str, thousands: Option<&str>) -> Option<String> {
    const MINUS: [char; 2] = ['-', '\u{2212}'];
    let (is_negative, digits) = match (text.strip_prefix(MINUS), text.strip_suffix(MINUS)) {
        (Some(rest), _) | (None, Some(rest)) => (true, rest),
        (None, None) => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = match digits.split_once(point) {
        Some((whole, fraction)) if is_digits(fraction) => (whole, Some(fraction)),
        Some(_) => return None,
        None => (digits, None),
    };
    let whole = match (whole, fraction) {
        // `,5` is a half.
        ("", Some(_)) => Cow::Borrowed("0"),
        _ => ungrouped(whole, thousands)?,
    };
    let sign = if is_negative { "-" } else { "" };
    Some(fraction.map_or_else(|| format!("{sign}{whole}"), |fraction| format!("{sign}{whole}.{fraction}")))
}

/// Digits with a separator before each group of three, or without any.
fn ungrouped<'t>(whole: &'t str, separator: Option<&str>) -> Option<Cow<'t, str>> {
    let Some((first, groups)) = separator
        .and_then(|separator| Some((whole.split_once(separator)?, separator)))
        .map(|((first, rest), separator)| (first, rest.split(separator).collect::<Vec<_>>()))
    else {
        return is_digits(whole).then_some(Cow::Borrowed(whole));
    };
    // `0.123` is no group of thousands: nobody writes a zero before one.
    let is_group = |group: &&str| group.len() == 3 && is_digits(group);
    let fits = is_digits(first) && first.len() <= 3 && !first.starts_with('0') && groups.iter().all(is_group);
    fits.then(|| Cow::Owned([&[first], &groups[..]].concat().concat()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
