//! What goes out to the destination: as many calls as its limits allow, each with a permit that comes back.

use std::sync::Arc;

use delivery::{Call, Grant, Permit, Turn, Verdict};
use model::Timestamp;
use tokio::sync::mpsc;

use super::{
    Answered, Input, PROOF, SlotActor,
    traces::{self, Chain},
};
use crate::{
    deliver::{self, Prepared, Request},
    record::Taken,
    shared::{Shared, now},
};

impl SlotActor {
    /// Starts as many calls as may start.
    pub(super) async fn pump(&mut self) {
        let was_full = std::mem::take(&mut self.is_full);
        self.wake_at = None;
        while self.state.has_ready() {
            let now = now();
            if now < self.calls_from {
                self.wake_at = Some(self.calls_from);
                break;
            }
            if !self.shared.handle.may_call() {
                self.wake_at = Some(now.plus(PROOF));
                break;
            }
            let grant = self.shared.traffic().ask(self.slot, self.state.has_fresh(), now);
            let permit = match grant {
                Grant::Go(permit) => permit,
                Grant::Wait(until) => {
                    self.wake_at = Some(until);
                    break;
                }
                Grant::Full => {
                    self.is_full = true;
                    break;
                }
            };
            let Some(call) = self.state.take(permit.is_probe(), now) else {
                self.shared.traffic().unused(permit);
                break;
            };
            self.call(&call, permit, now);
            self.carry_out().await;
        }
        if was_full && !self.is_full {
            // The place this slot was woken for may be for another one.
            self.shared.free.notify_one();
        }
    }

    fn call(&mut self, call: &Call<Arc<Taken>>, permit: Permit, now: Timestamp) {
        let waited = now.since(call.queued_at).as_secs_f64();
        telemetry::STAGE_SECONDS.with_label_values(&[call.key.domain.name(), "wait"]).observe(waited);
        let chain = self.chains.begin(&self.shared, call);
        match deliver::prepare(&self.shared, call) {
            Prepared::Send(request) => {
                tokio::spawn(deliver(Arc::clone(&self.shared), self.sender.clone(), request, permit, chain));
            }
            Prepared::Unchanged(hash) => {
                self.shared.traffic().unused(permit);
                self.worked(chain.span, "unchanged", None);
                self.state.unchanged(&call.key, &hash, now);
            }
            Prepared::Answered(mut answer) => {
                self.shared.traffic().unused(permit);
                if call.offer.payload.has_left_scope && answer.note.is_none() {
                    answer.note = Some("left the scope".to_owned());
                }
                let code = answer.problem.as_ref().map(|problem| problem.code.as_str());
                self.worked(chain.span, answer.class.name(), code);
                self.state.answered(&call.key, "", answer, Verdict::plain(true), 0.0, now);
            }
        }
    }
}

/// One call; its permit comes back whatever happens to the slot.
async fn deliver(shared: Arc<Shared>, slot: mpsc::UnboundedSender<Input>, request: Request, permit: Permit, chain: Chain) {
    let started = now();
    let answer = deliver::send(&shared, &request, chain.context).await;
    let at = now();
    let Some(answer) = answer else {
        shared.traffic().unused(permit);
        shared.free.notify_one();
        drop(slot.send(Input::NotCalled(request.key)));
        return;
    };
    if let Some(span) = chain.span {
        traces::end(&shared, span, answer.class.name(), answer.problem.as_ref().map(|problem| problem.code.as_str()));
    }
    let domain = request.key.domain.name();
    telemetry::STAGE_SECONDS.with_label_values(&[domain, "deliver"]).observe(at.since(started).as_secs_f64());
    let (verdict, turn) = shared.traffic().finished(permit, &request.key, &answer, request.suspicion.as_ref(), at);
    shared.remember_fault(&answer, verdict.fault);
    let text = answer.problem.as_ref().map(|problem| problem.message.clone());
    drop(slot.send(Input::Answered(Box::new(Answered { key: request.key, hash: request.hash, answer, verdict, at }))));
    shared.free.notify_one();
    match turn {
        Turn::None => {}
        Turn::WentDown => tracing::warn!(destination = shared.name(), error = text, "the destination is down, records wait"),
        Turn::CameBack => {
            tracing::info!(destination = shared.name(), "the destination is back");
            shared.free.notify_waiters();
        }
    }
}
