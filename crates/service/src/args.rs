//! Options that every service has. A flag beats its `MILLRACE_*` variable, which beats the landscape.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::Access;

/// Options of every service.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Folder of the landscape: domains, sources, destinations, mappings
    #[arg(long, env = "MILLRACE_LANDSCAPE", value_name = "DIR")]
    pub landscape: PathBuf,

    /// Name of this instance: static group membership and transactional identity [default: the host's name]
    #[arg(long, env = "MILLRACE_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,

    /// Where /livez, /readyz and /metrics listen
    #[arg(long, env = "MILLRACE_OPS", value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub ops: SocketAddr,

    /// Kafka bootstrap servers, comma-separated [default: the landscape's]
    #[arg(long, env = "MILLRACE_BROKERS", value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub brokers: Vec<String>,

    /// Schema registry, Confluent API, comma-separated [default: the landscape's]
    #[arg(long, env = "MILLRACE_REGISTRY", value_name = "URL,...", value_delimiter = ',')]
    pub registry: Vec<String>,

    /// URL or folder of this process's system, instead of the landscape's
    #[arg(long, env = "MILLRACE_ENDPOINT", value_name = "URL|DIR")]
    pub endpoint: Option<String>,

    /// Prefix of every topic and group [default: the landscape's]
    #[arg(long, env = "MILLRACE_TOPIC_PREFIX", value_name = "PREFIX")]
    pub topic_prefix: Option<String>,

    /// One broker will do: replication and min.insync.replicas are not checked
    #[arg(long, env = "MILLRACE_DEVELOPMENT")]
    pub development: bool,

    /// How logs are written
    #[arg(long, env = "MILLRACE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Which logs: a level, or `tracing` directives such as `info,kafka=debug`
    #[arg(long, env = "MILLRACE_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How long a missing broker, registry, topic or subject is waited for at start
    #[arg(long, env = "MILLRACE_START_TIMEOUT", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub start_timeout: Duration,

    /// How long a drain may take before the process ends with 75
    #[arg(long, env = "MILLRACE_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// How long a member of a consumer group may be silent before its slots move
    #[arg(long, env = "MILLRACE_SESSION_TIMEOUT", value_name = "DURATION", default_value = "45s", value_parser = duration)]
    pub session_timeout: Duration,

    #[command(flatten)]
    pub access: Access,

    #[command(flatten)]
    pub traces: TraceOptions,
}

/// Where spans go, and how many.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceOptions {
    /// Collector that takes spans by OTLP over HTTP, such as http://collector:4318 [default: no spans]
    #[arg(long, env = "MILLRACE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Share of the traces that are recorded, 0 to 1; decided where a trace begins, obeyed by everybody behind
    #[arg(long, env = "MILLRACE_TRACE_RATIO", value_name = "RATIO", default_value = "0.1", value_parser = ratio)]
    pub trace_ratio: f64,

    /// Names record keys in spans; a key can be personal data
    #[arg(long, env = "MILLRACE_TRACE_KEYS")]
    pub trace_keys: bool,
}

/// Form of the log lines on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// `250ms`, `15s`, `5m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a duration such as 15s, 5m or 250ms"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        "" => Err(format!("`{text}` has no unit, did you mean \"{text}s\"?")),
        _ => Err(format!("`{unit}` is not a unit of time (ms, s, m, h)")),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("`{text}` is not a share between 0 and 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_share() {
        assert_eq!(ratio("0.25"), Ok(0.25));
        for wrong in ["", "1.5", "-0.1", "NaN", "10%"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("60"), Err("`60` has no unit, did you mean \"60s\"?".into()));
        assert!(duration("5 parsecs").is_err());
    }
}
