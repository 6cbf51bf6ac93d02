//! Facts in, rows out: counts, reasons, deadlines, restart and rebuild.

use std::sync::Arc;

use model::{DestinationState, Domain, LedgerState, LetterState, Reason, ReceiptOutcome, ledger::Offered};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tracker::{
    fact::Located,
    fleet::Fleet,
    store::{
        Noted, Reads, Store,
        query::{letters, overview, records},
    },
};

use crate::given::{Log, at, fleet};

/// A store in a folder of its own.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fleet: Arc<Fleet>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), fleet: fleet() }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("tracker.sqlite")
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.path(), Arc::clone(&self.fleet)).unwrap()
    }

    pub(crate) fn reads(&self) -> Reads {
        Reads::new(&self.path())
    }

    pub(crate) async fn overview(&self, seconds: i64) -> Value {
        let fleet = Arc::clone(&self.fleet);
        let overview = self.reads().ask(move |sql| overview::overview(sql, &fleet, true, at(seconds), at(seconds))).await;
        serde_json::to_value(overview.unwrap()).unwrap()
    }

    async fn cell(&self, destination: &str, seconds: i64) -> Value {
        self.overview(seconds).await["domains"][0]["cells"][destination].clone()
    }

    async fn standpoint(&self, destination: &str, item: &'static str, seconds: i64) -> Value {
        let fleet = Arc::clone(&self.fleet);
        let status = self.reads().ask(move |sql| records::status(sql, &fleet, Domain::Item, item, at(seconds))).await.unwrap();
        let status = serde_json::to_value(status).unwrap();
        status["destinations"].as_array().unwrap().iter().find(|place| place["destination"] == destination).unwrap().clone()
    }
}

/// The place of one record at Pune, after its ledger entry took this state.
async fn at_pune(fixture: &Fixture, store: &mut Store, state: LedgerState, accepted: i64, offered: i64) -> Value {
    let there = |revision| model::ledger::Accepted {
        revision,
        change_id: model::ChangeId::default(),
        payload_hash: String::new(),
        at: at(8),
        external_id: None,
    };
    let entry = model::LedgerEntry {
        offered: Some(Offered { revision: offered, change_id: model::ChangeId::default(), golden_offset: 0 }),
        accepted: Some(there(accepted)),
        state,
        ..model::LedgerEntry::default()
    };
    let mut log = Log::default();
    log.ledger("mes-pune", "4711/C", entry, 8);
    store.apply(&log.records).unwrap();
    fixture.standpoint("mes-pune", "4711/C", 9).await
}

#[tokio::test]
async fn a_record_that_leaves_the_scope_is_owed_until_the_destination_removed_it() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "FINISHED", 0).accepted("mes-pune", "4711/C", 1, 0, 1).golden("4711/C", 2, "RAW", 5);
    store.apply(&log.records).unwrap();
    assert_eq!(fixture.standpoint("mes-pune", "4711/C", 6).await["state"], "waiting");
    assert_eq!(counts(&fixture.cell("mes-pune", 6).await), [0, 0, 1, 0, 0]);
    let removed = at_pune(&fixture, &mut store, LedgerState::Deleted, 2, 2).await;
    assert_eq!(removed["state"], "not_needed");
    assert_eq!(counts(&fixture.cell("mes-pune", 9).await), [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn what_a_person_gave_up_is_neither_waiting_nor_refused_and_says_who_and_why() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "FINISHED", 0).accepted("mes-pune", "4711/C", 1, 0, 1).golden("4711/C", 2, "FINISHED", 5);
    let id = log.refused("mes-pune", "4711/C", 2, 6);
    log.moved(&id, LetterState::Discarded, 7);
    let Some(Located { fact: tracker::fact::Fact::LetterStatus(Some(status)), .. }) = log.records.last_mut() else {
        unreachable!()
    };
    status.by = "local/a.svoboda".to_owned();
    status.reason = Some("line retired".to_owned());
    store.apply(&log.records).unwrap();
    let place = at_pune(&fixture, &mut store, LedgerState::Clear, 1, 2).await;
    assert_eq!((&place["state"], &place["why"]), (&"given_up".into(), &"given up by local/a.svoboda: line retired".into()));
    assert_eq!((&place["letter"], &place["at"]), (&id.0.clone().into(), &at(7).to_string().into()), "what would be sent again");
    let cell = fixture.cell("mes-pune", 9).await;
    assert_eq!((counts(&cell), &cell["given_up"], &cell["state"]), ([0, 0, 0, 0, 0], &1.into(), &"ok".into()));
}

