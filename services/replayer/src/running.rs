//! Running plans: a few letters per turn, at the plan's rate per system, each judged again when its turn comes.

use std::{collections::HashMap, time::Duration};

use deadletter::{Closing, Judgement, Move, Verdict};
use kafka::Fatal;
use model::{Act, LetterState, LetterStatus, Outgoing, Plan, PlanState, Stage, Timestamp, Topical, Transient};

use crate::{
    config::NAME,
    desk,
    execute::{Count, Replayer},
    letters::destination,
};

/// A plan whose letters got no answer for so long ends; answers that come later still count.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a stall of the loop may make up for at once.
const BURST: Duration = Duration::from_secs(1);

/// When each plan may send its next letter to each system.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next: HashMap<(String, String), Timestamp>,
}

impl Pace {
    fn may_send(&mut self, plan: &str, system: &str, rate: f64, now: Timestamp) -> bool {
        let next = self.next.entry((plan.to_owned(), system.to_owned())).or_insert(now);
        if *next > now {
            return false;
        }
        let earliest = Timestamp::from_micros(now.micros() - i64::try_from(BURST.as_micros()).unwrap_or(0));
        *next = (*next).max(earliest).plus(Duration::from_secs_f64(1.0 / rate));
        true
    }

    fn end(&mut self, plan: &str) {
        self.next.retain(|(id, _), _| id != plan);
    }
}

/// What becomes of a letter on its turn.
enum Turn {
    Sent(Vec<Outgoing>),
    Closed(Vec<Outgoing>),
    PassedOver,
}

impl Replayer {
    pub(crate) fn run_plans(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let running: Vec<Plan> = self.book.plans().filter(|plan| plan.state == PlanState::Running).cloned().collect();
        let mut outgoing = Vec::new();
        for plan in running {
            outgoing.extend(self.run_plan(plan, now)?);
        }
        Ok(outgoing)
    }

    fn run_plan(&mut self, mut plan: Plan, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let mut outgoing = Vec::new();
        let rate = deadletter::rate(&plan.filter);
        let todo = self.to_do(&plan);
        let is_empty = todo.is_empty();
        for status in todo {
            if !self.pace.may_send(&plan.id, &status.system, rate, now) {
                continue;
            }
            match self.turn(&status, &plan, now)? {
                Ok(Turn::Sent(sent)) => {
                    plan.sent += 1;
                    self.counts.push(Count::Replayed { destination: destination(&status), outcome: "sent" });
                    outgoing.extend(sent);
                }
                Ok(Turn::Closed(closed)) => outgoing.extend(closed),
                Ok(Turn::PassedOver) => {
                    self.passed_over.entry(plan.id.clone()).or_default().insert(status.id.clone());
                }
                Err(transient) => {
                    // Its turn comes again.
                    tracing::warn!(plan = %plan.id, error = %transient, "replay waits");
                    break;
                }
            }
        }
        if is_empty && self.has_answers(&plan, now) {
            plan.state = PlanState::Done;
            plan.ended_at = Some(now);
            self.pace.end(&plan.id);
            self.passed_over.remove(&plan.id);
            tracing::info!(plan = %plan.id, sent = plan.sent, accepted = plan.accepted, refused = plan.refused, "plan done");
            outgoing.push(self.put_plan(plan)?);
        } else if !outgoing.is_empty() {
            outgoing.push(self.put_plan(plan)?);
        }
        Ok(outgoing)
    }

    /// Letters that the plan covers and has not dealt with: those that waited when it was made.
    fn to_do(&self, plan: &Plan) -> Vec<LetterStatus> {
        let passed_over = self.passed_over.get(&plan.id);
        self.book
            .letters()
            .filter(|status| deadletter::matches(&plan.filter, status) && status.changed_at <= plan.made_at)
            .filter(|status| status.plan.as_deref() != Some(plan.id.as_str()))
            .filter(|status| !passed_over.is_some_and(|passed| passed.contains(&status.id)))
            .cloned()
            .collect()
    }

