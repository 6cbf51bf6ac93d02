//! A record as a writer with another version of its schema wrote it: for samples, so that a subscriber can try what lies in a compacted
//! topic since years.

use apache_avro::{reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};

use crate::{Schema, codec::physical};

/// Rewrites a framed record of today's schema under `version`, framed with `id`.
///
/// # Errors
/// When one of the texts is no schema, or they do not go together.
pub fn written_with(version: &str, schema: Schema, framed: &[u8], id: i32) -> Result<Vec<u8>, String> {
    // Physical types only: the bytes are the same, and apache-avro 0.22 resolves no decimal.
    let parse = |text: &str| {
        let (text, _) = physical(text)?;
        apache_avro::Schema::parse_str(&text).map_err(|error| error.to_string())
    };
    let wrong = |error: apache_avro::Error| format!("rewriting a record of `{}`: {error}", schema.file());
    let (today, version) = (parse(schema.text())?, parse(version)?);
    let reader = GenericDatumReader::builder(&today).reader_schema(&version).build().map_err(wrong)?;
    let value = reader.read_value(&mut framed.get(5..).unwrap_or_default()).map_err(wrong)?;
    let datum = GenericDatumWriter::builder(&version).build().map_err(wrong)?.write_value_to_vec(value).map_err(wrong)?;
    Ok([&[0], id.to_be_bytes().as_slice(), &datum].concat())
}
