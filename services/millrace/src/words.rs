//! Times, ages and counts as people read them.

use model::Timestamp;

/// `3s`, `14m`, `2h14m`, `3d4h`.
pub(crate) fn age(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age for people, never negative")]
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Age of an instant as of another one.
pub(crate) fn age_at(from: Timestamp, now: Timestamp) -> String {
    age(now.since(from).as_secs_f64())
}

/// `0.31 s`, `3.0 s`, `2m`: how long something took.
pub(crate) fn took(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        age(seconds)
    }
}

/// A time of day in UTC, with the date when it is another day than `now`'s.
pub(crate) fn clock(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let (Some(day), Some(time)) = (text.get(..10), text.get(11..19)) else { return text };
    if at.date() == now.date() { time.to_owned() } else { format!("{day} {}", &time[..5]) }
}

/// The same with milliseconds, for traces.
pub(crate) fn precise(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let time = text.get(11..).unwrap_or(&text).trim_end_matches('Z');
    let (whole, part) = time.split_once('.').unwrap_or((time, ""));
    let day = if at.date() == now.date() { String::new() } else { format!("{} ", text.get(..10).unwrap_or_default()) };
    format!("{day}{whole}.{:0<3.3}", part)
}

/// `1 letter`, `2 letters`.
pub(crate) fn count(number: i64, one: &str) -> String {
    let number_text = thousands(number);
    if number == 1 { format!("{number_text} {one}") } else { format!("{number_text} {one}s") }
}

/// `12 418`.
pub(crate) fn thousands(number: i64) -> String {
    let digits = number.abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A point in time from what people type: RFC 3339, `24h` or `30m` before or after `now`, or a time of day in UTC.
pub(crate) fn instant(text: &str, now: Timestamp, future: bool) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Some((hours, minutes)) = text.split_once(':').and_then(|(h, m)| Some((h.parse::<i64>().ok()?, m.parse::<i64>().ok()?)))
        && (0..24).contains(&hours)
        && (0..60).contains(&minutes)
    {
        const DAY: i64 = 86_400_000_000;
        let midnight = now.micros() - now.micros().rem_euclid(DAY);
        let at = midnight + (hours * 60 + minutes) * 60_000_000;
        let at = if future && at <= now.micros() { at + DAY } else { at };
        return Ok(Timestamp::from_micros(at));
    }
    let span =
        duration(text).map_err(|_| format!("`{text}` is not a time such as 2026-11-20T14:00:00Z, 14:00 (UTC), 30m or 24h"))?;
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let at = if future { now.micros().saturating_add(micros) } else { now.micros().saturating_sub(micros) };
    Ok(Timestamp::from_micros(at))
}

/// `250ms`, `15s`, `5m`, `2h`, `3d`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    use std::time::Duration;
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a duration such as 15s, 5m or 24h"))?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"));
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        "" => Err(format!("`{text}` has no unit, did you mean \"{text}s\"?")),
        _ => Err(format!("`{unit}` is not a unit of time (ms, s, m, h, d)")),
    }
}

/// The nearest of `known`, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, text) in
            [(3.9, "3s"), (840.0, "14m"), (8_040.0, "2h14m"), (3_660.0, "1h01m"), (273_600.0, "3d4h"), (-5.0, "0s")]
        {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn what_people_type_as_a_time_is_understood_or_refused() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let table = [
            ("14:00", true, "2026-11-25T14:00:00Z"),
            ("09:30", true, "2026-11-26T09:30:00Z"),
            ("09:30", false, "2026-11-25T09:30:00Z"),
            ("24h", false, "2026-11-24T12:00:00Z"),
            ("30m", true, "2026-11-25T12:30:00Z"),
            ("2026-12-01T00:00:00Z", true, "2026-12-01T00:00:00Z"),
        ];
        for (text, future, expected) in table {
            assert_eq!(instant(text, now, future).unwrap().to_string(), expected, "{text}");
        }
        for text in ["25:00", "tomorrow", "60", "99999999999999999999h", ""] {
            assert!(instant(text, now, true).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_grouped_and_have_their_plural() {
        assert_eq!(count(1, "letter"), "1 letter");
        assert_eq!(count(12_418, "letter"), "12 418 letters");
        assert_eq!(thousands(-1_000), "-1 000");
    }

    #[test]
    fn a_slip_of_the_finger_is_guessed_and_nonsense_is_not() {
        assert_eq!(nearest("ITM-O2", ["ITM-02", "CUS-19"]), Some("ITM-02"));
        assert_eq!(nearest("banana", ["ITM-02", "CUS-19"]), None);
    }

    #[test]
    fn traces_show_milliseconds_and_the_date_where_it_is_not_today() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        assert_eq!(precise("2026-11-25T11:42:07.12Z".parse().unwrap(), now), "11:42:07.120");
        assert_eq!(precise("2026-11-24T11:42:07Z".parse().unwrap(), now), "2026-11-24 11:42:07.000");
    }
}
