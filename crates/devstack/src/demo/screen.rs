//! Where the demo shows its table: in place on a terminal, elsewhere a line every ten seconds.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::{self, Overview};
use crate::progress::EVERY;

pub(crate) struct Screen {
    table: Option<ProgressBar>,
    next_line: Option<Instant>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let table = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { table, next_line: None }
    }

    /// Shows the newest numbers, when it is time to.
    pub(crate) fn show(&mut self, overview: &Overview) {
        if let Some(table) = &self.table {
            table.set_message(format!("\n{}\nCtrl-C ends the demo", table::table(overview)));
            table.tick();
        } else if self.next_line.is_none_or(|next| Instant::now() >= next) {
            self.next_line = Some(Instant::now() + EVERY);
            self.print(&format!("{} {}", now(), table::one_line(overview)));
        }
    }

    /// Lines that stay, above the table.
    pub(crate) fn print(&self, text: &str) {
        let write = || writeln!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush()).ok();
        match &self.table {
            Some(table) => table.suspend(write),
            None => write(),
        };
    }

    /// Leaves the last numbers on the screen.
    pub(crate) fn close(&self) {
        if let Some(table) = &self.table {
            table.abandon();
        }
    }
}

/// The time of day in UTC.
fn now() -> String {
    jiff::Timestamp::now().strftime("%H:%M:%S").to_string()
}
