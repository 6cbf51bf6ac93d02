//! Logs on stderr: one line per event, text for people or JSON for collectors.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::{Exit, LogFormat};

/// Installs the subscriber of the process.
pub(crate) fn install(format: LogFormat, filter: &str) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Exit::arguments(anyhow::anyhow!("--log `{filter}` is not a log filter: {error}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
    };
    installed.map_err(Exit::died)
}
