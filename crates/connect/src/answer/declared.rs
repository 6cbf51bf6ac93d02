//! What the landscape declares about a destination's answers: which one is a yes, where its code stands, what is missing there.

use delivery::Absence;
use landscape::Answers;
use mapping::{AnswerExpression, AnswerView};
use model::Topical;
use serde_json::Value;

use super::{Asked, Reply, Said};

/// What a declared expression takes an answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Refused,
    Retry,
    Duplicate,
    Accepted,
}

/// The declared reading of one answer.
pub(super) struct Declared {
    view: AnswerView,
    /// None: nothing that is declared matches.
    pub(super) verdict: Option<Verdict>,
    /// A yes is declared, so that no other answer is one.
    pub(super) says_yes: bool,
    /// The first expression that could not be evaluated, and why: such an answer is never a yes.
    pub(super) failed: Option<String>,
}

impl Declared {
    pub(super) fn of(reply: &Reply<'_>, asked: &Asked<'_>, body: Option<&Value>) -> Self {
        let text = String::from_utf8_lossy(reply.body);
        let view = AnswerView::new(reply.status, if asked.is_delete { "DELETE" } else { "PUT" }, &text, body);
        let mut declared = Self { view, verdict: None, says_yes: false, failed: None };
        let Some(answers) = asked.answers else { return declared };
        declared.says_yes = answers.accepted.is_some();
        // A no first: an answer that is both is no yes.
        let order = [
            ("refused", &answers.refused, Verdict::Refused),
            ("retry", &answers.retry, Verdict::Retry),
            ("duplicate", &answers.duplicate, Verdict::Duplicate),
            ("accepted", &answers.accepted, Verdict::Accepted),
        ];
        for (name, expression, verdict) in order {
            match expression.as_ref().map(|expression| expression.is_true(&declared.view)) {
                None | Some(Ok(false)) => {}
                Some(Ok(true)) => {
                    declared.verdict = Some(verdict);
                    break;
                }
                Some(Err(error)) => {
                    declared.failed.get_or_insert_with(|| format!("`answers.{name}` cannot be evaluated: {error}"));
                }
            }
        }
        declared
    }

    /// Puts what the landscape names in place of what the house looks for. A name that this answer does not have changes nothing.
    pub(super) fn name(&self, answers: &Answers, said: &mut Said) {
        let value = |expression: &Option<AnswerExpression>| expression.as_ref()?.value(&self.view).ok()?;
        let put = |place: &mut Option<String>, named: Option<String>| {
            if let Some(named) = named {
                *place = Some(super::clip(&named, 256));
            }
        };
        put(&mut said.code, value(&answers.code));
        put(&mut said.field, value(&answers.field));
        put(&mut said.value, value(&answers.value));
        put(&mut said.external_id, value(&answers.external_id));
        if let Some(message) = value(&answers.message) {
            said.message = Some(message);
        }
        said.is_worded |= said.code.is_some() || said.message.is_some();
    }

    /// The record that a refusal says is missing.
    ///
    /// # Errors
    /// The refusal is one of absence, and its record cannot be named: why.
    pub(super) fn absence(&self, asked: &Asked<'_>, said: &Said) -> Result<Option<Absence>, String> {
        let Some(record) = asked.record else { return Ok(None) };
        let view = self.view.clone().with_record(record);
        for absent in asked.absent {
            if absent.code.is_some() && absent.code != said.code {
                continue;
            }
            match absent.when.as_ref().map(|when| when.is_true(&view)) {
                Some(Ok(false)) => continue,
                Some(Err(error)) => return Err(format!("`absent.when` cannot be evaluated: {error}")),
                None | Some(Ok(true)) => {}
            }
            let name = absent.waits_for.render(&view).map_err(|error| format!("`absent.waits_for` names no record: {error}"))?;
            let record = Topical::parse(&name).map_err(|error| format!("`absent.waits_for` names no record: {error}"))?;
            return Ok(Some(Absence { record, hold: absent.hold, is_there: false }));
        }
        Ok(None)
    }
}
