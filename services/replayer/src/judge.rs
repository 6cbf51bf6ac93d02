//! What a replay of a letter would come to today: the same questions that its stage will ask, asked before anything is sent.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use avro::{DecodeError, TopicKind};
use deadletter::{Facts, Judgement, Verdict};
use kafka::Record;
use model::{
    Act, Change, Command, DeadLetter, Domain, Golden, LetterClass, LetterStatus, PlanFilter, RecordKey, Stage, Timestamp,
    Topical, Transient,
};
use policy::{Case, References};

use crate::{archive::Unreachable, execute::Replayer, knowledge::Spot};

/// The letters of a plan, judged.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    pub(crate) verdicts: Vec<(LetterStatus, Judgement)>,
}

impl Preview {
    pub(crate) fn count(&self, verdict: Verdict) -> i32 {
        i32::try_from(self.verdicts.iter().filter(|(_, judged)| judged.verdict == verdict).count()).unwrap_or(i32::MAX)
    }

    pub(crate) fn systems(&self) -> BTreeSet<String> {
        self.verdicts.iter().map(|(status, _)| status.system.clone()).collect()
    }
}

impl From<Unreachable> for Transient {
    fn from(error: Unreachable) -> Self {
        Transient { what: "kafka", detail: error.to_string() }
    }
}

