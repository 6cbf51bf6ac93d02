//! Rendered objects, parsed: assertions look at fields, never at text.

use anyhow::{Context, Result};
use serde_json::Value;

/// Everything that one `helm template` printed.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub text: String,
    pub objects: Vec<Object>,
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(pub Value);

impl Manifest {
    /// # Errors
    /// When a document is no YAML.
    pub fn parse(text: String) -> Result<Self> {
        let mut objects = Vec::new();
        for document in text.split("\n---\n") {
            let document = document.strip_prefix("---\n").unwrap_or(document);
            let value: Value =
                serde_saphyr::from_str(document).with_context(|| format!("parsing a rendered document:\n{document}"))?;
            if !value.is_null() {
                objects.push(Object(value));
            }
        }
        Ok(Self { text, objects })
    }

    /// All of a kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Vec<&Object> {
        self.objects.iter().filter(|object| object.kind() == kind).collect()
    }

    /// The one of that kind and name.
    ///
    /// # Panics
    /// When there is none: the test fails with the names that there are.
    #[must_use]
    #[expect(clippy::panic, reason = "only tests call it, and it says more than an unwrap")]
    pub fn get(&self, kind: &str, name: &str) -> &Object {
        self.find(kind, name).unwrap_or_else(|| {
            let names: Vec<&str> = self.kind(kind).iter().map(|object| object.name()).collect();
            panic!("no {kind} {name}, only {names:?}")
        })
    }

    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.kind() == kind && object.name() == name)
    }

    /// Everything that makes pods, and the test's own pod.
    #[must_use]
    pub fn pods(&self) -> Vec<&Object> {
        self.objects.iter().filter(|object| object.pod().is_some()).collect()
    }
}

impl Object {
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// A field by its JSON pointer; null when it is missing.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The pod's specification, if it makes pods.
    #[must_use]
    pub fn pod(&self) -> Option<&Value> {
        match self.kind() {
            "Pod" => self.0.get("spec"),
            "StatefulSet" | "Deployment" | "Job" => self.0.pointer("/spec/template/spec"),
            _ => None,
        }
    }

    /// All containers, the first ones first.
    #[must_use]
    pub fn containers(&self) -> Vec<&Value> {
        let list = |name: &str| self.pod().and_then(|pod| pod.get(name)?.as_array()).into_iter().flatten();
        list("initContainers").chain(list("containers")).collect()
    }

    /// The words behind the command of a container.
    #[must_use]
    pub fn args(container: &Value) -> Vec<&str> {
        container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The value behind an option of the first container.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let containers = self.pod()?.get("containers")?.as_array()?;
        let args = Self::args(containers.first()?);
        args.iter().position(|word| *word == name).and_then(|at| args.get(at + 1).copied())
    }
}
