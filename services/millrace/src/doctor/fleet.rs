//! What the tracker knows: which landscape each service runs, what sinks say of themselves, clocks, and its disk.

use model::Timestamp;
use serde_json::Value;

use super::Line;
use crate::{cluster::Cluster, options::Global, output::text, server::Server, words};

/// Clocks further apart make `since` and deadlines confusing.
const SECONDS_APART: i64 = 2;
/// A sink and a publisher say something once a minute.
const SILENT: i64 = 180;
const START: &str = "is it meant to run? its /readyz says what it waits for";
const LITTLE: u64 = 1024 * 1024 * 1024;
const NOTHING: u64 = 100 * 1024 * 1024;

/// Who speaks for the systems of one list of the tracker's.
struct Heard {
    list: &'static str,
    one: &'static str,
    subject: &'static str,
    look: &'static str,
}

const SINKS: Heard = Heard { list: "destinations", one: "sink", subject: "sinks", look: "millrace destination list" };
const PUBLISHERS: Heard = Heard {
    list: "sources",
    one: "publisher",
    subject: "publishers",
    look: "see the source: mount, address, credentials; the publisher goes on where it stopped",
};

/// `asked`: the services that should run are asked themselves; a sink that does not speak is then one that is not meant to.
pub(super) async fn check(global: &Global, cluster: &Cluster, asked: bool) -> Vec<Line> {
    let Ok(server) = Server::find(global) else {
        return vec![Line::ok("tracker", "not asked: --server URL or --context NAME names it")];
    };
    let sent = crate::options::now();
    let about = match server.get("about", &[]).await {
        Ok(answer) => answer.body,
        Err(failure) => {
            return vec![Line::fail("tracker", failure.text(), "is it running? its /readyz says what it waits for")];
        }
    };
    let answered = crate::options::now();
    let mut lines = vec![tracker(&about)];
    lines.extend(landscapes(&about, &cluster.landscape.policy_version));
    for heard in [&SINKS, &PUBLISHERS] {
        lines.extend(speakers(&about, heard, answered, asked));
    }
    lines.push(clock(&about, sent, answered));
    lines.extend(disk(&about));
    lines
}

fn tracker(about: &Value) -> Line {
    if about["caught_up"] == true {
        Line::ok("tracker", format!("answers, version {}", text(about, "build")))
    } else {
        Line::warn("tracker", "is still reading the topics", "wait; its /readyz says how far it is")
    }
}

fn landscapes(about: &Value, here: &str) -> Vec<Line> {
    let mut running: Vec<(String, String)> = vec![("tracker".to_owned(), text(about, "policy_version"))];
    for Heard { list, one, .. } in [&SINKS, &PUBLISHERS] {
        for system in about[*list].as_array().into_iter().flatten() {
            running.push((format!("{one} {}", text(system, "name")), text(system, "policy_version")));
        }
    }
    running.retain(|(_, version)| !version.is_empty());
    let fleet = running.first().map(|(_, version)| version.clone()).unwrap_or_default();
    let others: Vec<String> =
        running.iter().filter(|(_, version)| *version != fleet).map(|(who, version)| format!("{who} {version}")).collect();
    let mut lines = Vec::new();
    if !others.is_empty() {
        let wrong = format!("the tracker runs {fleet}, but {}", others.join(", "));
        lines.push(Line::warn("landscape", wrong, "a roll that is stuck? restart those, or wait until they are"));
    }
    if fleet != here {
        let text = format!("the fleet runs {fleet}, this folder is {here}");
        lines.push(Line::warn("landscape", text, "millrace landscape check --bundle FILE, then helm upgrade"));
    }
    if lines.is_empty() {
        lines.push(Line::ok("landscape", format!("{fleet}, here and in the fleet")));
    }
    lines
}

