//! Logs on stderr: one line per event, text for people or JSON for collectors. No line leaves with a secret of this process, and none is
//! longer than a collector takes: whatever a record held, an error about it is cut here.

use std::io::{self, Write};

use model::clip;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::{Exit, LogFormat};

/// Of one line: what the usual collectors take in one piece.
const LINE_BYTES: usize = 16 * 1024;
/// Of one text in a JSON line that is too long.
const FIELD_BYTES: usize = 1024;

/// Installs the subscriber of the process.
pub(crate) fn install(format: LogFormat, filter: &str) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Exit::arguments(anyhow::anyhow!("--log `{filter}` is not a log filter: {error}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_writer(|| Lines { to: io::stderr(), is_json: false }).with_ansi(colour)).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true);
            registry.with(layer.with_writer(|| Lines { to: io::stderr(), is_json: true })).try_init()
        }
    };
    installed.map_err(Exit::died)
}

/// Writes lines, each handed over whole: without secrets (the last net; what came in from outside was scrubbed there), and bounded.
struct Lines<W> {
    to: W,
    is_json: bool,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let clean = telemetry::secret::scrub(&text);
        if clean.len() <= LINE_BYTES {
            self.to.write_all(clean.as_bytes())?;
        } else {
            self.to.write_all(bounded(clean.as_bytes(), self.is_json).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A JSON line stays JSON.
fn bounded(line: &[u8], is_json: bool) -> String {
    let fields = if is_json { serde_json::from_slice(line).ok() } else { None };
    let Some(mut fields) = fields else { return clip(String::from_utf8_lossy(line).trim_end(), LINE_BYTES - 1) + "\n" };
    shorten(&mut fields);
    format!("{fields}\n")
}

fn shorten(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = clip(text, FIELD_BYTES),
        serde_json::Value::Array(values) => values.iter_mut().for_each(shorten),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(shorten),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, is_json: bool) -> String {
        let mut lines = Lines { to: Vec::new(), is_json };
        lines.write_all(line.as_bytes()).unwrap();
        String::from_utf8(lines.to).unwrap()
    }

    #[test]
    fn a_line_of_any_length_is_bounded_and_stays_what_it_is() {
        let huge = "ä".repeat(600_000);
        assert_eq!(written("INFO all is well\n", false), "INFO all is well\n");
        let text = written(&format!("WARN a row error={huge}\n"), false);
        assert!(text.len() <= LINE_BYTES && text.ends_with("…\n") && text.starts_with("WARN a row error=ä"));
        let json = written(&format!("{{\"level\":\"WARN\",\"error\":\"{huge}\",\"offset\":7}}\n"), true);
        assert!(json.len() <= LINE_BYTES && json.ends_with('\n'));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json["level"].as_str(), json["offset"].as_i64()), (Some("WARN"), Some(7)));
    }

    #[test]
    fn a_line_leaves_without_secrets_whoever_wrote_it() {
        telemetry::secret::keep("CANARY-of-the-logs\"");
        let line = r#"{"message":"odd","said":"CANARY-of-the-logs\"","n":1}"#;
        assert_eq!(written(line, true), r#"{"message":"odd","said":"***","n":1}"#);
    }
}
