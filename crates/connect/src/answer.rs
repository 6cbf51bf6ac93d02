//! What an HTTP answer means, as a pure function: status, headers and body in, one of the seven classes out (delivery.md 5.2).
//!
//! Guarantees: what the landscape declares for the destination counts before everything below; an expression that fails is not a yes.
//! Without a declaration a 2xx answer is a yes unless it is a page (HTML), is not the JSON that it says it is, or says no: `accepted`,
//! `success` or `ok` is `false`, `0` or `"false"`; `status` is `error`, `fail`, `failed`, `failure`, `rejected` or `refused`; `error`
//! or `errors` is anything but `null`, `false`, `0`, `""`, `[]` and `{}`. A list says no where one of its members does.
//!
//! Text for people is scrubbed before anybody sees it: no control characters, no value of a personal field, at most 1 KiB.

use std::time::Duration;

use delivery::{Answer, AnswerClass, Problem};
use landscape::{Absent, Answers};
use mapping::View;
use model::{LetterClass, Timestamp};
use serde_json::Value;

use self::declared::{Declared, Verdict};

mod cases;
mod declared;

pub use cases::test;

/// Texts are cut here.
pub const TEXT_BYTES: usize = 1024;

/// Codes under which dead letters of an HTTP destination are opened; each has its page in docs/errors. What a destination calls a
/// refusal becomes the letter's code only if it is one of these: a code is a label, and labels are a closed set.
pub const CODES: &[&str] = &[
    "UNIT_UNKNOWN",
    "TYPE_UNKNOWN",
    "FIELD_MISSING",
    "VALUE_UNKNOWN",
    "VALUE_TOO_LONG",
    "ROUTING_MISSING",
    "REFUSED_BY_PLANT",
    "HTTP_400",
    "HTTP_404",
    "HTTP_409",
    "HTTP_410",
    "HTTP_412",
    "HTTP_413",
    "HTTP_415",
    "HTTP_422",
    "HTTP_4XX",
    "HTTP_200_REJECTED",
    "ANSWER_UNCLEAR",
    "RETRY_ASKED",
    "HTTP_408",
    "HTTP_425",
    "HTTP_500",
    "HTTP_5XX",
    "HTTP_401",
    "HTTP_403",
    "HTTP_405",
    "HTTP_407",
    "HTTP_429",
    "HTTP_502",
    "HTTP_503",
    "HTTP_504",
    "HTTP_511",
    "REDIRECT",
    "NOT_THE_ENDPOINT",
    "REVISION_DIFFERS",
    "TIMEOUT",
    "CONNECTION_LOST",
    "REQUEST_IMPOSSIBLE",
];

/// An answer as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    pub retry_after: Option<&'a str>,
    pub location: Option<&'a str>,
    /// Only where the landscape says that it is the revision: a system's own counter is none of ours.
    pub etag: Option<&'a str>,
    /// At most 64 KiB of it.
    pub body: &'a [u8],
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub revision: i64,
    pub is_delete: bool,
    /// Values of personal fields, which an error text may repeat.
    pub personal: &'a [String],
    pub now: Timestamp,
    /// What the landscape declares about the destination's answers.
    pub answers: Option<&'a Answers>,
    pub absent: &'a [Absent],
    /// The record that was sent, as expressions see it; none for a delete.
    pub record: Option<&'a View>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Refused, unreachable, name or TLS trouble: nothing was sent.
    Unreachable,
    /// The request was sent, or may have been, and no answer came in time.
    Timeout,
    /// The connection ended in between.
    Lost,
    /// This record cannot be put into a request: nothing was sent, and no destination would do better.
    Impossible,
}

