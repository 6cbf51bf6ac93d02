//! From `main` to the exit code.

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use landscape::Landscape;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Common, Exit, Health, Traces, landscape_files, logs, ops};

/// mimalloc in every binary: the codecs allocate many small strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One service.
pub trait App: Sized + Send + 'static {
    /// Its name in logs and on the command line: `sink`.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// Its own options beside [`Common`].
    type Args: Args + Send;

    /// Builds everything that can fail before work is taken.
    fn build(context: Context<Self::Args>) -> impl Future<Output = Result<Self, Exit>> + Send;

    /// Works until `stop` is cancelled, then drains.
    fn run(self, stop: CancellationToken) -> impl Future<Output = Result<(), Exit>> + Send;
}

/// What `build` gets.
pub struct Context<A> {
    pub args: A,
    pub common: Common,
    pub landscape: Arc<Landscape>,
    pub topics: avro::Topics,
    pub brokers: Vec<String>,
    pub registry: Vec<String>,
    pub instance: String,
    pub health: Health,
    pub traces: Traces,
    /// Cancelled by SIGTERM and SIGINT, also while building.
    pub stop: CancellationToken,
}

impl<A> Context<A> {
    /// Waits for what `attempt` needs, named `part` on `/readyz` with the whole chain of causes.
    ///
    /// # Errors
    /// [`Exit::unavailable`] when `--start-timeout` passed.
    pub async fn wait_for<T, E, F>(&self, part: &str, mut attempt: impl FnMut() -> F) -> Result<T, Exit>
    where
        F: Future<Output = Result<T, E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.health
            .wait_for(part, self.common.start_timeout, || {
                let attempt = attempt();
                async { attempt.await.map_err(|error| format!("{:#}", anyhow::Error::new(error))) }
            })
            .await
    }

    /// Missing topics are waited for; topics that are there but wrong, which `check` names, end the start at once. `check` is told
    /// how patient it may be, so that the reason is known before the time is up.
    ///
    /// # Errors
    /// [`Exit::unavailable`] for missing ones, [`Exit::config`] for wrong ones.
    pub async fn wait_for_topics<E, F>(&self, mut check: impl FnMut(Duration) -> F) -> Result<(), Exit>
    where
        F: Future<Output = Result<Vec<String>, E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let patience = self.common.start_timeout / 2;
        let wrong = self.wait_for("topics", || check(patience)).await?;
        if wrong.is_empty() { Ok(()) } else { Err(Exit::config(anyhow::anyhow!("{}", wrong.join("; ")))) }
    }
}

/// How often what is refused is looked at again.
const LOOK: Duration = Duration::from_secs(2);

/// Refusals that one reason names; the rest is counted.
const NAMED: usize = 3;

impl<A> Context<A> {
    /// What the identity `principal` is granted, by the list of topics: a missing one is named whole.
    #[must_use]
    pub fn grants(&self, principal: &str) -> Vec<landscape::Grant> {
        let all = landscape::rights(&self.landscape, &self.topics);
        all.into_iter().find(|each| each.name == principal).map(|each| each.grants).unwrap_or_default()
    }

    /// Names on `/readyz`, as `access`, what is refused to `client`, for as long as it is; ends the process with 75 where only another
    /// start would read a file that changed.
    pub fn watch_access<C, R, F>(&self, client: &C, look: impl Fn(C) -> F + Send + 'static, is_outdated: fn(&C) -> bool)
    where
        C: Clone + Send + 'static,
        R: std::fmt::Display,
        F: Future<Output = Vec<R>> + Send,
    {
        let (client, health, stop) = (client.clone(), self.health.clone(), self.stop.clone());
        tokio::spawn(async move {
            while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
                // First: a look is made with what the files hold now, and would find nothing wrong.
                if is_outdated(&client) {
                    let why = "the brokers refuse this identity, and its password or certificate file is another by now: a start reads it";
                    return health.start_again(why);
                }
                let refused = look(client.clone()).await;
                if refused.is_empty() {
                    health.ready("access");
                    continue;
                }
                let mut text: Vec<String> = refused.iter().take(NAMED).map(ToString::to_string).collect();
                if refused.len() > NAMED {
                    text.push(format!("and {} more", refused.len() - NAMED));
                }
                health.not_ready("access", text.join("; "));
            }
        });
    }
}

#[derive(Parser)]
struct Options<A: Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: A,
}

/// How long the end of a process may wait for its last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

const EXIT_CODES: &str = "Exit codes: 0 drained, 2 wrong arguments, 69 a dependency was unreachable at start, 70 a task died, \
75 start again (drain deadline passed, or fenced by another instance), 78 configuration or landscape invalid.";

/// mimalloc asks for huge pages, and every page it touches then weighs 2 MiB: an idle service would hold 20 MiB of nothing.
fn keep_small() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

