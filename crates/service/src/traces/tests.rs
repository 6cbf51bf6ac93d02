use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Instant,
};

use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::SpanExporter,
};

use super::*;

/// A collector that takes, refuses, or never answers.
#[derive(Debug)]
enum Collector {
    Takes(SyncSender<SpanData>),
    Refuses,
    Hangs(Mutex<Receiver<()>>),
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self {
            Collector::Takes(sender) => batch.into_iter().for_each(|span| sender.send(span).unwrap()),
            Collector::Refuses => return Err(OTelSdkError::InternalFailure("503".to_owned())),
            Collector::Hangs(receiver) => drop(receiver.lock().unwrap().recv()),
        }
        Ok(())
    }
}

fn traces(collector: Collector, trace_ratio: f64) -> Traces {
    let options = TraceOptions { otlp_endpoint: None, trace_ratio, trace_keys: false };
    let export = Export::with(collector, "http://collector/v1/traces".to_owned(), &Resource::builder_empty().build(), &options);
    Traces { export: Some(Arc::new(export)) }
}

const CREATION: TraceContext = TraceContext { trace: 7, span: 8, is_sampled: true };
const READ: Read<'_> =
    Read { topic: "mdm.golden.item", partition: 3, offset: 40, group: Some("mdm.sink.ulm"), key: Some(b"4711/A") };

fn dropped(reason: &str) -> u64 {
    telemetry::SPANS_DROPPED.with_label_values(&[reason]).get()
}

#[test]
fn no_span_is_made_while_traces_are_off_or_the_trace_is_not_sampled() {
    let off = Traces::default();
    assert!(!off.is_on() && !off.samples(0));
    assert!(off.process(CREATION, &READ).is_none() && off.call("PUT", CREATION).is_none());
    let on = traces(Collector::Refuses, 1.0);
    let unsampled = TraceContext { is_sampled: false, ..CREATION };
    assert!(on.process(unsampled, &READ).is_none() && on.send(unsampled, None, "t", 0, "k").is_none());
    assert!(on.process(CREATION, &READ).is_some());
}

#[test]
fn about_the_asked_share_of_the_traces_is_sampled_whatever_time_their_ids_hold() {
    let ids: Vec<u128> = (0..4000).map(|_| uuid::Uuid::now_v7().as_u128()).collect();
    for (ratio, least, most) in [(0.0, 0, 0), (0.1, 250, 600), (0.5, 1700, 2300), (1.0, 4000, 4000)] {
        let sampled = ids.iter().filter(|id| is_within(**id, ratio)).count();
        assert!((least..=most).contains(&sampled), "{sampled} of 4000 at {ratio}");
    }
}

#[test]
fn a_record_without_a_readable_header_begins_its_trace_by_this_processes_decision() {
    let created = || TraceContext { trace: u128::from(u32::MAX), span: 9, is_sampled: false };
    let known = CREATION.header();
    for (ratio, is_sampled) in [(1.0, true), (0.5, false)] {
        let traces = traces(Collector::Refuses, ratio);
        assert_eq!(traces.arrived(Some(known.as_bytes()), created), CREATION);
        for broken in [None, Some(&b"00-rubbish"[..]), Some(b"")] {
            assert_eq!(traces.arrived(broken, created), TraceContext { is_sampled, ..created() });
        }
    }
}

#[test]
fn work_on_a_record_is_linked_to_its_creation_and_names_no_key() {
    let (sender, received) = sync_channel(10);
    let traces = traces(Collector::Takes(sender), 1.0);
    let mut process = traces.process(CREATION, &READ).unwrap();
    let inside = process.context();
    process.fail("ITM-03");
    let call = traces.call("PUT", inside).unwrap();
    traces.end(call);
    traces.end(process);
    traces.shut_down(Duration::from_secs(5));
    let call = received.recv().unwrap();
    assert_eq!((call.parent_span_id, call.name.as_ref()), (SpanId::from(inside.span), "PUT"));
    let process = received.recv().unwrap();
    assert_eq!(process.name, "process mdm.golden.item");
    assert_eq!((process.span_context.trace_id(), process.parent_span_id), (TraceId::from(7), SpanId::from(8)));
    assert_eq!(process.links[0].span_context.span_id(), SpanId::from(8));
    assert!(process.end_time >= process.start_time && process.start_time > SystemTime::UNIX_EPOCH);
    assert_eq!(process.status, Status::error(""));
    assert!(!format!("{:?}", process.attributes).contains("4711"), "{:?}", process.attributes);
}

#[test]
fn a_collector_that_refuses_costs_its_spans_and_nothing_else() {
    let before = dropped("export");
    let traces = traces(Collector::Refuses, 1.0);
    for _ in 0..10 {
        traces.end(traces.process(CREATION, &READ).unwrap());
    }
    traces.shut_down(Duration::from_secs(5));
    assert!(dropped("export") >= before + 10);
}

#[test]
fn a_collector_that_never_answers_holds_up_neither_the_work_nor_the_end() {
    let (full, left) = (dropped("queue_full"), dropped("shutdown"));
    let (_open, receiver) = sync_channel(1);
    let traces = traces(Collector::Hangs(Mutex::new(receiver)), 1.0);
    let count = export::QUEUE + 1000;
    for _ in 0..count {
        traces.end(traces.process(CREATION, &READ).unwrap());
    }
    let begun = Instant::now();
    traces.shut_down(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(60), "it ended at all");
    let full = dropped("queue_full") - full;
    assert!(full > 0);
    assert_eq!(full + dropped("shutdown") - left, u64::try_from(count).unwrap(), "every span is accounted for");
    // The exporter's thread sees its channel close, and ends.
}
