//! The figures that the run ends with.

use crate::say;

#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<(String, String)>,
}

impl Report {
    /// Notes a figure and says it at once.
    pub(crate) fn figure(&mut self, what: &str, value: &str) {
        say(&format!("  {what}: {value}"));
        self.lines.push((what.to_owned(), value.to_owned()));
    }

    pub(crate) fn text(&self) -> String {
        let width = self.lines.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        let lines: Vec<String> = self.lines.iter().map(|(what, value)| format!("{what:width$}  {value}")).collect();
        format!("\ncluster test passed\n{}", lines.join("\n"))
    }
}
