//! `millrace record`: one record, by domain and key.

mod act;
mod place;
mod show;
mod trace;

use clap::{Args, Subcommand};
use model::{Domain, RecordKey};

use crate::{
    exit::{Failure, Outcome},
    options::Global,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The golden record, or a search
    #[command(after_help = "Examples:\n  millrace record show item 4711/C\n  millrace record show item --search valve\n  \
        millrace record show item 4711/C --at mes-ulm")]
    Show(show::Args),
    /// Is it there? If not, why, and whose turn is it? Exit code 6: not there yet
    #[command(
        after_help = "Examples:\n  millrace record where item 4711/C\n  millrace record where item 4711/C --destination mes-ulm"
    )]
    Where(place::Args),
    /// From the source to every destination, with times
    #[command(after_help = "Example:\n  millrace record trace item 4711/C")]
    Trace(trace::Args),
    /// Send the current record again to one destination, or to all that need it
    Resend(act::Resend),
    /// Hold a record back at one destination, or at all that need it
    Block(act::Block),
}

/// Which record.
#[derive(Args)]
pub(crate) struct Record {
    /// customer, item, work_center or reference
    domain: String,

    /// Key components joined by `/`, such as 4711/C
    key: String,
}

impl Record {
    fn parse(&self) -> Result<(Domain, RecordKey), Failure> {
        let domain = domain(&self.domain)?;
        let key = RecordKey::parse(domain, &self.key).map_err(|error| Failure::usage(error.to_string()))?;
        Ok((domain, key))
    }
}

fn domain(text: &str) -> Result<Domain, Failure> {
    text.parse().map_err(|error: model::domain::UnknownDomain| {
        let near = crate::words::nearest(text, Domain::ALL.iter().map(|domain| domain.name()));
        Failure::usage(match near {
            Some(near) => format!("{error}, did you mean `{near}`?"),
            None => error.to_string(),
        })
    })
}

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::Show(args) => args.run(global).await,
            Command::Where(args) => args.run(global).await,
            Command::Trace(args) => args.run(global).await,
            Command::Resend(args) => args.run(global).await,
            Command::Block(args) => args.run(global).await,
        }
    }
}