fn counts(cell: &Value) -> [i64; 5] {
    ["accepted", "sent", "waiting", "refused", "not_needed"].map(|name| cell[name].as_i64().unwrap())
}

#[tokio::test]
async fn a_revision_is_followed_from_waiting_to_accepted_and_out_of_scope_is_no_riddle() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "FINISHED", 0).golden("4712/A", 1, "RAW", 0);
    assert_eq!(store.apply(&log.records).unwrap(), []);
    assert_eq!(counts(&fixture.cell("mes-ulm", 3).await), [0, 0, 2, 0, 0]);
    assert_eq!(counts(&fixture.cell("mes-pune", 3).await), [0, 0, 1, 0, 1]);
    let pune = fixture.standpoint("mes-pune", "4712/A", 3).await;
    assert_eq!(pune["why"], "not needed here: item.item_type == 'FINISHED'");
    let ulm = fixture.standpoint("mes-ulm", "4711/C", 3).await;
    assert_eq!((&ulm["state"], &ulm["reason"]), (&"waiting".into(), &"queued".into()));

    let mut later = Log::default();
    later.accepted("mes-ulm", "4711/C", 1, 0, 2);
    let noted = store.apply(&later.records).unwrap();
    let ulm = || "mes-ulm".to_owned();
    assert_eq!(
        noted,
        [
            Noted::Deadline { domain: Domain::Item, destination: ulm(), met: true },
            Noted::Propagated { domain: Domain::Item, destination: ulm(), seconds: 2.0 }
        ]
    );
    let cell = fixture.cell("mes-ulm", 3).await;
    assert_eq!(counts(&cell), [1, 0, 1, 0, 0]);
    assert_eq!((cell["p50_seconds"].as_f64(), cell["oldest_waiting_seconds"].as_f64()), (Some(2.0), Some(3.0)));
    let place = fixture.standpoint("mes-ulm", "4711/C", 3).await;
    assert_eq!((&place["state"], place["took_seconds"].as_f64()), (&"accepted".into(), Some(2.0)));
}

#[tokio::test]
async fn a_refusal_parks_one_key_names_the_office_and_a_newer_revision_has_its_own_chance() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).accepted("mes-ulm", "4711/C", 1, 0, 1).golden("4711/C", 2, "RAW", 5);
    let id = log.refused("mes-ulm", "4711/C", 2, 6);
    store.apply(&log.records).unwrap();
    assert_eq!(counts(&fixture.cell("mes-ulm", 10).await), [0, 0, 0, 1, 0]);
    let place = fixture.standpoint("mes-ulm", "4711/C", 10).await;
    assert_eq!(place["why"], "refused: UNIT_UNKNOWN; parked");
    assert_eq!((&place["turn"], &place["letter"]), (&"item office".into(), &id.0.clone().into()));

    let overview = fixture.overview(10).await;
    let need = &overview["needs_a_person"][0];
    assert_eq!((&need["text"], &need["turn"]), (&"item 4711/C: unit \"SET\" unknown".into(), &"item office".into()));

    let asked = id.0.clone();
    let letter = fixture.reads().ask(move |sql| letters::one(sql, &asked)).await.unwrap().unwrap().letter;
    assert_eq!((letter.sent_revision, letter.there_revision), (Some(2), Some(1)));
    let differences = serde_json::to_value(&letter.differences).unwrap();
    assert_eq!(differences, serde_json::json!([{ "path": "/base_uom", "sent": "SET", "there": "C62" }]));

    let mut later = Log::default();
    later.golden("4711/C", 3, "RAW", 20);
    store.apply(&later.records).unwrap();
    let place = fixture.standpoint("mes-ulm", "4711/C", 21).await;
    assert_eq!((&place["state"], &place["reason"]), (&"waiting".into(), &"queued".into()));
}

#[tokio::test]
async fn a_paused_or_unavailable_destination_is_the_reason_and_needs_a_person() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "FINISHED", 0).destination("mes-pune", DestinationState::Paused, 1);
    log.destination("mes-ulm", DestinationState::Unavailable, 1).source("erp", model::SourceState::Ok, 1);
    store.apply(&log.records).unwrap();
    let pune = fixture.standpoint("mes-pune", "4711/C", 100).await;
    assert_eq!(pune["why"], "destination paused by local/j.rao until it is resumed");
    assert_eq!((&pune["turn"], &pune["late"]), (&"local/j.rao".into(), &true.into()));
    let ulm = fixture.standpoint("mes-ulm", "4711/C", 5).await;
    assert!(ulm["why"].as_str().unwrap().starts_with("mes-ulm has not answered since"), "{ulm}");
    assert_eq!(ulm["turn"], "plant Ulm");
    let overview = fixture.overview(5).await;
    assert_eq!(overview["needs_a_person"].as_array().unwrap().len(), 2, "{overview}");
    assert_eq!(overview["domains"][0]["cells"]["mes-pune"]["reasons"]["paused"], 1);
}