/// The class of an answer, with what people and receipts need of it.
#[must_use]
pub fn classify(reply: &Reply<'_>, asked: &Asked<'_>) -> Answer {
    let body: Option<Value> = serde_json::from_slice(reply.body).ok();
    let declared = Declared::of(reply, asked, body.as_ref());
    let mut said = Said::of(body.as_ref(), reply);
    if let Some(answers) = asked.answers {
        declared.name(answers, &mut said);
    }
    let said_status = reply.status.to_string();
    let code = said_status.clone();
    let bare = |class| Answer {
        code: Some(code.clone()),
        text: said.text(reply, asked),
        revision_there: said.revision,
        external_id: said.external_id.clone(),
        reference: reply.location.map(|location| clip(location, 256)),
        ..Answer::bare(class)
    };
    let trouble = |class, letter, code: &str| {
        let answer = bare(class);
        let message =
            answer.text.clone().map_or_else(|| format!("HTTP {}", reply.status), |text| format!("HTTP {}: {text}", reply.status));
        Answer { problem: Some(said.problem(letter, code, clip(&message, TEXT_BYTES), asked)), ..answer }
    };
    let retry_after = reply.retry_after.and_then(|text| wait(text, asked.now));
    let refused = |fallback: &str| trouble(AnswerClass::Permanent, LetterClass::Refused, said.known_code().unwrap_or(fallback));
    let unavailable = |code: &str| trouble(AnswerClass::Destination, LetterClass::Internal, code);
    let unclear = |why: &str| {
        let answer = trouble(AnswerClass::Retryable, LetterClass::Exhausted, "ANSWER_UNCLEAR");
        let excerpt = scrub(&reply.excerpt(), asked.personal);
        let message = clip(&format!("HTTP {} is no yes: {why}; it said: {excerpt}", reply.status), TEXT_BYTES);
        Answer { problem: answer.problem.map(|problem| Problem { message, ..problem }), retry_after, ..answer }
    };
    let own = || CODES.iter().find(|code| code.strip_prefix("HTTP_") == Some(said_status.as_str())).copied();
    let answer = match reply.status {
        _ if declared.verdict == Some(Verdict::Refused) => refused(own().unwrap_or("HTTP_200_REJECTED")),
        _ if declared.verdict == Some(Verdict::Retry) => {
            Answer { retry_after, ..trouble(AnswerClass::Retryable, LetterClass::Exhausted, own().unwrap_or("RETRY_ASKED")) }
        }
        // A login or maintenance page of something in between: it applied nothing, whatever its status says.
        200..=299 if reply.is_page(body.as_ref(), declared.verdict.is_some()) => unavailable("NOT_THE_ENDPOINT"),
        _ if declared.verdict == Some(Verdict::Duplicate) => {
            Answer { note: Some("was there already".to_owned()), ..bare(AnswerClass::Accepted) }
        }
        _ if declared.verdict == Some(Verdict::Accepted) => bare(AnswerClass::Accepted),
        200..=299 if declared.says_yes && declared.failed.is_none() => unclear("the landscape declares no such answer"),
        202 => bare(AnswerClass::Delivered),
        200..=299 if said.is_rejected => refused("HTTP_200_REJECTED"),
        200..=299 if body.is_none() && reply.is_json() => unclear("its body is not the JSON that it is said to be"),
        200..=299 => match said.revision {
            Some(there) if there > asked.revision => bare(AnswerClass::HasNewer),
            Some(there) if there < asked.revision => trouble(AnswerClass::Retryable, LetterClass::Exhausted, "REVISION_DIFFERS"),
            _ => bare(AnswerClass::Accepted),
        },
        404 | 410 if asked.is_delete => Answer { note: Some("was not there".to_owned()), ..bare(AnswerClass::Accepted) },
        409 | 412 if said.revision.is_some_and(|there| there > asked.revision) => bare(AnswerClass::HasNewer),
        409 | 412 if said.revision == Some(asked.revision) => bare(AnswerClass::Accepted),
        // Our credentials or our address, not the record: a wrong password must not fill the dead letters.
        401 | 403 | 405 | 407 | 511 => unavailable(&format!("HTTP_{}", reply.status)),
        // Without a word of the application it is the base path that is wrong.
        404 if !said.is_worded => unavailable("HTTP_404"),
        300..=399 => unavailable("REDIRECT"),
        408 | 425 => {
            Answer { retry_after, ..trouble(AnswerClass::Retryable, LetterClass::Exhausted, &format!("HTTP_{}", reply.status)) }
        }
        429 => Answer { retry_after, ..trouble(AnswerClass::Throttled, LetterClass::Internal, "HTTP_429") },
        503 if retry_after.is_some() => {
            Answer { retry_after, ..trouble(AnswerClass::Throttled, LetterClass::Internal, "HTTP_503") }
        }
        502..=504 => unavailable(&format!("HTTP_{}", reply.status)),
        400..=499 => {
            let own = format!("HTTP_{}", reply.status);
            refused(CODES.iter().find(|code| **code == own).copied().unwrap_or("HTTP_4XX"))
        }
        500 => Answer { retry_after, ..trouble(AnswerClass::Retryable, LetterClass::Exhausted, "HTTP_500") },
        _ => Answer { retry_after, ..trouble(AnswerClass::Retryable, LetterClass::Exhausted, "HTTP_5XX") },
    };
    match (answer.class, &declared.failed) {
        (AnswerClass::Accepted | AnswerClass::HasNewer | AnswerClass::Delivered, Some(failed)) => unclear(failed),
        (AnswerClass::Permanent, _) => lacking(answer, &declared, asked, &said),
        _ => answer,
    }
}