    /// Whether every letter that was sent has its answer, or none came for long.
    fn has_answers(&self, plan: &Plan, now: Timestamp) -> bool {
        self.book
            .letters()
            .filter(|status| status.state == LetterState::Replaying && status.plan.as_deref() == Some(plan.id.as_str()))
            .all(|status| now.since(status.changed_at) >= PATIENCE)
    }

    fn turn(&mut self, status: &LetterStatus, plan: &Plan, now: Timestamp) -> Result<Result<Turn, Transient>, Fatal> {
        let judgement = match self.judge(status, &plan.filter, now) {
            Ok(judgement) => judgement,
            Err(transient) => return Ok(Err(transient)),
        };
        let Judgement { verdict, why } = judgement;
        match verdict {
            Verdict::WouldApply => {}
            Verdict::Superseded => {
                let closing = Closing { state: LetterState::Superseded, closed_by: why };
                return Ok(Ok(Turn::Closed(self.close(status, closing, now)?)));
            }
            Verdict::StillFailing | Verdict::Unreadable | Verdict::Exhausted => {
                tracing::debug!(letter = %status.id, plan = %plan.id, ?verdict, why, "not sent");
                return Ok(Ok(Turn::PassedOver));
            }
        }
        let sent = match status.stage {
            Stage::Validate => match self.change_again(status) {
                Ok(sent) => sent?,
                Err(transient) => return Ok(Err(transient)),
            },
            Stage::Deliver => self.deliver_again(status, plan, now)?,
            Stage::Capture => self.capture_again(status, plan, now)?,
            Stage::Unknown => None,
        };
        let Some(mut sent) = sent else { return Ok(Ok(Turn::PassedOver)) };
        let wanted = Move {
            from: status.state,
            to: LetterState::Replaying,
            by: plan.actor.clone(),
            reason: plan.reason.clone(),
            plan: Some(plan.id.clone()),
            closed_by: None,
        };
        let mut outgoing = self.moved(status, wanted, now)?;
        if outgoing.is_empty() {
            return Ok(Ok(Turn::PassedOver));
        }
        self.trace(&mut sent, status, &plan.id);
        outgoing.push(sent);
        Ok(Ok(Turn::Sent(outgoing)))
    }

    /// The change as it was, caused by this letter.
    fn change_again(&self, status: &LetterStatus) -> Result<Result<Option<Outgoing>, Fatal>, Transient> {
        let (Some(domain), Some(key)) = (status.domain, &status.key) else { return Ok(Ok(None)) };
        let Ok((source, mut change)) = self.change_of(status, domain)? else { return Ok(Ok(None)) };
        change.meta.causation_id = Some(status.id.0.clone());
        Ok(self.desk.change(&source, domain, key, &change).map(Some))
    }

    fn deliver_again(&self, status: &LetterStatus, plan: &Plan, now: Timestamp) -> Result<Option<Outgoing>, Fatal> {
        let (Some(domain), Some(key)) = (status.domain, status.key.clone()) else { return Ok(None) };
        let place = Topical::new(domain, key);
        let mut command = asked(Act::Replay, status, plan, now);
        command.revision = status.revision;
        command.exact_offset = plan.filter.exact.then_some(status.letter_offset);
        self.desk.to_destination(&status.system, &place, &command).map(Some)
    }

    fn capture_again(&self, status: &LetterStatus, plan: &Plan, now: Timestamp) -> Result<Option<Outgoing>, Fatal> {
        let (Some(domain), Some(source_key)) = (status.domain, status.source_key.clone()) else { return Ok(None) };
        let command = asked(Act::Capture, status, plan, now);
        self.desk.to_source(&status.system, domain, &source_key, &command).map(Some)
    }
}

fn asked(act: Act, status: &LetterStatus, plan: &Plan, now: Timestamp) -> model::Command {
    let mut command = desk::command(act, status.stage, &plan.actor, now);
    command.domain = status.domain;
    command.key.clone_from(&status.key);
    command.reason = plan.reason.clone().or_else(|| Some(format!("{NAME} plan {}", plan.id)));
    command.plan = Some(plan.id.clone());
    command.letter = Some(status.id.clone());
    command.source.clone_from(&status.source);
    command.source_key.clone_from(&status.source_key);
    command.source_epoch = status.source_epoch;
    command.source_sequence = status.source_sequence;

    command
}