#[tokio::test]
async fn a_record_that_waits_for_another_one_is_held_until_it_is_released() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.held("4711/C", "reference/uom/XPX", 0);
    store.apply(&log.records).unwrap();
    assert_eq!(fixture.overview(1).await["domains"][0]["held"]["record"], 1);
    let fleet = Arc::clone(&fixture.fleet);
    let status = fixture.reads().ask(move |sql| records::status(sql, &fleet, Domain::Item, "4711/C", at(1))).await.unwrap();
    assert_eq!(status.held[0].sentence, "waiting for reference uom/XPX to exist");
    assert!(status.revision.is_none() && !status.is_unheard_of());
    let mut later = Log::default();
    later.released("4711/C", 2).golden("4711/C", 1, "RAW", 2);
    store.apply(&later.records).unwrap();
    assert_eq!(fixture.overview(3).await["domains"][0]["held"], serde_json::json!({}));
}

#[test]
fn a_deadline_is_counted_once_per_revision_and_never_for_the_time_before_catching_up() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).golden("4711/C", 2, "RAW", 30).golden("4712/A", 1, "RAW", 100);
    store.apply(&log.records).unwrap();
    let missed = Noted::Deadline { domain: Domain::Item, destination: "mes-ulm".to_owned(), met: false };
    let met = Noted::Deadline { domain: Domain::Item, destination: "mes-ulm".to_owned(), met: true };
    assert_eq!(store.tick(at(60)).unwrap(), [], "the first is due at 60 s and not before");
    assert_eq!(store.tick(at(61)).unwrap(), std::slice::from_ref(&missed));
    assert_eq!(store.tick(at(61)).unwrap(), [], "counted once");
    let mut later = Log::default();
    later.accepted("mes-ulm", "4711/C", 2, 30, 70);
    let noted = store.apply(&later.records).unwrap();
    assert_eq!(noted.iter().filter(|noted| **noted == met).count(), 1, "accepting revision 2 meets its deadline");
    store.settle(at(10_000)).unwrap();
    assert_eq!(store.tick(at(20_000)).unwrap(), [], "what passed before catching up is not counted");
}

#[test]
fn the_clock_of_a_record_that_awaits_approval_has_not_started() {
    let mut fleet = Fleet { ..Default::default() };
    let given = crate::given::fleet();
    fleet.domains = given.domains.clone();
    let served =
        tracker::fleet::Served { scope: None, deadline: Some(std::time::Duration::from_secs(60)), waits_for_approval: true };
    let part = tracker::fleet::DestinationPart { domains: [(Domain::Item, served)].into(), ..Default::default() };
    fleet.destinations.insert("mes-ulm".to_owned(), part);
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("store"), Arc::new(fleet)).unwrap();
    let mut log = Log::default();
    log.awaiting_approval("4711/C", 1, 0);
    store.apply(&log.records).unwrap();
    assert_eq!(store.tick(at(1_000)).unwrap(), []);
}

#[test]
fn letters_count_detection_correction_and_resolution() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0);
    let id = log.refused("mes-ulm", "4711/C", 1, 6);
    log.moved(&id, LetterState::Replaying, 50).moved(&id, LetterState::Resolved, 66);
    let noted = store.apply(&log.records).unwrap();
    let (domain, class) = (|| "item".to_owned(), || "refused".to_owned());
    assert!(noted.contains(&Noted::Detected { domain: domain(), class: class(), seconds: 6.0 }), "{noted:?}");
    assert!(noted.contains(&Noted::Corrected { domain: domain(), kind: "replay" }), "{noted:?}");
    assert!(noted.contains(&Noted::Resolved { domain: domain(), class: class(), seconds: 60.0 }), "{noted:?}");
    assert_eq!(store.apply(&log.records).unwrap().iter().filter(|noted| matches!(noted, Noted::Detected { .. })).count(), 0);
}

#[tokio::test]
async fn a_delete_is_needed_only_where_the_record_was() {
    let fixture = Fixture::new();
    let mut store = fixture.open();
    let mut log = Log::default();
    log.golden("4711/C", 1, "RAW", 0).accepted("mes-ulm", "4711/C", 1, 0, 1).deleted("4711/C", 2, 5);
    store.apply(&log.records).unwrap();
    assert_eq!(counts(&fixture.cell("mes-ulm", 6).await), [0, 0, 1, 0, 0]);
    assert_eq!(counts(&fixture.cell("mes-pune", 6).await), [0, 0, 0, 0, 1]);
}

