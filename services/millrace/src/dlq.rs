//! `millrace dlq`: dead letters.

mod discard;
mod list;
mod replay;
mod show;
mod stats;

use clap::{Args, Subcommand};
use model::PlanFilter;

use crate::{
    exit::{Failure, Outcome},
    options::{Global, now},
    words,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Open dead letters, the newest first
    #[command(
        after_help = "Examples:\n  millrace dlq list --destination mes-ulm --since 24h\n  millrace dlq list --state all --key 4711/C\n  \
            millrace dlq list --state discarded --destination mes-ulm"
    )]
    List(list::Args),
    /// One letter: what happened, who can fix it, what differs, what was tried
    #[command(after_help = "Example:\n  millrace dlq show mes-ulm/item/3@1851")]
    Show(show::Args),
    /// How many, by code, class, system, domain, stage or owner
    Stats(stats::Args),
    /// Send again, to the one place that failed: a plan first, then the run
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Args),
    /// Give up on letters, with a reason
    #[command(after_help = "Examples:\n  millrace dlq discard mes-ulm/item/3@1851 --reason \"scrapped\"\n  \
        millrace dlq discard --all --destination mes-ulm --reason \"line retired\" --confirm mes-ulm --yes")]
    Discard(discard::Args),
}

/// Which letters.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Letters of this destination, source or `validator`
    #[arg(long, short, value_name = "NAME", alias = "system", alias = "source")]
    destination: Option<String>,

    /// customer, item, work_center or reference
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// One record's letters
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Such as UNIT_UNKNOWN or ITM-02
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// data, reference, mapping, schema, refused, exhausted or internal
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,

    /// Opened since: 24h, 09:00 (UTC) or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Filter {
    fn since(&self) -> Result<Option<model::Timestamp>, Failure> {
        self.since.as_deref().map(|text| words::instant(text, now(), false)).transpose().map_err(Failure::usage)
    }

    fn plan(&self, ids: &[String], all: bool) -> Result<PlanFilter, Failure> {
        Ok(PlanFilter {
            ids: ids.to_vec(),
            system: self.destination.clone(),
            domain: self.domain.clone(),
            key: self.key.clone(),
            code: self.code.clone(),
            class: self.class.clone(),
            since: self.since()?,
            all,
            ..PlanFilter::default()
        })
    }
}

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::List(args) => args.run(global).await,
            Command::Show(args) => args.run(global).await,
            Command::Stats(args) => args.run(global).await,
            Command::Replay(args) => args.run(global).await,
            Command::Discard(args) => args.run(global).await,
        }
    }
}

/// Path of one letter below `/api/v1`: the slashes of an id are path segments, everything else is encoded.
fn letter_path(id: &str) -> String {
    let encode = |segment: &str| {
        segment.bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
            out
        })
    };
    format!("dead-letters/{}", id.split('/').map(encode).collect::<Vec<_>>().join("/"))
}
