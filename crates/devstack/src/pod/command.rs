//! What a container's process is started with: command, arguments and environment, resolved as a kubelet resolves them.
//!
//! One thing differs and is said here: all pods share this machine's network, so each has a loopback address of its own and an
//! address that means "all interfaces" becomes that one. Nothing listens beyond loopback.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    objects::{Files, Objects},
    spec::{Container, Manifest, ValueFrom},
};

/// What is known of the place where the pod runs.
pub(super) struct Place<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) address: Ipv4Addr,
    pub(super) node: &'a str,
}

/// A container's words, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
}

pub(super) fn words(container: &Container, objects: &Objects, place: &Place<'_>) -> Result<Words> {
    let environment = environment(container, objects, place)?;
    let expand = |word: &String| here(&expanded(word, &environment), place.address);
    let mut words = container.command.iter().chain(&container.args).map(expand);
    let program = words.next().context("finding the command: the container has none, and images are not looked into here")?;
    let arguments = words.collect();
    let environment = environment.into_iter().map(|(name, value)| (name, here(&value, place.address))).collect();
    Ok(Words { program, arguments, environment })
}

fn environment(container: &Container, objects: &Objects, place: &Place<'_>) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOSTNAME".to_owned(), place.manifest.metadata.name.clone()),
    ]);
    for from in &container.env_from {
        let files = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => objects.config_map_files(&map.name, map.optional)?,
            (None, Some(secret)) => objects.secret_files(&secret.name, secret.optional)?,
            (None, None) => None,
        };
        for (key, bytes) in files.into_iter().flatten() {
            environment.insert(format!("{}{key}", from.prefix), text(bytes));
        }
    }
    for variable in &container.env {
        let value = match &variable.value_from {
            None => Some(expanded(&variable.value, &environment)),
            Some(from) => value_from(from, container, objects, place)
                .with_context(|| format!("resolving the variable {}", variable.name))?,
        };
        if let Some(value) = value {
            environment.insert(variable.name.clone(), value);
        }
    }
    Ok(environment)
}

fn value_from(from: &ValueFrom, container: &Container, objects: &Objects, place: &Place<'_>) -> Result<Option<String>> {
    if let Some(field) = &from.field_ref {
        return field_of(&field.field_path, place).map(Some);
    }
    if let Some(key) = &from.secret_key_ref {
        return key_of(objects.secret_files(&key.name, key.optional)?, &key.key, key.optional);
    }
    if let Some(key) = &from.config_map_key_ref {
        return key_of(objects.config_map_files(&key.name, key.optional)?, &key.key, key.optional);
    }
    if let Some(field) = &from.resource_field_ref {
        let (group, name) = field.resource.split_once('.').context("reading the name of a resource")?;
        let quantities = if group == "limits" { &container.resources.limits } else { &container.resources.requests };
        return quantities.get(name).and_then(quantity).map(Some).with_context(|| format!("reading {}", field.resource));
    }
    bail!("only fieldRef, resourceFieldRef, secretKeyRef and configMapKeyRef are known here")
}

fn key_of(files: Option<&Files>, key: &str, may_miss: bool) -> Result<Option<String>> {
    match files.and_then(|files| files.get(key)) {
        Some(bytes) => Ok(Some(text(bytes))),
        None if may_miss => Ok(None),
        None => bail!("finding the key {key}"),
    }
}

fn field_of(path: &str, place: &Place<'_>) -> Result<String> {
    let metadata = &place.manifest.metadata;
    let quoted = |name: &str| {
        let rest = path.strip_prefix(name)?.strip_prefix("['")?;
        rest.strip_suffix("']")
    };
    if let Some(key) = quoted("metadata.labels") {
        return Ok(metadata.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = quoted("metadata.annotations") {
        return Ok(metadata.annotations.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "status.podIP" | "status.podIPs" | "status.hostIP" => place.address.to_string(),
        "spec.nodeName" => place.node.to_owned(),
        other => bail!("the field {other} is not known here"),
    })
}

/// A quantity as the number of whole units that the downward API gives.
fn quantity(value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{:.0}", (number * factor).ceil()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `$(NAME)` becomes the variable's value, `$$(NAME)` the text `$(NAME)`; an unknown name stays as it is written.
fn expanded(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match environment.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// All interfaces become the pod's own.
fn here(word: &str, address: Ipv4Addr) -> String {
    let own = format!("{address}:");
    word.replace("0.0.0.0:", &own).replace("[::]:", &own)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(pod: Value, objects: &Objects) -> Result<Words> {
        let manifest: Manifest = serde_json::from_value(pod).unwrap();
        let place = Place { manifest: &manifest, address: Ipv4Addr::new(127, 244, 0, 7), node: "node" };
        words(&manifest.spec.containers[0], objects, &place)
    }

    #[test]
    fn words_are_resolved_as_a_kubelet_does_and_listen_on_the_pods_own_address() {
        let mut objects = Objects::default();
        objects.secret("user", &[("name", "sink-ulm")]);
        let pod = json!({"metadata": {"name": "sink-0"}, "spec": {"containers": [{
            "command": ["millrace-sink"],
            "args": ["--ops", "0.0.0.0:8081", "--instance=$(INSTANCE)", "$$(INSTANCE)", "$(UNKNOWN)", "a$b"],
            "env": [
                {"name": "INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "GREETING", "value": "I am $(INSTANCE)"},
                {"name": "USER", "valueFrom": {"secretKeyRef": {"name": "user", "key": "name"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "other", "key": "name", "optional": true}}},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
            ],
            "resources": {"limits": {"memory": "256Mi"}},
        }]}});
        let words = resolved(pod, &objects).unwrap();
        assert_eq!(words.program, "millrace-sink");
        let expected = ["--ops", "127.244.0.7:8081", "--instance=sink-0", "$(INSTANCE)", "$(UNKNOWN)", "a$b"];
        assert_eq!(words.arguments, expected);
        assert_eq!(words.environment["GREETING"], "I am sink-0");
        assert_eq!(words.environment["USER"], "sink-ulm");
        assert_eq!(words.environment["LIMIT"], "268435456");
        assert!(!words.environment.contains_key("NONE"));
    }

    #[test]
    fn a_variable_of_a_missing_secret_is_named() {
        let pod = json!({"spec": {"containers": [{"command": ["x"], "env": [
            {"name": "USER", "valueFrom": {"secretKeyRef": {"name": "user", "key": "name"}}}]}]}});
        let error = resolved(pod, &Objects::default()).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains("variable USER") && said.contains("Secret user"), "{said}");
    }
}
