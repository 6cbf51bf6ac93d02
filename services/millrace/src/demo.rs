//! `millrace demo`: hands on the simulated plants of the demo that runs in this folder.

use std::{collections::BTreeMap, path::Path, time::Duration};

use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    exit::{Done, Failure, Outcome},
    options::Global,
    words,
};

/// Written by the demo, read here: where everything is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Demo {
    pub(crate) server: String,
    pub(crate) brokers: String,
    pub(crate) registry: String,
    pub(crate) landscape: String,
    pub(crate) topic_prefix: String,
    /// Who one is on a secured demo.
    pub(crate) access: Option<service::Access>,
    plants: BTreeMap<String, Plant>,
}

#[derive(Clone, Debug, Deserialize)]
struct Plant {
    control: String,
}

const FILE: &str = "target/demo/demo.json";

impl Demo {
    /// The demo of this folder, if one was started.
    pub(crate) fn find() -> Result<Option<Self>, Failure> {
        let path = Path::new(FILE);
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| Failure::failed(format!("{FILE}: {error}"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!("{FILE}: {error}"))),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Let a simulated plant be down, slow, refuse a record, ...
    #[command(after_help = "Examples:\n  millrace demo plant pune down\n  millrace demo plant ulm refuse P-1001/A\n  \
        millrace demo plant ulm accept P-1001/A")]
    Plant {
        /// ulm or pune
        name: String,
        #[arg(value_enum)]
        mode: Mode,
        /// Which record to refuse or to accept again
        key: Option<String>,
    },
}

/// How a plant behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Answers as it should
    Up,
    /// Refuses connections
    Down,
    /// Answers late
    Slow,
    /// Takes a call and never answers
    Hang,
    /// Answers 500
    Error,
    /// Answers 429 with Retry-After
    Throttle,
    /// Refuses one record
    Refuse,
    /// Takes that record again
    Accept,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Up => "up",
            Mode::Down => "down",
            Mode::Slow => "slow",
            Mode::Hang => "hang",
            Mode::Error => "error",
            Mode::Throttle => "throttle",
            Mode::Refuse => "refuse",
            Mode::Accept => "accept",
        }
    }
}

impl Command {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let Command::Plant { name, mode, key } = self;
        let demo = Demo::find()?
            .ok_or_else(|| Failure::usage(format!("no demo runs in this folder ({FILE}); start one with `make demo`")))?;
        let short = name.strip_prefix("mes-").unwrap_or(name);
        let plant = demo.plants.get(short).ok_or_else(|| {
            let known = demo.plants.keys().cloned().collect::<Vec<_>>();
            let near = words::nearest(short, known.iter().map(String::as_str));
            let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
            Failure::not_found(format!("no plant `{name}` in the demo ({}){near}", known.join(", ")))
        })?;
        let (path, body, sentence) = match (mode, key) {
            (Mode::Refuse | Mode::Accept, None) => {
                return Err(Failure::usage(format!("which record? millrace demo plant {short} {} <key>", mode.name())));
            }
            (Mode::Refuse | Mode::Accept, Some(key)) => {
                (mode.name(), json!({ "key": key }), format!("{short} will {} {key}", mode.name()))
            }
            (_, Some(key)) => return Err(Failure::usage(format!("`{}` is for the whole plant, not for `{key}`", mode.name()))),
            (mode, None) => ("mode", json!({ "mode": mode.name() }), format!("{short} is {} now", state(*mode))),
        };
        if global.dry_run {
            global.output().hint(&format!("{sentence}. Nothing was done."));
            return Ok(Done::Yes);
        }
        post(&format!("{}/{path}", plant.control.trim_end_matches('/')), &body).await?;
        global.output().object(&json!({ "plant": short, "mode": mode.name(), "key": key }), short, || sentence)?;
        Ok(Done::Yes)
    }
}

fn state(mode: Mode) -> &'static str {
    match mode {
        Mode::Error => "answering 500",
        Mode::Throttle => "answering 429",
        Mode::Hang => "hanging",
        Mode::Up | Mode::Down | Mode::Slow | Mode::Refuse | Mode::Accept => mode.name(),
    }
}

async fn post(url: &str, body: &Value) -> Result<(), Failure> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| Failure::failed(format!("making an HTTP client: {error}")))?;
    let response = client.post(url).json(body).send().await.map_err(|error| {
        Failure::unreachable(format!("the simulated plant does not answer at {url}: is the demo still running? {error}"))
    })?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    Err(Failure::failed(format!("the simulated plant answers {status}: {}", text.trim())))
}
