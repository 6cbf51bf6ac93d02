//! `millrace dlq discard`: give up on letters, with a reason.

use serde_json::json;

use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{integer, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Letters, as `dlq list` shows them
    ids: Vec<String>,

    #[command(flatten)]
    filter: super::Filter,

    /// Every open letter that the filter leaves; wants --confirm
    #[arg(long)]
    all: bool,

    /// Why: goes into the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// With --all: the destination whose letters are given up, or `all`
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let Some(reason) = &self.reason else {
            return Err(Failure::usage("say why: --reason \"…\" goes into the audit log"));
        };
        let filter = self.filter.plan(&self.ids, self.all)?;
        let server = Server::find(global)?;
        if global.dry_run {
            return self.preview(global, &server).await;
        }
        let body = json!({ "filter": filter, "reason": reason, "confirm": self.confirm });
        let answer = server.post("dead-letters/discard", &[], &body).await?;
        let letters = integer(&answer.body, "letters");
        global.output().object(&answer.body, &text(&answer.body, "command_id"), || {
            format!("{} discarded, the replayer writes it down now. There is no undo.", words::count(letters, "letter"))
        })?;
        Ok(Done::Yes)
    }

    async fn preview(&self, global: &Global, server: &Server) -> Outcome {
        let since = self.filter.since()?.map(|since| since.to_string());
        let query = [
            ("system", self.filter.destination.as_deref()),
            ("domain", self.filter.domain.as_deref()),
            ("key", self.filter.key.as_deref()),
            ("code", self.filter.code.as_deref()),
            ("class", self.filter.class.as_deref()),
            ("since", since.as_deref()),
            ("state", Some("open")),
            ("limit", Some("500")),
        ];
        let answer = server.get("dead-letters", &query).await?;
        let meant = answer.items().iter().filter(|letter| self.ids.is_empty() || self.ids.contains(&text(letter, "id")));
        let count = i64::try_from(meant.count()).unwrap_or(i64::MAX);
        let count = if self.ids.is_empty() { integer(&answer.body, "total") } else { count };
        global.output().object(&json!({ "letters": count }), "", || {
            format!("{} would be discarded. Nothing was done.", words::count(count, "letter"))
        })?;
        Ok(Done::Yes)
    }
}
