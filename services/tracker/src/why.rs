//! Why late: one closed list ([`model::Reason`]), computed here and nowhere else, used by the API, the command line and the
//! metric label `reason`. Pure: facts in, reason and sentence out, time is a value.

use model::{DestinationState, LedgerState, Reason, Timestamp};

/// Where the newest golden revision of a key stands at a destination: the words on screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Accepted,
    Sent,
    Waiting,
    Refused,
    /// Nobody sends it any more: a person discarded its letter, or the destination holds a newer revision.
    GivenUp,
    NotNeeded,
}

/// The few facts that decide it. Small and discrete on purpose: a whole domain is counted by grouping on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In the destination's scope, or there and to be removed.
    pub needed: bool,
    /// The destination accepted the newest golden revision.
    pub accepted: bool,
    /// The ledger speaks about the newest golden revision, not about an older one.
    pub offered: bool,
    pub ledger: LedgerState,
    /// The gate, where the ledger waits.
    pub gate: Reason,
    pub destination: DestinationState,
}

/// The one place that decides why something is late.
#[must_use]
pub fn place(standing: &Standing) -> (Place, Option<Reason>) {
    if !standing.needed {
        return (Place::NotNeeded, Some(Reason::NotNeeded));
    }
    if standing.accepted {
        return (Place::Accepted, None);
    }
    if standing.ledger == LedgerState::Blocked {
        return (Place::Waiting, Some(Reason::Blocked));
    }
    // A refusal is about the revision that was refused: a newer one has its own chance.
    if standing.ledger == LedgerState::Parked && standing.offered {
        return (Place::Refused, Some(Reason::Refused));
    }
    // The sink clears an entry that it offered, and the destination did not accept, only when it is done with it.
    if standing.ledger == LedgerState::Clear && standing.offered {
        return (Place::GivenUp, None);
    }
    match standing.destination {
        DestinationState::Paused => return (Place::Waiting, Some(Reason::Paused)),
        DestinationState::Unavailable => return (Place::Waiting, Some(Reason::Unavailable)),
        DestinationState::Resyncing => return (Place::Waiting, Some(Reason::Resync)),
        DestinationState::Ok | DestinationState::Unknown => {}
    }
    match standing.ledger {
        LedgerState::Delivered if standing.offered => (Place::Sent, Some(Reason::Receipt)),
        LedgerState::Waiting if standing.offered && standing.gate != Reason::Unknown => (Place::Waiting, Some(standing.gate)),
        LedgerState::Clear
        | LedgerState::Delivered
        | LedgerState::Waiting
        | LedgerState::Parked
        | LedgerState::Blocked
        | LedgerState::Deleted
        | LedgerState::Unknown => (Place::Waiting, Some(Reason::Queued)),
    }
}

/// What a sentence may need; the reason says which of it.
#[derive(Clone, Debug, Default)]
pub struct Words<'a> {
    pub destination: &'a str,
    /// Owner of the domain.
    pub owner: &'a str,
    /// The other record, system, date or rule that is waited for.
    pub waits_for: &'a str,
    pub by: Option<&'a str>,
    pub text: Option<&'a str>,
    pub until: Option<Timestamp>,
    pub since: Option<Timestamp>,
    pub code: Option<&'a str>,
    /// The scope, where the record is out of it.
    pub filter: &'a str,
    pub attempts: i32,
    /// How many attempts a record gets; 0 where nobody says.
    pub budget: u32,
    /// Records in front of this one, and how many a second the destination takes.
    pub ahead: i64,
    pub rate: Option<f64>,
}

