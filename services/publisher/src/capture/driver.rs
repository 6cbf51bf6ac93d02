//! From files of a source that renames, swaps, doubles and deletes at random to golden, with restarts between them: golden ends as
//! the last file is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use avro::Schema;
use connect::rows::Row as Given;
use model::{Data, Golden, LetterId};
use policy::{ApprovalDemand, DomainPolicy, References, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SOURCE: &str = "
office: item data office
max_deletes: 100%
connector: {type: http-poll, url: http://erp.example.invalid/}
streams:
  - {name: items, domain: item, path: items, content: full, key: [id], mapping: erp/item.j2STAMP}
";
const MAPPING: &str = r#"{"item_id": {{ row.number | text }}, "revision": "A", "base_uom": "H87",
 "descriptions": [{"lang": "en", "text": {{ row.name | text }}}]}"#;
const EPOCH: i64 = 1;

/// What happens to the source between two readings.
#[derive(Clone, Debug)]
enum Step {
    Name(usize, u8),
    /// The row stands for another record.
    Rename(usize, u8),
    Swap(usize, usize),
    /// Another row stands for the same record, older than the one that it repeats.
    Double(usize, u8),
    Delete(usize),
    Add(u8, u8),
    /// The whole source is read.
    Read,
    /// The publisher starts again, its clock a little off.
    Restart(i64),
    RaiseEpoch,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: u8,
    number: u8,
    name: String,
    stamp: i64,
}

struct NoReferences;

impl References for NoReferences {
    fn golden(&self, _: Domain, _: &RecordKey) -> Option<Arc<Golden>> {
        None
    }

    fn has_set(&self, _: &str) -> bool {
        false
    }
}

struct Driver {
    has_stamps: bool,
    epoch: i64,
    capture: Capture,
    reader: avro::Reader,
    /// As the compacted topic has it.
    cursor: BTreeMap<String, Option<model::Cursor>>,
    golden: BTreeMap<RecordKey, Golden>,
    policy: DomainPolicy,
    rows: Vec<Row>,
    now: i64,
    names: u32,
}

fn capture(has_stamps: bool, epoch: i64) -> (Capture, avro::Reader) {
    let source = SOURCE.replace("STAMP", if has_stamps { ", stamp: changed_at" } else { "" });
    let files = [
        (
            "millrace.yaml",
            "version: 1\nkafka: {brokers: [], topic_prefix: mdm., slots: 12, replication: 1}\nregistry: {urls: []}\n".to_owned(),
        ),
        ("domains/item.yaml", "owner: erp\noffice: item office\n".to_owned()),
        ("sources/erp.yaml", format!("epoch: {epoch}\n{source}")),
        ("mappings/erp/item.j2", MAPPING.to_owned()),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let landscape = Landscape::parse(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let source = landscape.sources["erp"].clone();
    let memory = Memory::new(epoch, [("items".to_owned(), Domain::Item)]);
    let schemas = [Schema::change(Domain::Item), Schema::Cursor, Schema::DeadLetter];
    let ids: HashMap<_, _> = schemas.into_iter().zip(1..).collect();
    let reader = avro::Reader::default();
    for (schema, id) in &ids {
        reader.learn(*id, schema.text());
    }
    (Capture::new(Arc::new(landscape), source, avro::Topics::new("mdm."), avro::Writer::new(ids), memory), reader)
}

impl Driver {
    fn new(has_stamps: bool) -> Self {
        let (capture, reader) = capture(has_stamps, EPOCH);
        let policy = DomainPolicy {
            domain: Domain::Item,
            owner: "erp".to_owned(),
            office: None,
            groups: Vec::new(),
            approval: ApprovalDemand::None,
            mandatory: Vec::new(),
            rules: BTreeMap::new(),
            deadline: None,
        };
        Self {
            has_stamps,
            epoch: EPOCH,
            capture,
            reader,
            cursor: BTreeMap::new(),
            golden: BTreeMap::new(),
            policy,
            rows: vec![Row { id: 0, number: 0, name: "anchor".to_owned(), stamp: 1 }],
            now: 1_700_000_000_000_000,
            names: 0,
        }
    }

    fn tick(&mut self) -> i64 {
        self.now += 7;
        self.now
    }

    /// A row other than the first, which stays as it is.
    fn pick(&mut self, index: usize) -> Option<&mut Row> {
        let others = self.rows.len() - 1;
        (others > 0).then(|| &mut self.rows[1 + index % others])
    }

    fn step(&mut self, step: &Step) {
        let stamp = self.tick();
        match *step {
            Step::Name(index, name) => {
                if let Some(row) = self.pick(index) {
                    (row.name, row.stamp) = (format!("name {name}"), stamp);
                }
            }
            Step::Rename(index, number) => {
                if let Some(row) = self.pick(index) {
                    (row.number, row.stamp) = (number, stamp);
                }
            }
            Step::Swap(one, other) => {
                let others = self.rows.len() - 1;
                if others > 1 {
                    let (one, other) = (1 + one % others, 1 + other % others);
                    let number = self.rows[one].number;
                    self.rows[one].number = self.rows[other].number;
                    self.rows[other].number = number;
                    (self.rows[one].stamp, self.rows[other].stamp) = (stamp, stamp);
                }
            }
            Step::Double(index, id) => {
                self.names += 1;
                let name = format!("twin {}", self.names);
                if let Some(row) = self.pick(index).cloned()
                    && self.rows.iter().all(|row| row.id != id)
                {
                    self.rows.push(Row { id, name, stamp: row.stamp - 3, ..row });
                }
            }
            Step::Delete(index) => {
                if let Some(id) = self.pick(index).map(|row| row.id) {
                    self.rows.retain(|row| row.id != id);
                }
            }
            Step::Add(id, number) => {
                if self.rows.iter().all(|row| row.id != id) {
                    self.rows.push(Row { id, number, name: "added".to_owned(), stamp });
                }
            }
            Step::Read => self.read(),
            Step::Restart(off) => self.restart(0, off),
            Step::RaiseEpoch => self.restart(1, 0),
        }
    }

    /// All that is remembered comes from the cursor topic.
    fn restart(&mut self, raised: i64, off: i64) {
        self.epoch += raised;
        (self.capture, self.reader) = capture(self.has_stamps, self.epoch);
        for (key, cursor) in &self.cursor {
            self.capture.memory.restore(key, cursor.clone());
        }
        // Without stamps the clock orders, and it may be wrong.
        self.now += if self.has_stamps { 0 } else { off };
    }

    fn read(&mut self) {
        let mut pass = Pass::new(0, "items", Timestamp::from_micros(self.now));
        pass.columns = Some("[]".to_owned());
        for (row, number) in self.rows.clone().into_iter().zip(1..) {
            let stamp = Timestamp::from_micros(row.stamp).to_string();
            let item = json!({"id": row.id, "number": format!("N-{}", row.number), "name": row.name, "changed_at": stamp});
            let Value::Object(value) = item else { unreachable!("it is an object") };
            let now = Timestamp::from_micros(self.tick());
            self.capture.take(&mut pass, Ok(Given { number, line: 0, raw: Vec::new(), value }), now);
        }
        let now = Timestamp::from_micros(self.tick());
        for key in self.capture.absent(&mut pass, "1", now) {
            self.capture.delete(&mut pass, &key, now);
        }
        self.capture.finish(&mut pass, now);
        let batch = self.capture.batch();
        self.cursor.extend(batch.cursor);
        for record in batch.records.iter().filter(|record| record.topic == "mdm.change.erp.item") {
            let change = self.reader.decode_change(Domain::Item, record.value.as_ref().unwrap()).unwrap();
            self.validate(&record.key, &change);
        }
    }

    fn validate(&mut self, key: &str, change: &Change) {
        let key = RecordKey::parse(Domain::Item, key).unwrap();
        let case = policy::Case {
            change,
            key: &key,
            current: self.golden.get(&key),
            grave: None,
            is_waived: false,
            references: &NoReferences,
            policy: &self.policy,
            policy_version: "1",
            now: Timestamp::from_micros(self.now),
        };
        match policy::decide(&case) {
            Verdict::Accept { golden, .. } => _ = self.golden.insert(key, *golden),
            other => panic!("{key} {}: {other:?}", change.meta.fence()),
        }
    }

    /// One row a record, and the file is read once more.
    fn clean_up(&mut self) {
        let mut met = Vec::new();
        // The newest of them stays.
        self.rows.reverse();
        self.rows.retain(|row| {
            !met.contains(&row.number) && {
                met.push(row.number);
                true
            }
        });
        self.rows.reverse();
        self.read();
    }

    fn letters(&self) -> Vec<LetterId> {
        self.rows.iter().filter_map(|row| self.capture.memory.letter(0, &row.id.to_string())).collect()
    }

    fn shown(&self) -> BTreeMap<String, String> {
        let name = |golden: &Golden| match golden.data.as_ref()? {
            Data::Item(item) => Some(item.descriptions[0].text.clone()),
            _ => None,
        };
        self.golden.iter().filter_map(|(key, golden)| Some((key.to_string(), name(golden)?))).collect()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (any::<usize>(), 0..3_u8).prop_map(|(index, name)| Step::Name(index, name)),
        3 => (any::<usize>(), 1..5_u8).prop_map(|(index, number)| Step::Rename(index, number)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Step::Swap(one, other)),
        2 => (any::<usize>(), 1..7_u8).prop_map(|(index, id)| Step::Double(index, id)),
        2 => any::<usize>().prop_map(Step::Delete),
        3 => (1..7_u8, 1..5_u8).prop_map(|(id, number)| Step::Add(id, number)),
        6 => Just(Step::Read),
        2 => (-500..500_i64).prop_map(Step::Restart),
        1 => Just(Step::RaiseEpoch),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn golden_ends_as_the_last_file_whatever_moved_between_its_rows(steps in steps(), has_stamps in any::<bool>()) {
        let mut driver = Driver::new(has_stamps);
        for step in &steps {
            driver.step(step);
        }
        driver.clean_up();
        let expected: BTreeMap<_, _> =
            driver.rows.iter().map(|row| (format!("N-{}/A", row.number), row.name.clone())).collect();
        prop_assert_eq!(driver.shown(), expected);
        prop_assert_eq!(driver.letters(), Vec::<LetterId>::new(), "nothing is left to do for a person");
    }
}
