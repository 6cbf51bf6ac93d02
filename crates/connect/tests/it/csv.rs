//! One table of texts and what is read from them.

use connect::{
    csv::{Format, OpenError, Reader, read_again},
    rows::Read,
};
use encoding_rs::{Encoding, UTF_16LE, WINDOWS_1252};

fn comma() -> Format {
    Format::default()
}

fn declared(delimiter: &str, terminator: Option<&str>, quoting: bool, columns: &[&str]) -> Format {
    Format {
        delimiter: delimiter.into(),
        terminator: terminator.map(Into::into),
        quoting,
        header: columns.is_empty(),
        columns: columns.iter().map(|&name| name.into()).collect(),
        ..Format::default()
    }
}

fn encoded(encoding: &'static Encoding) -> Format {
    Format { encoding, ..Format::default() }
}

/// Rows as `line: value|value`, faults as `line: CODE field`, a file's fault as `CODE: message`.
fn read(bytes: &[u8], format: &Format, keys: &[&str]) -> Vec<String> {
    let keys: Vec<String> = keys.iter().map(|&key| key.into()).collect();
    let mut reader = match Reader::open(bytes, format, &keys) {
        Ok(reader) => reader,
        Err(OpenError::File(fault)) => return vec![format!("{}: {}", fault.code, fault.message)],
        Err(OpenError::Io(error)) => return vec![error.to_string()],
    };
    let columns = reader.columns().to_vec();
    let mut shown = Vec::new();
    while let Some(read) = reader.next_row().unwrap() {
        shown.push(show(&read, &columns));
    }
    shown
}

fn show(read: &Read, columns: &[String]) -> String {
    match read {
        Ok(row) => {
            let values = columns
                .iter()
                .map(|column| row.value.get(column).and_then(|value| value.as_str()).unwrap_or("-").replace('\n', "⏎"));
            format!("{}: {}", row.line, values.collect::<Vec<_>>().join("|"))
        }
        Err(broken) => format!("{}: {} {}", broken.line, broken.fault.code, broken.fault.field.as_deref().unwrap_or("-")),
    }
}

