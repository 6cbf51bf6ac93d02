//! What a mapping may build: bounded values, however its text combines them.
//!
//! Fuel pays for steps and for bytes that are copied. It does not pay for lists that share their parts: one that is added to itself
//! thirty times has a thousand million elements and next to no memory, until somebody prints it; and a list put into a list a hundred
//! thousand times is dropped by a hundred thousand nested calls. What lives longer than one expression has a name: it was set, or passed to
//! a macro or loop. So every template is read with a [`BOUNDED`] filter behind each such expression, which refuses what is too large or
//! too deep before it gets a name. Between two names a value grows at most as often as the text says.

use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
    value::ValueKind,
};

/// Lists and maps in each other, at most.
const DEEPEST: usize = crate::json::DEEPEST + 8;
/// Elements of a value, all its lists and maps counted.
const MOST_PARTS: u64 = 1_000_000;
/// Texts of a value together, and what a mapping may write.
pub(crate) const LARGEST: usize = 16 * 1024 * 1024;
/// One step pays for so many parts that are looked at.
const PARTS_OF_A_STEP: u64 = 16;

const BOUNDED: &str = "__bounded";
/// The same for what a namespace gets: one that holds itself has no end.
const HELD: &str = "__held";

/// A value or text beyond its bounds; travels as the source of the engine's own error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TooLarge(pub(crate) String);

/// Adds the filters that [`guarded`] texts use, and guards what prints whole values.
pub(crate) fn install(env: &mut Environment<'_>) {
    env.add_filter(BOUNDED, |state: &State<'_, '_>, value: Value| measure(Some(state), &value, false).map(|()| value));
    env.add_filter(HELD, |state: &State<'_, '_>, value: Value| measure(Some(state), &value, true).map(|()| value));
    env.set_formatter(|out, state, value| {
        if value.as_object().is_some() {
            measure(Some(state), value, false)?;
        }
        minijinja::escape_formatter(out, state, value)
    });
}

