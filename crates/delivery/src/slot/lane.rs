//! The work in progress of one key. A key without work has no lane, so memory is bounded by what was received and is not done. What few lanes have at one time is
//! boxed: during an outage there is a lane per key.

use std::{collections::VecDeque, time::Duration};

use model::{Cause, Command, Timestamp, Topical};

use super::{
    known::Known,
    offer::{Job, Letter, Offer, Ticket},
};
use crate::Suspicion;

#[derive(Debug)]
pub(crate) struct Lane<P> {
    /// The newest revision that is to be offered.
    pub(crate) next: Option<Queued<P>>,
    /// The call on its way and since when.
    pub(crate) calling: Option<Box<(Queued<P>, Timestamp)>>,
    /// The durable steps on their way.
    pub(crate) job: Option<Job>,
    pub(crate) fetching: Option<Box<Fetching>>,
    /// Commands that came while the lane was busy, in their order.
    pub(crate) commands: VecDeque<(Command, Ticket)>,
    /// Golden's tombstone came while the delete before it was still on its way.
    pub(crate) tombstone: Option<Box<(Offer<P>, Ticket)>>,
    /// The payload is to be read again when the lane is free.
    pub(crate) wakes: bool,
    /// True while the key stands in a queue of those that may start.
    pub(crate) is_ready: bool,
    /// What is remembered of its failures.
    pub(crate) suspicion: Option<Box<Suspicion>>,
}

/// A payload is being read again.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) cause: Cause,
    pub(crate) command: Option<String>,
    /// For the letter of a wait that is over; nothing is called.
    pub(crate) gives_up: bool,
}

#[derive(Debug)]
pub(crate) struct Queued<P> {
    pub(crate) offer: Offer<P>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) cause: Cause,
    pub(crate) command: Option<String>,
    pub(crate) is_absent: bool,
    /// A removal that replaced an upsert of which nobody knows whether it arrived: it is sent even if nothing was accepted.
    pub(crate) takes_back: bool,
    /// It replaced a lower revision whose offset may not be committed: after a crash that one is read again before this one, so the
    /// ledger has to know this one before it is called.
    pub(crate) has_replaced: bool,
    /// It was in the first place before, and returns there.
    pub(crate) goes_first: bool,
    /// It waited in vain: a letter instead of a call.
    pub(crate) gives_up: bool,
    /// Attempts that count.
    pub(crate) attempts: u32,
    /// Time spent in back-off.
    pub(crate) waited: Duration,
    pub(crate) first_failed_at: Option<Timestamp>,
    /// The destination named a revision above golden's newest, first at this instant.
    pub(crate) ahead_since: Option<Timestamp>,
    /// In back-off until then.
    pub(crate) due: Option<Timestamp>,
    pub(crate) queued_at: Timestamp,
}

impl<P> Queued<P> {
    pub(crate) fn new(offer: Offer<P>, tickets: Vec<Ticket>, cause: Cause, now: Timestamp) -> Self {
        Self {
            offer,
            tickets,
            cause,
            command: None,
            is_absent: false,
            takes_back: false,
            has_replaced: false,
            goes_first: false,
            gives_up: false,
            attempts: 0,
            waited: Duration::ZERO,
            first_failed_at: None,
            ahead_since: None,
            due: None,
            queued_at: now,
        }
    }
}

impl<P> Lane<P> {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            next: None,
            calling: None,
            job: None,
            fetching: None,
            commands: VecDeque::new(),
            tombstone: None,
            wakes: false,
            is_ready: false,
            suspicion: None,
        })
    }

    /// True while something of this key is on its way: nothing else may start.
    pub(crate) fn is_busy(&self) -> bool {
        self.calling.is_some() || self.job.is_some()
    }

    /// The highest revision that is queued or on its way.
    pub(crate) fn newest_revision(&self) -> i64 {
        let calling = self.calling.as_ref().map_or(0, |calling| calling.0.offer.revision);
        self.next.as_ref().map_or(calling, |next| next.offer.revision.max(calling))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_none()
            && !self.is_busy()
            && self.fetching.is_none()
            && self.commands.is_empty()
            && self.tombstone.is_none()
            && !self.wakes
    }
}

/// A chain of durable steps on its way.
#[derive(Debug)]
pub(crate) struct Chained<P> {
    pub(crate) key: Option<Topical>,
    /// What is left.
    pub(crate) steps: VecDeque<Step<P>>,
    /// The receipt that the ledger step sealed.
    pub(crate) sealed: Option<Box<model::Receipt>>,
}

/// One durable step. The next one starts when it is acknowledged.
#[derive(Debug)]
pub(crate) enum Step<P> {
    Letter(Box<Letter<P>>),
    /// Writes the entry; a receipt is sealed into it at this moment.
    Ledger(Box<Known>, Option<Box<model::Receipt>>),
    Erase,
    /// The receipt that the ledger step sealed.
    Receipt,
    /// A receipt of a former life, sent again as it was.
    Repeat(Box<model::Receipt>),
    Lease,
    Done(Vec<Ticket>),
}
