//! Takes a YAML tree apart, key by key, and notes every problem instead of stopping at the first.

use std::time::Duration;

use crate::{
    Problem,
    node::{Key, Node, Value},
    text,
};

/// Collects the problems of one file.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a str,
    pub(crate) problems: Vec<Problem>,
}

/// The keys of one mapping; [`Fields::end`] reports those that nobody asked for.
pub(crate) struct Fields<'n> {
    place: (usize, usize),
    entries: &'n [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self { file, problems: Vec::new() }
    }

    pub(crate) fn at(&mut self, line: usize, column: usize, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { file: self.file.to_owned(), line, column, message: message.into(), hint });
    }

    pub(crate) fn problem(&mut self, node: &Node, message: impl Into<String>, hint: Option<String>) {
        self.at(node.line, node.column, message, hint);
    }

    /// The keys of a mapping. `what` names it in the message.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        match &node.value {
            Value::Map(entries) => Some(Fields { place: (node.line, node.column), entries, asked: Vec::new() }),
            Value::Null => Some(Fields { place: (node.line.max(1), node.column.max(1)), entries: &[], asked: Vec::new() }),
            _ => {
                self.problem(node, format!("{what} must be a mapping of keys, not {}", node.kind()), None);
                None
            }
        }
    }

    pub(crate) fn list<'n>(&mut self, node: Option<&'n Node>, what: &str) -> &'n [Node] {
        match node.map(|node| (&node.value, node)) {
            None | Some((Value::Null, _)) => &[],
            Some((Value::List(nodes), _)) => nodes,
            Some((_, node)) => {
                self.problem(node, format!("{what} must be a list, not {}", node.kind()), None);
                &[]
            }
        }
    }

    /// A text that is not empty. Whole numbers count as text: codes are often written so.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Text(_) | Value::Null => {
                self.problem(node, format!("{what} is empty"), None);
                None
            }
            Value::Float(_) | Value::Bool(_) => {
                let hint = Some(format!("write it in quotes: \"{}\"", node.shown()));
                self.problem(node, format!("{what}: {} is not a text", node.shown()), hint);
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.problem(node, format!("{what} must be a text, not {}", node.kind()), None);
                None
            }
        }
    }

    pub(crate) fn texts(&mut self, node: Option<&Node>, what: &str) -> Vec<String> {
        self.list(node, what).iter().filter_map(|item| self.text(item, what)).collect()
    }

    pub(crate) fn bool(&mut self, node: Option<&Node>, what: &str) -> bool {
        match node.map(|node| (&node.value, node)) {
            None => false,
            Some((Value::Bool(value), _)) => *value,
            Some((_, node)) => {
                self.problem(node, format!("{what}: {} is not true or false", node.shown()), None);
                false
            }
        }
    }

    pub(crate) fn number(&mut self, node: Option<&Node>, what: &str, range: std::ops::RangeInclusive<i64>, default: i64) -> i64 {
        match node.map(|node| (&node.value, node)) {
            None => default,
            Some((Value::Int(value), _)) if range.contains(value) => *value,
            Some((_, node)) => {
                let (from, to) = (range.start(), range.end());
                self.problem(node, format!("{what}: {} is not a whole number from {from} to {to}", node.shown()), None);
                default
            }
        }
    }

    pub(crate) fn duration(&mut self, node: Option<&Node>, what: &str, default: Duration) -> Duration {
        node.and_then(|node| self.duration_of(node, what)).unwrap_or(default)
    }

    pub(crate) fn duration_of(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let written = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            _ => String::new(),
        };
        let found = text::duration(&written);
        if found.is_none() {
            self.problem(node, format!("{what}: {} is not a duration", node.shown()), text::duration_hint(&written));
        }
        found
    }

    pub(crate) fn url(&mut self, node: &Node, what: &str) -> Option<String> {
        let url = self.text(node, what)?;
        match text::url(&url) {
            Ok(()) => Some(url.trim_end_matches('/').to_owned()),
            Err((message, hint)) => {
                self.problem(node, format!("{what}: {message}"), hint);
                None
            }
        }
    }

    /// One of a closed list of words.
    pub(crate) fn choice<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let word = self.text(node, what)?;
        let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
            let hint = text::did_you_mean(&word, names.iter().copied()).or_else(|| Some(format!("one of: {}", names.join(", "))));
            self.problem(node, format!("{what}: {word:?} is not known"), hint);
        }
        found
    }
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        self.entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// A key that must be there.
    pub(crate) fn need(&mut self, reader: &mut Reader<'_>, key: &'static str, what: &str) -> Option<&'n Node> {
        let found = self.get(key);
        // A mistyped key is reported once, as unknown.
        let is_mistyped = self.entries.iter().any(|(name, _)| text::nearest(&name.text, [key]).is_some());
        if found.is_none() && !is_mistyped {
            let (line, column) = self.place;
            reader.at(line, column, format!("{what} has no `{key}`"), None);
        }
        found
    }

    pub(crate) fn text(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
        self.get(key).and_then(|node| reader.text(node, key))
    }

    /// Reports keys that no question named.
    pub(crate) fn end(self, reader: &mut Reader<'_>) {
        for (key, _) in self.entries {
            if !self.asked.contains(&key.text.as_str()) {
                let hint = text::did_you_mean(&key.text, self.asked.iter().copied());
                reader.at(key.line, key.column, format!("unknown key {:?}", key.text), hint);
            }
        }
    }
}
