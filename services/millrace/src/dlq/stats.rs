//! `millrace dlq stats`.

use crate::{
    exit::{Done, Outcome},
    options::Global,
    output::{Column, List, Sight, instant, integer, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is counted by
    #[arg(long, default_value = "code", value_parser = ["code", "class", "system", "domain", "stage", "owner"])]
    by: String,
}

const COLUMNS: &[Column] = &[
    Column::new("VALUE", |stat, _| text(stat, "value")),
    Column::new("OPEN", |stat, _| text(stat, "open")).right(),
    Column::new("OLDEST", |stat, sight| {
        instant(stat, "oldest_open_at").map(|at| words::age_at(at, sight.now)).unwrap_or_default()
    }),
    Column::new("WRITTEN 24H", |stat, _| text(stat, "written_24h")).right(),
    Column::new("CLOSED 24H (accepted/superseded/discarded)", |stat, _| {
        let number = |name| integer(stat, name);
        format!("{} / {} / {}", number("accepted_24h"), number("superseded_24h"), number("discarded_24h"))
    }),
];

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let answer = Server::find(global)?.get("dead-letters/stats", &[("by", Some(self.by.as_str()))]).await?;
        if answer.items().is_empty() && global.output().is_text() {
            global.output().hint("No dead letters yet.");
            return Ok(Done::Yes);
        }
        global.output().list(&List {
            items: answer.items(),
            columns: COLUMNS,
            name: |stat| text(stat, "value"),
            next: None,
            sight: Sight { now: answer.as_of },
        })?;
        Ok(Done::Yes)
    }
}
