//! Cases of a landscape that hold an answer and what it has to be taken for.

use landscape::{AnswerCase, Case, CaseInput, CaseResult, Difference, Landscape};
use mapping::View;
use model::{Data, Timestamp};

use super::{Asked, Reply, classify};

/// Runs every case of an answer.
#[must_use]
pub fn test(landscape: &Landscape) -> Vec<CaseResult> {
    let answers = landscape.cases.iter().filter_map(|case| match &case.input {
        CaseInput::Answer(answer) => Some((case, &**answer)),
        CaseInput::Record(_) | CaseInput::Row(..) => None,
    });
    answers.map(|(case, answer)| judge(landscape, case, answer)).collect()
}

fn judge(landscape: &Landscape, case: &Case, given: &AnswerCase) -> CaseResult {
    let destination = landscape.destinations.get(&case.system);
    let delivery = destination.and_then(|destination| destination.domains.get(&case.domain));
    let record = given.record.as_ref().and_then(|golden| {
        let key = golden.data.as_ref().map(Data::key)?.ok()?;
        Some(View::new(golden, case.domain, &key))
    });
    let reply = Reply {
        status: given.status,
        content_type: given.content_type.as_deref(),
        body: given.body.as_bytes(),
        ..Reply::default()
    };
    let asked = Asked {
        revision: 1,
        is_delete: given.is_delete,
        personal: &[],
        now: Timestamp::default(),
        answers: destination.and_then(|destination| destination.answers.as_ref()),
        absent: delivery.map(|delivery| delivery.absent.as_slice()).unwrap_or_default(),
        record: record.as_ref(),
    };
    let answer = classify(&reply, &asked);
    let problem = answer.problem.as_ref();
    let got = |name: &str| match name {
        "class" => Some(answer.class.name().to_owned()),
        "code" => problem.map(|problem| problem.code.clone()),
        "message" => problem.map(|problem| problem.message.clone()),
        "field" => problem.and_then(|problem| problem.field.clone()),
        "external_id" => answer.external_id.clone(),
        "waits_for" => answer.absence.as_ref().map(|absence| absence.record.to_string()),
        _ => None,
    };
    let differences = given.expected.iter().filter_map(|(name, expected, line)| {
        let got = got(name);
        // What a message says beyond that is for people.
        let fits = got.as_ref().is_some_and(|got| got == expected || name == "message" && got.contains(expected));
        (!fits).then(|| Difference {
            path: format!("$.{name}"),
            expected: expected.clone(),
            got: match (name.as_str(), problem) {
                ("class", Some(problem)) => format!("{} ({})", got.unwrap_or_default(), problem.message),
                _ => got.unwrap_or_else(|| "nothing".to_owned()),
            },
            line: *line,
        })
    });
    CaseResult { name: case.name.clone(), file: case.file.clone(), differences: differences.collect() }
}
