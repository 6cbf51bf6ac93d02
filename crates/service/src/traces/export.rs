//! The way of spans to the collector: a bounded queue, a thread of its own, OTLP over HTTP.
//!
//! Invariant: [`Export::take`] never waits; what does not fit is counted and forgotten.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _},
};

use crate::TraceOptions;

/// Spans that wait: a few MiB at most.
pub(super) const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// A span waits for company for so long.
const DELAY: Duration = Duration::from_secs(1);
/// One request, repeats included.
const REQUEST: Duration = Duration::from_secs(5);
/// Where a collector listens, when only its address is given.
const PATH: &str = "/v1/traces";

/// Running exporter.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) ratio: f64,
    pub(super) has_keys: bool,
    pub(super) scope: InstrumentationScope,
    processor: BatchSpanProcessor,
    queue: Arc<Queue>,
}

impl Export {
    pub(super) fn start(endpoint: &str, options: &TraceOptions, service: &str, instance: &str) -> Result<Self, String> {
        let address = address(endpoint)?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(&address)
            .with_timeout(REQUEST)
            .with_headers([("user-agent".to_owned(), concat!("millrace/", env!("CARGO_PKG_VERSION")).to_owned())].into())
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", format!("millrace-{service}")),
                KeyValue::new("service.namespace", "millrace"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        Ok(Self::with(exporter, address, &resource, options))
    }

    pub(super) fn with(
        exporter: impl SpanExporter + 'static,
        address: String,
        resource: &Resource,
        options: &TraceOptions,
    ) -> Self {
        let queue = Arc::new(Queue { address, ..Queue::default() });
        let mut exporter = Counted { exporter, queue: Arc::clone(&queue) };
        exporter.set_resource(resource);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let scope = super::scope(env!("CARGO_PKG_VERSION"));
        Self { ratio: options.trace_ratio, has_keys: options.trace_keys, scope, processor, queue }
    }

    pub(super) fn take(&self, span: SpanData) {
        // The processor's own queue drops in silence; ours is as long and counts.
        if self.queue.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
            return self.queue.lost("queue_full", 1);
        }
        self.processor.on_end(span);
    }

    pub(super) fn shut_down(&self, patience: Duration) {
        let ended = self.processor.shutdown_with_timeout(patience);
        let left = self.queue.waiting.swap(0, Ordering::AcqRel) + self.queue.in_flight.swap(0, Ordering::AcqRel);
        if left > 0 {
            self.queue.lost("shutdown", left);
        }
        let lost = self.queue.lost.load(Ordering::Acquire);
        if lost > 0 {
            tracing::warn!(lost, collector = self.queue.address, "spans were lost");
        }
        if let Err(error) = ended {
            tracing::debug!(%error, "ending the traces");
        }
    }
}

/// What waits and what became of it.
#[derive(Debug, Default)]
struct Queue {
    address: String,
    waiting: AtomicUsize,
    in_flight: AtomicUsize,
    is_down: AtomicBool,
    lost: AtomicU64,
}

impl Queue {
    fn lost(&self, reason: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.lost.fetch_add(count, Ordering::AcqRel);
        telemetry::SPANS_DROPPED.with_label_values(&[reason]).inc_by(count);
    }
}

/// The exporter of the library, watched.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    queue: Arc<Queue>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (queue, count) = (&self.queue, batch.len());
        queue.in_flight.store(count, Ordering::Release);
        queue.waiting.fetch_sub(count, Ordering::AcqRel);
        let exported = self.exporter.export(batch).await;
        queue.in_flight.store(0, Ordering::Release);
        match &exported {
            Ok(()) if queue.is_down.swap(false, Ordering::AcqRel) => {
                let lost = queue.lost.load(Ordering::Acquire);
                tracing::info!(collector = queue.address, lost, "the collector takes spans again");
            }
            Ok(()) => {}
            Err(error) => {
                queue.lost("export", count);
                if !queue.is_down.swap(true, Ordering::AcqRel) {
                    tracing::warn!(collector = queue.address, %error, "the collector takes no spans; they are counted and dropped");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The address as the library wants it, with its path.
fn address(endpoint: &str) -> Result<String, String> {
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let rest = rest.ok_or("it is neither http nor https")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    Ok(if path.is_empty() { format!("{}{PATH}", endpoint.trim_end_matches('/')) } else { endpoint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_usual_one() {
        for (given, meant) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://collector:4318/", "https://collector:4318/v1/traces"),
            ("http://collector/otlp/v1/traces", "http://collector/otlp/v1/traces"),
        ] {
            assert_eq!(address(given).as_deref(), Ok(meant));
        }
        for broken in ["collector:4318", "grpc://collector:4317", "http://", "http:///v1/traces"] {
            assert!(address(broken).is_err(), "{broken}");
        }
    }
}
