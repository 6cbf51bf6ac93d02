//! Bytes that are no record of ours: a clear answer, never a panic, never a wrong record.

use avro::{DecodeError, Reader, Schema, code};
use model::{Cursor, DeadLetter, Domain, cursor::Sent};
use proptest::prelude::*;

use crate::round_trip::{reader, writer};

fn sample() -> Vec<u8> {
    let sent = Sent {
        version: "v1".into(),
        content_hash: "ab".repeat(32),
        epoch: 1,
        sequence: 9,
        record_key: None,
        deleted: false,
        letter: None,
    };
    writer().encode(&Cursor { position: Some("stamp".into()), sent: Some(sent), epoch: 1 }).unwrap()
}

fn answer(bytes: &[u8]) -> (&'static str, String) {
    match reader().decode::<Cursor>(bytes) {
        Err(DecodeError::Unreadable { code, message }) => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_framed_is_named() {
    for (bytes, hint) in [
        (&b""[..], "empty"),
        (&b"\0\0\0"[..], "at least five"),
        (&b"{\"a\": 1}"[..], "JSON"),
        (&b"Obj\x01...."[..], "container file"),
        (&b"\xc3\x01........"[..], "single-object"),
        (&b"hello"[..], "0x68"),
        (&b"\0\0\0\0\0\0\0\0\x2a..."[..], "8-byte framing"),
    ] {
        let (code, message) = answer(bytes);
        assert_eq!(code, code::FRAMING, "{message}");
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn an_unknown_id_is_asked_for_and_then_read() {
    let bytes = sample();
    let id = avro::schema_id(&bytes).unwrap();
    let reader = Reader::default();
    assert_eq!(reader.decode::<Cursor>(&bytes), Err(DecodeError::NeedSchema(id)));
    reader.give_up(id, "the registry has no such schema");
    assert!(!reader.knows(id), "it may be asked for again");
    let answer = reader.decode::<Cursor>(&bytes);
    assert!(matches!(answer, Err(DecodeError::Unreadable { code: code::SCHEMA_UNKNOWN, .. })), "{answer:?}");
    reader.learn(id, Schema::Cursor.text());
    assert!(reader.knows(id) && reader.decode::<Cursor>(&bytes).is_ok());
}

#[test]
fn every_cut_and_every_trailing_byte_is_unreadable() {
    let bytes = sample();
    for length in 5..bytes.len() {
        assert_eq!(answer(&bytes[..length]).0, code::UNREADABLE, "cut at {length}");
    }
    let mut longer = bytes;
    longer.push(0);
    let (code, message) = answer(&longer);
    assert_eq!(code, code::UNREADABLE);
    assert!(message.contains("1 bytes follow"), "{message}");
}

#[test]
fn a_schema_of_another_record_or_another_scale_is_refused_by_name() {
    let bytes = sample();
    let id = avro::schema_id(&bytes).unwrap();
    for (text, hint) in [
        (Schema::Plan.text().to_owned(), "mdm.v1.Plan"),
        ("not json".to_owned(), "not JSON"),
        ("{\"type\": \"wish\"}".to_owned(), "not an Avro schema"),
    ] {
        let reader = Reader::default();
        reader.learn(id, &text);
        match reader.decode::<Cursor>(&bytes) {
            Err(DecodeError::Unreadable { code: code::SCHEMA, message }) => assert!(message.contains(hint), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    let reader = Reader::default();
    reader.learn(1, &Schema::ItemGolden.text().replace("\"precision\": 20, \"scale\": 6", "\"precision\": 20, \"scale\": 3"));
    match reader.decode_golden(Domain::Item, &[0, 0, 0, 0, 1, 0]) {
        Err(DecodeError::Unreadable { code: code::SCHEMA, message }) => assert!(message.contains("decimal(20,3)"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_lengths_end_at_once() {
    // A union branch of text, its length 2^62; a block of 2^62 elements.
    let huge: &[u8] = &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let id = |schema: Schema| i32::try_from(Schema::ALL.iter().position(|other| *other == schema).unwrap() + 1).unwrap();
    let frame = |schema: Schema, body: &[u8]| [&[0][..], &id(schema).to_be_bytes(), body].concat();
    assert_eq!(answer(&frame(Schema::Cursor, &[&[2][..], huge].concat())).0, code::UNREADABLE);
    let held = reader().decode::<model::Held>(&frame(Schema::Held, huge));
    assert!(matches!(held, Err(DecodeError::Unreadable { code: code::UNREADABLE, .. })), "{held:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body: Vec<u8>, schema in 0..Schema::ALL.len()) {
        let id = i32::try_from(schema + 1).unwrap();
        let bytes = [&[0][..], &id.to_be_bytes(), &body].concat();
        let reader = reader();
        for domain in Domain::ALL {
            drop(reader.decode_change(domain, &bytes));
            drop(reader.decode_golden(domain, &bytes));
        }
        drop(reader.decode::<DeadLetter>(&bytes));
        drop(reader.decode::<model::Held>(&bytes));
        drop(reader.decode::<model::Plan>(&bytes));
        drop(reader.decode::<Cursor>(&body));
    }
}
