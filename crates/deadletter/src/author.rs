//! Whose a letter is. Kafka does not tell a reader who wrote a record; the topic does, for one identity may write there. What a letter
//! or a receipt says of its writer is a claim: where its topic says otherwise it is not believed, and a letter about it is.

use std::collections::BTreeMap;

use model::{DeadLetter, Domain, LetterClass, LetterId, LetterStatus, Receipt, RecordKey, Stage, Timestamp};

/// A letter or a receipt that says it is of another writer than its topic's. Has a page in docs/errors.
pub const WRITER_DIFFERS: &str = "WRITER_DIFFERS";

/// The validator is no system of the landscape, and none may have its name.
const VALIDATOR: &str = "validator";

/// Who alone may write a topic of letters or receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    system: String,
    stages: Vec<Stage>,
    office: Option<String>,
}

/// Where a record lies, and when the brokers took it.
#[derive(Clone, Copy, Debug)]
pub struct Lies<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub since: Timestamp,
}

/// What a letter says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    id: &'a str,
    stage: Stage,
    system: &'a str,
    domain: Option<Domain>,
    source: Option<&'a str>,
}

impl<'a> From<&'a DeadLetter> for Claim<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        let DeadLetter { id, stage, system, domain, source, .. } = letter;
        Self { id: &id.0, stage: *stage, system, domain: *domain, source: source.as_deref() }
    }
}

impl<'a> From<&'a LetterStatus> for Claim<'a> {
    fn from(status: &'a LetterStatus) -> Self {
        let LetterStatus { id, stage, system, domain, source, .. } = status;
        Self { id: &id.0, stage: *stage, system, domain: *domain, source: source.as_deref() }
    }
}

impl Author {
    /// The author of `dlq.<system>`. What is source and destination has one topic for the letters of both. `office`: who answers for it.
    #[must_use]
    pub fn of(system: &str, is_source: bool, is_destination: bool, office: Option<&str>) -> Self {
        let stages = [(Stage::Validate, system == VALIDATOR), (Stage::Capture, is_source), (Stage::Deliver, is_destination)];
        Self {
            system: system.to_owned(),
            stages: stages.into_iter().filter(|(_, has)| *has).map(|(stage, _)| stage).collect(),
            office: office.map(str::to_owned),
        }
    }

