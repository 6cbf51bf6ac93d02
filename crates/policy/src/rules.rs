//! The rules, by what they are about. Each is a function from a record to what is wrong with it; its row is in `rule::RULES`.

pub(crate) mod conversion;
pub(crate) mod customer;
pub(crate) mod digits;
pub(crate) mod identifier;
pub(crate) mod item;
pub(crate) mod reference;
pub(crate) mod tax;
pub(crate) mod unit;
pub(crate) mod vat;