/// The sentence of a reason, as console, command line and API show it.
#[must_use]
pub fn sentence(reason: Reason, words: &Words<'_>, now: Timestamp) -> String {
    let Words { destination, owner, waits_for, .. } = words;
    let at = |instant: Option<Timestamp>| instant.map(|instant| clock(instant, now));
    match reason {
        Reason::Source => format!("waiting for {waits_for} to answer"),
        Reason::Rule => format!("failed rule {waits_for}"),
        Reason::Approval => format!("waiting for approval in {owner}"),
        Reason::Steward => format!("waiting for a decision of {}", if waits_for.is_empty() { owner } else { waits_for }),
        Reason::Record => format!("waiting for {} to exist", record(waits_for)),
        Reason::Dependency => format!("{} not accepted here yet", record(waits_for)),
        Reason::Confirmation => format!("waiting for {waits_for} to confirm"),
        Reason::Effective => format!("not effective before {waits_for}"),
        Reason::Window => format!("apply window opens {}", at(words.until).unwrap_or_else(|| (*waits_for).to_owned())),
        Reason::Queued => match (words.code, words.until) {
            (Some(code), Some(next)) => format!("{destination} asked to wait, {code}; next {}", next_at(next, now)),
            _ if words.since.is_some() => {
                format!("{} ahead; the sink of {destination} was last heard {}", words.ahead, at(words.since).unwrap_or_default())
            }
            _ => format!("{} ahead{}", words.ahead, expected(words.ahead, words.rate)),
        },
        Reason::Paused => {
            let by = words.by.unwrap_or("an operator");
            let until = at(words.until).unwrap_or_else(|| "it is resumed".to_owned());
            format!("destination paused by {by} until {until}")
        }
        Reason::Unavailable => {
            let asked = words.until.map(|next| format!(", asked again {}", next_at(next, now))).unwrap_or_default();
            format!("{destination} {}{asked}", unavailable(words.code, words.text, words.since, now))
        }
        Reason::Retrying => {
            // A record that alone makes its destination fail gets more attempts than the budget has.
            let is_known = i64::from(words.budget) >= i64::from(words.attempts);
            let of = if is_known { format!(" of {}", words.budget) } else { String::new() };
            let said = words.text.or(words.code).map(|said| format!(" failed, {said}")).unwrap_or_default();
            let next = words.until.map(|next| format!("; next {}", next_at(next, now))).unwrap_or_default();
            format!("attempt {}{of}{said}{next}", words.attempts)
        }
        Reason::Refused => format!("refused: {}; parked", words.code.unwrap_or("no code given")),
        Reason::Blocked => match (words.by, words.text) {
            (Some(by), Some(text)) => format!("blocked by {by}: {text}"),
            (Some(by), None) => format!("blocked by {by}"),
            // The sink's own words name who blocked it.
            (None, Some(text)) if text.starts_with("by ") => format!("blocked {text}"),
            (None, Some(text)) => format!("blocked: {text}"),
            (None, None) => "blocked".to_owned(),
        },
        Reason::Receipt => "sent, no answer yet".to_owned(),
        Reason::Resync => "destination is being resynced".to_owned(),
        Reason::NotNeeded => format!("not needed here: {}", if words.filter.is_empty() { "out of scope" } else { words.filter }),
        Reason::Unknown => "for a reason that this version does not know".to_owned(),
    }
}

/// Since when a destination takes nothing. `code` is that of its last answer; it may well have answered.
#[must_use]
pub fn unavailable(code: Option<&str>, said: Option<&str>, since: Option<Timestamp>, now: Timestamp) -> String {
    let since = since.map(|since| format!(" since {}", clock(since, now))).unwrap_or_default();
    match code {
        None | Some("UNREACHABLE" | "TIMEOUT" | "CONNECTION_LOST") => format!("has not answered{since}"),
        Some(code) => format!("has taken no record{since}: {}", said.unwrap_or(code)),
    }
}

/// When something is done next, to the second.
pub(crate) fn next_at(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    match text.get(11..19) {
        _ if at <= now => "at once".to_owned(),
        Some(time) if at.date() == now.date() => format!("at {time} UTC"),
        _ => format!("at {}", clock(at, now)),
    }
}

/// `item/4711/C` as people say it: `item 4711/C`.
fn record(place: &str) -> String {
    place.replacen('/', " ", 1)
}

fn expected(ahead: i64, rate: Option<f64>) -> String {
    let Some(rate) = rate.filter(|rate| *rate > 0.0) else { return String::new() };
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rough time, for people")]
    let seconds = ((ahead + 1) as f64 / rate).ceil() as i64;
    match seconds {
        ..=1 => ", about 1 s".to_owned(),
        2..120 => format!(", about {seconds} s"),
        120..7_200 => format!(", about {} min", seconds / 60),
        _ => format!(", about {} h", seconds / 3_600),
    }
}