/// The whole life of a service process.
#[must_use]
pub fn run<A: App>() -> ExitCode {
    keep_small();
    let command = Options::<A::Args>::command()
        .bin_name(format!("millrace-{}", A::NAME))
        .display_name(format!("millrace-{}", A::NAME))
        .about(A::ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXIT_CODES);
    let options = match command.try_get_matches().and_then(|matches| Options::<A::Args>::from_arg_matches(&matches)) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    if let Err(exit) = logs::install(options.common.log_format, &options.common.log) {
        tracing::error!(error = %exit.text(), "ended");
        return ExitCode::from(&exit);
    }
    let traces = match instance(&options.common).and_then(|name| Traces::start(&options.common.traces, A::NAME, &name)) {
        Ok(traces) => traces,
        Err(exit) => {
            tracing::error!(code = exit.code(), error = %exit.text(), "ended");
            return ExitCode::from(&exit);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %error, "starting the runtime");
            return ExitCode::from(&Exit::died(error));
        }
    };
    let code = match runtime.block_on(live::<A>(options, traces.clone())) {
        Ok(()) => {
            tracing::info!(service = A::NAME, "drained");
            ExitCode::SUCCESS
        }
        Err(exit) => {
            tracing::error!(service = A::NAME, code = exit.code(), error = %exit.text(), "ended");
            ExitCode::from(&exit)
        }
    };
    traces.shut_down(LAST_SPANS);
    // A blocking call into a broker that is away must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn live<A: App>(options: Options<A::Args>, traces: Traces) -> Result<(), Exit> {
    let Options { common, own } = options;
    let mut landscape = load(&common)?;
    common.access.apply(&mut landscape)?;
    let landscape = Arc::new(landscape);
    let health = Health::default();
    let listener = ops::bind(common.ops).await?;
    let address = listener.local_addr().map_err(Exit::died)?;
    let ops = tokio::spawn(ops::serve(listener, health.clone()));
    let patience = common.drain_timeout;
    let stop = stop_on_signal(patience)?;

    telemetry::LANDSCAPE_INFO.with_label_values(&[landscape.policy_version.as_str()]).set(1);
    telemetry::BUILD_INFO
        .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("MILLRACE_BUILD_REVISION").unwrap_or("unknown")])
        .set(1);
    let context = context(common, own, landscape, health.clone(), traces, stop.clone())?;
    tracing::info!(service = A::NAME, instance = %context.instance, ops = %address,
        policy_version = %context.landscape.policy_version, "started");

    let built = tokio::select! {
        built = A::build(context) => built?,
        () = stop.cancelled() => return Ok(()),
    };
    health.ready("start");
    let mut running = std::pin::pin!(built.run(stop.clone()));
    tokio::select! {
        ended = &mut running => ended,
        why = health.must_start_again() => {
            tracing::warn!(why, "draining to start again");
            stop.cancel();
            watchdog(patience);
            running.await?;
            Err(Exit::again(anyhow::anyhow!(why)))
        }
        served = ops => Err(Exit::died(anyhow::anyhow!("the listener for probes ended: {served:?}"))),
    }
}

fn context<A>(
    common: Common,
    args: A,
    landscape: Arc<Landscape>,
    health: Health,
    traces: Traces,
    stop: CancellationToken,
) -> Result<Context<A>, Exit> {
    let brokers = if common.brokers.is_empty() { landscape.kafka.brokers.clone() } else { common.brokers.clone() };
    let registry = if common.registry.is_empty() { landscape.registry.urls.clone() } else { common.registry.clone() };
    for (list, flag, place) in [(&brokers, "--brokers", "kafka.brokers"), (&registry, "--registry", "registry.urls")] {
        if list.is_empty() {
            return Err(Exit::config(anyhow::anyhow!("{flag} is not given and {place} in millrace.yaml is empty")));
        }
    }
    for (flag, urls) in [("--registry", &common.registry[..]), ("--endpoint", common.endpoint.as_slice())] {
        for url in urls {
            landscape::no_login(url).map_err(|why| Exit::config(anyhow::anyhow!("{flag}: {why}")))?;
        }
    }
    let prefix = common.topic_prefix.clone().unwrap_or_else(|| landscape.kafka.topic_prefix.clone());
    let instance = instance(&common)?;
    Ok(Context { args, topics: avro::Topics::new(&prefix), common, landscape, brokers, registry, instance, health, traces, stop })
}

fn instance(common: &Common) -> Result<String, Exit> {
    match &common.instance {
        Some(instance) => Ok(instance.clone()),
        None => host_name().context("reading the host's name (or pass --instance)").map_err(Exit::config),
    }
}

/// Reads and checks the landscape; all problems are printed, one a line, before the process ends with 78.
fn load(common: &Common) -> Result<Landscape, Exit> {
    let files = landscape_files(&common.landscape)
        .with_context(|| format!("reading the landscape in {}", common.landscape.display()))
        .map_err(Exit::config)?;
    Landscape::parse(&files).map_err(|problems| {
        for problem in &problems {
            tracing::error!(%problem, "landscape");
        }
        let count = problems.len();
        Exit::config(anyhow::anyhow!(
            "{count} problem{} in the landscape {}; see them with `millrace landscape check`",
            if count == 1 { "" } else { "s" },
            common.landscape.display()
        ))
    })
}

fn host_name() -> std::io::Result<String> {
    if let Some(name) = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// A token that SIGTERM or SIGINT cancels. From then on a watchdog waits for the drain and ends what hangs with 75.
fn stop_on_signal(drain: Duration) -> Result<CancellationToken, Exit> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(Exit::died)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Exit::died)?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        token.cancel();
        watchdog(drain);
    });
    Ok(stop)
}

/// An OS thread, because a drain that hangs may hang the runtime with it.
#[expect(clippy::exit, reason = "the one place: a drain that does not end must not keep the identity")]
fn watchdog(drain: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(drain);
        tracing::error!(code = 75, "drain deadline passed");
        std::process::exit(75);
    });
}
