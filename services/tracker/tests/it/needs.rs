//! "Nothing needs a person." is only said when it is true: each thing that does has its line, with whose turn it is and what to type.

use model::{
    ChangeId, DestinationState, DestinationStatus, LedgerEntry, LedgerState, LetterState, Reason, SourceState, ledger::Offered,
};
use serde_json::{Value, json};
use tracker::fact::{Fact, Located};

use crate::{
    given::{Log, at, fleet},
    store::Fixture,
};

/// The source and both plants are there and well, at this second.
fn well(log: &mut Log, seconds: i64) {
    log.source("erp", SourceState::Ok, seconds);
    for name in ["mes-pune", "mes-ulm"] {
        log.destination(name, DestinationState::Ok, seconds);
    }
}

/// The lines after this log, as `[kind, system, count, text, turn, then]`.
async fn lines(log: &Log, seconds: i64) -> Vec<Value> {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    store.apply(&log.records).unwrap();
    let overview = fixture.overview(seconds).await;
    let needs = overview["needs_a_person"].as_array().unwrap().clone();
    needs
        .iter()
        .map(|need| json!([need["kind"], need["system"], need["count"], need["text"], need["turn"], need["then"]]))
        .collect()
}

fn said(log: &mut Log, change: impl FnOnce(&mut DestinationStatus)) {
    let Some(Located { fact: Fact::Destination(Some(status)), .. }) = log.records.last_mut() else { unreachable!() };
    change(status);
}

fn offered(state: LedgerState, reason: Reason) -> LedgerEntry {
    let offered = Offered { revision: 1, change_id: ChangeId::default(), golden_offset: 0 };
    LedgerEntry { offered: Some(offered), state, reason, ..LedgerEntry::default() }
}

#[tokio::test]
async fn nothing_does_while_everything_flows() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).accepted("mes-ulm", "4711/C", 1, 0, 2).golden("4712/A", 1, "RAW", 100);
    log.held("4713/A", "reference/uom/XPX", 100);
    well(&mut log, 100);
    assert_eq!(lines(&log, 105).await, Vec::<Value>::new());
}

#[tokio::test]
async fn late_records_are_told_with_the_reason_of_the_oldest() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).golden("4712/A", 1, "RAW", 1).golden("4713/A", 1, "RAW", 80);
    well(&mut log, 100);
    let then = "millrace record where item 4711/C --destination mes-ulm";
    let text = "2 item records are late; the oldest, 4711/C: 0 ahead, about 1 s";
    assert_eq!(lines(&log, 100).await, [json!(["late", "mes-ulm", 2, text, "operations", then])]);
}

#[tokio::test]
async fn a_plant_that_takes_nothing_says_what_it_answered_and_how_much_is_late() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0);
    well(&mut log, 100);
    log.destination("mes-ulm", DestinationState::Unavailable, 90);
    said(&mut log, |status| {
        (status.at, status.code, status.reason) = (at(100), Some("HTTP_500".into()), Some("HTTP 500: out of paper".into()));
    });
    let [line] = lines(&log, 100).await.try_into().unwrap();
    assert_eq!((&line[0], &line[4]), (&"unavailable".into(), &"plant Ulm".into()));
    let text = line[3].as_str().unwrap();
    assert!(text.starts_with("has taken no record since "), "{text}");
    assert!(text.ends_with(" UTC: HTTP 500: out of paper; 1 record late"), "{text}");
}

#[tokio::test]
async fn a_record_that_is_tried_for_long_names_the_answer_the_attempt_and_the_next_time() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0);
    let entry = LedgerEntry {
        since: Some(at(2)),
        until: Some(at(40)),
        code: Some("HTTP_500".to_owned()),
        detail: Some("HTTP 500: out of paper".to_owned()),
        attempts: 3,
        ..offered(LedgerState::Waiting, Reason::Retrying)
    };
    log.ledger("mes-ulm", "4711/C", entry, 20);
    well(&mut log, 20);
    assert_eq!(lines(&log, 30).await, Vec::<Value>::new(), "it may pass");
    let [line] = lines(&log, 36).await.try_into().unwrap();
    assert_eq!((&line[0], &line[4]), (&"retrying".into(), &"plant Ulm".into()));
    let text = line[3].as_str().unwrap();
    assert!(text.starts_with("item 4711/C is tried again: attempt 3 of 8 failed, HTTP 500: out of paper; next at "), "{text}");
}

#[tokio::test]
async fn what_waits_for_a_person_at_the_validator_and_what_it_held_too_long() {
    let mut log = Log::default();
    log.held_for("4711/C", Reason::Steward, "item office", 0).held("4712/A", "reference/uom/XPX", 0);
    log.held_for("4713/A", Reason::Approval, "erp", 5);
    well(&mut log, 100);
    let approval = "item 4713/A from erp waits for approval in erp";
    let quarantined = "item 4711/C from erp is quarantined by ITM-07: GTIN 1 has a wrong check digit; correct it in erp";
    let overdue = "item 4712/A from erp should have been decided by now; does the validator run?";
    assert_eq!(
        lines(&log, 100).await,
        [
            json!(["approval", "validator", 1, approval, "item office", "millrace record where item 4713/A"]),
            json!(["quarantined", "validator", 1, quarantined, "item office", "millrace record where item 4711/C"]),
            json!(["overdue", "validator", 1, overdue, "operations", "millrace record where item 4712/A"]),
        ]
    );
}

