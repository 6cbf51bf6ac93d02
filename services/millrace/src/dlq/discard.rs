//! `millrace dlq discard`: give up on letters, with a reason. Asked first, because the plants go without.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{self, at, integer, text},
    server::Server,
    words,
};

/// Records that the question names; more are counted.
const NAMED: usize = 10;
/// How long the replayer's word is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

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
        let (letters, count) = self.meant(&server).await?;
        if global.dry_run {
            global.output().object(&json!({ "letters": count }), "", || {
                format!("{}\n{} would be discarded. Nothing was done.", lost(&letters, count), words::count(count, "letter"))
            })?;
            return Ok(Done::Yes);
        }
        confirmed(global, &letters, count)?;
        let body = json!({ "filter": filter, "reason": reason, "confirm": self.confirm });
        let answer = server.post("dead-letters/discard", &[], &body).await?;
        let is_written = self.is_written(&server).await?;
        global.output().object(&answer.body, &text(&answer.body, "command_id"), || {
            let letters = words::count(integer(&answer.body, "letters"), "letter");
            if is_written {
                format!("{letters} discarded.")
            } else {
                format!("Asked to discard {letters}; the replayer has not written it down yet.")
            }
        })?;
        if !is_written {
            global.output().hint("See what is still open: millrace dlq list, and why: millrace dlq replay --plans");
            return Ok(Done::Partly);
        }
        let again = match self.ids.as_slice() {
            [one] => one.clone(),
            _ => "--discarded".to_owned(),
        };
        global.output().hint(&format!("See: millrace dlq list --state discarded. Send again: millrace dlq replay {again}"));
        Ok(Done::Yes)
    }

    /// Whether the replayer has written it down: nothing that was meant is open any more. It may refuse what it does not know yet.
    async fn is_written(&self, server: &Server) -> Result<bool, Failure> {
        let begun = Instant::now();
        loop {
            let (letters, count) = self.meant(server).await?;
            let is_open = |letter: &Value| matches!(text(letter, "state").as_str(), "OPEN" | "EXPIRED");
            if count == 0 || !letters.iter().any(is_open) {
                return Ok(true);
            }
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The open letters that would be discarded, as many as one page has, and how many there are in all.
    async fn meant(&self, server: &Server) -> Result<(Vec<Value>, i64), Failure> {
        let mut letters = Vec::new();
        for id in &self.ids {
            letters.push(at(&server.get(&super::letter_path(id), &[]).await?.body, "status").clone());
        }
        if !self.ids.is_empty() {
            let count = i64::try_from(letters.len()).unwrap_or(i64::MAX);
            return Ok((letters, count));
        }
        let since = self.filter.since()?.map(|since| since.to_string());
        let query = [
            ("system", self.filter.destination.as_deref()),
            ("domain", self.filter.domain.as_deref()),
            ("key", self.filter.key.as_deref()),
            ("code", self.filter.code.as_deref()),
            ("class", self.filter.class.as_deref()),
            ("since", since.as_deref()),
            ("state", Some("open,expired")),
            ("limit", Some("500")),
        ];
        let answer = server.get("dead-letters", &query).await?;
        Ok((answer.items().to_vec(), integer(&answer.body, "total")))
    }
}

/// What nobody gets when these letters are discarded.
fn lost(letters: &[Value], count: i64) -> String {
    let mut lines: Vec<String> = letters.iter().take(NAMED).map(loss).collect();
    let more = count - i64::try_from(lines.len()).unwrap_or(count);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

fn loss(letter: &Value) -> String {
    let (system, domain, key) = (text(letter, "system"), text(letter, "domain"), text(letter, "key"));
    match text(letter, "stage").as_str() {
        "DELIVER" => format!("  {system} will lack {domain} {key} revision {}", text(letter, "revision")),
        "VALIDATE" => format!("  {domain} {key} as {} sent it will not become golden", text(letter, "source")),
        _ => format!("  {domain} {} of {system} will not be captured as it is", text(letter, "source_key")),
    }
}

/// Asked where a person sits; elsewhere the yes has to be typed with the command.
fn confirmed(global: &Global, letters: &[Value], count: i64) -> Result<(), Failure> {
    if global.yes {
        return Ok(());
    }
    let what = format!("This discards {}:\n{}", words::count(count, "letter"), lost(letters, count));
    if global.no_input || !output::is_attended() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what}\nNothing was done; add --yes to discard")));
    }
    output::note(&format!("{what}\nDiscard? [y/N]"));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::failed(format!("reading the answer: {error}")))?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::usage("not discarded")) }
}
