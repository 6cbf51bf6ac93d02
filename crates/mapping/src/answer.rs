//! Expressions over a destination's answer: whether it is a yes, what its code is, which record it misses.
//!
//! A member that a body does not have counts as false and has no value, because answers leave out what does not apply. Everything
//! else that is not there is an error: a member of a missing member, and any use of `body` where the answer is not JSON.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use minijinja::{Environment, UndefinedBehavior, Value, value::Serde};

use crate::{Error, Problem, Tables, View, engine};

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = engine::environment(&Tables::default());
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment
}

/// An answer as expressions see it: `status`, `method` (`PUT` or `DELETE`), `text`, and `body` where the text is JSON.
#[derive(Clone, Debug)]
pub struct AnswerView {
    names: BTreeMap<&'static str, Value>,
}

impl AnswerView {
    #[must_use]
    pub fn new(status: u16, method: &str, text: &str, body: Option<&serde_json::Value>) -> Self {
        let mut names =
            BTreeMap::from([("status", Value::from(status)), ("method", Value::from(method)), ("text", Value::from(text))]);
        names.extend(body.map(|body| ("body", Value::from(Serde(body)))));
        Self { names }
    }

    /// Beside the answer the record that was sent: its domain's name and `record`, `meta`, `key`, `domain`.
    #[must_use]
    pub fn with_record(mut self, view: &View) -> Self {
        for name in [view.domain.name(), "meta", "key", "domain"] {
            let value = view.context.get_attr(name).unwrap_or_default();
            if name == view.domain.name() {
                self.names.insert("record", value.clone());
            }
            self.names.insert(name, value);
        }
        self
    }

    fn context(&self) -> Value {
        Value::from(self.names.clone())
    }
}

/// A compiled expression such as `status in [200, 201] and body.ok`.
#[derive(Clone)]
pub struct AnswerExpression {
    text: Arc<str>,
    compiled: Arc<minijinja::Expression<'static, 'static>>,
}

impl AnswerExpression {
    /// # Errors
    /// When the text is not a Jinja expression.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let compiled =
            ENVIRONMENT.compile_expression_owned(text.to_owned()).map_err(|error| engine::problem("", text, &error))?;
        Ok(Self { text: text.into(), compiled: Arc::new(compiled) })
    }

    /// Whether the answer is meant.
    ///
    /// # Errors
    /// When the expression uses what the answer does not have, or takes too long.
    pub fn is_true(&self, view: &AnswerView) -> Result<bool, Error> {
        self.eval(view).map(|value| value.is_true())
    }

    /// What the answer says in this place: a text or number that is not empty.
    ///
    /// # Errors
    /// As [`AnswerExpression::is_true`], and when there is a list or an object in this place.
    pub fn value(&self, view: &AnswerView) -> Result<Option<String>, Error> {
        let value = self.eval(view)?;
        if value.is_undefined() {
            return Ok(None);
        }
        engine::scalar(&value).map(|text| text.map(|text| text.into_owned())).map_err(|error| self.translate(&error))
    }

    fn eval(&self, view: &AnswerView) -> Result<Value, Error> {
        self.compiled.eval(view.context()).map_err(|error| self.translate(&error))
    }

    fn translate(&self, error: &minijinja::Error) -> Error {
        Error { mapping: Box::default(), ..engine::translate(error, "", |_| Some(&self.text)) }
    }
}

impl fmt::Debug for AnswerExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerExpression({:?})", self.text)
    }
}

/// A record's name as a template over record and answer: `reference/uom/{{ record.base_uom }}`. Every `{{ }}` is one component.
#[derive(Clone)]
pub struct KeyTemplate {
    text: Arc<str>,
    environment: Arc<Environment<'static>>,
}

/// A template stands alone in its environment under this name.
const NAME: &str = "waits_for.txt.j2";

impl KeyTemplate {
    /// # Errors
    /// When the text is not a Jinja template.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let mut environment = environment();
        environment.set_formatter(|out, _, value| {
            let Some(text) = engine::scalar(value)? else {
                return Err(engine::refuse("", "a component of the key is empty"));
            };
            text.bytes().try_for_each(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    out.write_str(char::from(byte).encode_utf8(&mut [0; 4]))
                }
                _ => out.write_str(&format!("%{byte:02X}")),
            })?;
            Ok(())
        });
        let added = environment.add_template_owned(NAME, text.to_owned());
        added.map_err(|error| engine::problem("", text, &error))?;
        Ok(Self { text: text.into(), environment: Arc::new(environment) })
    }

    /// The name of the record, `domain/key`.
    ///
    /// # Errors
    /// When the template uses what is not there or is empty, or takes too long.
    pub fn render(&self, view: &AnswerView) -> Result<String, Error> {
        let template = self.environment.get_template(NAME);
        let text = template.and_then(|template| template.render(view.context()));
        let text = text.map_err(|error| Error {
            mapping: Box::default(),
            line: None,
            ..engine::translate(&error, "", |_| Some(&self.text))
        })?;
        Ok(text.trim().to_owned())
    }
}