#[tokio::test]
async fn changes_that_nobody_judges_are_told_and_repeats_of_what_is_golden_are_not() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).accepted("mes-ulm", "4711/C", 1, 0, 1);
    // A repeat under another name: what is golden has passed it.
    log.golden("4711/C", 7, "RAW", 0);
    let Some(Located { fact: Fact::Golden(_, Some(golden)), .. }) = log.records.last_mut() else { unreachable!() };
    (golden.meta.revision, golden.meta.change_id) = (1, model::ChangeId::default());
    golden.meta.fence.insert("erp".to_owned(), model::Fence { epoch: 1, sequence: 7 });
    well(&mut log, 100);
    assert_eq!(lines(&log, 100).await, Vec::<Value>::new());
    // A deleted record whose tombstone was written: a tracker that reads everything anew finds its grave only.
    log.golden("4799/A", 3, "RAW", 5);
    log.records.pop();
    log.buried("4799/A", 3, 6);
    assert_eq!(lines(&log, 100).await, Vec::<Value>::new());
    // The validator stands still: the change is all there is.
    for (item, seconds) in [("4712/A", 10), ("4713/A", 20), ("4714/A", 90)] {
        log.golden(item, 1_000 + seconds, "RAW", seconds);
        log.records.pop();
    }
    let [line] = lines(&log, 100).await.try_into().unwrap();
    assert_eq!((&line[0], &line[2], &line[4]), (&"overdue".into(), &2.into(), &"operations".into()));
    let text = line[3].as_str().unwrap();
    assert!(
        text.starts_with("2 of the last 200 changes are not judged yet, the oldest, item 4712/A from erp, captured "),
        "{text}"
    );
}

#[tokio::test]
async fn a_record_that_was_captured_and_not_judged_is_no_stranger() {
    let fixture = Fixture::new();
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).golden("4712/A", 1, "RAW", 1);
    log.records.pop();
    fixture.open().apply(&log.records).unwrap();
    for (item, is_unjudged) in [("4711/C", false), ("4712/A", true)] {
        let fleet = std::sync::Arc::clone(&fixture.fleet);
        let reads = fixture.reads();
        let status = reads
            .ask(move |sql| tracker::store::query::records::status(sql, &fleet, model::Domain::Item, item, at(9)))
            .await
            .unwrap();
        assert_eq!((status.unjudged.is_some(), status.is_unheard_of()), (is_unjudged, false), "{item}");
    }
}

#[tokio::test]
async fn a_discarded_letter_is_told_while_the_plant_lacks_the_record() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0);
    let id = log.refused("mes-ulm", "4711/C", 1, 6);
    log.moved(&id, LetterState::Discarded, 7);
    log.ledger("mes-ulm", "4711/C", offered(LedgerState::Clear, Reason::Unknown), 8);
    well(&mut log, 100);
    let then = "millrace dlq list --destination mes-ulm --domain item --state discarded";
    let text = "item 4711/C was discarded and is missing here";
    assert_eq!(lines(&log, 100).await, [json!(["given_up", "mes-ulm", 1, text, "plant Ulm", then])]);
    log.golden("4711/C", 2, "RAW", 90).accepted("mes-ulm", "4711/C", 2, 90, 91);
    assert_eq!(lines(&log, 100).await, Vec::<Value>::new(), "a newer one arrived");
}

#[tokio::test]
async fn a_letter_that_is_not_its_writers_is_told_in_words() {
    let mut log = Log::default();
    log.refused("mes-ulm", "4711/C", 1, 6);
    let forged = std::mem::take(&mut log.records).into_iter().find_map(|located| match located.fact {
        Fact::Letter(letter) => Some(letter),
        _ => None,
    });
    let lies = deadletter::Lies { topic: "mdm.dlq.erp", partition: 3, offset: 17, since: at(6) };
    let about = fleet().author("erp").on_letter(&forged.unwrap(), lies).unwrap();
    log.letter(deadletter::opened(&about, lies.topic, 3, 17, at(7)));
    well(&mut log, 100);
    let lines = lines(&log, 100).await;
    assert_eq!(lines[0][3], about.message, "{lines:?}");
    assert_eq!(
        (&lines[0][1], &lines[0][4], &lines[0][5]),
        (&json!("erp"), &json!("item office"), &json!("millrace dlq show erp/dlq/3@17"))
    );
}