/// A refusal that says that something is missing names the record that it waits for.
fn lacking(answer: Answer, declared: &Declared, asked: &Asked<'_>, said: &Said) -> Answer {
    match declared.absence(asked, said) {
        Ok(absence) => Answer { absence, ..answer },
        Err(error) => {
            let told =
                |problem: Problem| Problem { message: clip(&format!("{}; {error}", problem.message), TEXT_BYTES), ..problem };
            Answer { problem: answer.problem.map(told), ..answer }
        }
    }
}

/// The class of a call without an answer.
#[must_use]
pub fn unanswered(silence: Silence, detail: &str) -> Answer {
    let (class, letter, code) = match silence {
        Silence::Unreachable => (AnswerClass::Destination, LetterClass::Internal, "UNREACHABLE"),
        Silence::Timeout => (AnswerClass::Retryable, LetterClass::Exhausted, "TIMEOUT"),
        Silence::Lost => (AnswerClass::Retryable, LetterClass::Exhausted, "CONNECTION_LOST"),
        Silence::Impossible => (AnswerClass::Permanent, LetterClass::Internal, "REQUEST_IMPOSSIBLE"),
    };
    let message = scrub(detail, &[]);
    let problem = Problem { class: letter, code: code.to_owned(), field: None, observed: None, message: message.clone() };
    Answer { text: Some(message), problem: Some(problem), ..Answer::bare(class) }
}

impl Reply<'_> {
    fn is_html(&self) -> bool {
        self.content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
    }

    fn is_json(&self) -> bool {
        let named = self.content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        named && !self.body.iter().all(u8::is_ascii_whitespace)
    }

    /// A page for people. JSON under the name of HTML counts as an answer only where the landscape declares it as one.
    fn is_page(&self, body: Option<&Value>, is_declared: bool) -> bool {
        let start: Vec<u8> = self.body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
        let looks_so = start.starts_with(b"<!doctype html") || start.starts_with(b"<html");
        match body {
            Some(_) => self.is_html() && !is_declared,
            None => self.is_html() || looks_so,
        }
    }

    /// Its first bytes, for people.
    fn excerpt(&self) -> String {
        match self.body.is_empty() {
            true => "nothing".to_owned(),
            false => String::from_utf8_lossy(&self.body[..self.body.len().min(4 * TEXT_BYTES)]).into_owned(),
        }
    }
}

