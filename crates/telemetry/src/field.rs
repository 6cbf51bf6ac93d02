//! Names of log fields. One word, one meaning, in every service.

pub const DOMAIN: &str = "domain";
pub const KEY: &str = "key";
pub const SOURCE: &str = "source";
pub const DESTINATION: &str = "destination";
pub const SLOT: &str = "slot";
pub const REVISION: &str = "revision";
pub const CODE: &str = "code";
pub const LETTER: &str = "letter";
pub const ERROR: &str = "error";
