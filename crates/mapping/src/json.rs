//! JSON without loss: every digit of a number, and no nesting that a stack cannot hold.
//!
//! A parser that reads numbers as doubles makes one id of two that differ in the twentieth digit, and rounds decimals. Here a number that
//! neither 64 bits nor a double hold exactly comes as its text, as decimals do everywhere else in Millrace (ADR 19).

use std::borrow::Cow;

use serde_json::Value;

/// Lists and objects in each other, at most.
pub(crate) const DEEPEST: usize = 64;

/// A text that is not read as JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("it nests deeper than {DEEPEST} lists and objects")]
    TooDeep,
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
}

/// Reads one value.
///
/// # Errors
/// When the text is not JSON, or nests too deep.
pub fn read_json(text: &str) -> Result<Value, JsonError> {
    Ok(serde_json::from_str(&spelled(text)?)?)
}

/// The text with every number in quotes that would lose something.
fn spelled(text: &str) -> Result<Cow<'_, str>, JsonError> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut depth, mut at) = (String::new(), 0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_text(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let end = at + bytes[at..].iter().take_while(is_part).count();
                if !is_exact(&text[at..end]) {
                    out.push_str(&text[copied..at]);
                    out.push('"');
                    out.push_str(&text[at..end]);
                    out.push('"');
                    copied = end;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(text));
    }
    out.push_str(&text[copied..]);
    Ok(Cow::Owned(out))
}

/// The place of the closing quote, or the end.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Whether a parser keeps the number as it is written. What is no number is left to the parser's complaint.
#[must_use]
pub fn is_exact(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    match number.parse::<f64>() {
        Ok(double) if double.is_finite() => is_same_number(number, &format!("{double:e}")),
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Whether two numbers are one, however they are written: `5`, `5.0` and `50e-1`.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    matches!((parts(one), parts(other)), (Some(one), Some(other)) if one == other)
}

/// Sign, digits without zeros at either end, and the place of the point counted from the first of them.
fn parts(number: &str) -> Option<(bool, String, i64)> {
    let (is_negative, rest) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (digits, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let zeros = i64::try_from(all.len() - significant.len()).ok()?;
    let point = i64::try_from(whole.len()).ok()?.checked_sub(zeros)?.checked_add(exponent.parse::<i64>().ok()?)?;
    Some((is_negative, significant.trim_end_matches('0').to_owned(), point))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_digit_is_lost() {
        let read = |text: &str| read_json(text).unwrap();
        assert_eq!(
            read(r#"{"id": 12345678901234567890, "next": 123456789012345678901, "w": 0.1234567890123456789, "n": -12.50}"#),
            json!({"id": 12_345_678_901_234_567_890_u64, "next": "123456789012345678901", "w": "0.1234567890123456789", "n": -12.5})
        );
        for plain in ["0", "-7", "12.50", "1e5", "1E+05", "0.1", "-0.0", "5e-324", "9007199254740993", "1.7976931348623157e308"] {
            assert!(read(plain).is_number(), "{plain}");
        }
        for text in ["9007199254740993.0", "1e400", "-1e400", "1e-400", "18446744073709551616", "0.30000000000000001"] {
            assert_eq!(read(text), json!(text));
        }
        assert_eq!(read("122.94997728227163").to_string(), "122.94997728227163");
        assert_eq!(read(r#"["a\"12345678901234567890123", "\\", 1]"#), json!(["a\"12345678901234567890123", "\\", 1]));
        for wrong in ["", "{", "01", "1.2.3", "-", "\"a", "[1,]", "{\"a\" 1}", "\"\\"] {
            assert!(matches!(read_json(wrong), Err(JsonError::Syntax(_))), "{wrong}");
        }
    }

    proptest::proptest! {
        /// As JavaScript and Python print them.
        #[test]
        fn a_number_of_any_length_is_read_as_it_was_written(double in proptest::num::f64::NORMAL) {
            for written in [format!("{double:?}"), format!("{double:e}")] {
                proptest::prop_assert_eq!(read_json(&written).unwrap().as_f64(), Some(double), "{}", written);
            }
        }
    }

    #[test]
    fn nesting_ends_before_the_stack_does() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_json(&nested(DEEPEST)).is_ok());
        assert!(matches!(read_json(&nested(DEEPEST + 1)), Err(JsonError::TooDeep)));
        assert!(matches!(read_json(&"{\"a\":".repeat(1_000_000)), Err(JsonError::TooDeep)));
        assert!(read_json(&format!("[{}]", ["[]"; 1000].join(","))).is_ok());
    }

    #[test]
    fn one_number_has_many_spellings() {
        for (one, other) in [("5", "5.0"), ("50e-1", "5"), ("0.05", "5E-2"), ("-0", "0.00"), ("1200", "1.2e3")] {
            assert!(is_same_number(one, other), "{one} {other}");
        }
        for (one, other) in
            [("5", "-5"), ("12345678901234567890123", "12345678901234567890124"), ("0.1", "0.10000000000000001"), ("x", "x")]
        {
            assert!(!is_same_number(one, other), "{one} {other}");
        }
    }
}
