//! The list of what is in the image, as CycloneDX 1.6: programs, crates, the C code inside, the files from Debian, Rust itself. It
//! follows from Cargo.lock, the sources and the commit's time, so that a second build of one commit writes the same list.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use cargo_metadata::Package;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    PROGRAMS,
    crates::Crates,
    debian::{self, Debian},
    native::{self, Native},
};

/// The list for the image laid out at `image`, from the workspace at `workspace`; `epoch` is the commit's time in seconds.
///
/// # Errors
/// Whatever keeps it from being complete; an incomplete list is never written.
pub fn list(workspace: &Path, image: &Path, epoch: i64) -> Result<Value> {
    let crates = Crates::of(workspace)?;
    let natives = native::natives(&crates)?;
    let debian = debian::packages(image)?;
    let rust = rust_version(workspace)?;

    let mut components = Vec::new();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in crates.linked() {
        components.push(crate_component(&crates, package, image)?);
        let mut own: Vec<_> = crates.needs(package).into_iter().map(reference).collect();
        own.extend(natives.iter().filter(|native| *package.name == native.linked_by).map(native_reference));
        needs.insert(reference(package), own);
    }
    for package in crates.building() {
        let mut component = crate_component(&crates, package, image)?;
        component["scope"] = json!("excluded");
        component["description"] = json!("runs while the programs are built; no part of them");
        components.push(component);
    }
    components.extend(natives.iter().map(native_component));
    components.extend(debian.iter().map(debian_component));
    components.push(json!({
        "type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": rust,
        "purl": format!("pkg:generic/rust-std@{rust}"), "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "description": "Rust's standard library, as compiled into every program",
    }));
    components.sort_by_key(|component| component["bom-ref"].as_str().map(str::to_owned));

    let mut top: Vec<_> = crates.linked().filter(|package| is_program(package)).map(reference).collect();
    top.extend(debian.iter().map(debian_reference));
    top.push("rust-std".to_owned());
    needs.insert("millrace".to_owned(), top);
    let version = crates.named(PROGRAMS[0]).context("finding the version")?.version.to_string();
    let timestamp = jiff::Timestamp::from_second(epoch).context("reading the commit's time")?.to_string();
    let dependencies: Vec<_> = needs
        .into_iter()
        .map(|(reference, mut needed)| {
            needed.sort();
            needed.dedup();
            json!({"ref": reference, "dependsOn": needed})
        })
        .collect();
    let digest: [u8; 32] = Sha256::digest(serde_json::to_vec(&components)?).into();
    let serial = uuid::Builder::from_custom_bytes(digest[..16].try_into().expect("16 of 32 bytes")).into_uuid();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial.urn().to_string(),
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "tools": {"components": [{"type": "application", "name": "millrace-image", "version": version}]},
            "component": {
                "type": "container", "bom-ref": "millrace", "name": "millrace", "version": version,
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn is_program(package: &Package) -> bool {
    PROGRAMS.contains(&package.name.as_str())
}

fn reference(package: &Package) -> String {
    format!("cargo:{}@{}", package.name, package.version)
}

fn native_reference(native: &Native) -> String {
    format!("c:{}", native.name)
}

fn debian_reference(package: &Debian) -> String {
    format!("debian:{}", package.name)
}

fn crate_component(crates: &Crates, package: &Package, image: &Path) -> Result<Value> {
    let mut component = Map::new();
    component.insert("type".into(), json!(if is_program(package) { "application" } else { "library" }));
    component.insert("bom-ref".into(), json!(reference(package)));
    component.insert("name".into(), json!(*package.name));
    component.insert("version".into(), json!(package.version.to_string()));
    if let Some(license) = &package.license {
        // Crates from before SPDX expressions write a slash for "or".
        component.insert("licenses".into(), json!([{"expression": license.replace(" / ", "/").replace('/', " OR ")}]));
    }
    if package.source.is_some() {
        component.insert(
            "purl".into(),
            json!(format!("pkg:cargo/{}@{}", package.name, package.version.to_string().replace('+', "%2B"))),
        );
    }
    let digest = if is_program(package) {
        let path = image.join("usr/local/bin").join(package.name.as_str());
        let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
        Some(HEXLOWER.encode(&Sha256::digest(bytes)))
    } else {
        crates.checksum(package).map(str::to_owned)
    };
    if let Some(digest) = digest {
        component.insert("hashes".into(), json!([{"alg": "SHA-256", "content": digest}]));
    }
    Ok(Value::Object(component))
}

fn native_component(native: &Native) -> Value {
    let mut component = Map::new();
    component.insert("type".into(), json!("library"));
    component.insert("bom-ref".into(), json!(native_reference(native)));
    component.insert("name".into(), json!(native.name));
    component.insert("description".into(), json!(format!("C code, linked in by {}", native.linked_by)));
    let license = match native.license {
        Some(expression) => json!([{"expression": expression}]),
        None => json!([{"license": {"name": format!("LICENSE.{} of librdkafka", native.name)}}]),
    };
    component.insert("licenses".into(), license);
    if let Some(version) = &native.version {
        component.insert("version".into(), json!(version));
        if let Some(product) = native.cpe {
            component.insert("cpe".into(), json!(format!("cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*")));
        }
        let purl = native.origin.map_or_else(
            || format!("pkg:generic/{}@{version}", native.name.to_lowercase()),
            |(repository, tag)| format!("pkg:github/{}@{tag}{version}", repository.to_lowercase()),
        );
        component.insert("purl".into(), json!(purl));
    }
    Value::Object(component)
}

fn debian_component(package: &Debian) -> Value {
    let Debian { name, version, architecture } = package;
    let escaped = version.replace('+', "%2B").replace(':', "%3A");
    json!({
        "type": "library", "bom-ref": debian_reference(package), "name": name, "version": version,
        "purl": format!("pkg:deb/debian/{name}@{escaped}?arch={architecture}"),
        "description": format!("files of Debian's package; licence in /usr/share/doc/{name}/copyright"),
    })
}

fn rust_version(workspace: &Path) -> Result<String> {
    let output =
        Command::new("rustc").current_dir(workspace).arg("--version").output().context("asking rustc for its version")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).map(str::to_owned).with_context(|| format!("reading the version in {text:?}"))
}
