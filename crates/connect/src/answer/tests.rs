use super::*;

fn asked() -> Asked<'static> {
    Asked {
        revision: 5,
        is_delete: false,
        personal: &[],
        now: Timestamp::from_millis(1_795_000_000_000),
        answers: None,
        absent: &[],
        record: None,
    }
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

/// What the head of the module says, word by word: answers of real systems among them.
#[test]
fn a_success_with_a_no_inside_is_a_no() {
    for body in [
        r#"{"status": "error", "message": "unit not allowed in warehouse 7"}"#,
        r#"{"ok": false, "error_description": "locked by user"}"#,
        r#"{"data": null, "errors": [{"message": "field net: must be positive"}]}"#,
        r#"{"success": 0}"#,
        r#"{"success": "False"}"#,
        r#"{"error": true}"#,
        r#"{"error": "locked"}"#,
        r#"{"errors": {"net": ["must be positive"]}}"#,
        r#"{"status": "FAILED"}"#,
        r#"{"revision": 5, "ok": false}"#,
        r#"[{"ok": true}, {"ok": false}]"#,
    ] {
        assert_eq!(class(200, body), AnswerClass::Permanent, "{body}");
    }
    for body in [
        r#"{"error": false, "id": 17}"#,
        r#"{"error": [], "code": 0}"#,
        r#"{"error": "", "errors": []}"#,
        r#"{"error": null, "errors": {}}"#,
        r#"{"error": 0, "status": "ok"}"#,
        r#"{"status": 200, "success": true}"#,
        r#"[{"ok": true}]"#,
        r#""done""#,
    ] {
        assert_eq!(class(200, body), AnswerClass::Accepted, "{body}");
    }
}

