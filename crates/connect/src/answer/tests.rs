use super::*;

fn asked() -> Asked<'static> {
    Asked { revision: 5, is_delete: false, personal: &[], now: Timestamp::from_millis(1_795_000_000_000) }
}

fn class(status: u16, body: &str) -> AnswerClass {
    classify(&Reply { status, body: body.as_bytes(), ..Reply::default() }, &asked()).class
}

/// delivery.md 5.2 and domain.md 3, row by row.
#[test]
fn every_row_of_the_tables_has_its_class() {
    use AnswerClass::{Accepted, Delivered, Destination, HasNewer, Permanent, Retryable, Throttled};
    let rows: &[(u16, &str, AnswerClass)] = &[
        (200, r#"{"revision": 5}"#, Accepted),
        (201, r#"{"revision": 5}"#, Accepted),
        (204, "", Accepted),
        (200, "OK", Accepted),
        (200, r#"{"revision": 5, "already": true}"#, Accepted),
        (200, r#"{"revision": 7}"#, HasNewer),
        (200, r#"{"revision": 4}"#, Retryable),
        (409, r#"{"revision": 7}"#, HasNewer),
        (412, r#"{"revision": 7}"#, HasNewer),
        (409, r#"{"revision": 5}"#, Accepted),
        (202, "", Delivered),
        (502, "", Destination),
        (503, "", Destination),
        (504, "", Destination),
        (401, r#"{"message": "who are you"}"#, Destination),
        (403, r#"{"message": "no"}"#, Destination),
        (404, "not found", Destination),
        (405, "", Destination),
        (301, "", Destination),
        (307, "", Destination),
        (429, "", Throttled),
        (408, "", Retryable),
        (425, "", Retryable),
        (500, "", Retryable),
        (501, "", Retryable),
        (507, "", Retryable),
        (400, r#"{"code": "NOT_JSON"}"#, Permanent),
        (404, r#"{"code": "UNIT_UNKNOWN", "message": "no such unit"}"#, Permanent),
        (409, "", Permanent),
        (409, r#"{"revision": 4}"#, Permanent),
        (410, "", Permanent),
        (413, "", Permanent),
        (415, "", Permanent),
        (418, "", Permanent),
        (422, r#"{"code": "UNIT_UNKNOWN"}"#, Permanent),
        (200, r#"{"accepted": false, "message": "wrong unit"}"#, Permanent),
        (200, r#"{"error": {"text": "UserError"}}"#, Permanent),
        (200, r#"{"status": "Rejected"}"#, Permanent),
    ];
    for (status, body, expected) in rows {
        assert_eq!(class(*status, body), *expected, "{status} {body}");
    }
}

#[test]
fn a_login_page_is_not_an_acceptance() {
    let reply = Reply { status: 200, content_type: Some("text/html; charset=utf-8"), body: b"<html>sign in", ..Reply::default() };
    assert_eq!(classify(&reply, &asked()).class, AnswerClass::Destination);
}

#[test]
fn a_call_without_answer_is_the_destinations_fault_only_if_nothing_was_sent() {
    for (silence, class) in [
        (Silence::Unreachable, AnswerClass::Destination),
        (Silence::Timeout, AnswerClass::Retryable),
        (Silence::Lost, AnswerClass::Retryable),
    ] {
        assert_eq!(unanswered(silence, "x").class, class);
    }
}

#[test]
fn a_delete_of_what_is_not_there_is_accepted() {
    let asked = Asked { is_delete: true, ..asked() };
    for status in [404, 410] {
        let answer = classify(&Reply { status, ..Reply::default() }, &asked);
        assert_eq!((answer.class, answer.note.as_deref()), (AnswerClass::Accepted, Some("was not there")));
    }
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let throttled = |retry_after| classify(&Reply { status: 503, retry_after: Some(retry_after), ..Reply::default() }, &asked());
    assert_eq!(throttled("7").retry_after, Some(Duration::from_secs(7)));
    assert_eq!(throttled("7").class, AnswerClass::Throttled);
    let date = "Wed, 18 Nov 2026 00:00:10 GMT";
    let now = Timestamp::from_micros(jiff::fmt::rfc2822::parse(date).unwrap().timestamp().as_microsecond() - 10_000_000);
    assert_eq!(wait(date, now), Some(Duration::from_secs(10)));
    assert_eq!(throttled("soon").class, AnswerClass::Destination, "an unreadable one is none");
}

#[test]
fn a_refusal_says_code_field_value_and_reason() {
    let body = br#"{"code": "UNIT_UNKNOWN", "field": "unit", "value": "SET", "message": "unit \"SET\" unknown"}"#;
    let problem = classify(&Reply { status: 422, body, ..Reply::default() }, &asked()).problem.unwrap();
    assert_eq!((problem.class, problem.code.as_str()), (LetterClass::Refused, "UNIT_UNKNOWN"));
    assert_eq!((problem.field.as_deref(), problem.observed.as_deref()), (Some("unit"), Some("SET")));
    assert_eq!(problem.message, "HTTP 422: unit \"SET\" unknown");
}

#[test]
fn a_code_that_nobody_knows_is_text_and_never_a_label() {
    let body = br#"{"code": "E-4711-X", "message": "no"}"#;
    let problem = classify(&Reply { status: 422, body, ..Reply::default() }, &asked()).problem.unwrap();
    assert_eq!((problem.code.as_str(), problem.message.as_str()), ("HTTP_422", "HTTP 422: E-4711-X: no"));
    let problem = classify(&Reply { status: 451, body, ..Reply::default() }, &asked()).problem.unwrap();
    assert_eq!(problem.code, "HTTP_4XX");
}

#[test]
fn texts_are_one_line_short_and_without_personal_values() {
    let body = format!("first\r\n\tsecond\u{7} jane.doe@example.com {}", "ä".repeat(3000));
    let personal = ["jane.doe@example.com".to_owned()];
    let answer =
        classify(&Reply { status: 400, body: body.as_bytes(), ..Reply::default() }, &Asked { personal: &personal, ..asked() });
    let text = answer.text.unwrap();
    assert!(text.starts_with("first second *** ä"), "{text}");
    assert!(text.len() <= TEXT_BYTES && answer.problem.unwrap().message.len() <= TEXT_BYTES);
}

#[test]
fn every_code_of_a_letter_has_its_page() {
    for code in CODES {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors").join(format!("{code}.md"));
        assert!(page.is_file(), "docs/errors/{code}.md is missing");
    }
}
