//! Bytes ⇄ the model: topics, schemas, Confluent framing, headers. Embeds `/avro`, so no process reads a schema file.
//!
//! Pure: bytes of a writer schema that was not seen yet come back as [`DecodeError::NeedSchema`]; the caller asks the registry,
//! calls [`Reader::learn`] and decodes again. A record that cannot be read is an answer with a code, never a panic.
//!
//! Invariant: what is written here is read back equal, and every byte is accounted for: a datum that ends before or after its
//! schema does is unreadable, because a wrong schema may fit by accident.
//!
//! Not here: who may write what, which id a schema has (crate `registry`), and the partition of a record (`model::Slot`).

mod binary;
mod codec;
pub mod fields;
pub mod headers;
mod older;
pub mod reading;
mod released;
mod schema;
mod topics;
mod unit;

pub use codec::{DecodeError, Error, Reader, Wire, Writer, schema_id};
pub use older::written_with;
pub use released::{Released, released};
pub use schema::{Schema, subject};
pub use topics::{
    Compatibility, Partitions, Policy, Reach, Role, TopicDeclaration, TopicKind, TopicSpec, Topics, declared_topics, topic_specs,
};
pub use unit::unit;

/// Codes of records that cannot be read; each has a page in `docs/errors`.
pub mod code {
    /// Not Confluent-framed: wrong magic byte, too short, or a framing of another registry's own serializers.
    pub const FRAMING: &str = "RECORD_FRAMING";
    /// The datum does not fit its writer schema: cut off, trailing bytes, a hostile length, text that is not UTF-8.
    pub const UNREADABLE: &str = "RECORD_UNREADABLE";
    /// The writer schema itself cannot be used: not Avro, of another record, or with a decimal of another scale.
    pub const SCHEMA: &str = "SCHEMA_UNUSABLE";
    /// The registry answers that it has no schema of this id. Decided by the caller, after several tries.
    pub const SCHEMA_UNKNOWN: &str = "SCHEMA_UNKNOWN";
}
