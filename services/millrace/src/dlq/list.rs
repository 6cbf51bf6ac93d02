//! `millrace dlq list`.

use crate::{
    exit::{Done, Outcome},
    options::Global,
    output::{Column, List, Sight, at, instant, integer, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: super::Filter,

    /// open, replaying, resolved, superseded, discarded, expired or all, comma-separated
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,

    /// At most so many letters
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

const COLUMNS: &[Column] = &[
    Column::new("ID", |letter, _| text(letter, "id")),
    Column::new("DOMAIN", |letter, _| text(letter, "domain")).wide(),
    Column::new("KEY", |letter, _| {
        let key = text(letter, "key");
        if key.is_empty() { text(letter, "source_key") } else { key }
    }),
    Column::new("REV", |letter, _| text(letter, "revision")).right(),
    Column::new("CLASS", |letter, _| text(letter, "class").to_lowercase()),
    Column::new("CODE", |letter, _| text(letter, "code")),
    Column::new("FIELD", |letter, _| text(letter, "field")),
    Column::new("TRIES", |letter, _| text(letter, "attempts")).right(),
    Column::new("AGE", |letter, sight| instant(letter, "opened_at").map(|at| words::age_at(at, sight.now)).unwrap_or_default()),
    Column::new("OWNER", |letter, _| text(letter, "owner")),
    Column::new("STATE", |letter, _| {
        let (state, by) = (text(letter, "state").to_lowercase(), text(letter, "closed_by"));
        let tells = matches!(state.as_str(), "superseded" | "discarded") && !by.is_empty();
        if tells { format!("{state} by {by}") } else { state }
    }),
    Column::new("REPLAYS", |letter, _| text(letter, "hops")).right().wide(),
    Column::new("MESSAGE", |letter, _| text(letter, "message")).wide(),
    Column::new("REASON", |letter, _| text(letter, "reason")).wide(),
];

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let since = self.filter.since()?.map(|since| since.to_string());
        let (states, limit) = (self.state.join(","), self.limit.to_string());
        let query = [
            ("system", self.filter.destination.as_deref()),
            ("domain", self.filter.domain.as_deref()),
            ("key", self.filter.key.as_deref()),
            ("code", self.filter.code.as_deref()),
            ("class", self.filter.class.as_deref()),
            ("since", since.as_deref()),
            ("state", Some(states.as_str()).filter(|states| !states.is_empty())),
            ("limit", Some(limit.as_str())),
        ];
        let answer = Server::find(global)?.get("dead-letters", &query).await?;
        let out = global.output();
        if answer.items().is_empty() && out.is_text() {
            out.hint("No dead letter matches.");
            return Ok(Done::Yes);
        }
        out.list(&List {
            items: answer.items(),
            columns: COLUMNS,
            name: |letter| text(letter, "id"),
            next: at(&answer.body, "next").as_str().map(str::to_owned),
            sight: Sight { now: answer.as_of },
        })?;
        let total = integer(&answer.body, "total");
        let shown = i64::try_from(answer.items().len()).unwrap_or(i64::MAX);
        let more = if shown < total { " (--limit)" } else { "" };
        let first = answer.items().first().map(|letter| text(letter, "id")).unwrap_or_default();
        out.hint(&format!("{shown} of {total} shown{more}. Look closer: millrace dlq show {first}"));
        Ok(Done::Yes)
    }
}
