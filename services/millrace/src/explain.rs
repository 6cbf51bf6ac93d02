//! `millrace explain <CODE>`: the page of `docs/errors`, built into the binary.

use serde_json::json;

use crate::{
    exit::{Done, Failure, Outcome},
    options::{Global, now},
    output::{Column, List, Sight, text},
    words,
};

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const COLUMNS: &[Column] =
    &[Column::new("CODE", |page, _| text(page, "code")), Column::new("MEANS", |page, _| text(page, "title"))];

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  millrace explain ITM-02\n  millrace explain -o name     all codes")]
pub(crate) struct Args {
    /// As a dead letter or an error shows it; none lists all codes
    code: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, global: &Global) -> Outcome {
        let out = global.output();
        let Some(code) = &self.code else {
            let items: Vec<_> =
                PAGES.iter().map(|(code, page)| json!({ "code": code, "title": title(page), "text": page })).collect();
            let sight = Sight { now: now() };
            out.list(&List { items: &items, columns: COLUMNS, name: |page| text(page, "code"), next: None, sight })?;
            return Ok(Done::Yes);
        };
        let Some((code, page)) = page(code) else {
            let near = words::nearest(code, PAGES.iter().map(|(code, _)| *code));
            let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            return Err(Failure::not_found(format!("no page about `{code}`{near}")));
        };
        out.object(&json!({ "code": code, "title": title(page), "text": page }), code, || (*page).to_owned())?;
        Ok(Done::Yes)
    }
}

fn page(code: &str) -> Option<&'static (&'static str, &'static str)> {
    PAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code))
}

/// The paragraph below a heading, on one line.
fn section(text: &str, title: &str) -> Option<String> {
    let mut lines =
        text.lines().skip_while(|line| line.trim_start_matches(['#', '*', ' ']).trim_end_matches(['*', ':']) != title);
    lines.next()?;
    let body: Vec<&str> = lines
        .map(str::trim)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    (!body.is_empty()).then(|| body.join(" "))
}

/// What follows the code in the page's first line.
fn title(page: &str) -> &str {
    page.lines().next().and_then(|line| line.split_once(": ")).map(|(_, title)| title).unwrap_or_default()
}

/// What a person does about a code, for `dlq show`.
pub(crate) fn what_to_do(code: &str) -> Option<String> {
    section(page(code)?.1, "What to do")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_says_meaning_cause_and_what_to_do() {
        for (code, text) in PAGES {
            for title in ["Meaning", "Cause", "What to do"] {
                assert!(section(text, title).is_some(), "docs/errors/{code}.md lacks `{title}`");
            }
        }
    }
}