/// Whether a member stands for "no error".
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Whether a body says no, in the words that this module's head lists.
fn is_no(body: &Value) -> bool {
    let members = match body {
        Value::Array(items) => return items.iter().filter(|item| item.is_object()).any(is_no),
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return false,
    };
    let is_false = |name: &&str| match members.get(*name) {
        Some(Value::Bool(value)) => !value,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
    };
    let status = members.get("status").and_then(Value::as_str).map(str::to_ascii_lowercase);
    ["accepted", "success", "ok"].iter().any(is_false)
        || ["error", "errors"].iter().any(|name| members.get(*name).is_some_and(|value| !is_nothing(value)))
        || status.is_some_and(|status| ["error", "fail", "failed", "failure", "rejected", "refused"].contains(&status.as_str()))
}

/// What a body says, as far as it is JSON.
#[derive(Default)]
struct Said {
    is_worded: bool,
    is_rejected: bool,
    revision: Option<i64>,
    external_id: Option<String>,
    code: Option<String>,
    field: Option<String>,
    value: Option<String>,
    message: Option<String>,
}

impl Said {
    fn of(body: Option<&Value>, reply: &Reply<'_>) -> Self {
        let etag = reply.etag.and_then(|tag| tag.trim_start_matches("W/").trim_matches('"').parse().ok());
        let is_rejected = body.is_some_and(is_no);
        let Some(Value::Object(body)) = body else { return Self { revision: etag, is_rejected, ..Self::default() } };
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => Some(clip(text, 256)),
            Some(Value::Null) | None => None,
            Some(other) => Some(clip(&other.to_string(), 256)),
        };
        let named = |name: &str| text(body.get(name));
        let error = body.get("error").filter(|error| !is_nothing(error)).or_else(|| body.get("errors")?.get(0));
        let worded = error.and_then(|error| error.get("message")).or(error);
        Self {
            is_worded: ["code", "message", "error", "errors", "title", "detail"].iter().any(|name| body.contains_key(*name)),
            is_rejected,
            revision: body.get("revision").and_then(Value::as_i64).or(etag),
            external_id: named("external_id").or_else(|| named("id")),
            code: named("code"),
            field: named("field"),
            value: named("value"),
            message: ["message", "detail", "title", "error_description"]
                .iter()
                .find_map(|name| named(name))
                .or_else(|| text(worded)),
        }
    }

    fn known_code(&self) -> Option<&'static str> {
        let said = self.code.as_deref()?;
        CODES.iter().copied().find(|code| *code == said && !code.starts_with("HTTP_"))
    }

    /// What the destination said, for people; nothing where it simply agreed.
    fn text(&self, reply: &Reply<'_>, asked: &Asked<'_>) -> Option<String> {
        let raw = match &self.message {
            Some(message) => match &self.code {
                Some(code) if self.known_code().is_none() => format!("{code}: {message}"),
                _ => message.clone(),
            },
            None if reply.status < 300 || reply.is_html() => return None,
            None => String::from_utf8_lossy(&reply.body[..reply.body.len().min(4 * TEXT_BYTES)]).into_owned(),
        };
        let text = scrub(&raw, asked.personal);
        (!text.is_empty()).then_some(text)
    }

    fn problem(&self, class: LetterClass, code: &str, message: String, asked: &Asked<'_>) -> Problem {
        Problem {
            class,
            code: code.to_owned(),
            field: self.field.clone(),
            observed: self.value.as_deref().map(|value| scrub(value, asked.personal)),
            message,
        }
    }
}

/// One line without control characters and personal values, at most 1 KiB.
#[must_use]
pub fn scrub(text: &str, personal: &[String]) -> String {
    let mut line = String::with_capacity(text.len().min(TEXT_BYTES));
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    for value in personal.iter().filter(|value| value.chars().count() >= 3) {
        line = line.replace(value.as_str(), "***");
    }
    clip(&line, TEXT_BYTES)
}

fn clip(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Timestamp::from_micros(until.as_microsecond()).since(now))
}

#[cfg(test)]
mod tests;