fn speakers(about: &Value, heard: &Heard, now: Timestamp, asked: bool) -> Vec<Line> {
    let Heard { list, one, subject, look } = *heard;
    let mut lines = Vec::new();
    let mut well = 0;
    for system in about[list].as_array().into_iter().flatten() {
        let (name, state, why) = (text(system, "name"), text(system, "state"), text(system, "reason"));
        let spoke: Option<Timestamp> = system["at"].as_str().and_then(|at| at.parse().ok());
        let Some(spoke) = spoke else {
            let text = format!("{name}: its {one} never spoke");
            lines.push(if asked { Line::ok(subject, text) } else { Line::warn(subject, text, START) });
            continue;
        };
        let silence = (now.micros() - spoke.micros()) / 1_000_000;
        if silence > SILENT {
            let text = format!("{name}: its {one} has said nothing for {}", words::took(seconds(silence)));
            lines.push(if asked { Line::ok(subject, text) } else { Line::fail(subject, text, START) });
        } else if super::is_about_rights(&why) {
            lines.push(Line::fail("rights", format!("{name}: {why}"), "give that right; it goes on by itself"));
        } else if state == "unavailable" {
            lines.push(Line::warn(subject, format!("{name} is unavailable: {why}"), look));
        } else {
            well += 1;
        }
    }
    if well > 0 {
        lines.push(Line::ok(subject, words::count(well, one) + " at work"));
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(count: i64) -> f64 {
    count as f64
}

/// The tracker's clock against ours; the way there and back is not its fault.
fn clock(about: &Value, asked: Timestamp, answered: Timestamp) -> Line {
    let Ok(there) = text(about, "now").parse::<Timestamp>() else {
        return Line::warn("clock", "the tracker says no time", "is it of an older version?");
    };
    let apart =
        if there.micros() < asked.micros() { asked.micros() - there.micros() } else { there.micros() - answered.micros() };
    if apart > SECONDS_APART * 1_000_000 {
        let text = format!("the tracker's clock and this one are {} apart", words::took(seconds(apart / 1_000_000)));
        return Line::warn("clock", text, "synchronise both by NTP; deadlines are counted by these clocks");
    }
    Line::ok("clock", "the tracker's and this one agree")
}

fn disk(about: &Value) -> Option<Line> {
    let free = about["store"]["free_bytes"].as_u64()?;
    let size = about["store"]["bytes"].as_u64().unwrap_or_default();
    let text = format!("the tracker's store has {}, {} are free", bytes(size), bytes(free));
    Some(match free {
        free if free < NOTHING => {
            Line::fail("disk", text, "enlarge the tracker's volume: a full one stops its view of everything")
        }
        free if free < LITTLE => Line::warn("disk", text, "enlarge the tracker's volume"),
        _ => Line::ok("disk", text),
    })
}

fn bytes(count: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if count < 10 * 1024 * MIB { format!("{} MiB", count.div_ceil(MIB)) } else { format!("{} GiB", count / 1024 / MIB) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Level;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_fleet_of_two_landscapes_and_a_folder_of_a_third_are_told_apart() {
        let about = json!({"policy_version": "2", "destinations": [
            {"name": "ulm", "policy_version": "1"}, {"name": "pune", "policy_version": "2"}, {"name": "new", "policy_version": null}]});
        let lines = landscapes(&about, "3");
        assert_eq!(lines.iter().map(|line| line.level).collect::<Vec<_>>(), [Level::Warn, Level::Warn]);
        assert_eq!(lines[0].text, "the tracker runs 2, but sink ulm 1");
        assert_eq!(lines[1].text, "the fleet runs 2, this folder is 3");
        assert_eq!(landscapes(&json!({"policy_version": "3"}), "3")[0].level, Level::Ok);
    }

    #[test]
    fn a_sink_that_fell_silent_fails_and_one_that_never_spoke_warns() {
        let about = json!({"destinations": [
            {"name": "ulm", "state": "ok", "at": at(1000).to_string()},
            {"name": "pune", "state": "ok", "at": at(1).to_string()},
            {"name": "brno", "state": "unknown", "at": null}]});
        let lines = speakers(&about, &SINKS, at(1010), false);
        let found: Vec<_> = lines.iter().map(|line| (line.level, line.text.split(':').next().unwrap_or_default())).collect();
        assert_eq!(found, [(Level::Fail, "pune"), (Level::Warn, "brno"), (Level::Ok, "1 sink at work")]);
        // Whoever asks the services themselves knows which of them are meant to run.
        assert!(speakers(&about, &SINKS, at(1010), true).iter().all(|line| line.level == Level::Ok));
    }

    #[test]
    fn a_source_that_cannot_be_read_warns_with_its_reason() {
        let about = json!({"sources": [
            {"name": "erp", "state": "ok", "at": at(1000).to_string()},
            {"name": "crm", "state": "unavailable", "reason": "it answers 401", "at": at(1000).to_string()}]});
        let lines = speakers(&about, &PUBLISHERS, at(1010), false);
        let found: Vec<_> = lines.iter().map(|line| (line.level, line.text.as_str())).collect();
        assert_eq!(found, [(Level::Warn, "crm is unavailable: it answers 401"), (Level::Ok, "1 publisher at work")]);
    }

    #[test]
    fn clocks_are_compared_without_the_way_there_and_back() {
        let about = json!({"now": at(105).to_string()});
        assert_eq!(clock(&about, at(100), at(110)).level, Level::Ok);
        assert_eq!(clock(&about, at(110), at(111)).level, Level::Warn);
        assert_eq!(clock(&about, at(90), at(91)).level, Level::Warn);
    }

    #[test]
    fn little_room_warns_and_none_fails() {
        let level = |free: u64| disk(&json!({"store": {"bytes": 1, "free_bytes": free}})).map(|line| line.level);
        assert_eq!([level(1), level(LITTLE - 1), level(LITTLE)], [Some(Level::Fail), Some(Level::Warn), Some(Level::Ok)]);
    }
}
