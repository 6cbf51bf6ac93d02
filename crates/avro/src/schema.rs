//! The embedded schemas and the subject a topic's schema is registered under.

use model::Domain;

macro_rules! schemas {
    ($($name:ident $file:literal $doc:literal),* $(,)?) => {
        /// A schema of `/avro`. Self-contained: no references.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Schema {
            $(#[doc = $doc] $name,)*
        }

        impl Schema {
            pub const ALL: &'static [Schema] = &[$(Schema::$name),*];

            /// The schema as it lies in `/avro`, with docs, defaults and `mdm.pii`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Schema::$name => include_str!(concat!("../../../avro/", $file)),)*
                }
            }

            /// File name in `/avro` and in every `avro/released/<version>`.
            #[must_use]
            pub const fn file(self) -> &'static str {
                match self {
                    $(Schema::$name => $file,)*
                }
            }

            /// Name of the record in namespace `mdm.v1`.
            #[must_use]
            pub const fn record(self) -> &'static str {
                match self {
                    $(Schema::$name => stringify!($name),)*
                }
            }
        }
    };
}

schemas! {
    CustomerChange "change.customer.avsc" "`change.<source>.customer`",
    ItemChange "change.item.avsc" "`change.<source>.item`",
    WorkCenterChange "change.work_center.avsc" "`change.<source>.work_center`",
    ReferenceChange "change.reference.avsc" "`change.<source>.reference`",
    CustomerGolden "golden.customer.avsc" "`golden.customer`",
    ItemGolden "golden.item.avsc" "`golden.item`",
    WorkCenterGolden "golden.work_center.avsc" "`golden.work_center`",
    ReferenceGolden "golden.reference.avsc" "`golden.reference`",
    Held "held.avsc" "`held`",
    FindingReport "finding.avsc" "`finding`",
    Receipt "receipt.avsc" "`receipt.<destination>`",
    Ledger "ledger.avsc" "`ledger.<destination>`",
    DestinationStatus "destination.avsc" "`destination`",
    SourceStatus "source.avsc" "`source`",
    Command "command.avsc" "`command.<stage>`",
    DeadLetter "dlq.avsc" "`dlq.<stage>`",
    LetterStatus "deadletter.avsc" "`deadletter`",
    Plan "plan.avsc" "`plan`",
    Cursor "cursor.avsc" "`cursor.<source>`",
    AuditEntry "audit.avsc" "`audit`",
}

impl Schema {
    #[must_use]
    pub const fn change(domain: Domain) -> Self {
        match domain {
            Domain::Customer => Schema::CustomerChange,
            Domain::Item => Schema::ItemChange,
            Domain::WorkCenter => Schema::WorkCenterChange,
            Domain::Reference => Schema::ReferenceChange,
        }
    }

    #[must_use]
    pub const fn golden(domain: Domain) -> Self {
        match domain {
            Domain::Customer => Schema::CustomerGolden,
            Domain::Item => Schema::ItemGolden,
            Domain::WorkCenter => Schema::WorkCenterGolden,
            Domain::Reference => Schema::ReferenceGolden,
        }
    }
}

/// Topic-name strategy: the subject of a topic's values.
#[must_use]
pub fn subject(topic: &str) -> String {
    format!("{topic}-value")
}