    /// What a letter says of itself and its author cannot have written; none where all of it may be so.
    #[must_use]
    pub fn contradicts<'a>(&self, claim: impl Into<Claim<'a>>) -> Option<String> {
        let Claim { id, stage, system, domain, source } = claim.into();
        let author = &self.system;
        if system != author {
            return Some(format!("it says it is of {system:?}"));
        }
        if !self.stages.contains(&stage) {
            return Some(format!("it says that it failed at stage {}, which is none of {author}", stage.name()));
        }
        if stage == Stage::Capture
            && let Some(source) = source.filter(|source| source != author)
        {
            return Some(format!("it says it is about a row of {source:?}"));
        }
        (!self.is_own(id, stage, domain)).then(|| format!("its id {id:?} is none of {author}"))
    }

    /// `mes-ulm/item/3@1851`; the validator's go on in several ways, and nobody else's begin so.
    fn is_own(&self, id: &str, stage: Stage, domain: Option<Domain>) -> bool {
        let Some((author, (of, _))) = id.split_once('/').and_then(|(author, rest)| Some((author, rest.split_once('/')?))) else {
            return false;
        };
        let of: Option<Domain> = of.parse().ok();
        author == self.system && (stage == Stage::Validate || of.is_some_and(|of| domain.is_none_or(|domain| domain == of)))
    }

    /// The letter that takes the place of one that its author cannot have written; none for an honest one.
    #[must_use]
    pub fn on_letter(&self, letter: &DeadLetter, lies: Lies<'_>) -> Option<DeadLetter> {
        let why = self.contradicts(letter)?;
        let DeadLetter { id, stage, domain, key, topic, code, payload, truncated, .. } = letter;
        let about: Vec<&str> = domain.map(Domain::name).into_iter().chain(key.as_ref().map(RecordKey::as_str)).collect();
        let claims = format!(
            "a letter lies where only {} writes, and {why} ({}, record {:?} of topic {:?}, {code})",
            self.system,
            stage.name(),
            about.join("/"),
            topic.as_deref().unwrap_or_default(),
        );
        let own = self.stages.iter().find(|own| *own == stage).or(self.stages.first());
        let (payload, truncated) = (payload.clone(), *truncated);
        let about = DeadLetter { payload, truncated, ..self.about("dlq", own.copied(), claims, id.0.clone(), lies) };
        Some(crate::bounded(about))
    }

    /// The letter that takes the place of a receipt of another destination; none for an honest one.
    #[must_use]
    pub fn on_receipt(&self, receipt: &Receipt, lies: Lies<'_>) -> Option<DeadLetter> {
        let Receipt { destination, domain, key, revision, outcome, .. } = receipt;
        if *destination == self.system {
            return None;
        }
        let claims = format!(
            "a receipt lies where only {} writes, and it says it is of {destination:?} (record {domain}/{key}, revision {revision}, {outcome:?})",
            self.system
        );
        Some(crate::bounded(self.about("receipt", Some(Stage::Deliver), claims, destination.clone(), lies)))
    }

    /// Known by the coordinate of what it is about, under a name that no letter of a record has. It is about no record, so nothing of it
    /// can be replayed.
    fn about(&self, family: &str, stage: Option<Stage>, claims: String, observed: String, lies: Lies<'_>) -> DeadLetter {
        DeadLetter {
            id: LetterId(format!("{}/{family}/{}@{}", self.system, lies.partition, lies.offset)),
            stage: stage.unwrap_or(Stage::Unknown),
            system: self.system.clone(),
            domain: None,
            key: None,
            revision: None,
            change_id: None,
            source: None,
            source_key: None,
            source_epoch: None,
            source_sequence: None,
            topic: Some(lies.topic.to_owned()),
            partition: Some(lies.partition),
            offset: Some(lies.offset),
            timestamp: Some(lies.since),
            schema_id: None,
            class: LetterClass::Schema,
            code: WRITER_DIFFERS.to_owned(),
            field: None,
            observed: Some(observed),
            message: format!("{claims}; nothing of it is believed"),
            owner: self.office.clone(),
            findings: Vec::new(),
            attempts: 1,
            first_failed_at: lies.since,
            last_failed_at: lies.since,
            service: String::new(),
            policy_version: String::new(),
            replaces: None,
            headers: BTreeMap::new(),
            payload: Vec::new(),
            truncated: false,
            sent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        id_of_change, id_of_record, id_of_source,
        state::tests::{NOW, letter},
    };

    const LIES: Lies<'_> = Lies { topic: "mdm.dlq.crm", partition: 3, offset: 17, since: NOW };

    fn of(stage: Stage, system: &str, id: LetterId) -> DeadLetter {
        DeadLetter { id, stage, system: system.into(), source: None, ..letter("") }
    }

    #[test]
    fn a_letter_of_each_stage_in_its_own_topic_is_believed() {
        let row = id_of_source("crm", Domain::Item, "4711", "v1", "MAPPING_VALUE");
        let (plant, both) = (id_of_record("mes-ulm", Domain::Item, 3, 9), id_of_record("crm", Domain::Item, 3, 9));
        let change = id_of_change("validator", "erp", Domain::Item, 3, 9);
        let command = LetterId("validator/command.validator/3@9".into());
        for (author, letter) in [
            (Author::of("crm", true, false, None), of(Stage::Capture, "crm", row.clone())),
            (Author::of("crm", true, true, None), of(Stage::Capture, "crm", row.clone())),
            (Author::of("crm", true, true, None), of(Stage::Deliver, "crm", both)),
            (Author::of("mes-ulm", false, true, None), of(Stage::Deliver, "mes-ulm", plant.clone())),
            // Its key could not be read, and so the domain is only in the id.
            (Author::of("mes-ulm", false, true, None), DeadLetter { domain: None, ..of(Stage::Deliver, "mes-ulm", plant) }),
            (Author::of("validator", false, false, None), of(Stage::Validate, "validator", change)),
            (Author::of("validator", false, false, None), of(Stage::Validate, "validator", command)),
        ] {
            assert_eq!(author.on_letter(&letter, LIES), None);
        }
    }

    #[test]
    fn a_letter_that_its_topic_contradicts_becomes_one_about_it_that_takes_nothing_over() {
        let author = Author::of("crm", true, false, Some("sales office"));
        let forged = DeadLetter {
            topic: Some("mdm.change.erp.item".into()),
            payload: vec![7],
            replaces: Some(LetterId("erp/item/aa".into())),
            owner: Some("nobody".into()),
            ..of(Stage::Validate, "validator", id_of_change("validator", "erp", Domain::Item, 3, 9))
        };
        let about = author.on_letter(&forged, LIES).unwrap();
        assert_eq!((about.id.0.as_str(), about.system.as_str(), about.stage), ("crm/dlq/3@17", "crm", Stage::Capture));
        assert_eq!((about.domain, about.key, about.revision, about.replaces), (None, None, None, None));
        assert_eq!((about.owner.as_deref(), about.payload), (Some("sales office"), vec![7]));
        assert_eq!(about.observed.as_deref(), Some("validator/erp/item/3@9"));
        assert_eq!(
            about.message,
            "a letter lies where only crm writes, and it says it is of \"validator\" (validate, record \"item/4711/C\" of topic \
             \"mdm.change.erp.item\", UNIT_UNKNOWN); nothing of it is believed"
        );
        // No letter of a record can be written under the name of one about a letter.
        let row = of(Stage::Capture, "crm", about.id);
        assert!(author.contradicts(&row).is_some());
    }

    #[test]
    fn a_letter_about_a_letter_of_any_size_fits_into_a_record() {
        let huge = "ä".repeat(600_000);
        let forged = DeadLetter { code: huge.clone(), payload: vec![0; 2_000_000], topic: Some(huge.clone()), ..letter(&huge) };
        let about = Author::of("crm", true, false, None).on_letter(&forged, LIES).unwrap();
        assert_eq!(about, crate::bounded(about.clone()));
    }

    #[test]
    fn the_code_has_its_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        assert!(pages.join(format!("{WRITER_DIFFERS}.md")).exists(), "docs/errors/{WRITER_DIFFERS}.md is missing");
    }
}
