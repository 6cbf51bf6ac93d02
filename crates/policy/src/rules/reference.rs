//! Rules of reference codes.

use std::cmp::Ordering;

use model::{Data, Reference};

use crate::rule::{Context, Found};

/// REF-01: an older edition never replaces a newer one. Whether a deleted code is still in use needs a where-used index, which this
/// build has not.
pub(crate) fn edition(reference: &Reference, context: &Context<'_>, found: &mut Vec<Found>) {
    let Some(Data::Reference(previous)) = context.previous else { return };
    if let (Some(new), Some(loaded)) = (&reference.edition, &previous.edition)
        && natural(new, loaded) == Ordering::Less
    {
        let message = format!("edition {new} is older than {loaded}, which is loaded");
        found.push(Found::new("/edition", message).observed(new).edition(Some(loaded)));
    }
}

/// Digits compare as numbers: `rec20-rev9` comes before `rec20-rev17`.
fn natural(one: &str, other: &str) -> Ordering {
    parts(one).cmp(&parts(other))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Number(usize, &'a str),
    Text(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|character: char| character.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        if is_digit {
            let number = part.trim_start_matches('0');
            parts.push(Part::Number(number.len(), number));
        } else {
            parts.push(Part::Text(part));
        }
        rest = tail;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editions_compare_by_number() {
        assert_eq!(natural("rec20-rev9", "rec20-rev17"), Ordering::Less);
        assert_eq!(natural("rec20-rev17", "rec20-rev17"), Ordering::Equal);
        assert_eq!(natural("2026", "2025-12"), Ordering::Greater);
    }
}
