//! Capturing a JSON source: what changed since the last poll and a little before it, and now and then all ids.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use connect::{
    http_poll::{self, Unavailable},
    rows::{Fault, Read},
};
use landscape::{Content, Input, SourceConnector};
use model::{Timestamp, Transient};
use rand::RngExt as _;
use service::{CancellationToken, Exit};

use crate::{
    backoff::{Backoff, Waiting},
    capture::{Capture, Pass, escape},
    files::Trouble,
    position::{self, PollPosition},
    sweep::{Absences, Unread},
    writer::{Writer, now},
};

/// One JSON source.
pub(crate) struct Poll {
    source: http_poll::Source,
    interval: Duration,
    /// Rows become visible late at the source: so much is read again at every poll.
    overlap: Duration,
    sweep: Option<Duration>,
    next_poll: Instant,
    next_sweep: Instant,
    /// The last poll did not come to its end: what went away meanwhile is looked for at once.
    was_away: bool,
    backoff: Backoff,
    streams: Vec<Stream>,
}

/// What is known of one stream beside the memory. A restart begins anew.
struct Stream {
    absences: Absences,
    unread: Unread,
    has_swept: bool,
    /// The next poll reads everything.
    is_whole_due: bool,
}

/// Why a reading did not come to its end.
enum Failure {
    Source(Unavailable),
    Exit(Exit),
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        Failure::Source(unavailable)
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        Failure::Exit(exit)
    }
}

impl Poll {
    pub(crate) fn new(source: http_poll::Source, connector: &SourceConnector, streams: usize) -> Self {
        let (interval, overlap, sweep) = match connector {
            SourceConnector::HttpPoll { interval, overlap, sweep, .. } => (*interval, *overlap, *sweep),
            SourceConnector::File { .. } => (Duration::from_secs(1), Duration::ZERO, None),
        };
        let stream =
            |_| Stream { absences: Absences::new(interval), unread: Unread::new(), has_swept: false, is_whole_due: false };
        let now = Instant::now();
        Self {
            source,
            interval,
            overlap,
            sweep,
            next_poll: now,
            next_sweep: now,
            was_away: true,
            backoff: Backoff::default(),
            streams: (0..streams).map(stream).collect(),
        }
    }