/// The text with a guard behind every expression that gets a name. Lines stay what they are.
///
/// # Errors
/// When the text is no template.
pub(crate) fn guarded(text: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
    let tokens = tokenize(text, false, syntax.clone())
        .map(|token| token.map(|(token, span)| (token, span.start_offset as usize, span.end_offset as usize)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut guards = Vec::new();
    for (index, (token, ..)) in tokens.iter().enumerate() {
        match token {
            Token::Ident("set") if is_tag(&tokens, index) => set(&tokens, index + 1, &mut guards),
            Token::Ident("with") if is_tag(&tokens, index) => arguments(&tokens, index + 1, &mut guards),
            Token::ParenOpen if is_call(&tokens, index) => arguments(&tokens, index + 1, &mut guards),
            _ => {}
        }
    }
    // Where two end at one place, the inner one began later and ends first.
    guards.sort_by_key(|(start, end, _)| (*end, std::cmp::Reverse(*start)));
    let mut marks: Vec<(usize, usize, String)> = Vec::new();
    for (order, (start, end, filter)) in guards.iter().enumerate() {
        marks.push((*start, 0, "(".to_owned()));
        marks.push((*end, order + 1, format!(")|{filter}")));
    }
    marks.sort_by_key(|(at, order, _)| (*at, *order == 0, *order));
    let (mut out, mut copied) = (String::with_capacity(text.len() * 2), 0);
    for (at, _, mark) in marks {
        out.push_str(&text[copied..at]);
        out.push_str(&mark);
        copied = at;
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

type Placed<'t> = (Token<'t>, usize, usize);
type Guard = (usize, usize, &'static str);

/// The first word of a block.
fn is_tag(tokens: &[Placed<'_>], index: usize) -> bool {
    index.checked_sub(1).is_some_and(|before| matches!(tokens[before].0, Token::BlockStart))
}

/// `name(`, but no filter, no test, and no list of parameters: these name values, they have none.
fn is_call(tokens: &[Placed<'_>], open: usize) -> bool {
    const WORDS: [&str; 10] = ["if", "elif", "else", "in", "not", "and", "or", "is", "for", "call"];
    let before = |steps: usize| open.checked_sub(steps).map(|index| &tokens[index].0);
    match before(1) {
        Some(Token::Ident(name)) if WORDS.contains(name) => false,
        Some(Token::Ident(_)) => match before(2) {
            Some(Token::Pipe | Token::Ident("is" | "macro")) => false,
            Some(Token::Ident("not")) => !matches!(before(3), Some(Token::Ident("is"))),
            _ => true,
        },
        // `loop.f(x)(y)`, `a[0](y)`
        Some(Token::ParenClose | Token::BracketClose) => true,
        _ => false,
    }
}

/// `target = expression`, up to the end of the block. A block without one captures text, which fuel pays for.
fn set(tokens: &[Placed<'_>], from: usize, guards: &mut Vec<Guard>) {
    let Some(end) = tokens[from..].iter().position(|(token, ..)| matches!(token, Token::BlockEnd)) else { return };
    let inside = &tokens[from..from + end];
    let Some(assign) = inside.iter().position(|(token, ..)| matches!(token, Token::Assign)) else { return };
    let filter = if inside[..assign].iter().any(|(token, ..)| matches!(token, Token::Dot)) { HELD } else { BOUNDED };
    if let (Some(first), Some(last)) = (inside.get(assign + 1), inside.last()) {
        guards.push((first.1, last.2, filter));
    }
}

/// Each of `a, b=c, *d` up to the closing parenthesis or the end of the block.
fn arguments(tokens: &[Placed<'_>], from: usize, guards: &mut Vec<Guard>) {
    let mut depth = 0_usize;
    let mut first = from;
    for (index, (token, ..)) in tokens.iter().enumerate().skip(from) {
        let ends = match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                depth += 1;
                continue;
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose if depth > 0 => {
                depth -= 1;
                continue;
            }
            Token::ParenClose | Token::BlockEnd => true,
            Token::Comma if depth == 0 => false,
            _ => continue,
        };
        let mut start = first;
        if matches!(tokens[start].0, Token::Mul | Token::Pow) {
            // Spread over the arguments: its parts are bounded where they got their own names.
            start = index;
        } else if let [(Token::Ident(_), ..), (Token::Assign, ..), ..] = &tokens[start..index] {
            start += 2;
        }
        if start < index {
            guards.push((tokens[start].1, tokens[index - 1].2, BOUNDED));
        }
        if ends {
            return;
        }
        first = index + 1;
    }
}

/// Refuses what is too deep, has too many parts, or too much text.
fn measure(state: Option<&State<'_, '_>>, value: &Value, is_held: bool) -> Result<(), Error> {
    let mut measured = Measured { parts: 0, bytes: 0, is_held };
    let found = measured.walk(value, 0);
    if let Some(state) = state {
        state.consume_fuel(measured.parts / PARTS_OF_A_STEP)?;
    }
    found.map_err(|what| {
        Error::new(ErrorKind::InvalidOperation, what.clone())
            .with_source(TooLarge(format!("a mapping builds a value that {what}")))
    })
}

struct Measured {
    parts: u64,
    bytes: usize,
    is_held: bool,
}

impl Measured {
    fn walk(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.parts += 1;
        self.bytes = self.bytes.saturating_add(value.as_str().map_or(0, str::len));
        if self.parts > MOST_PARTS {
            return Err(format!("has more than {MOST_PARTS} parts"));
        }
        if self.bytes > LARGEST {
            return Err(format!("is larger than {} MiB", LARGEST / 1024 / 1024));
        }
        let Some(object) = value.as_object() else { return Ok(()) };
        if depth == DEEPEST {
            return Err(format!("nests deeper than {DEEPEST} lists and maps"));
        }
        if self.is_held && object.type_name().ends_with("::Namespace") {
            return Err("holds a namespace in a namespace".to_owned());
        }
        let is_map = match value.kind() {
            ValueKind::Map => true,
            ValueKind::Seq | ValueKind::Iterable => false,
            _ => return Ok(()),
        };
        let Ok(items) = value.try_iter() else { return Ok(()) };
        for item in items {
            self.walk(&item, depth + 1)?;
            if is_map && let Ok(inner) = value.get_item(&item) {
                self.walk(&inner, depth + 1)?;
            }
        }
        Ok(())
    }
}
