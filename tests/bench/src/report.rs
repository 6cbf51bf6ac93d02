//! What a run prints: the machine, a table of figures beside their bars, and whether the run counts at all.

use std::process::ExitCode;

use crate::machine;

/// One line of the table.
struct Row {
    what: String,
    figure: String,
    bar: &'static str,
}

/// Collects figures and what makes them void.
pub(crate) struct Report {
    pub(crate) seed: u64,
    rows: Vec<Row>,
    void: Vec<String>,
}

impl Report {
    /// Prints what the figures were measured on.
    pub(crate) fn open(seed: u64) -> Self {
        for line in machine::describe() {
            say(&line);
        }
        say(&format!("seed      {seed}"));
        let words: Vec<String> = std::env::args().skip(1).collect();
        let profile = if cfg!(debug_assertions) { "" } else { " --release" };
        say(&format!("repeat    cargo run{profile} -p millrace-bench -- {}", words.join(" ")));
        if cfg!(debug_assertions) {
            say("          debug build: good for trying a bench out, not for its figures");
        }
        Self { seed, rows: Vec::new(), void: Vec::new() }
    }

    /// A figure; an empty bar is a figure that explains another one.
    pub(crate) fn row(&mut self, what: impl Into<String>, figure: impl Into<String>, bar: &'static str) {
        let row = Row { what: what.into(), figure: figure.into(), bar };
        say(&format!("  {:<58} {:>18}  {}", row.what, row.figure, row.bar));
        self.rows.push(row);
    }

    /// What a run did wrong; any makes it void.
    pub(crate) fn judge(&mut self, what: &str, problems: Vec<String>) {
        for problem in problems.into_iter().take(5) {
            self.void.push(format!("{what}: {problem}"));
        }
    }

    /// Prints everything once more as one table; false when the run is void.
    pub(crate) fn close(self) -> bool {
        say("");
        say(&format!("{:<60} {:>18}  bar", "figure", "measured"));
        for row in &self.rows {
            say(&format!("{:<60} {:>18}  {}", row.what, row.figure, row.bar));
        }
        say(&format!("load average after: {}", machine::load_average()));
        for problem in &self.void {
            say(&format!("VOID: {problem}"));
        }
        self.void.is_empty()
    }
}

/// Says what is being done, for whoever waits.
#[expect(clippy::print_stdout, reason = "a bench talks to the person who runs it")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// The end of a bench that could not measure.
#[expect(clippy::print_stderr, reason = "a bench talks to the person who runs it")]
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("millrace-bench: {error:#}");
    ExitCode::FAILURE
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Nearest rank.
pub(crate) fn percentile(figures: &[f64], percent: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_those_of_the_sorted_figures() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9 && (median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((percentile(&hundred, 50.0) - 50.0).abs() < 1e-9 && (percentile(&hundred, 99.0) - 99.0).abs() < 1e-9);
    }
}