#[track_caller]
fn check(bytes: &[u8], format: &Format, expected: &[&str]) {
    assert_eq!(read(bytes, format, &["id"]), expected, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
}

#[test]
fn good_tables_are_read_as_declared() {
    check(b"id,name\n1,pump\n2,valve", &comma(), &["2: 1|pump", "3: 2|valve"]);
    check(b"id,name\r\n1,pump\r\n", &comma(), &["2: 1|pump"]);
    check(b"id,name\n\n1,pump\n\n", &comma(), &["3: 1|pump"]);
    check(b"id,name\n1,\n2,\"\"\n", &comma(), &["2: 1|", "3: 2|"]);
    check(b"id,name\n", &comma(), &[]);
    check(b"id;name\n1;a,b\n", &declared(";", None, true, &[]), &["2: 1|a,b"]);
    check(b"1\t5\" pipe\n", &declared("\t", None, false, &["id", "name"]), &["1: 1|5\" pipe"]);
    check(b"id,name\n1,5\" pipe\n", &comma(), &["2: 1|5\" pipe"]);
}

#[test]
fn delimiters_and_row_ends_may_have_several_characters() {
    let format = declared("+|", Some("&|"), false, &["id", "xml"]);
    check(b"1+|<a>\n<b/>+x|</a>&|\n2+|-&|\r\n", &format, &["1: 1|<a>⏎<b/>+x|</a>", "3: 2|-"]);
    check(b"1+|a&|\n2+|b&|\n", &declared("+|", Some("&|\n"), false, &["id", "xml"]), &["1: 1|a", "2: 2|b"]);
}

#[test]
fn quoted_line_breaks_delimiters_and_quotes_are_text() {
    check(b"id,name\n1,\"a\n\"\"b\"\", c\"\n2,d\n", &comma(), &["2: 1|a⏎\"b\", c", "4: 2|d"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    check(b"\xef\xbb\xbfid,name\n1,pump\n", &comma(), &["2: 1|pump"]);
    let text: Vec<u8> = "\u{feff}id,name\n1,Pümpe\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&text, &encoded(UTF_16LE), &["2: 1|Pümpe"]);
    let text: Vec<u8> = "\u{feff}id,name\n1,Pümpe\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    check(&text, &encoded(UTF_16LE), &["2: 1|Pümpe"]);
    let text: Vec<u8> = "id,name\n1,Pümpe\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&text, &encoded(UTF_16LE), &["2: 1|Pümpe"]);
}

#[test]
fn the_declared_encoding_is_used_and_another_one_is_told() {
    check(b"id,name\n1,P\xfcmpe\n", &encoded(WINDOWS_1252), &["2: 1|Pümpe"]);
    let told =
        "ENCODING: the text is UTF-8, but windows-1252 is declared; declare `encoding: utf-8`, or write the file in windows-1252";
    check("id,name\n1,Pümpe\n".as_bytes(), &encoded(WINDOWS_1252), &[told]);
    check("id,größe\n1,2\n".as_bytes(), &encoded(WINDOWS_1252), &[told]);
    let long = format!("id,name\n{}", "1,pump\n".repeat(10_000));
    let late = [long.as_bytes(), "2,Pümpe\n".as_bytes()].concat();
    assert_eq!(read(&late, &encoded(WINDOWS_1252), &["id"]).last().unwrap(), "10002: ENCODING -");
    // The first letter that tells is cut where the look at the beginning ends.
    let start = format!("id,name\n1,{}\n2,", "p".repeat(64 * 1024));
    let cut = format!("{}ü\n2,Pümpe\n", &start[..64 * 1024 - 1]);
    assert_eq!(read(cut.as_bytes(), &encoded(WINDOWS_1252), &["id"]), ["2: ENCODING -", "3: ENCODING -"]);
    // Letters that make a valid pair by chance are no UTF-8 once one of the file is none.
    check(b"id,name\n1,P\xfcmpe\n2,BEAUT\xc9\xae\n", &encoded(WINDOWS_1252), &["2: 1|Pümpe", "3: 2|BEAUTÉ®"]);
    check(b"id,name\n1,P\xfcmpe\n2,b\n", &comma(), &["2: ENCODING name", "3: 2|b"]);
    let utf16: Vec<u8> = "\u{feff}id,name\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&utf16, &comma(), &["ENCODING: the file begins with the byte order mark of UTF-16LE, but UTF-8 is declared"]);
    check(&utf16[2..], &comma(), &["ENCODING: the file holds zero bytes, as UTF-16 and binary files do, but UTF-8 is declared"]);
    check(
        b"id,name\n",
        &encoded(UTF_16LE),
        &["ENCODING: the file holds no zero byte, as UTF-16 would, but UTF-16LE is declared"],
    );
    check(
        b"\xef\xbb\xbfid,name\n",
        &encoded(WINDOWS_1252),
        &["ENCODING: the file begins with the byte order mark of UTF-8, but windows-1252 is declared"],
    );
}

#[test]
fn an_empty_file_is_told_from_a_table_without_rows() {
    check(b"", &comma(), &["FILE_EMPTY: the file is empty"]);
    check(b"\xef\xbb\xbf", &comma(), &["FILE_EMPTY: the file is empty"]);
    check(b"id,name\n", &comma(), &[]);
}

#[test]
fn a_wrong_delimiter_is_one_error_about_the_file() {
    check(
        b"id;name\n1;pump\n",
        &comma(),
        &["DELIMITER_WRONG: the header is one column when split at \",\"; it looks like \";\""],
    );
    let rows = read(b"1;a\n2;b\n3;c\n", &declared(",", None, true, &["id", "name"]), &["id"]);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].starts_with("DELIMITER_WRONG: none of the first 3 rows has 2 columns"), "{rows:?}");
}

#[test]
fn missing_and_extra_columns_are_told_by_name() {
    check(b"key,name\n1,pump\n", &comma(), &["COLUMN_MISSING: the header has no column `id`"]);
    check(b"ID,name\n1,pump\n", &comma(), &["COLUMN_MISSING: the header has no column `id`, did it mean `ID`?"]);
    check(b"id,id\n1,2\n", &comma(), &["ROW_BROKEN: the header names column `id` twice, the second time as column 2"]);
    check(b"id,name\n1\n2,b,c\n3,c\n", &comma(), &["2: COLUMN_MISSING name", "3: COLUMN_EXTRA -", "4: 3|c"]);
    check(b"name,more,id\npump,x,1\n", &comma(), &["2: pump|x|1"]);
}

/// What spreadsheets do to a good list.
#[test]
fn what_a_spreadsheet_adds_is_no_data() {
    let semicolon = declared(";", None, true, &[]);
    let pump = ["3: 1|pump"];
    for first in ["sep=;", "SEP=;", "\"sep=;\"", "sep=;;", "\u{feff}sep=;"] {
        check(format!("{first}\r\nid;name\r\n1;pump\r\n").as_bytes(), &semicolon, &pump);
    }
    check(
        b"sep=;\r\nid,name\r\n1,pump\r\n",
        &comma(),
        &["DELIMITER_WRONG: the first line `sep=;` names another delimiter than the declared \",\""],
    );
    check(b"sep;name\n1;pump\n", &declared(";", None, true, &["id", "name"]), &["1: sep|name", "2: 1|pump"]);
    // Cleared cells stay as rows of delimiters, also where the cells were quoted, and at any width.
    check(b"id;name\n1;pump\n;\n;;;\n\"\"; \n2;valve\n;\n", &semicolon, &["2: 1|pump", "6: 2|valve"]);
    check(b"id;name;;\r\n1;pump;;\r\n", &semicolon, &["2: 1|pump|-|-"]);
    check(b"id;name\n1;pump\n\x1a", &semicolon, &["2: 1|pump"]);
    check(b"id;name\n1;pump\x1a", &semicolon, &["2: 1|pump"]);
    check(b"id;name\n1;pu\x1amp\n", &semicolon, &["2: 1|pu\x1amp"]);
}

#[test]
fn rows_that_end_in_a_carriage_return_alone_are_told_as_such_and_can_be_declared() {
    let told = "DELIMITER_WRONG: rows end in a carriage return alone; write line feeds, or declare `row_terminator: \"\\r\"`";
    let mac = b"id;name\r1;pump\r2;valve\r";
    check(mac, &declared(";", None, true, &[]), &[told]);
    check(b"1;pump\r2;valve\r", &declared(";", None, true, &["id", "name"]), &[told]);
    check(mac, &declared(";", Some("\r"), true, &[]), &["1: 1|pump", "1: 2|valve"]);
    // In a value it is a value.
    check(b"id;name\n1;a\rb\n", &declared(";", None, true, &[]), &["2: 1|a\rb"]);
}

#[test]
fn a_header_of_any_width_is_checked_in_one_go_and_no_table_is_wider_than_two_thousand_columns() {
    let header = |count: usize| format!("id,{}\n", (1..count).map(|number| format!("c{number}")).collect::<Vec<_>>().join(","));
    assert_eq!(read(header(2_000).as_bytes(), &comma(), &["id"]).len(), 0);
    let told = ["TOO_LARGE: the header has 200000 columns, a table may have 2000"];
    check(header(200_000).as_bytes(), &comma(), &told);
    // A row of delimiters and one value is a row that is too wide, and costs no memory per delimiter.
    let wide = format!("id,name\n1{}x\n2,b\n", ",".repeat(300_000));
    check(wide.as_bytes(), &comma(), &["2: COLUMN_EXTRA -", "3: 2|b"]);
}

#[test]
fn the_end_of_the_last_row_is_told() {
    for (text, is_ended) in [
        ("id,name\n", true),
        ("id,name", false),
        ("id,name\n1,pump\n", true),
        ("id,name\r\n1,pump\r\n\x1a", true),
        ("id,name\n1,pump", false),
        ("id,name\n1,\"pump\"", false),
        ("id,name\n1,\"pum", false),
        ("id,name\n1,pump\n,", false),
        ("id,name\n1,pump\n\n", true),
    ] {
        let mut reader = Reader::open(text.as_bytes(), &comma(), &[]).unwrap();
        while reader.next_row().unwrap().is_some() {}
        assert_eq!((reader.is_at_end(), reader.is_ended()), (true, is_ended), "{text:?}");
    }
    let mut reader = Reader::open(&b"id,name\n1,pump\n2,valve"[..], &comma(), &[]).unwrap();
    reader.next_row().unwrap();
    assert!(!reader.is_at_end(), "the first row is not the last one");
    reader.next_row().unwrap();
    assert!(reader.is_at_end() && !reader.is_ended(), "known before anybody asks for one more row");
}

#[test]
fn a_broken_row_costs_itself_only() {
    check(b"id,name\n1,\"a\n2,b\n3,c\n", &comma(), &["2: ROW_BROKEN -", "3: 2|b", "4: 3|c"]);
    check(b"id,name\n1,\"a\"x\n2,b\n", &comma(), &["2: ROW_BROKEN -", "3: 2|b"]);
    check(b"id,name\n1,\"a\n2,\"b\"\n3,c\n", &comma(), &["2: ROW_BROKEN -", "3: 2|b", "4: 3|c"]);
}

#[test]
fn a_broken_row_keeps_its_bytes_and_what_could_be_read() {
    let mut reader = Reader::open(&b"id,name\n7\n8,b\n"[..], &comma(), &[]).unwrap();
    let broken = reader.next_row().unwrap().unwrap().unwrap_err();
    assert_eq!((broken.raw.as_slice(), broken.number, broken.line), (&b"7"[..], 1, 2));
    assert_eq!(broken.supposed["id"], "7");
    assert_eq!(broken.fault.message, "the row has 1 column instead of 2");
}

#[test]
fn a_field_of_two_megabytes_is_read_and_one_without_end_is_given_up() {
    let large = "x".repeat(2 * 1024 * 1024);
    let rows = read(format!("id,name\n1,{large}\n2,b\n").as_bytes(), &comma(), &["id"]);
    assert_eq!(rows[0].len(), 5 + large.len());
    assert_eq!(rows[1], "3: 2|b");

    let endless = "x".repeat(9 * 1024 * 1024);
    check(format!("id,name\n1,{endless}\n2,b\n").as_bytes(), &comma(), &["2: TOO_LARGE -", "3: 2|b"]);
    // An opened quote is not looked for longer than the longest row either.
    check(format!("id,name\n1,\"{endless}\n2,b\n").as_bytes(), &comma(), &["2: TOO_LARGE -", "3: 2|b"]);
}

#[test]
fn rows_do_not_depend_on_where_the_reads_end() {
    struct Drops<'a>(&'a [u8]);
    impl std::io::Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.0.len().min(buffer.len()).min(1);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }
    // More than one chunk, with every kind of row end and quote on its border.
    let mut text = "id,name\r\n".to_owned();
    for number in 0..20_000 {
        text.push_str(&format!("{number},\"a \"\"{number}\"\"\r\nb\"\r\n"));
    }
    let mut reader = Reader::open(Drops(text.as_bytes()), &comma(), &[]).unwrap();
    let mut count = 0;
    while let Some(row) = reader.next_row().unwrap() {
        let row = row.unwrap();
        assert_eq!(row.value["name"], format!("a \"{count}\"\r\nb"));
        assert_eq!((row.number, row.line), (count + 1, 2 + 2 * count));
        count += 1;
    }
    assert_eq!(count, 20_000);
}

