//! What people ask for on `command.replayer`: plan, run, cancel, discard.
//!
//! A wish that is refused is answered too: as a plan that says why in `error`, so that whoever waits for it learns.

use std::collections::BTreeSet;

use deadletter::{Move, PLAN_VALID_FOR, Verdict, check_filter};
use kafka::Fatal;
use model::{Act, Command, LetterState, LetterStatus, Outgoing, Plan, PlanFilter, PlanState, Stage, Timestamp, Topical};

use crate::{
    book::is_waiting,
    desk::{self, Acted},
    execute::Replayer,
    judge::Preview,
};

impl Replayer {
    /// None: nothing to do.
    pub(crate) fn command(&mut self, command: &Command, now: Timestamp) -> Result<Option<Vec<Outgoing>>, Fatal> {
        match command.act {
            Act::Plan => self.plan(command, now),
            Act::Run => self.run(command, now),
            Act::Cancel => self.cancel(command, now),
            Act::DiscardLetters => self.discard(command, now).map(Some),
            Act::Replay
            | Act::Resend
            | Act::Discard
            | Act::Block
            | Act::Unblock
            | Act::Pause
            | Act::Resume
            | Act::Resync
            | Act::Waive
            | Act::Reject
            | Act::Tombstone
            | Act::Capture
            | Act::Unknown => {
                tracing::warn!(act = ?command.act, command = %command.command_id, "command is not for the replayer");
                Ok(None)
            }
        }
    }

    fn plan(&mut self, command: &Command, now: Timestamp) -> Result<Option<Vec<Outgoing>>, Fatal> {
        let id = plan_id(command);
        if self.book.plan(&id).is_some() {
            return Ok(None);
        }
        let preview = self.previews.remove(&command.command_id).unwrap_or_default();
        let mut plan = self.blank(command, id, now);
        match self.refusal(&plan.filter, "replay", preview.verdicts.len()) {
            Some(refusal) => refuse(&mut plan, refusal, now),
            None => self.fill(&mut plan, &preview),
        }
        Ok(Some(vec![self.put_plan(plan)?]))
    }

    fn blank(&self, command: &Command, id: String, now: Timestamp) -> Plan {
        Plan {
            id,
            filter: command.filter.clone().unwrap_or_default(),
            state: PlanState::Planned,
            actor: command.actor.clone(),
            reason: command.reason.clone(),
            made_at: now,
            valid_until: now.plus(PLAN_VALID_FOR),
            policy_version: self.config.landscape.policy_version.clone(),
            would_apply: 0,
            superseded: 0,
            still_failing: 0,
            unreadable: 0,
            exhausted: 0,
            sent: 0,
            accepted: 0,
            refused: 0,
            not_ready: Vec::new(),
            started_at: None,
            ended_at: None,
            error: None,
        }
    }

    fn fill(&self, plan: &mut Plan, preview: &Preview) {
        plan.would_apply = preview.count(Verdict::WouldApply);
        plan.superseded = preview.count(Verdict::Superseded);
        plan.still_failing = preview.count(Verdict::StillFailing);
        plan.unreadable = preview.count(Verdict::Unreadable);
        plan.exhausted = preview.count(Verdict::Exhausted);
        plan.not_ready = self.knowledge.not_ready(&preview.systems());
    }

    /// Why a wish about this many letters is refused.
    fn refusal(&self, filter: &PlanFilter, verb: &'static str, matching: usize) -> Option<String> {
        let open: Vec<_> = self.book.letters().filter(|status| is_waiting(status)).collect();
        let systems: BTreeSet<_> = open.iter().map(|status| &status.system).collect();
        check_filter(filter, verb, matching, open.len(), systems.len()).err().map(|refusal| refusal.to_string())
    }

    fn run(&mut self, command: &Command, now: Timestamp) -> Result<Option<Vec<Outgoing>>, Fatal> {
        let Some(mut plan) = command.plan.as_deref().and_then(|id| self.book.plan(id)).cloned() else {
            tracing::warn!(plan = ?command.plan, "run of a plan that does not exist");
            return Ok(None);
        };
        if plan.state != PlanState::Planned {
            return Ok(None);
        }
        if now >= plan.valid_until {
            refuse(&mut plan, "the plan is older than 30 minutes; make it anew".to_owned(), now);
        } else if plan.policy_version != self.config.landscape.policy_version {
            let error = format!("the plan was made under policy {}; make it anew", plan.policy_version);
            refuse(&mut plan, error, now);
        } else if let Some(error) = self.obstacle(&plan) {
            plan.error = Some(error);
        } else {
            plan.state = PlanState::Running;
            plan.started_at = Some(now);
            plan.error = None;
            let act = Acted {
                actor: &command.actor,
                act: "dlq.replay",
                object: format!("plan/{}", plan.id),
                reason: command.reason.as_deref().or(plan.reason.as_deref()),
                reference: &command.command_id,
            };
            let audit = self.desk.audit(&mut self.book, &act, now)?;
            return Ok(Some(vec![self.put_plan(plan)?, audit]));
        }
        Ok(Some(vec![self.put_plan(plan)?]))
    }

