//! Lines about systems: what their own processes say of them, or that nobody says anything.

use model::{DestinationState, DestinationStatus, SourceState, SourceStatus, Timestamp};

use super::{Desk, Kind, OPERATIONS, SILENT, age, counted};
use crate::why::{self, clock};

/// A source is read to its end more often than this, as the alert for silent sources has it.
const UNREAD: f64 = 900.0;
/// The clock of a source may be ahead of ours by so much.
const SKEW: f64 = 60.0;

impl Desk<'_> {
    /// What a destination's sink says of it, or that nobody says anything.
    pub(super) fn destination(&mut self, name: &str, status: Option<&DestinationStatus>, late: i64, hears: bool) {
        let now = self.now;
        let late = if late == 0 { String::new() } else { format!("; {} late", counted(late, "", "record")) };
        let where_to_look = || "millrace doctor".to_owned();
        let Some(status) = status else {
            if hears {
                let text = format!("its sink has never been heard{late}; does it run?");
                self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), where_to_look(), now);
            }
            return;
        };
        match status.state {
            DestinationState::Paused => {
                let (text, turn) = paused(status, now);
                let then = format!("millrace destination resume {name}");
                self.add(Kind::Paused, name, format!("{text}{late}"), turn, then, status.since);
            }
            DestinationState::Unavailable => {
                let text = format!(
                    "{}{late}",
                    why::unavailable(status.code.as_deref(), status.reason.as_deref(), Some(status.since), now)
                );
                let then = "millrace destination list".to_owned();
                self.add(Kind::Unavailable, name, text, self.fleet.office_of(name), then, status.since);
            }
            // A sink has nothing to explain in these states but what the brokers refuse to it.
            DestinationState::Ok | DestinationState::Resyncing | DestinationState::Unknown => {
                if let Some(reason) = &status.reason {
                    self.add(Kind::Denied, name, reason.clone(), OPERATIONS.to_owned(), where_to_look(), status.since);
                }
            }
        }
        if hears && age(status.at, now) > SILENT {
            let text = format!("its sink was last heard {}{late}", clock(status.at, now));
            self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), where_to_look(), status.at);
        }
    }

    /// What a source's publisher says of it, or that nobody says anything.
    pub(super) fn source(&mut self, name: &str, status: Option<&SourceStatus>, hears: bool) {
        let now = self.now;
        let doctor = || "millrace doctor".to_owned();
        let Some(status) = status else {
            if hears {
                let text = "its publisher has never been heard; does it run?".to_owned();
                self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), doctor(), now);
            }
            return;
        };
        if hears && age(status.at, now) > SILENT {
            let text = format!("its publisher was last heard {}", clock(status.at, now));
            self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), doctor(), status.at);
        }
        let office = self.fleet.office_of(name);
        let read_at = status.read_at.unwrap_or(status.since);
        if status.state == SourceState::Unavailable {
            let why = status.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let next = status.next_at.filter(|next| *next > now);
            let next = next.map(|next| format!("; asked again {}", why::next_at(next, now))).unwrap_or_default();
            let text = format!("could not be read since {}{why}{next}", clock(status.since, now));
            self.add(Kind::Unavailable, name, text, office.clone(), doctor(), status.since);
        } else if age(read_at, status.at) > UNREAD {
            let text = format!("has not been read to its end since {}", clock(read_at, now));
            self.add(Kind::Unavailable, name, text, office.clone(), doctor(), read_at);
        }
        // A publisher has nothing to explain about a source that it reads but what the brokers refuse to it.
        if let Some(reason) = status.reason.as_ref().filter(|_| status.state != SourceState::Unavailable) {
            self.add(Kind::Denied, name, reason.clone(), OPERATIONS.to_owned(), doctor(), status.since);
        }
        for stream in &status.streams {
            let Some(cursor) = stream.cursor.filter(|cursor| age(status.at, *cursor) > SKEW) else { continue };
            let text = format!(
                "stream {} is asked for what comes after {}, which is ahead of now; what changes before is not read",
                stream.stream,
                clock(cursor, now)
            );
            let then = format!("raise `epoch` in sources/{name}.yaml: the source is read again from its beginning");
            self.add(Kind::Ahead, name, text, office.clone(), then, status.at);
            self.about(&stream.domain, "", 1);
        }
    }
}

fn paused(status: &DestinationStatus, now: Timestamp) -> (String, String) {
    let by = status.by.as_deref().unwrap_or("an operator");
    let why = status.reason.as_ref().map(|reason| format!(", \"{reason}\"")).unwrap_or_default();
    match status.until {
        Some(until) => (format!("paused by {by}{why}, until {}", clock(until, now)), "nobody, resumes by itself".to_owned()),
        None => (format!("paused by {by}{why}"), by.to_owned()),
    }
}