#[test]
fn a_letters_row_can_be_read_again() {
    let columns = ["id".to_owned(), "name".to_owned()];
    assert_eq!(read_again(b"1,\"a\nb\"", &comma(), &columns).unwrap().value["name"], "a\nb");
    assert_eq!(read_again(b"1", &comma(), &columns).unwrap_err().fault.code, "COLUMN_MISSING");
    assert_eq!(read_again(b"", &comma(), &columns).unwrap_err().fault.code, "ROW_BROKEN");
}

/// Real exports, as they are: tab-separated without header and quotes, two-character delimiters with line breaks in fields, and one
/// RFC 4180 file with quoted line breaks.
#[test]
fn real_exports_are_read_row_by_row() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/adventureworks");
    if !folder.is_dir() {
        println!("SKIPPED: {} is not there; this test needs it", folder.display());
        return;
    }
    let names = |count: usize| (0..count).map(|index| format!("c{index}")).collect::<Vec<_>>();
    let tabs = |columns| Format { columns: names(columns), header: false, ..declared("\t", None, false, &[]) };
    let pluses = |columns| Format { columns: names(columns), header: false, ..declared("+|", Some("&|"), false, &[]) };
    for (file, format, rows) in [
        ("Product", tabs(25), 504),
        ("UnitMeasure", tabs(3), 38),
        ("Location", tabs(5), 14),
        ("BillOfMaterials", tabs(9), 2_679),
        ("Address", tabs(9), 19_614),
        ("Store", pluses(6), 701),
        ("ProductModel", pluses(6), 128),
        ("BusinessEntityAddress", pluses(5), 19_614),
        ("vProductModelInstructions", comma(), 131),
    ] {
        let input = std::fs::File::open(folder.join(format!("{file}.csv"))).unwrap();
        let mut reader = Reader::open(input, &format, &[]).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut count = 0;
        while let Some(row) = reader.next_row().unwrap() {
            let row = row.unwrap_or_else(|broken| panic!("{file} line {}: {}", broken.line, broken.fault));
            assert_eq!(row.value.len(), reader.columns().len());
            count += 1;
        }
        assert_eq!(count, rows, "{file}");
    }
}