/// A time of day in UTC; with the date when it is not today's.
#[must_use]
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let (Some(day), Some(time)) = (text.get(..10), text.get(11..16)) else { return text };
    if at.date() == now.date() { format!("{time} UTC") } else { format!("{day} {time} UTC") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            needed: true,
            accepted: false,
            offered: true,
            ledger: LedgerState::Clear,
            gate: Reason::Unknown,
            destination: DestinationState::Ok,
        }
    }

    #[test]
    fn every_standing_has_one_place_and_every_lateness_a_reason() {
        use DestinationState as D;
        use LedgerState as L;
        let table = [
            (Standing { needed: false, accepted: true, ..standing() }, Place::NotNeeded, Some(Reason::NotNeeded)),
            (Standing { accepted: true, destination: D::Paused, ..standing() }, Place::Accepted, None),
            (Standing { ledger: L::Blocked, destination: D::Unavailable, ..standing() }, Place::Waiting, Some(Reason::Blocked)),
            (Standing { ledger: L::Parked, destination: D::Paused, ..standing() }, Place::Refused, Some(Reason::Refused)),
            (
                Standing { ledger: L::Parked, offered: false, destination: D::Paused, ..standing() },
                Place::Waiting,
                Some(Reason::Paused),
            ),
            (Standing { ledger: L::Parked, offered: false, ..standing() }, Place::Waiting, Some(Reason::Queued)),
            (Standing { offered: false, destination: D::Unavailable, ..standing() }, Place::Waiting, Some(Reason::Unavailable)),
            (Standing { offered: false, destination: D::Resyncing, ..standing() }, Place::Waiting, Some(Reason::Resync)),
            (Standing { ledger: L::Delivered, ..standing() }, Place::Sent, Some(Reason::Receipt)),
            (Standing { ledger: L::Delivered, offered: false, ..standing() }, Place::Waiting, Some(Reason::Queued)),
            (Standing { ledger: L::Waiting, gate: Reason::Approval, ..standing() }, Place::Waiting, Some(Reason::Approval)),
            (
                Standing { ledger: L::Waiting, gate: Reason::Approval, offered: false, ..standing() },
                Place::Waiting,
                Some(Reason::Queued),
            ),
            (standing(), Place::GivenUp, None),
            (Standing { destination: D::Paused, ..standing() }, Place::GivenUp, None),
            (Standing { offered: false, ..standing() }, Place::Waiting, Some(Reason::Queued)),
            (
                Standing { ledger: L::Unknown, offered: false, destination: D::Unknown, ..standing() },
                Place::Waiting,
                Some(Reason::Queued),
            ),
        ];
        for (standing, expected, reason) in table {
            assert_eq!(place(&standing), (expected, reason), "{standing:?}");
        }
    }

    #[test]
    fn every_reason_has_its_sentence() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let words = Words {
            destination: "mes-ulm",
            owner: "erp",
            waits_for: "item/4711/C",
            by: Some("j.rao"),
            text: Some("line 4 stop"),
            until: at("2026-11-25T14:00:00Z"),
            since: at("2026-11-24T09:30:10Z"),
            code: Some("UNIT_UNKNOWN"),
            filter: "item_type != 'RAW'",
            attempts: 3,
            budget: 8,
            ahead: 99,
            rate: Some(20.0),
        };
        let named = |waits_for| Words { waits_for, ..words.clone() };
        let table = [
            (Reason::Source, named("crm"), "waiting for crm to answer"),
            (Reason::Rule, named("ITM-02"), "failed rule ITM-02"),
            (Reason::Approval, words.clone(), "waiting for approval in erp"),
            (Reason::Steward, named("item office"), "waiting for a decision of item office"),
            (Reason::Steward, named(""), "waiting for a decision of erp"),
            (Reason::Record, named("customer/C-100"), "waiting for customer C-100 to exist"),
            (Reason::Dependency, words.clone(), "item 4711/C not accepted here yet"),
            (Reason::Confirmation, named("erp"), "waiting for erp to confirm"),
            (Reason::Effective, named("2026-12-01"), "not effective before 2026-12-01"),
            (Reason::Window, words.clone(), "apply window opens 14:00 UTC"),
            (Reason::Queued, Words { until: None, since: None, ..words.clone() }, "99 ahead, about 5 s"),
            (Reason::Queued, Words { until: None, since: None, rate: None, ..words.clone() }, "99 ahead"),
            (
                Reason::Queued,
                Words { until: None, ..words.clone() },
                "99 ahead; the sink of mes-ulm was last heard 2026-11-24 09:30 UTC",
            ),
            (
                Reason::Queued,
                Words { code: Some("HTTP_429"), ..words.clone() },
                "mes-ulm asked to wait, HTTP_429; next at 14:00:00 UTC",
            ),
            (Reason::Paused, words.clone(), "destination paused by j.rao until 14:00 UTC"),
            (Reason::Paused, Words { until: None, ..words.clone() }, "destination paused by j.rao until it is resumed"),
            (
                Reason::Unavailable,
                Words { code: None, ..words.clone() },
                "mes-ulm has not answered since 2026-11-24 09:30 UTC, asked again at 14:00:00 UTC",
            ),
            (
                Reason::Unavailable,
                Words { code: Some("HTTP_401"), text: Some("HTTP 401: who are you?"), until: None, ..words.clone() },
                "mes-ulm has taken no record since 2026-11-24 09:30 UTC: HTTP 401: who are you?",
            ),
            (
                Reason::Retrying,
                Words { text: Some("HTTP 500: out of paper"), ..words.clone() },
                "attempt 3 of 8 failed, HTTP 500: out of paper; next at 14:00:00 UTC",
            ),
            (
                Reason::Retrying,
                Words { attempts: 9, until: None, text: None, code: Some("HTTP_403"), ..words.clone() },
                "attempt 9 failed, HTTP_403",
            ),
            (
                Reason::Retrying,
                Words { until: Some(now), text: None, ..words.clone() },
                "attempt 3 of 8 failed, UNIT_UNKNOWN; next at once",
            ),
            (Reason::Refused, words.clone(), "refused: UNIT_UNKNOWN; parked"),
            (Reason::Blocked, words.clone(), "blocked by j.rao: line 4 stop"),
            (
                Reason::Blocked,
                Words { by: None, text: Some("by j.rao: wrong drawing"), ..words.clone() },
                "blocked by j.rao: wrong drawing",
            ),
            (Reason::Receipt, words.clone(), "sent, no answer yet"),
            (Reason::Resync, words.clone(), "destination is being resynced"),
            (Reason::NotNeeded, words.clone(), "not needed here: item_type != 'RAW'"),
        ];
        for reason in Reason::SYMBOLS {
            assert!(table.iter().any(|(tested, ..)| tested == reason), "{reason:?} has no case");
        }
        for (reason, words, expected) in table {
            assert_eq!(sentence(reason, &words, now), expected);
        }
    }
}