#[test]
fn a_no_inside_names_its_reason() {
    for (body, reason) in [
        (r#"{"data": null, "errors": [{"message": "field net: must be positive"}]}"#, "HTTP 200: field net: must be positive"),
        (r#"{"ok": false, "error_description": "locked by user"}"#, "HTTP 200: locked by user"),
        (r#"{"error": {"code": 3, "message": "no such unit"}}"#, "HTTP 200: no such unit"),
    ] {
        let problem = classify(&Reply { status: 200, body: body.as_bytes(), ..Reply::default() }, &asked()).problem.unwrap();
        assert_eq!((problem.code.as_str(), problem.message.as_str()), ("HTTP_200_REJECTED", reason));
    }
}

#[test]
fn json_that_is_none_is_no_yes() {
    let reply = |body: &'static [u8]| Reply { status: 200, content_type: Some("application/json"), body, ..Reply::default() };
    let answer = classify(&reply(b"{\"ok\": tr"), &asked());
    assert_eq!((answer.class, answer.problem.unwrap().code.as_str()), (AnswerClass::Retryable, "ANSWER_UNCLEAR"));
    assert_eq!(classify(&reply(b" "), &asked()).class, AnswerClass::Accepted, "no body is no broken one");
}

fn expression(text: &str) -> Option<mapping::AnswerExpression> {
    Some(mapping::AnswerExpression::compile(text).unwrap())
}

fn dialect() -> Answers {
    Answers {
        accepted: expression("status in [200, 201] and body.ok"),
        refused: expression("status == 200 and body.ok == false and not body.locked"),
        retry: expression("body.locked"),
        duplicate: expression("status == 409 and body.state == 'SAME'"),
        code: expression("body.errors[0].code"),
        message: expression("body.errors[0].text"),
        field: expression("body.errors[0].path"),
        external_id: expression("body.doc.number"),
        ..Answers::default()
    }
}

fn spoken(answers: &Answers, status: u16, body: &str) -> Answer {
    let asked = Asked { answers: Some(answers), ..asked() };
    classify(&Reply { status, body: body.as_bytes(), ..Reply::default() }, &asked)
}

#[test]
fn what_the_landscape_declares_counts_first() {
    let answers = dialect();
    for (status, body, class, code) in [
        (200, r#"{"ok": true, "error": "none"}"#, AnswerClass::Accepted, None),
        (201, r#"{"ok": true}"#, AnswerClass::Accepted, None),
        (200, r#"{"ok": false}"#, AnswerClass::Permanent, Some("HTTP_200_REJECTED")),
        (200, r#"{"ok": false, "locked": true}"#, AnswerClass::Retryable, Some("RETRY_ASKED")),
        (200, r#"{"ok": true, "locked": true}"#, AnswerClass::Retryable, Some("RETRY_ASKED")),
        (409, r#"{"state": "SAME"}"#, AnswerClass::Accepted, None),
        (409, r#"{"state": "OTHER"}"#, AnswerClass::Permanent, Some("HTTP_409")),
        (200, r#"{"status": "done"}"#, AnswerClass::Retryable, Some("ANSWER_UNCLEAR")),
        (204, "", AnswerClass::Retryable, Some("ANSWER_UNCLEAR")),
        (202, "{}", AnswerClass::Retryable, Some("ANSWER_UNCLEAR")),
        (500, "stack trace", AnswerClass::Retryable, Some("HTTP_500")),
        (503, "<html>down", AnswerClass::Destination, Some("HTTP_503")),
    ] {
        let answer = spoken(&answers, status, body);
        let got = answer.problem.as_ref().map(|problem| problem.code.as_str());
        assert_eq!((answer.class, got), (class, code), "{status} {body}");
    }
}

#[test]
fn declared_names_say_code_message_field_and_number() {
    let body =
        r#"{"ok": false, "errors": [{"code": "UNIT_UNKNOWN", "text": "no such unit", "path": "unit"}], "doc": {"number": 17}}"#;
    let answer = spoken(&dialect(), 200, body);
    assert_eq!(answer.external_id.as_deref(), Some("17"));
    let problem = answer.problem.unwrap();
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("UNIT_UNKNOWN", Some("unit")));
    assert_eq!(problem.message, "HTTP 200: no such unit");
}

#[test]
fn an_expression_that_fails_is_no_yes_and_says_so() {
    let answers = Answers { refused: expression("body.result.state == 'NO'"), ..Answers::default() };
    for (status, body) in [(200, "OK"), (200, r#"{"done": true}"#), (202, "{}"), (409, r#"{"revision": 5}"#)] {
        let answer = spoken(&answers, status, body);
        let problem = answer.problem.unwrap();
        assert_eq!((answer.class, problem.code.as_str()), (AnswerClass::Retryable, "ANSWER_UNCLEAR"), "{status} {body}");
        assert!(problem.message.contains("`answers.refused`"), "{}", problem.message);
    }
    assert_eq!(spoken(&answers, 422, "no").class, AnswerClass::Permanent, "a no stays one");
    assert_eq!(spoken(&answers, 200, r#"{"result": {"state": "YES"}}"#).class, AnswerClass::Accepted);
}

#[test]
fn a_page_is_never_a_yes() {
    let everything = Answers { accepted: expression("status == 200"), ..Answers::default() };
    let page = |content_type, body: &'static str| Reply { status: 200, content_type, body: body.as_bytes(), ..Reply::default() };
    for (reply, answers, class) in [
        (page(Some("text/html"), "<html>sign in"), Some(&everything), AnswerClass::Destination),
        (page(Some("text/html"), ""), None, AnswerClass::Destination),
        (page(Some("text/html"), r#"{"ok": true}"#), None, AnswerClass::Destination),
        (page(Some("text/html"), r#"{"ok": true}"#), Some(&everything), AnswerClass::Accepted),
        (page(None, "\n<!DOCTYPE HTML><p>maintenance"), None, AnswerClass::Destination),
        (page(Some("text/plain"), "OK"), None, AnswerClass::Accepted),
    ] {
        let answer = classify(&reply, &Asked { answers, ..asked() });
        assert_eq!(answer.class, class, "{reply:?}");
    }
}

fn absent(code: Option<&str>, when: Option<&str>, waits_for: &str) -> Absent {
    Absent {
        code: code.map(str::to_owned),
        when: when.and_then(expression),
        waits_for: mapping::KeyTemplate::compile(waits_for).unwrap(),
        domain: model::Domain::Reference,
        hold: Duration::from_secs(60),
    }
}

fn item() -> View {
    let data = mapping::record(model::Domain::Item, r#"{"item_id": "K2-1", "revision": "A", "base_uom": "KI8"}"#).unwrap();
    let key = data.key().unwrap();
    let meta = serde_json::from_value(serde_json::json!({
        "revision": 1, "change_id": "00000000-0000-7000-8000-000000000001", "operation": "UPSERT", "policy_version": "",
        "owner": "erp", "occurred_at": "2026-01-02T03:04:05Z", "accepted_at": "2026-01-02T03:04:06Z",
        "correlation_id": "00000000-0000-7000-8000-000000000001",
    }));
    View::new(&model::Golden { meta: meta.unwrap(), data: Some(data) }, model::Domain::Item, &key)
}

#[test]
fn a_refusal_of_absence_names_the_record_that_is_missing() {
    let record = item();
    let missing = |absent: &[Absent], status, body: &str| {
        let asked = Asked { absent, record: Some(&record), ..asked() };
        let answer = classify(&Reply { status, body: body.as_bytes(), ..Reply::default() }, &asked);
        (answer.class, answer.absence.map(|absence| absence.record.to_string()), answer.problem.map(|problem| problem.message))
    };
    let unit = [absent(Some("UNIT_UNKNOWN"), None, "reference/uom/{{ record.base_uom }}")];
    let body = r#"{"code": "UNIT_UNKNOWN", "value": "KI8"}"#;
    let (class, waits_for, _) = missing(&unit, 422, body);
    assert_eq!((class, waits_for.as_deref()), (AnswerClass::Permanent, Some("reference/uom/KI8")));
    assert_eq!(missing(&unit, 422, r#"{"code": "TYPE_UNKNOWN"}"#).1, None);
    assert_eq!(missing(&unit, 200, body).1, None, "not a no");
    let said = [absent(None, Some("'unit' in body.message"), "reference/uom/{{ body.value }}")];
    assert_eq!(missing(&said, 422, r#"{"message": "no unit", "value": "a/b"}"#).1.as_deref(), Some("reference/uom/a%2Fb"));
    let (_, waits_for, message) = missing(&said, 422, r#"{"message": "no unit"}"#);
    assert_eq!(waits_for, None);
    assert!(message.unwrap().contains("`absent.waits_for`"), "what cannot be told is said");
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