    /// Why and until when the source is left alone; none while it answers.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        self.backoff.waiting()
    }

    /// Polls what is due. True: something was asked.
    pub(crate) async fn turn(
        &mut self,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<bool, Trouble> {
        let begun = Instant::now();
        if begun < self.next_poll {
            return Ok(false);
        }
        self.next_poll = begun + self.interval;
        match self.read(capture, writer, stop).await {
            Ok(()) => {
                self.backoff.answered();
                Ok(true)
            }
            Err(Failure::Exit(exit)) => Err(Trouble::Exit(exit)),
            Err(Failure::Source(Unavailable { detail, retry_after })) => {
                let random = rand::rng().random();
                let wait = self.backoff.failed(detail.clone(), retry_after, self.interval, random, now());
                self.next_poll = Instant::now() + wait;
                Err(Trouble::Source(Transient { what: "source", detail }))
            }
        }
    }

    async fn read(&mut self, capture: &mut Capture, writer: &mut Writer, stop: &CancellationToken) -> Result<(), Failure> {
        let sweeps = self.sweep.is_some() && (self.was_away || Instant::now() >= self.next_sweep);
        self.was_away = true;
        for stream in 0..capture.source().streams.len() {
            if stop.is_cancelled() {
                return Ok(());
            }
            self.poll(stream, capture, writer, stop).await?;
            let unread = &mut self.streams[stream].unread;
            if !stop.is_cancelled() && unread.is_due(|id| capture.memory.knows(stream, id), Instant::now()) {
                self.streams[stream].is_whole_due = true;
                self.poll(stream, capture, writer, stop).await?;
            }
            if sweeps && !stop.is_cancelled() {
                self.sweep(stream, capture, writer).await?;
            }
        }
        let now = Instant::now();
        if let Some(sweep) = self.sweep.filter(|_| sweeps) {
            // A doubt is not left standing until the next sweep.
            let doubts = self.streams.iter().filter_map(|stream| stream.absences.next(now));
            self.next_sweep = doubts.chain([now + sweep]).min().unwrap_or(now);
        }
        self.was_away = false;
        Ok(())
    }

    async fn poll(
        &mut self,
        stream: usize,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let declared = capture.stream(stream);
        let Input::Path { path } = declared.input.clone() else { return Ok(()) };
        let shape = shape(declared);
        let (begun, clock) = (Instant::now(), now());
        let position: PollPosition = position::read(capture.memory.position(stream));
        let since = position.believed(clock);
        if since != position.since {
            tracing::warn!(source = %capture.source().name, since = ?position.since,
                "the position lies ahead of the clock; the source is read from its beginning");
        }
        let asked = since.filter(|_| !self.streams[stream].is_whole_due).map(|since| before(since, self.overlap).to_string());
        let mut pass = Pass::new(stream, path.clone(), clock);
        pass.is_first = capture.memory.position(stream).is_none();
        let mut pages = self.source.items(&path, asked.as_deref());
        let mut highest = since;
        while let Some(page) = pages.next_page(&shape).await? {
            for read in page {
                highest = highest.max(stamp(&read, &shape));
                capture.take(&mut pass, read, now());
                if capture.is_full() {
                    writer.commit(capture.batch()).await?;
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        let is_whole = asked.is_none() && !stop.is_cancelled();
        // What changed lately says nothing about the rest.
        pass.proves = if is_whole { &["row", "deletes"] } else { &[] };
        self.streams[stream].absences.seen(&pass.seen);
        if is_whole && capture.stream(stream).content == Content::Full {
            self.delete_absent(&mut pass, begun, capture, writer).await?;
        }
        if is_whole {
            self.streams[stream].is_whole_due = false;
            self.tell_unread(&mut pass, capture);
        }
        capture.finish(&mut pass, now());
        if !stop.is_cancelled() {
            let position = PollPosition::reached(highest, clock);
            if let Some(since) = position.since {
                let labels = [capture.source().name.as_str(), capture.stream(stream).name.as_str()];
                telemetry::SOURCE_CURSOR.with_label_values(&labels).set(since.since(Timestamp::from_micros(0)).as_secs_f64());
            }
            capture.move_to(stream, position::write(&position));
        }
        writer.commit(capture.batch()).await?;
        Ok(())
    }

    /// All ids of the source against the keys that are known.
    async fn sweep(&mut self, stream: usize, capture: &mut Capture, writer: &mut Writer) -> Result<(), Failure> {
        let declared = capture.stream(stream);
        let Input::Path { path } = declared.input.clone() else { return Ok(()) };
        let has_one_part = declared.key.len() == 1;
        let begun = Instant::now();
        let ids = self.source.ids(&path).await?;
        let mut pass = Pass::new(stream, path, now());
        let key = |id: String| deadletter::bounded_key(&if has_one_part { escape(&id) } else { id }).into_owned();
        pass.seen = ids.into_iter().map(key).collect();
        pass.proves = &["deletes"];
        let unknown: HashSet<String> = pass.seen.iter().filter(|id| !capture.memory.knows(stream, id)).cloned().collect();
        let known = &mut self.streams[stream];
        known.absences.seen(&pass.seen);
        known.unread.listed(unknown);
        known.has_swept = true;
        self.delete_absent(&mut pass, begun, capture, writer).await?;
        capture.finish(&mut pass, now());
        writer.commit(capture.batch()).await?;
        Ok(())
    }

    /// Deletes what this complete reading and an earlier one lacked.
    async fn delete_absent(
        &mut self,
        pass: &mut Pass,
        begun: Instant,
        capture: &mut Capture,
        writer: &mut Writer,
    ) -> Result<(), Exit> {
        let stream = pass.stream;
        if pass.is_complete {
            let absent = capture.memory.absent(stream, &pass.seen);
            let doubted = self.streams[stream].absences.doubted(&absent, begun, Instant::now());
            if !doubted.is_empty() {
                tracing::info!(source = %capture.source().name, stream = %capture.stream(stream).name, keys = doubted.len(),
                    "keys are missing; they are deleted when a later reading lacks them too");
            }
            pass.seen.extend(doubted);
        }
        // The same surprise is one letter, until it is another one.
        let version = format!("{} known", capture.memory.live(stream));
        let absent = capture.absent(pass, &version, now());
        // A record whose row is gone may be another row's, which was refused while this one stood for it.
        self.streams[stream].is_whole_due |= !absent.is_empty() && capture.memory.has_refused(stream);
        for key in absent {
            capture.delete(pass, &key, now());
            if capture.is_full() {
                writer.commit(capture.batch()).await?;
            }
        }
        Ok(())
    }

    /// One letter for all ids that sweeps list and a whole reading does not hold.
    fn tell_unread(&mut self, pass: &mut Pass, capture: &mut Capture) {
        let Stream { unread, has_swept, .. } = &mut self.streams[pass.stream];
        let missed = unread.looked_for(|id| capture.memory.knows(pass.stream, id), Instant::now());
        let Some(first) = missed.first() else {
            // Without a sweep nobody knows.
            pass.proves = if *has_swept { &["row", "deletes", "file"] } else { pass.proves };
            return;
        };
        let message = format!(
            "`{0}/ids` lists {1} ids, such as `{first}`, that a whole reading of `{0}` does not hold",
            pass.name,
            missed.len()
        );
        let version = missed.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        capture.refuse_whole(pass, &Fault::new("ID_WITHOUT_ITEM", message).observed(first), &version, now());
    }
}

pub(crate) fn shape(stream: &landscape::Stream) -> http_poll::Shape {
    // A stamp in a form of its own cannot be asked for; such a stream is read whole at every poll.
    let stamp = stream.stamp.clone().filter(|_| stream.stamp_format.is_none());
    http_poll::Shape { keys: stream.key.clone(), stamp }
}

fn stamp(read: &Read, shape: &http_poll::Shape) -> Option<Timestamp> {
    let row = read.as_ref().ok()?;
    row.value.get(shape.stamp.as_ref()?)?.as_str()?.parse().ok()
}

fn before(stamp: Timestamp, duration: Duration) -> Timestamp {
    Timestamp::from_micros(stamp.micros().saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}