#[tokio::test]
async fn letters_that_were_sent_again_without_an_answer_and_those_whose_bytes_are_gone() {
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).golden("4712/A", 1, "RAW", 0);
    let replayed = log.refused("mes-ulm", "4711/C", 1, 6);
    log.moved(&replayed, LetterState::Replaying, 50);
    let expired = log.refused("mes-ulm", "4712/A", 1, 6);
    log.moved(&expired, LetterState::Expired, 50);
    well(&mut log, 400);
    let lines = lines(&log, 400).await;
    let kinds: Vec<&Value> = lines.iter().map(|line| &line[0]).collect();
    assert_eq!(kinds, ["refused", "replaying"]);
    assert!(lines[0][3].as_str().unwrap().ends_with("; never answered, and its bytes are gone"), "{lines:?}");
    assert_eq!(lines[1][5], "millrace dlq list --destination mes-ulm --state replaying");
}

#[tokio::test]
async fn a_sink_that_is_silent_was_never_heard_or_may_not_is_told() {
    let mut log = Log::default();
    log.destination("mes-pune", DestinationState::Ok, 0);
    let silent = lines(&log, 300).await;
    let text = |line: &Value| line[3].as_str().unwrap().to_owned();
    assert!(text(&silent[0]).starts_with("its sink was last heard "), "{silent:?}");
    assert_eq!(text(&silent[1]), "its publisher has never been heard; does it run?");
    assert_eq!(text(&silent[2]), "its sink has never been heard; does it run?");
    assert_eq!(silent.len(), 3, "{silent:?}");
    well(&mut log, 300);
    said(&mut log, |status| status.reason = Some("may not read `mdm.golden.item`".to_owned()));
    log.source("erp", SourceState::Ok, 300);
    let Some(Located { fact: Fact::Source(Some(status)), .. }) = log.records.last_mut() else { unreachable!() };
    status.reason = Some("may not write `mdm.change.erp.item`".to_owned());
    let denied = lines(&log, 300).await;
    assert_eq!(
        denied.iter().map(|line| (&line[0], &line[1])).collect::<Vec<_>>(),
        [(&"denied".into(), &"erp".into()), (&"denied".into(), &"mes-ulm".into())]
    );
}

#[tokio::test]
async fn a_source_that_cannot_be_read_says_why_and_one_that_is_not_heard_is_told() {
    let mut log = Log::default();
    well(&mut log, 0);
    log.source("erp", SourceState::Unavailable, 10);
    let [line] = lines(&log, 20).await.try_into().unwrap();
    assert_eq!((&line[0], &line[1], &line[4]), (&"unavailable".into(), &"erp".into(), &"item office".into()));
    let text = line[3].as_str().unwrap();
    assert!(
        text.starts_with("could not be read since ") && text.contains(": it answers 401: who are you?; asked again at "),
        "{text}"
    );
    let fixture = Fixture::new();
    fixture.open().apply(&log.records).unwrap();
    let cell = fixture.overview(20).await["domains"][0]["cells"]["erp"].clone();
    assert_eq!((&cell["state"], &cell["reason"]), (&"unavailable".into(), &"it answers 401: who are you?".into()));
    log.destination("mes-pune", DestinationState::Ok, 400).destination("mes-ulm", DestinationState::Ok, 400);
    let kinds: Vec<Value> = lines(&log, 400).await.into_iter().map(|line| line[0].clone()).collect();
    assert_eq!(kinds, ["unavailable", "silent"]);
}

#[tokio::test]
async fn a_source_that_is_not_read_to_its_end_and_one_whose_cursor_is_ahead_of_now() {
    let mut log = Log::default();
    well(&mut log, 1_000);
    let source = |log: &mut Log, change: &dyn Fn(&mut model::SourceStatus)| {
        log.source("erp", SourceState::Ok, 1_000);
        let Some(Located { fact: Fact::Source(Some(status)), .. }) = log.records.last_mut() else { unreachable!() };
        change(status);
    };
    source(&mut log, &|status| (status.since, status.read_at) = (at(0), Some(at(50))));
    let [line] = lines(&log, 1_000).await.try_into().unwrap();
    assert!(line[3].as_str().unwrap().starts_with("has not been read to its end since "), "{line}");
    source(&mut log, &|status| status.streams[0].cursor = Some(at(160_000_000)));
    let [line] = lines(&log, 1_000).await.try_into().unwrap();
    assert_eq!((&line[0], &line[1], &line[4]), (&"ahead".into(), &"erp".into(), &"item office".into()));
    let text = line[3].as_str().unwrap();
    assert!(text.starts_with("stream items is asked for what comes after 2031-12-14"), "{text}");
}

#[tokio::test]
async fn a_tracker_that_has_read_nothing_for_long_says_so_and_accuses_nobody() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    well(&mut log, 0);
    store.apply(&log.records).unwrap();
    let fleet = std::sync::Arc::clone(&fixture.fleet);
    let overview = fixture
        .reads()
        .ask(move |sql| tracker::store::query::overview::overview(sql, &fleet, true, at(0), at(600)))
        .await
        .unwrap();
    let kinds: Vec<_> = overview.needs_a_person.iter().map(|need| need.kind.name()).collect();
    assert_eq!(kinds, ["behind"]);
}