impl Replayer {
    /// What the batch needs from the log: judged letters for its plans, golden records that may have overtaken its letters.
    pub(crate) fn preview(&mut self, batch: &[Record]) -> Result<(), Transient> {
        for record in batch {
            let Some(value) = record.value.as_deref() else { continue };
            match self.config.topics.kind(&record.topic) {
                Some(TopicKind::Command(_)) => {
                    let command: Option<Command> = self.decoded(record, |reader| reader.decode(value))?;
                    if let Some(command) = command.filter(|command| command.act == Act::Plan) {
                        let filter = command.filter.clone().unwrap_or_default();
                        let preview = self.judged(&filter, record.timestamp)?;
                        self.previews.insert(command.command_id, preview);
                    }
                }
                Some(TopicKind::Dlq(stage)) if stage == "validator" => {
                    let letter: Option<DeadLetter> = self.decoded(record, |reader| reader.decode(value))?;
                    if let Some((domain, key)) = letter.and_then(|letter| letter.domain.zip(letter.key)) {
                        let place = Topical::new(domain, key);
                        if let Some(golden) = self.golden(&place)? {
                            self.knowledge.fresh.entry(place).or_insert_with(|| golden.meta.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn judged(&self, filter: &PlanFilter, now: Timestamp) -> Result<Preview, Transient> {
        let matching: Vec<_> = self.book.letters().filter(|status| deadletter::matches(filter, status)).cloned().collect();
        // A wish that will be refused needs no judging.
        if matching.len() > deadletter::limit(filter) {
            let later = |status| (status, Judgement::new(Verdict::WouldApply, "not judged"));
            return Ok(Preview { verdicts: matching.into_iter().map(later).collect() });
        }
        let mut preview = Preview::default();
        for status in matching {
            let judgement = self.judge(&status, filter, now)?;
            preview.verdicts.push((status, judgement));
        }
        Ok(preview)
    }

    /// Sorts one letter by what is known now.
    pub(crate) fn judge(&self, status: &LetterStatus, filter: &PlanFilter, now: Timestamp) -> Result<Judgement, Transient> {
        let unreadable = |why: String| Facts { unreadable: Some(why), ..Facts::default() };
        if let Some(why) = status.domain.and_then(|_| self.contradicted(status)) {
            return Ok(deadletter::judge(status, filter, &unreadable(why)));
        }
        let facts = match (status.stage, status.domain, &status.key) {
            (Stage::Deliver, Some(domain), Some(key)) => self.delivery(status, filter, &Topical::new(domain, key.clone()))?,
            (Stage::Validate, Some(domain), Some(key)) => self.validation(status, domain, key, now)?,
            (Stage::Capture, Some(_), _) if status.source_key.is_some() => Facts::default(),
            _ => unreadable("the letter does not say which record it is about".to_owned()),
        };
        Ok(deadletter::judge(status, filter, &facts))
    }

    /// Why a letter is not its author's; one that was taken in by a release that did not ask is not sent either.
    fn contradicted(&self, status: &LetterStatus) -> Option<String> {
        match self.config.topics.kind(&status.letter_topic) {
            Some(TopicKind::Dlq(system)) => self.config.author(&system).contradicts(status),
            _ => Some(format!("it lies in {:?}, which is no topic of letters", status.letter_topic)),
        }
    }

    /// A destination's letter: ledger and golden say what would be sent; a mapping is tried again.
    fn delivery(&self, status: &LetterStatus, filter: &PlanFilter, place: &Topical) -> Result<Facts, Transient> {
        let accepted = self.knowledge.accepted(&status.system, place).map(|(revision, _)| revision);
        let spot = self.knowledge.golden(place);
        let mut facts = Facts { accepted, golden: spot.map(|spot| spot.revision), ..Facts::default() };
        if filter.exact {
            facts.unreadable = self.letter_of(status)?.err();
        } else if status.class == LetterClass::Mapping
            && let Some(golden) = self.golden(place)?
            && golden.data.is_some()
        {
            let landscape = &self.config.landscape;
            let delivery = landscape.destinations.get(&status.system).and_then(|found| found.domains.get(&place.domain));
            facts.again = delivery.map(|delivery| {
                let payload = landscape.mappings.to_payload(&delivery.mapping, &golden, place.domain, &place.key);
                payload.map(drop).map_err(|error| error.to_string())
            });
        }
        Ok(facts)
    }

    /// A validator's letter: the stored change, decided again under today's policy.
    fn validation(&self, status: &LetterStatus, domain: Domain, key: &RecordKey, now: Timestamp) -> Result<Facts, Transient> {
        let place = Topical::new(domain, key.clone());
        let current = self.golden(&place)?;
        let mut facts = Facts { golden: current.as_ref().map(|golden| golden.meta.revision), ..Facts::default() };
        if let (Some(golden), Some(source)) = (&current, &status.source) {
            facts.fence = golden.meta.fence.get(source).copied();
        }
        match self.change_of(status, domain)? {
            Err(why) => facts.unreadable = Some(why),
            Ok((source, change)) if change.meta.source != source => {
                facts.again =
                    Some(Err(format!("it says it is of {:?}, and lies where only {source} writes", change.meta.source)));
            }
            Ok((_, change)) => facts.again = Some(self.decide(&change, &place, current.as_deref(), now)?),
        }
        Ok(facts)
    }

    fn decide(
        &self,
        change: &Change,
        place: &Topical,
        current: Option<&Golden>,
        now: Timestamp,
    ) -> Result<Result<(), String>, Transient> {
        let landscape = &self.config.landscape;
        let Some(policy) = landscape.domains.get(&place.domain) else {
            return Ok(Err(format!("domain {} is not in the landscape any more", place.domain)));
        };
        let view = View { replayer: self, trouble: RefCell::new(None) };
        let verdict = policy::decide(&Case {
            change,
            key: &place.key,
            current,
            grave: None,
            is_waived: false,
            references: &view,
            policy,
            policy_version: &landscape.policy_version,
            now,
        });
        if let Some(trouble) = view.trouble.into_inner() {
            return Err(trouble);
        }
        Ok(match verdict {
            policy::Verdict::Accept { .. } | policy::Verdict::Duplicate | policy::Verdict::Stale { .. } => Ok(()),
            policy::Verdict::Hold { reason, waits_for, .. } => Err(format!("it would wait ({}) for {waits_for}", reason.name())),
            policy::Verdict::Refuse { findings, .. } => {
                let heaviest = findings.iter().max_by_key(|finding| finding.severity);
                Err(heaviest.map_or_else(|| "refused".to_owned(), |finding| format!("{}: {}", finding.rule_id, finding.message)))
            }
        })
    }

    /// The newest golden record of a key; none where there is none, or where it was replaced a moment ago.
    pub(crate) fn golden(&self, place: &Topical) -> Result<Option<Arc<Golden>>, Transient> {
        let Some(Spot { partition, offset, .. }) = self.knowledge.golden(place) else { return Ok(None) };
        let topic = self.config.topics.golden(place.domain);
        let Some(record) = self.archive.fetch(&topic, partition, offset)? else { return Ok(None) };
        let Some(value) = record.value.as_deref() else { return Ok(None) };
        Ok(self.decoded(&record, |reader| reader.decode_golden(place.domain, value))?.map(Arc::new))
    }

    /// The letter itself, from `dlq.<stage>`; or why it cannot be read.
    pub(crate) fn letter_of(&self, status: &LetterStatus) -> Result<Result<DeadLetter, String>, Transient> {
        let record = self.archive.fetch(&status.letter_topic, status.letter_partition, status.letter_offset)?;
        let Some(value) = record.as_ref().and_then(|record| record.value.as_deref()) else {
            return Ok(Err("its bytes are gone".to_owned()));
        };
        let letter: Result<DeadLetter, String> = self.readable(|reader| reader.decode(value))?;
        Ok(match letter {
            Ok(letter) if letter.id != status.id => Err(format!("letter {} lies where it should", letter.id)),
            Ok(letter) if letter.truncated => Err("its bytes were cut when it was written".to_owned()),
            other => other,
        })
    }

    /// The change inside a validator's letter, and the source in whose topic it lay: there it goes back to.
    pub(crate) fn change_of(&self, status: &LetterStatus, domain: Domain) -> Result<Result<(String, Change), String>, Transient> {
        let letter = match self.letter_of(status)? {
            Ok(letter) => letter,
            Err(why) => return Ok(Err(why)),
        };
        let topic = letter.topic.unwrap_or_default();
        let source = match self.config.topics.kind(&topic) {
            Some(TopicKind::Change { source, domain: of }) if of == domain => source,
            _ => return Ok(Err(format!("its record lay in {topic:?}, which is no topic of {domain} changes"))),
        };
        if !self.config.landscape.captures().any(|capture| capture == (source.as_str(), domain)) {
            return Ok(Err(format!("{source} captures no {domain} in this landscape any more")));
        }
        let change = self.readable(|reader| reader.decode_change(domain, &letter.payload))?;
        Ok(change.map(|change| (source, change)))
    }

    /// Decodes; a schema that the registry denies makes it unreadable at once, because nobody waits for a preview.
    fn readable<T>(&self, decode: impl Fn(&avro::Reader) -> Result<T, DecodeError>) -> Result<Result<T, String>, Transient> {
        loop {
            match decode(&self.reader) {
                Ok(value) => return Ok(Ok(value)),
                Err(DecodeError::Unreadable { message, .. }) => return Ok(Err(message)),
                Err(DecodeError::NeedSchema(id)) => match self.runtime.block_on(self.registry.teach(&self.reader, id)) {
                    Ok(()) => {}
                    Err(registry::Error::Pending { id, .. }) => return Ok(Err(format!("schema {id} is not in the registry"))),
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }
}

/// The golden records as the policy asks for them. Trouble on the way is kept and makes the verdict void.
struct View<'a> {
    replayer: &'a Replayer,
    trouble: RefCell<Option<Transient>>,
}

impl References for View<'_> {
    fn golden(&self, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>> {
        self.replayer.golden(&Topical::new(domain, key.clone())).unwrap_or_else(|trouble| {
            self.trouble.replace(Some(trouble));
            None
        })
    }

    fn has_set(&self, set: &str) -> bool {
        self.replayer.config.landscape.sets.contains(set)
    }
}
