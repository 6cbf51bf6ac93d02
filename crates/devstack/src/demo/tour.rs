//! The tour: five steps, each a few commands for another terminal. The text is one file, and a test runs exactly what it says.

use std::path::Path;

const TEXT: &str = include_str!("tour.txt");

/// One step of the tour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub title: String,
    /// Shell command lines, in order.
    pub commands: Vec<String>,
}

/// The tour as it is printed, for a demo that lies in `folder`.
#[must_use]
pub fn text(folder: &Path) -> String {
    TEXT.replace("{folder}", &folder.display().to_string())
}

/// The exit code that a command of the tour ends with: 0, unless a comment says another one.
#[must_use]
pub fn exit_of(command: &str) -> i32 {
    let said = command.rsplit_once("# exit ").map(|(_, said)| said.trim_end());
    said.and_then(|said| said.split(':').next()).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// What a printed tour asks for before its first step, in every terminal.
#[must_use]
pub fn setup(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.trim().strip_prefix("$ ")).filter(|line| line.starts_with("export ")).map(str::to_owned)
}

/// The steps of a printed tour: a title starts with its number, a command with `$`.
#[must_use]
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(command) = line.strip_prefix("$ ") {
            if let Some(step) = steps.last_mut() {
                step.commands.push(command.to_owned());
            }
        } else if line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok()) {
            steps.push(Step { title: line.to_owned(), commands: Vec::new() });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_has_five_steps_with_commands() {
        let text = text(Path::new("target/demo"));
        assert!(setup(&text).unwrap().contains("ITEMS=target/demo/sources/erp/items.csv"));
        assert!(text.lines().all(|line| line.len() <= 120), "a command that wraps is hard to copy");
        let steps = steps(&text);
        assert_eq!(steps.len(), 5);
        for (step, number) in steps.iter().zip(1..) {
            assert!(step.title.starts_with(&format!("{number}. ")), "{}", step.title);
            assert!(!step.commands.is_empty(), "{}", step.title);
            assert!(step.commands.iter().all(|command| !command.contains("{folder}")), "{:?}", step.commands);
        }
    }

    #[test]
    fn a_comment_says_which_exit_is_expected() {
        assert_eq!(exit_of("millrace status"), 0);
        assert_eq!(exit_of("sleep 3; millrace record where item A/B   # exit 6: not there yet"), 6);
    }
}
