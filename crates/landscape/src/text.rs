//! Small texts with a meaning: durations, rates, percentages, addresses, system names; and what a mistyped name was meant to be.

use std::time::Duration;

use crate::Rate;

/// `300ms`, `60s`, `5m`, `48h`, `90d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// What a wrong duration was probably meant to be.
pub(crate) fn duration_hint(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let digits = compact.len() - compact.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    if digits == 0 {
        return None;
    }
    let unit = match &compact[digits..] {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "milliseconds" | "millis" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hour" | "hours" | "hr" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    Some(format!("did you mean \"{}{unit}\"?", &compact[..digits]))
}

/// `50/s`, `600/min`, `1000/h`.
pub(crate) fn rate(text: &str) -> Option<Rate> {
    let (calls, unit) = text.split_once('/')?;
    let calls = calls.trim().parse().ok().filter(|calls| *calls > 0)?;
    let per = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Rate { calls, per: Duration::from_secs(per) })
}

/// `10%`.
pub(crate) fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.trim().parse().ok().filter(|percent| *percent <= 100)
}

/// What is wrong with an address, and what was probably meant.
pub(crate) fn url(text: &str) -> Result<(), (String, Option<String>)> {
    no_login(text).map_err(|why| (why, None))?;
    let wrong = || format!("{:?} is not an http or https URL", without_login(text));
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err((wrong(), host_and_port(text).map(|()| format!("did you mean \"http://{text}\"?"))));
    };
    if !matches!(scheme, "http" | "https") {
        let rest = without_login(rest);
        return Err((wrong(), nearest(scheme, ["http", "https"]).map(|meant| format!("did you mean \"{meant}://{rest}\"?"))));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if text.contains(char::is_whitespace) || host_and_port(authority).is_none() {
        return Err((wrong(), None));
    }
    Ok(())
}

/// An address that carries a user or password would show it wherever addresses are shown: in lists of processes, logs and errors.
///
/// # Errors
/// What to do instead; the text does not hold the password.
pub fn no_login(url: &str) -> Result<(), String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(format!("{:?} carries a user or password; name a file with it instead", without_login(url)));
    }
    Ok(())
}

/// For messages: a password may hold any letter, so everything up to the last `@` goes.
#[must_use]
pub fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, _)| url.split_at(scheme.len() + 3));
    rest.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("{scheme}***@{host}"))
}

/// `host`, `host:9092`, `[::1]:9092`.
pub(crate) fn host_and_port(text: &str) -> Option<()> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | ':');
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (!host.is_empty() && host.chars().all(plain) && port_fits).then_some(())
}

/// Stages of the house that no system may be called.
pub(crate) const RESERVED: [&str; 2] = ["validator", "replayer"];

/// What is wrong with a system's name: it becomes part of topic names, consumer groups and Kafka identities.
pub(crate) fn system_name(name: &str) -> Result<(), String> {
    if RESERVED.contains(&name) {
        return Err(format!("no system may be called {name:?}: its topics would be those of the {name}"));
    }
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if !begins || !name.chars().all(plain) || name.len() > 40 || name.ends_with('-') {
        return Err(format!("{name:?} is not a system name: lower-case letters, digits and `-`, a letter first, at most 40"));
    }
    Ok(())
}

/// The candidate that was probably meant.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.chars().count().max(name.chars().count()) / 4 && *candidate != name
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "owner"?`
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|meant| format!("did you mean {meant:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_the_hint_adds_it() {
        assert_eq!(duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(duration("48h"), Some(Duration::from_secs(172_800)));
        for (text, hint) in
            [("60", Some("60s")), ("10 sec", Some("10s")), ("5 minutes", Some("5m")), ("soon", None), ("1.5h", None)]
        {
            assert_eq!(duration(text), None, "{text}");
            assert_eq!(duration_hint(text), hint.map(|hint| format!("did you mean {hint:?}?")), "{text}");
        }
    }

    #[test]
    fn addresses_are_checked_without_asking_anybody() {
        for good in ["http://127.0.0.1:8080", "https://mes.example.invalid/api", "http://[::1]:80/x"] {
            assert_eq!(url(good), Ok(()), "{good}");
        }
        for bad in ["mes.example.invalid", "htp://x", "http://", "http://x y", "http://a:b@host/", "http://h:99999"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        for secret in ["http://mdm:hidden@host/", "http://mdm:hid/den@host", "ftp://mdm:hidden@host", "mdm:hidden@host:80"] {
            let (message, hint) = url(secret).unwrap_err();
            assert!(!format!("{message}{hint:?}").contains("hid"), "{message} {hint:?}");
            assert!(message.contains("***@host"), "{message}");
        }
        assert_eq!(no_login("https://host/a@b"), Ok(()));
        assert_eq!(url("127.0.0.1:80").unwrap_err().1.unwrap(), "did you mean \"http://127.0.0.1:80\"?");
    }

    #[test]
    fn a_typo_finds_its_word_and_nonsense_none() {
        assert_eq!(nearest("onwer", ["owner", "office"]), Some("owner"));
        assert_eq!(nearest("gross_wieght", ["net_weight", "gross_weight"]), Some("gross_weight"));
        assert_eq!(nearest("xyz", ["owner", "office"]), None);
    }
}