/// A day at the plants: everything that happens, with the shape of its own topics.
fn story() -> Log {
    let mut log = Log::default();
    for number in 0..40_i64 {
        let item = format!("P-{number}/A");
        let kind = if number % 3 == 0 { "RAW" } else { "FINISHED" };
        log.golden(&item, 1, kind, number).accepted("mes-ulm", &item, 1, number, number + 2);
        log.golden(&item, 2, kind, number + 10);
        match number % 4 {
            0 => drop(log.refused("mes-ulm", &item, 2, number + 12)),
            1 => drop(log.accepted("mes-ulm", &item, 2, number + 10, number + 12)),
            2 => {
                let entry = model::LedgerEntry {
                    offered: Some(Offered { revision: 2, change_id: model::ChangeId::default(), golden_offset: 0 }),
                    state: LedgerState::Waiting,
                    reason: Reason::Approval,
                    ..model::LedgerEntry::default()
                };
                log.ledger("mes-pune", &item, entry, number + 12);
            }
            _ => drop(log.receipt("mes-pune", &item, 1, ReceiptOutcome::Superseded, number, number + 3)),
        }
    }
    log.destination("mes-pune", DestinationState::Paused, 60).held("X-1/A", "reference/uom/XPX", 61);
    log
}

async fn everything(fixture: &Fixture) -> Value {
    let mut all = fixture.overview(200).await;
    let fleet = Arc::clone(&fixture.fleet);
    let lineage = fixture.reads().ask(move |sql| records::lineage(sql, &fleet, Domain::Item, "P-4/A", at(200))).await.unwrap();
    all["lineage"] = serde_json::to_value(lineage).unwrap();
    all
}

#[tokio::test]
async fn a_restart_continues_where_it_was_and_a_rebuild_comes_to_the_same() {
    let log = story();
    let whole = Fixture::new();
    whole.open().apply(&log.records).unwrap();
    let restarted = Fixture::new();
    for chunk in log.records.chunks(7) {
        let mut store = restarted.open();
        let positions = store.positions().unwrap();
        // As the follower does: only what lies at or behind the stored position is new.
        let known = |located: &&Located| {
            positions.get(&(located.topic.clone(), located.partition)).is_some_and(|next| located.offset < *next)
        };
        assert_eq!(chunk.iter().filter(known).count(), 0, "nothing is read twice");
        store.apply(chunk).unwrap();
    }
    assert_eq!(everything(&restarted).await, everything(&whole).await);
    assert_eq!(restarted.open().positions().unwrap(), whole.open().positions().unwrap());
}

#[tokio::test]
async fn the_order_between_topics_does_not_matter() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let log = story();
    let expected = Fixture::new();
    expected.open().apply(&log.records).unwrap();
    let mut expected = expected.overview(200).await;
    for _ in 0..5 {
        // Each topic keeps its own order; which one is read next is chance.
        let mut topics: Vec<Vec<Located>> = Vec::new();
        for located in &log.records {
            let same = |topic: &&mut Vec<Located>| topic[0].topic == located.topic && topic[0].partition == located.partition;
            match topics.iter_mut().find(same) {
                Some(topic) => topic.push(located.clone()),
                None => topics.push(vec![located.clone()]),
            }
        }
        topics.iter_mut().for_each(|topic| topic.reverse());
        let mut mixed = Vec::new();
        while !topics.is_empty() {
            let chosen = random.random_range(0..topics.len());
            mixed.extend(topics[chosen].pop());
            topics.retain(|topic| !topic.is_empty());
        }
        let fixture = Fixture::new();
        fixture.open().apply(&mixed).unwrap();
        let mut found = fixture.overview(200).await;
        for overview in [&mut expected, &mut found] {
            overview["as_of"] = Value::Null;
        }
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn a_store_of_another_layout_is_rebuilt_and_a_broken_file_too() {
    let fixture = Fixture::new();
    let log = story();
    fixture.open().apply(&log.records).unwrap();
    assert!(!fixture.open().positions().unwrap().is_empty(), "the same layout keeps its rows");
    let mut other = Fleet { topic_prefix: "test.".to_owned(), ..Default::default() };
    other.slots = 12;
    let store = Store::open(&fixture.path(), Arc::new(other)).unwrap();
    assert!(store.positions().unwrap().is_empty(), "another prefix starts anew");
    drop(store);
    std::fs::write(fixture.path(), b"this is no database, but it is long enough to be taken for one by a careless reader")
        .unwrap();
    assert!(fixture.open().positions().unwrap().is_empty(), "a broken file starts anew");
}
