//! Where text from outside comes in: what we sent to be let in is taken out before anything is made of an answer.
//!
//! Systems echo requests in their errors. Without this an `Authorization` would go on into receipts, letters and logs.

use std::borrow::Cow;

use serde_json::Value;
use telemetry::secret;

/// An answer's bytes. JSON is looked at as it is written and as it is read: escapes can spell anything.
pub(crate) fn body(bytes: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&bytes);
    let clean = match secret::scrub(&text) {
        Cow::Owned(clean) => Some(clean),
        Cow::Borrowed(_) => None,
    };
    let written = clean.as_deref().unwrap_or(&text);
    if written.contains("\\u")
        && let Ok(mut value) = serde_json::from_str::<Value>(written)
        && secret::occurs(&value.to_string())
    {
        walk(&mut value);
        return value.to_string().into_bytes();
    }
    clean.map_or(bytes, String::into_bytes)
}

/// Any other text of an answer or error.
pub(crate) fn text(text: &str) -> String {
    secret::scrub(text).into_owned()
}

fn walk(value: &mut Value) {
    match value {
        Value::String(text) => *text = secret::scrub(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::Object(object) => {
            *object = std::mem::take(object)
                .into_iter()
                .map(|(name, mut value)| {
                    walk(&mut value);
                    (secret::scrub(&name).into_owned(), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
