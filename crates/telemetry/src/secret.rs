//! The secrets of this process, and the one way to take them out of a text.
//!
//! Whoever reads a secret keeps it here before it is used; whoever takes in text from outside (an answer, an error of a broker or
//! registry) scrubs it before anything is done with it. Log lines and `/readyz` are scrubbed once more, as the last net.
//!
//! Guarantee: no spelling of a kept secret that a program writes without meaning to (raw, percent-encoded, escaped for JSON or HTML,
//! Base64, with its user's name) stands in a scrubbed text. Secrets of fewer than [`SHORTEST`] characters are not looked for: they would
//! take ordinary words apart.

use std::{
    borrow::Cow,
    fmt::Write as _,
    sync::{PoisonError, RwLock},
};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};

/// The shortest secret that is looked for.
pub const SHORTEST: usize = 4;
/// From here on a secret is no word that data may hold by chance.
const TELLING: usize = 12;

const MASK: &str = "***";

/// Spellings, the longest first, so that one that holds another goes as a whole.
static KEPT: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Keeps a password or token.
pub fn keep(secret: &str) {
    let secret = secret.trim();
    if secret.chars().count() < SHORTEST {
        return;
    }
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    for spelling in spellings(secret) {
        // Of a very short secret an encoding without padding could be shorter still.
        if spelling.len() >= SHORTEST && !kept.contains(&spelling) {
            kept.push(spelling);
        }
    }
    kept.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
}

/// Keeps a password with the name that it is sent with (basic authentication).
pub fn keep_login(user: &str, password: &str) {
    keep(password);
    keep(&format!("{user}:{password}"));
}

/// Keeps the text of an `Authorization` header: all of it, what follows the scheme, and the password inside.
pub fn keep_authorization(text: &str) {
    let text = text.trim();
    keep(text);
    let Some((scheme, credentials)) = text.split_once(char::is_whitespace) else { return };
    let credentials = credentials.trim();
    keep(credentials);
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(login) = BASE64.decode(credentials.as_bytes())
        && let Ok(login) = String::from_utf8(login)
        && let Some((user, password)) = login.split_once(':')
    {
        keep_login(user, password);
    }
}

/// The text without secrets.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for spelling in kept.iter() {
        if text.contains(spelling.as_str()) {
            text = Cow::Owned(text.replace(spelling.as_str(), MASK));
        }
    }
    text
}

/// Whether a secret stands in the text that is none by chance.
#[must_use]
pub fn occurs(text: &str) -> bool {
    KEPT.read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(|spelling| spelling.len() >= TELLING && text.contains(spelling.as_str()))
}

fn spellings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let percent = |upper: bool, space: &str| {
        bytes.iter().fold(String::new(), |mut out, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
                b' ' => out.push_str(space),
                // Writing to a String cannot fail.
                _ if upper => _ = write!(out, "%{byte:02X}"),
                _ => _ = write!(out, "%{byte:02x}"),
            }
            out
        })
    };
    let json = |slash: &str, ascii: bool| {
        secret.chars().fold(String::new(), |mut out, letter| {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '/' => out.push_str(slash),
                _ if letter.is_control() || (ascii && !letter.is_ascii()) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        _ = write!(out, "\\u{unit:04x}");
                    }
                }
                _ => out.push(letter),
            }
            out
        })
    };
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    vec![
        secret.to_owned(),
        percent(true, "%20"),
        percent(false, "%20"),
        percent(true, "+"),
        json("/", false),
        json("/", true),
        json("\\/", false),
        json("\\/", true),
        html.replace('\'', "&#39;"),
        html.replace('\'', "&#x27;").replace('/', "&#x2f;"),
        html,
        BASE64.encode(bytes),
        BASE64_NOPAD.encode(bytes),
        BASE64URL.encode(bytes),
        BASE64URL_NOPAD.encode(bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_what_was_sent_stays() {
        keep_authorization("Basic bWRtOkNBTkFSWS0vMSI8w6Q+");
        keep_authorization("Bearer CANARY-token/2+3=\n");
        for text in [
            "refused: Basic bWRtOkNBTkFSWS0vMSI8w6Q+",
            "refused: bWRtOkNBTkFSWS0vMSI8w6Q-",
            "user mdm has not the password CANARY-/1\"<ä>",
            r#"{"password":"CANARY-\/1\"<\u00e4>"}"#,
            r#"{"password":"CANARY-/1\"<ä>"}"#,
            "?p=CANARY-%2F1%22%3C%C3%A4%3E",
            "?p=CANARY-%2f1%22%3c%c3%a4%3e",
            "<b>CANARY-/1&quot;&lt;ä&gt;</b>",
            "{\"authorization\": \"Bearer CANARY-token/2+3=\"}",
            "token CANARY-token\\/2+3= is unknown",
            "CANARY-token%2F2%2B3%3D",
        ] {
            let scrubbed = scrub(text);
            assert!(
                scrubbed.contains("***") && !scrubbed.contains("CANARY") && !scrubbed.contains("bWRt"),
                "{text} -> {scrubbed}"
            );
            assert!(occurs(text) && !occurs(&scrubbed), "{text}");
        }
        assert!(matches!(scrub("nothing of that"), Cow::Borrowed("nothing of that")));
    }

    #[test]
    fn a_word_of_three_letters_is_no_secret() {
        keep("abc");
        keep("  ");
        assert_eq!(scrub("abc"), "abc");
    }
}
