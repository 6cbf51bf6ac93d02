//! Values of any schema, generated from the schema itself: a field that the model gains or loses is noticed without a new test.
//! Also the generator of the samples that releases keep (`tests/contract`), which is why it is public.

use avro::fields::{Field, Kind};
use serde_json::{Map, Value, json};

/// How much of a record is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    All,
    Nothing,
    Some,
}

/// A small deterministic source of choices (splitmix64).
pub struct Choices(pub u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).expect("an index fits")]
    }
}

/// The JSON form of a record with these fields.
pub fn record(fields: &[Field], fill: Fill, choices: &mut Choices) -> Value {
    Value::Object(fields.iter().map(|field| (field.name.clone(), value(field, fill, choices))).collect::<Map<_, _>>())
}

fn value(field: &Field, fill: Fill, choices: &mut Choices) -> Value {
    let absent = match fill {
        Fill::All => false,
        Fill::Nothing => true,
        Fill::Some => choices.below(2) == 0,
    };
    if field.nullable && absent {
        return Value::Null;
    }
    match field.name.as_str() {
        "domain" => json!(choices.pick(&model::Domain::ALL).name()),
        "domains" => json!(["item"]),
        _ => filled(&field.kind, fill, choices),
    }
}

fn filled(kind: &Kind, fill: Fill, choices: &mut Choices) -> Value {
    let many = |choices: &mut Choices| match fill {
        Fill::All => 2,
        Fill::Nothing => 0,
        Fill::Some => choices.below(4),
    };
    match kind {
        Kind::Text => match fill {
            Fill::Nothing => json!(""),
            _ => json!(*choices.pick(&["a", "4711/C", "Ä ö 管", "x\"y\\z", "long long long long long long long long"])),
        },
        Kind::Uuid => match fill {
            Fill::Nothing => json!("00000000-0000-0000-0000-000000000000"),
            _ => json!(format!("018f0000-0000-7000-8000-{:012x}", choices.below(1 << 48))),
        },
        Kind::Boolean => json!(fill == Fill::All || (fill == Fill::Some && choices.below(2) == 0)),
        Kind::Int => match fill {
            Fill::Nothing => json!(0),
            _ => json!(*choices.pick(&[i32::MIN, -1, 1, 127, 128, i32::MAX])),
        },
        Kind::Long => match fill {
            Fill::Nothing => json!(0),
            _ => json!(*choices.pick(&[i64::MIN, -1, 1, 64, 1 << 40, i64::MAX])),
        },
        Kind::Decimal { precision, scale } => match fill {
            Fill::Nothing => json!("0"),
            _ => json!(decimal(*precision, *scale, choices)),
        },
        Kind::Date => json!(*choices.pick(&["1970-01-01", "2026-11-20", "1899-12-31", "9999-12-31"])),
        Kind::Timestamp => {
            json!(*choices.pick(&["1970-01-01T00:00:00Z", "2026-11-20T08:30:00.123456Z", "1969-12-31T23:59:59.999999Z"]))
        }
        Kind::Bytes => match fill {
            Fill::Nothing => json!(""),
            _ => json!(*choices.pick(&["00", "000000002a", "ff00ff"])),
        },
        Kind::Enum(symbols) => match fill {
            Fill::Nothing => json!("UNKNOWN"),
            Fill::All => json!(symbols.last()),
            Fill::Some => json!(choices.pick(symbols)),
        },
        Kind::Record(fields) => record(fields, fill, choices),
        Kind::List(inner) => Value::Array((0..many(choices)).map(|_| filled(inner, fill, choices)).collect()),
        Kind::Map(inner) => {
            Value::Object((0..many(choices)).map(|index| (format!("name {index}"), filled(inner, fill, choices))).collect())
        }
    }
}

fn decimal(precision: u32, scale: u32, choices: &mut Choices) -> String {
    let whole = "9".repeat(usize::try_from(precision - scale).expect("small"));
    let most = format!("{whole}.{}", "9".repeat(usize::try_from(scale).expect("small")));
    let least = format!("0.{}1", "0".repeat(usize::try_from(scale - 1).expect("small")));
    choices
        .pick(&[most.clone(), format!("-{most}"), least.clone(), format!("-{least}"), "-1".into(), "12.5".into(), "128".into()])
        .clone()
}