impl fmt::Debug for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyTemplate({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use model::{Data, Domain, Golden, GoldenMeta, RecordKey};
    use serde_json::json;

    use super::*;

    fn view(body: &serde_json::Value) -> AnswerView {
        AnswerView::new(200, "PUT", &body.to_string(), Some(body))
    }

    fn is_true(expression: &str, view: &AnswerView) -> Result<bool, Error> {
        AnswerExpression::compile(expression).unwrap().is_true(view)
    }

    #[test]
    fn a_missing_member_is_false_and_a_member_of_it_is_an_error() {
        let view = view(&json!({"ok": true, "errors": []}));
        for (expression, expected) in [
            ("status in [200, 201] and body.ok", true),
            ("body.fail", false),
            ("body.errors", false),
            ("not body.errors and method == 'PUT'", true),
            ("status == 204 or body.ok == true", true),
            ("'ok' in text", true),
        ] {
            assert_eq!(is_true(expression, &view), Ok(expected), "{expression}");
        }
        for expression in ["body.fail.code == 3", "body.errors[0].code == 3", "body.ok | integer"] {
            assert!(is_true(expression, &view).is_err(), "{expression}");
        }
    }

    #[test]
    fn an_answer_that_is_not_json_has_no_body() {
        let view = AnswerView::new(200, "PUT", "OK", None);
        assert!(is_true("body.ok", &view).unwrap_err().message.contains("body"));
        assert!(is_true("not body.error", &view).is_err(), "what was not looked at is no yes");
        assert_eq!(is_true("status == 204 or text == 'OK'", &view), Ok(true));
    }

    #[test]
    fn an_expression_that_does_not_end_is_an_error() {
        let endless = "range(100000) | map('string') | join | length > (range(100000) | list | length)";
        let error = is_true(&[endless; 20].join(" and "), &view(&json!({}))).unwrap_err();
        assert_eq!(error.code, Error::ENDLESS, "{error:?}");
    }

    #[test]
    fn a_value_is_a_text_or_nothing() {
        let view = view(&json!({"errors": [{"code": 17, "text": " "}], "id": null}));
        let value = |expression: &str| AnswerExpression::compile(expression).unwrap().value(&view);
        assert_eq!(value("body.errors[0].code"), Ok(Some("17".to_owned())));
        assert_eq!(value("body.errors[0].text"), Ok(None));
        assert_eq!((value("body.id"), value("body.nothing")), (Ok(None), Ok(None)));
        assert!(value("body.errors").is_err());
    }

    #[test]
    fn a_key_template_encodes_each_component() {
        let render = |text: &str, body| KeyTemplate::compile(text).unwrap().render(&view(&body));
        assert_eq!(render("item/{{ body.a }}/{{ body.b }}", json!({"a": "A/B C", "b": 7})), Ok("item/A%2FB%20C/7".to_owned()));
        assert!(render("item/{{ body.a }}", json!({"a": ""})).is_err());
        assert!(render("item/{{ body.a }}", json!({})).is_err());
        assert!(KeyTemplate::compile("item/{{ body.a").is_err());
    }

    #[test]
    fn the_record_stands_beside_the_answer_under_both_names() {
        let data: Data = crate::record(Domain::Item, r#"{"item_id": "X", "revision": "A", "base_uom": "KI8"}"#).unwrap();
        let meta: GoldenMeta = serde_json::from_value(json!({
            "revision": 1, "change_id": "00000000-0000-7000-8000-000000000001", "operation": "UPSERT", "policy_version": "",
            "owner": "erp", "occurred_at": "2026-01-02T03:04:05Z", "accepted_at": "2026-01-02T03:04:06Z",
            "correlation_id": "00000000-0000-7000-8000-000000000001",
        }))
        .unwrap();
        let key = RecordKey::new(Domain::Item, &["X", "A"]).unwrap();
        let record = View::new(&Golden { meta, data: Some(data) }, Domain::Item, &key);
        let view = view(&json!({})).with_record(&record);
        for name in ["record", "item"] {
            let template = KeyTemplate::compile(&format!("reference/uom/{{{{ {name}.base_uom }}}}")).unwrap();
            assert_eq!(template.render(&view), Ok("reference/uom/KI8".to_owned()));
        }
    }
}
