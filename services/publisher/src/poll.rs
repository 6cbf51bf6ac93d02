//! Capturing a JSON source: what changed since the last poll and a little before it, and now and then all ids.

use std::time::{Duration, Instant};

use connect::{http_poll, rows::Read};
use landscape::{Content, Input, SourceConnector};
use model::Timestamp;
use service::CancellationToken;

use crate::{
    capture::{Capture, Pass, escape},
    files::Trouble,
    position::{self, PollPosition},
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
}

impl Poll {
    pub(crate) fn new(source: http_poll::Source, connector: &SourceConnector) -> Self {
        let (interval, overlap, sweep) = match connector {
            SourceConnector::HttpPoll { interval, overlap, sweep, .. } => (*interval, *overlap, *sweep),
            SourceConnector::File { .. } => (Duration::from_secs(1), Duration::ZERO, None),
        };
        let now = Instant::now();
        Self { source, interval, overlap, sweep, next_poll: now, next_sweep: now, was_away: true }
    }

    /// How long until the source is asked again.
    pub(crate) fn next_in(&self) -> Duration {
        self.next_poll.saturating_duration_since(Instant::now())
    }

    /// Polls what is due. True: something was asked.
    pub(crate) async fn turn(
        &mut self,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<bool, Trouble> {
        if Instant::now() < self.next_poll {
            return Ok(false);
        }
        // Set before asking: a source that is down is asked at its interval, too.
        self.next_poll = Instant::now() + self.interval;
        let sweeps = self.sweep.is_some() && (self.was_away || Instant::now() >= self.next_sweep);
        self.was_away = true;
        for stream in 0..capture.source().streams.len() {
            if stop.is_cancelled() {
                return Ok(true);
            }
            self.poll(stream, capture, writer, stop).await?;
            if sweeps && !stop.is_cancelled() {
                self.sweep(stream, capture, writer).await?;
            }
        }
        if let Some(sweep) = self.sweep.filter(|_| sweeps) {
            self.next_sweep = Instant::now() + sweep;
        }
        self.was_away = false;
        Ok(true)
    }

    async fn poll(
        &self,
        stream: usize,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let declared = capture.stream(stream);
        let Input::Path { path } = declared.input.clone() else { return Ok(()) };
        let shape = shape(declared);
        let mut position: PollPosition = position::read(capture.memory.position(stream));
        let since = position.since.map(|since| Timestamp::from_micros(since.micros() - micros(self.overlap)).to_string());
        let mut pass = Pass::new(stream, path.clone(), now());
        pass.is_first = capture.memory.position(stream).is_none();
        let mut pages = self.source.items(&path, since.as_deref());
        let mut highest = position.since;
        while let Some(page) = pages.next_page(&shape).await.map_err(Trouble::Source)? {
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
        let is_whole = since.is_none() && !stop.is_cancelled();
        // What changed lately says nothing about the rest.
        pass.proves = if is_whole { &["row", "deletes"] } else { &[] };
        if is_whole && capture.stream(stream).content == Content::Full {
            self.delete_absent(&mut pass, capture, writer).await?;
        }
        capture.finish(&mut pass, now());
        if !stop.is_cancelled() {
            position.since = highest;
            capture.move_to(stream, position::write(&position));
        }
        writer.commit(capture.batch()).await?;
        Ok(())
    }

    /// All ids of the source against the keys that are known.
    async fn sweep(&self, stream: usize, capture: &mut Capture, writer: &mut Writer) -> Result<(), Trouble> {
        let declared = capture.stream(stream);
        let Input::Path { path } = declared.input.clone() else { return Ok(()) };
        let has_one_part = declared.key.len() == 1;
        let ids = self.source.ids(&path).await.map_err(Trouble::Source)?;
        let mut pass = Pass::new(stream, path, now());
        pass.seen = ids.into_iter().map(|id| if has_one_part { escape(&id) } else { id }).collect();
        pass.proves = &["deletes"];
        self.delete_absent(&mut pass, capture, writer).await?;
        capture.finish(&mut pass, now());
        writer.commit(capture.batch()).await?;
        Ok(())
    }

    async fn delete_absent(&self, pass: &mut Pass, capture: &mut Capture, writer: &mut Writer) -> Result<(), Trouble> {
        // The same surprise is one letter, until it is another one.
        let version = format!("{} known", capture.memory.live(pass.stream));
        for key in capture.absent(pass, &version, now()) {
            capture.delete(pass, &key, now());
            if capture.is_full() {
                writer.commit(capture.batch()).await?;
            }
        }
        Ok(())
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

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
