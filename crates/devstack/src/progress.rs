//! News of long steps: a spinner on a terminal, elsewhere a line at the start, every ten seconds and at the end.

use std::{
    io::{IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a step without a terminal says that it still runs.
pub const EVERY: Duration = Duration::from_secs(10);

/// Where news goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Tests: nothing.
    Quiet,
    /// A person or a log: standard error.
    Shown,
}

impl Progress {
    /// Announces a step; dropping the guard ends it.
    #[must_use]
    pub fn step(self, what: &str) -> Step {
        match self {
            Progress::Quiet => Step { bar: None, lines: None },
            Progress::Shown if std::io::stderr().is_terminal() => Step { bar: Some(spinner(what)), lines: None },
            Progress::Shown => Step { bar: None, lines: Some(Lines::start(what)) },
        }
    }

    /// One line.
    pub fn say(self, line: &str) {
        if self == Progress::Shown {
            say(line);
        }
    }
}

/// A running step.
pub struct Step {
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
}

impl Step {
    /// Says how far it is.
    pub fn detail(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!(" {detail}"));
        }
        if let Some(lines) = &self.lines {
            lines.tell.send(detail.to_owned()).ok();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            let line = format!("{} ({:.1} s)", bar.message(), bar.elapsed().as_secs_f64());
            bar.finish_and_clear();
            say(&line);
        }
        if let Some(lines) = self.lines.take() {
            drop(lines.tell);
            lines.thread.join().ok();
        }
    }
}

struct Lines {
    tell: Sender<String>,
    thread: JoinHandle<()>,
}

impl Lines {
    fn start(what: &str) -> Self {
        let (tell, told) = mpsc::channel::<String>();
        let what = what.to_owned();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut next = started + EVERY;
            let mut detail = String::new();
            say(&format!("{what} ..."));
            loop {
                match told.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(text) => detail = format!(", {text}"),
                    Err(RecvTimeoutError::Timeout) => {
                        next += EVERY;
                        say(&format!("{what} ... {} s{detail}", started.elapsed().as_secs()));
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            say(&format!("{what} ({:.1} s)", started.elapsed().as_secs_f64()));
        });
        Self { tell, thread }
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}{prefix} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// One line on standard error; a closed standard error is nobody's problem.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}
