//! Traces as a collector gets them: one change through five services, a collector that is away, a trace that nobody records.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use kafka::{Producer, Record};
use millrace_e2e::until;
use model::{Act, ChangeId, Data, Domain, LetterState, Outgoing, PlanFilter, PlanState, Slot};
use telemetry::trace::{TRACEPARENT, TraceContext, attribute};

use crate::{
    collector::{Collector, Kind, Span},
    replay::{Person, key, letters, of, plan},
    world::{PATIENCE, World, total},
};

const PUNE: &str = "mes-pune";
const ULM: &str = "mes-ulm";

async fn traced(endpoint: &str, ratio: &str) -> Result<World> {
    let environment = [("MILLRACE_OTLP_ENDPOINT", endpoint), ("MILLRACE_TRACE_RATIO", ratio), ("MILLRACE_DRAIN_TIMEOUT", "60s")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    World::start(|options| options.environment = environment).await
}

/// The last record of a topic about this key, and its header.
async fn newest(world: &World, topic: &str, key: &str) -> Result<(Record, Option<TraceContext>)> {
    let records = world.look.records(topic).await?;
    let record = records.into_iter().rev().find(|record| record.key_text() == Some(key));
    let record = record.with_context(|| format!("{topic} has no {key}"))?;
    let header = record.header(TRACEPARENT).and_then(TraceContext::parse);
    Ok((record, header))
}

/// Spans of one trace, by what they are and whom they serve; each there is one of.
struct Trace {
    spans: BTreeMap<String, Span>,
}

impl Trace {
    /// Waits until every one of `names` came.
    async fn complete(collector: &Collector, trace: u128, names: &[&str]) -> Result<Self> {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let spans = until(&format!("the spans of trace {trace:032x}"), PATIENCE, || async {
            let spans: BTreeMap<String, Span> = collector
                .spans()
                .into_iter()
                .filter(|span| span.context.trace == trace)
                .map(|span| (named(&span), span))
                .collect();
            let missing: Vec<_> = wanted.iter().filter(|name| !spans.contains_key(*name)).cloned().collect();
            if missing.is_empty() { Ok(spans) } else { Err(format!("{missing:?} are missing beside {:?}", spans.keys())) }
        })
        .await?;
        let unexpected: Vec<_> = spans.keys().filter(|name| !wanted.contains(*name)).collect();
        assert!(unexpected.is_empty(), "{unexpected:?} came too");
        Ok(Self { spans })
    }

    fn of(&self, name: &str) -> &Span {
        &self.spans[name]
    }

    fn services(&self) -> BTreeSet<&str> {
        self.spans.values().map(|span| span.service.as_str()).collect()
    }
}

/// `process golden.item @mes-ulm`: without the test's topic prefix, with the destination where there is one.
fn named(span: &Span) -> String {
    let name = span.name.split_once(' ').map_or_else(
        || span.name.clone(),
        |(operation, topic)| format!("{operation} {}", topic.split_once('.').map_or(topic, |(_, rest)| rest)),
    );
    match span.attributes.get(attribute::DESTINATION) {
        Some(destination) if !name.ends_with(destination.as_str()) => format!("{name} @{destination}"),
        _ => name,
    }
}

fn assert_child(child: &Span, parent: &Span) {
    assert_eq!((child.context.trace, child.parent), (parent.context.trace, Some(parent.context.span)), "{child:?} of {parent:?}");
}

fn assert_follows(consumer: &Span, producer: &Span) {
    assert_eq!((consumer.kind, producer.kind), (Kind::Consumer, Kind::Producer));
    assert!(consumer.links_to(producer), "{consumer:?} is not linked to {producer:?}");
}

/// The spans of one change to both plants, from the source to the tracker.
const WAY: [&str; 11] = [
    "send change.erp.item",
    "process change.erp.item",
    "send golden.item",
    "process golden.item @mes-ulm",
    "PUT @mes-ulm",
    "send receipt.mes-ulm",
    "process receipt.mes-ulm",
    "process golden.item @mes-pune",
    "PUT @mes-pune",
    "send receipt.mes-pune",
    "process receipt.mes-pune",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_is_followed_through_five_services_and_its_replay_is_a_trace_of_its_own() -> Result<()> {
    let collector = Collector::start().await?;
    let mut world = traced(&collector.url(), "1").await?;
    let person = Person::of(&world).await?;
    world.stack.systems.plant(PUNE)?.refuse(&key(1));
    world.write_items([1])?;
    letters(&world, 1, LetterState::Open).await?;
    let golden = world.golden_complete(PATIENCE).await?;
    let first = golden[&format!("item/{}", key(1))].meta.correlation_id.0.as_u128();
    // What `record trace` prints.
    let names = WAY;
    let failed = Trace::complete(&collector, first, &names).await?;
    let (sent, judged, accepted) = (failed.of(names[0]), failed.of(names[1]), failed.of(names[2]));
    assert_eq!((sent.kind, sent.parent), (Kind::Producer, None), "the change's trace begins with its record");
    assert_follows(judged, sent);
    assert_child(accepted, judged);
    assert_eq!(newest(&world, &world.look.topics.change("erp", Domain::Item), &key(1)).await?.1, Some(sent.context));
    assert_eq!(newest(&world, &world.look.topics.golden(Domain::Item), &key(1)).await?.1, Some(accepted.context));
    for (plant, status) in [(ULM, "200"), (PUNE, "422")] {
        let [work, call, receipt, tracked] = [
            format!("process golden.item @{plant}"),
            format!("PUT @{plant}"),
            format!("send receipt.{plant}"),
            format!("process receipt.{plant}"),
        ]
        .map(|name| failed.of(&name).clone());
        assert_follows(&work, accepted);
        assert_child(&call, &work);
        assert_eq!((call.kind, call.attributes.get(attribute::HTTP_STATUS).map(String::as_str)), (Kind::Client, Some(status)));
        assert_child(&receipt, &work);
        assert_follows(&tracked, &receipt);
        assert_eq!((work.is_error, call.is_error), (plant == PUNE, plant == PUNE));
        let calls = world.stack.systems.plant(plant)?.calls_since(0);
        let told: Vec<_> = calls.iter().filter(|call| call.key == key(1)).filter_map(|call| call.traceparent.clone()).collect();
        assert_eq!(told, [call.context.header()], "{plant} is told where the call stands");
    }
    assert_eq!(failed.of("process golden.item @mes-pune").attributes[attribute::ERROR_TYPE], "REFUSED_BY_PLANT");

    world.stack.systems.plant(PUNE)?.accept(&key(1));
    person.asks(Act::Plan, "p-1", Some(PlanFilter { rate: 100, ..of(PUNE) })).await?;
    plan(&world, "p-1", |plan| plan.would_apply == 1).await?;
    person.asks(Act::Run, "p-1", None).await?;
    plan(&world, "p-1", |plan| plan.state == PlanState::Done).await?;
    let command = world.look.records(&world.look.topics.command(PUNE)).await?;
    let begun = command.last().and_then(|record| record.header(TRACEPARENT)).and_then(TraceContext::parse);
    let second = begun.context("the replay's command has no trace")?.trace;
    assert_ne!(second, first);
    let names = [
        "send command.mes-pune",
        "process golden.item @mes-pune",
        "PUT @mes-pune",
        "send receipt.mes-pune",
        "process receipt.mes-pune",
    ];
    let replayed = Trace::complete(&collector, second, &names).await?;
    let (asked, work) = (replayed.of(names[0]), replayed.of(names[1]));
    assert_eq!(asked.parent, None);
    assert!(asked.links_to(accepted), "{asked:?} does not name what failed: {accepted:?}");
    assert_follows(work, asked);
    assert!(work.links_to(accepted));
    assert!(!work.is_error);
    assert_child(replayed.of(names[2]), work);
    assert_follows(replayed.of(names[4]), replayed.of(names[3]));

    let services: BTreeSet<_> = failed.services().union(&replayed.services()).copied().map(str::to_owned).collect();
    let five = ["millrace-publisher", "millrace-replayer", "millrace-sink", "millrace-tracker", "millrace-validator"];
    assert!(services.iter().eq(five.iter()), "{services:?}");
    assert!(collector.spans().iter().all(|span| !format!("{span:?}").contains("L-0000")), "a span names a key");

    a_broken_header_begins_a_new_trace(&world, &collector).await
}

/// The change again, as its source would write the next version, with a header that is none.
async fn a_broken_header_begins_a_new_trace(world: &World, collector: &Collector) -> Result<()> {
    let topic = world.look.topics.change("erp", Domain::Item);
    let mut change = world.look.changes("erp", Domain::Item).await?.pop().context("the change")?;
    let id = ChangeId(uuid::Uuid::now_v7());
    change.meta.change_id = id;
    change.meta.correlation_id = id;
    change.meta.source_sequence += 1;
    let Some(Data::Item(item)) = &mut change.data else { anyhow::bail!("a change without data") };
    item.descriptions[0].text = "with a broken header".to_owned();
    let registry = registry::Registry::new(registry::Config::new(vec![world.stack.addresses.registry.clone()]))?;
    let writer = registry.writer(&[(avro::Schema::change(Domain::Item), topic.clone())]).await?;
    let value = writer.encode_change(Domain::Item, &change)?;
    let (before, _) = newest(world, &topic, &key(1)).await?;
    let headers = vec![(TRACEPARENT.to_owned(), b"00-not-a-trace-01".to_vec())];
    let outgoing = Outgoing { topic, slot: Slot(before.partition), key: key(1), value: Some(value), headers };
    Producer::new(&world.stack.client("source"))?.send(&outgoing).await?;
    let accepted = until("the change to become golden", PATIENCE, || async {
        let seen = world.look.golden(Domain::Item).await.map_err(|error| format!("{error:#}"))?;
        let golden = seen.into_iter().filter_map(|seen| seen.golden).find(|golden| golden.meta.change_id == id);
        golden.ok_or_else(|| "it is not".to_owned())
    })
    .await?;
    assert_eq!(accepted.meta.revision, 2);
    assert_eq!(world.look.letters("validator").await?, [], "a header is no reason for a letter");
    // Without the publisher, whose header was broken.
    Trace::complete(collector, id.0.as_u128(), &WAY[1..]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_costs_counted_spans_and_nothing_else() -> Result<()> {
    // Connections are taken by the system and by nobody else.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let mut world = traced(&format!("http://{}", silent.local_addr()?), "1").await?;
    world.write_items(0..200)?;
    world.assert_promises().await?;
    let processes = ["publisher-erp", "validator", "sink-mes-ulm", "sink-mes-pune", "tracker"];
    for process in processes {
        until(&format!("{process} to count its lost spans"), PATIENCE, || async {
            let metrics = world.stack.fleet.metrics(process).map_err(|error| format!("{error:#}"))?;
            let lost = total(&metrics, "millrace_spans_dropped_total", "");
            if lost > 0.0 { Ok(()) } else { Err("none is lost yet".to_owned()) }
        })
        .await?;
    }
    // A second batch fails, too, and is not told again.
    world.write_items(0..200)?;
    world.assert_promises().await?;
    assert_eq!(world.stack.fleet.not_ready(), [], "a collector is no dependency");
    for process in processes {
        let status = world.stack.fleet.stop(process)?;
        let log = world.stack.fleet.log(process)?;
        assert!(status.success(), "{process} ended with {status}:\n{log}");
        assert_eq!(log.matches("the collector takes no spans").count(), 1, "{process} says it once:\n{log}");
        assert_eq!(log.matches("spans were lost").count(), 1, "{process} says how many:\n{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_is_not_sampled_reaches_no_collector_and_still_the_destination() -> Result<()> {
    let collector = Collector::start().await?;
    let mut world = traced(&collector.url(), "0").await?;
    world.write_items([1])?;
    world.assert_promises().await?;
    let topics = world.look.topics.clone();
    let golden = world.golden_complete(PATIENCE).await?;
    let trace = golden[&format!("item/{}", key(1))].meta.correlation_id.0.as_u128();
    let receipt = until("the receipt", PATIENCE, || async {
        newest(&world, &topics.receipt(ULM), &format!("item/{}", key(1))).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    let change = newest(&world, &topics.change("erp", Domain::Item), &key(1)).await?;
    let accepted = newest(&world, &topics.golden(Domain::Item), &key(1)).await?;
    for (what, header) in [("change", change.1), ("golden", accepted.1), ("receipt", receipt.1)] {
        let header = header.with_context(|| format!("{what} has no traceparent"))?;
        assert_eq!((header.trace, header.is_sampled), (trace, false), "{what}");
    }
    let calls = world.stack.systems.plant(ULM)?.calls_since(0);
    let told = calls.iter().find(|call| call.key == key(1)).and_then(|call| call.traceparent.clone());
    let told = told.and_then(|header| TraceContext::parse(header.as_bytes())).context("the plant is told no trace")?;
    assert_eq!((told.trace, told.is_sampled), (trace, false));
    for process in ["publisher-erp", "publisher-crm", "validator", "sink-mes-ulm", "sink-mes-pune", "replayer", "tracker"] {
        // What waited would go out now.
        assert!(world.stack.fleet.stop(process)?.success());
    }
    assert_eq!(collector.spans().len(), 0);
    Ok(())
}
