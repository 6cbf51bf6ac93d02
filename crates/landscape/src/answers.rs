//! `answers` and `absent` of a destination: how its answers are read where the house's own reading is not right.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mapping::{AnswerExpression, AnswerView, KeyTemplate, View};
use model::{Data, Domain, Topical};

use crate::{
    Absent, Answers,
    node::Node,
    reader::{Fields, Reader},
    shape::Shape,
    synthetic,
    template::{self, Surroundings},
    text,
};

/// A record that is missing at the destination is waited for so long, where the landscape does not say.
const HOLD: Duration = Duration::from_secs(24 * 3600);

/// `answers: {accepted: "status == 200 and body.ok", code: body.errors[0].code}`
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Answers> {
    let mut keys = reader.fields(node, "answers")?;
    let mut get = |reader: &mut Reader<'_>, key: &'static str| {
        let node = keys.get(key)?;
        expression(reader, node, key, names())
    };
    let answers = Answers {
        refused: get(reader, "refused"),
        retry: get(reader, "retry"),
        duplicate: get(reader, "duplicate"),
        accepted: get(reader, "accepted"),
        code: get(reader, "code"),
        message: get(reader, "message"),
        field: get(reader, "field"),
        value: get(reader, "value"),
        external_id: get(reader, "external_id"),
    };
    keys.end(reader);
    Some(answers)
}

/// `absent: [{code: UNIT_UNKNOWN, waits_for: 'reference/uom/{{ record.base_uom }}', hold: 24h}]`; `served` are the domains that the
/// destination gets.
pub(crate) fn absent(reader: &mut Reader<'_>, node: Option<&Node>, domain: Option<Domain>, served: &[Domain]) -> Vec<Absent> {
    reader.list(node, "absent").iter().filter_map(|node| reason(reader, node, domain, served)).collect()
}

fn reason(reader: &mut Reader<'_>, node: &Node, domain: Option<Domain>, served: &[Domain]) -> Option<Absent> {
    let mut keys: Fields<'_> = reader.fields(node, "a reason of absence")?;
    let code = keys.text(reader, "code");
    let when = keys.get("when").map(|node| expression(reader, node, "when", around(domain)));
    if code.is_none() && when.is_none() {
        reader.problem(node, "a reason of absence has a `code`, or `when` (an expression over the answer)", None);
    }
    let waits_for = keys.need(reader, "waits_for", "the reason of absence");
    let waits_for = waits_for.and_then(|node| self::waits_for(reader, node, domain, served));
    let hold = reader.duration(keys.get("hold"), "hold", HOLD);
    keys.end(reader);
    // A condition that cannot be read must not leave a reason that always holds.
    let when = match when {
        Some(None) => return None,
        Some(when) => when,
        None => None,
    };
    let (domain, waits_for) = waits_for?;
    Some(Absent { code, when, waits_for, domain, hold })
}

fn expression(reader: &mut Reader<'_>, node: &Node, key: &str, names: BTreeMap<&'static str, Shape>) -> Option<AnswerExpression> {
    let written = reader.text(node, key)?;
    let compiled = match AnswerExpression::compile(&written) {
        Ok(compiled) => compiled,
        Err(problem) => {
            reader.problem(node, format!("{key}: {}", problem.message), None);
            return None;
        }
    };
    let around = Surroundings { names, tables: BTreeMap::new(), mappings: &BTreeSet::new(), writes: None };
    for finding in template::expression(&written, &around).findings {
        reader.problem(node, format!("{key}: {}", finding.message), finding.hint);
    }
    Some(compiled)
}

/// The template of a record's name. Its domain is written out, so that the check can tell whether such a record ever comes.
fn waits_for(reader: &mut Reader<'_>, node: &Node, domain: Option<Domain>, served: &[Domain]) -> Option<(Domain, KeyTemplate)> {
    let written = reader.text(node, "waits_for")?;
    let named = written.split_once('/').map(|(named, _)| named).unwrap_or_default();
    let Ok(target) = named.parse::<Domain>() else {
        let hint = text::did_you_mean(named, Domain::ALL.iter().map(|domain| domain.name()));
        let hint = hint.or_else(|| Some("such as 'reference/uom/{{ record.base_uom }}'".to_owned()));
        reader.problem(node, format!("waits_for: {written:?} does not begin with a domain"), hint);
        return None;
    };
    if !served.contains(&target) {
        let message = format!("waits_for: this destination gets no {target}, so it would be waited for in vain");
        reader.problem(node, message, None);
        return None;
    }
    let compiled = match KeyTemplate::compile(&written) {
        Ok(compiled) => compiled,
        Err(problem) => {
            reader.problem(node, format!("waits_for: {}", problem.message), None);
            return None;
        }
    };
    let around = Surroundings { names: around(domain), tables: BTreeMap::new(), mappings: &BTreeSet::new(), writes: None };
    let findings = template::template(&written, &around).findings;
    let is_known = findings.is_empty();
    for finding in findings {
        reader.problem(node, format!("waits_for: {}", finding.message), finding.hint);
    }
    if let Some(Err(error)) =
        domain.filter(|_| is_known).and_then(|domain| example(&compiled, domain)).map(|key| Topical::parse(&key))
    {
        reader.problem(node, format!("waits_for: {error}"), None);
    }
    Some((target, compiled))
}

/// What the template makes of a record with every field filled; none where it needs an answer's body.
fn example(template: &KeyTemplate, domain: Domain) -> Option<String> {
    let golden = synthetic::golden(domain)?;
    let key = golden.data.as_ref().map(Data::key)?.ok()?;
    let view = AnswerView::new(422, "PUT", "", None).with_record(&View::new(&golden, domain, &key));
    template.render(&view).ok()
}

/// What an expression over an answer may name.
fn names() -> BTreeMap<&'static str, Shape> {
    ["status", "method", "text", "body"].map(|name| (name, Shape::Any)).into()
}

/// The answer, and the record that was sent.
fn around(domain: Option<Domain>) -> BTreeMap<&'static str, Shape> {
    let mut names = names();
    match domain {
        Some(domain) => {
            let record = template::record_names(domain);
            names.extend(record.get(domain.name()).map(|shape| ("record", shape.clone())));
            names.extend(record);
        }
        // The domain itself is a problem that is reported already.
        None => names.extend(["record", "meta", "key", "domain"].map(|name| (name, Shape::Any))),
    }
    names
}
