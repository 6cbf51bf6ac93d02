//! `millrace landscape`: the operator's files, checked and tested offline.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use landscape::Landscape;
use serde_json::json;

use crate::{
    bundle, cluster,
    exit::{Done, Failure, Outcome},
    options::Global,
    output::{self, Column, List, Sight, text},
    words,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every problem at once, with file, line, column and a suggestion. Exit code 6: there are some
    #[command(after_help = "Examples:\n  millrace landscape check deploy/landscape\n  \
        millrace landscape check deploy/landscape --bundle landscape.values.yaml")]
    Check {
        /// Folder of the landscape [default: --landscape]
        dir: Option<PathBuf>,
        /// Also write it as values of the Helm chart, `-` to stdout; a landscape with problems is not written
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
    /// Run the cases of mappings and answers. Exit code 6: one differs
    #[command(after_help = "Example:\n  millrace landscape test deploy/landscape")]
    Test {
        /// Folder of the landscape [default: --landscape]
        dir: Option<PathBuf>,
        /// Only cases whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
}

const PROBLEMS: &[Column] =
    &[Column::new("PLACE", |row, _| text(row, "place")), Column::new("PROBLEM", |row, _| text(row, "text"))];

impl Command {
    pub(crate) fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::Check { dir, bundle } => check(global, dir.as_ref(), bundle.as_deref()),
            Command::Test { dir, only } => test(global, dir.as_ref(), only.as_deref()),
        }
    }
}

fn check(global: &Global, dir: Option<&PathBuf>, bundle: Option<&Path>) -> Outcome {
    let files = cluster::files(global, dir)?;
    let report = landscape::check(&files);
    let mut out = global.output();
    out.headers = false;
    let items: Vec<_> = report.problems.iter().map(|problem| json!({
        "place": problem.place(), "text": problem.text(), "file": problem.file, "line": problem.line, "column": problem.column,
        "message": problem.message, "hint": problem.hint,
    })).collect();
    let is_asked = bundle != Some(Path::new("-"));
    if !items.is_empty() || !out.is_text() && is_asked {
        let sight = Sight { now: crate::options::now() };
        out.list(&List { items: &items, columns: PROBLEMS, name: |row| text(row, "place"), next: None, sight })?;
    }
    let problems = words::count(i64::try_from(items.len()).unwrap_or(i64::MAX), "problem");
    let count = words::count(i64::try_from(report.files).unwrap_or(i64::MAX), "file");
    out.hint(&format!("{problems} in {count}. Checked offline: syntax, schema, references, mappings."));
    match report.policy_version {
        Some(version) => {
            out.hint(&format!("Policy {version}"));
            bundle.map_or(Ok(()), |file| write(global, &files, file))?;
            Ok(Done::Yes)
        }
        None => {
            if let Some(file) = bundle {
                out.hint(&format!("{} was not written: mend the landscape first.", file.display()));
            }
            Ok(Done::No)
        }
    }
}

/// The checked files as values of the chart.
fn write(global: &Global, files: &BTreeMap<String, String>, file: &Path) -> Result<(), Failure> {
    let landscape = Landscape::parse(files).map_err(|_| Failure::failed("the landscape has problems"))?;
    if let Some(name) = bundle::unnameable(files) {
        return Err(Failure::usage(format!(
            "{} was not written: Kubernetes takes no file called `{name}`; rename it with letters, digits, `-`, `_` and `.`",
            file.display()
        )));
    }
    let values = bundle::values(&landscape, files);
    let out = global.output();
    if file == Path::new("-") {
        return Ok(output::write_text(values.trim_end())?);
    }
    if global.dry_run {
        out.hint(&format!("Would write {}", file.display()));
        return Ok(());
    }
    std::fs::write(file, values).map_err(|error| Failure::failed(format!("writing the bundle {}: {error}", file.display())))?;
    out.hint(&format!("Wrote {0}: helm upgrade --install millrace helm/millrace -f values.yaml -f {0}", file.display()));
    if let Some(size) = bundle::too_large(files) {
        out.hint(&format!("It has {size} bytes, and a ConfigMap holds 1 MiB: name a volume with the folder, landscape.volume."));
    }
    Ok(())
}

fn test(global: &Global, dir: Option<&PathBuf>, only: Option<&str>) -> Outcome {
    let files = cluster::files(global, dir)?;
    let landscape = Landscape::parse(&files).map_err(|problems| {
        Failure::usage(format!(
            "{}; see them with `millrace landscape check`",
            words::count(i64::try_from(problems.len()).unwrap_or(i64::MAX), "problem")
        ))
    })?;
    let results = landscape::test(&landscape).into_iter().chain(connect::answer::test(&landscape));
    let results: Vec<_> = results.filter(|case| only.is_none_or(|only| case.name.contains(only))).collect();
    let out = global.output();
    let failed = results.iter().filter(|case| !case.passed()).count();
    if out.is_text() {
        let rows = results.iter().filter(|case| !case.passed()).flat_map(|case| {
            case.differences.iter().map(|difference| {
                vec![
                    case.name.clone(),
                    "FAIL".to_owned(),
                    difference.path.clone(),
                    format!("expected {}", difference.expected),
                    format!("got {}", difference.got),
                    format!("({}:{})", case.file, difference.line),
                ]
            })
        });
        if failed > 0 {
            output::write_text(&output::grid(None, &[], rows))?;
        }
        output::write_text(&format!("{} of {} cases as expected", results.len() - failed, results.len()))?;
    } else {
        let items: Vec<_> = results
            .iter()
            .map(|case| {
                json!({
                    "name": case.name, "file": case.file, "passed": case.passed(),
                    "differences": case.differences.iter().map(|difference| json!({
                        "path": difference.path, "expected": difference.expected, "got": difference.got, "line": difference.line,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        let columns = &[
            Column::new("NAME", |row: &serde_json::Value, _: &Sight| text(row, "name")),
            Column::new("PASSED", |row, _| text(row, "passed")),
        ];
        let sight = Sight { now: crate::options::now() };
        out.list(&List { items: &items, columns, name: |row| text(row, "name"), next: None, sight })?;
    }
    if only.is_some() && results.is_empty() {
        return Err(Failure::not_found("no case has such a name"));
    }
    Ok(if failed == 0 { Done::Yes } else { Done::No })
}