    /// What stands in the way of a run and may go away.
    fn obstacle(&self, plan: &Plan) -> Option<String> {
        let systems = self.systems(&plan.filter, plan);
        let running = self.book.plans().filter(|other| other.state == PlanState::Running);
        for other in running {
            let shared = self.systems(&other.filter, other).intersection(&systems).next().cloned();
            if let Some(system) = shared {
                return Some(format!("plan {} is running for {system}; wait for it or cancel it", other.id));
            }
        }
        let not_ready = self.knowledge.not_ready(&systems);
        (!not_ready.is_empty() && !plan.filter.queue)
            .then(|| format!("{} takes no records now; say --queue to let the letters wait there", not_ready.join(", ")))
    }

    /// Systems that a plan still has letters of, sent or to be sent.
    fn systems(&self, filter: &PlanFilter, plan: &Plan) -> BTreeSet<String> {
        let is_sent =
            |status: &LetterStatus| status.state == LetterState::Replaying && status.plan.as_deref() == Some(plan.id.as_str());
        let of = |status: &LetterStatus| deadletter::matches(filter, status) || is_sent(status);
        self.book.letters().filter(|status| of(status)).map(|status| status.system.clone()).collect()
    }

    fn cancel(&mut self, command: &Command, now: Timestamp) -> Result<Option<Vec<Outgoing>>, Fatal> {
        let Some(mut plan) = command.plan.as_deref().and_then(|id| self.book.plan(id)).cloned() else { return Ok(None) };
        if !matches!(plan.state, PlanState::Planned | PlanState::Running) {
            return Ok(None);
        }
        plan.state = PlanState::Cancelled;
        plan.ended_at = Some(now);
        let act = Acted {
            actor: &command.actor,
            act: "dlq.cancel",
            object: format!("plan/{}", plan.id),
            reason: command.reason.as_deref(),
            reference: &command.command_id,
        };
        let audit = self.desk.audit(&mut self.book, &act, now)?;
        Ok(Some(vec![self.put_plan(plan)?, audit]))
    }

    fn discard(&mut self, command: &Command, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let filter = command.filter.clone().unwrap_or_default();
        // What is discarded stays so.
        let is_meant = |status: &&LetterStatus| status.state != LetterState::Discarded && deadletter::matches(&filter, status);
        let matching: Vec<_> = self.book.letters().filter(is_meant).cloned().collect();
        let refusal = self.refusal(&filter, "discard", matching.len());
        let no_reason = command.reason.as_deref().is_none_or(|reason| reason.trim().is_empty());
        if let Some(refusal) = refusal.or_else(|| no_reason.then(|| "a discard needs a reason".to_owned())) {
            tracing::warn!(command = %command.command_id, %refusal, "discard refused");
            let mut plan = self.blank(command, plan_id(command), now);
            refuse(&mut plan, refusal, now);
            return Ok(vec![self.put_plan(plan)?]);
        }
        let mut outgoing = Vec::new();
        for status in &matching {
            let wanted = Move {
                from: status.state,
                to: LetterState::Discarded,
                by: command.actor.clone(),
                reason: command.reason.clone(),
                plan: None,
                closed_by: Some(command.actor.clone()),
            };
            let moved = self.moved(status, wanted, now)?;
            if !moved.is_empty() {
                outgoing.extend(moved);
                outgoing.extend(self.unpark(status, command, now)?);
            }
        }
        let object = match matching.as_slice() {
            [one] => format!("letter/{}", one.id),
            many => format!("{} letters", many.len()),
        };
        let act = Acted {
            actor: &command.actor,
            act: "dlq.discard",
            object,
            reason: command.reason.as_deref(),
            reference: &command.command_id,
        };
        outgoing.push(self.desk.audit(&mut self.book, &act, now)?);
        Ok(outgoing)
    }

    /// A destination's letter holds a key: the discard ends that, too. The accepted revision stays what it is.
    fn unpark(&self, status: &LetterStatus, by: &Command, now: Timestamp) -> Result<Option<Outgoing>, Fatal> {
        let (Stage::Deliver, Some(domain), Some(key)) = (status.stage, status.domain, &status.key) else { return Ok(None) };
        let mut command = desk::command(Act::Discard, Stage::Deliver, &by.actor, now);
        command.domain = Some(domain);
        command.key = Some(key.clone());
        command.reason.clone_from(&by.reason);
        command.letter = Some(status.id.clone());
        command.revision = status.revision;
        self.desk.to_destination(&status.system, &Topical::new(domain, key.clone()), &command).map(Some)
    }
}

/// The id that the asker chose, or one that follows from the command.
fn plan_id(command: &Command) -> String {
    command.plan.clone().unwrap_or_else(|| {
        let digits: String = command.command_id.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("p-{}", &digits[digits.len().saturating_sub(8)..])
    })
}

fn refuse(plan: &mut Plan, error: String, now: Timestamp) {
    plan.state = PlanState::Cancelled;
    plan.ended_at = Some(now);
    plan.error = Some(error);
}
