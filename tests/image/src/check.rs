//! What must be true of the image as it lies there: nobody's root, nothing to run but the programs, labels of the commit, a list that
//! tells the truth. Each function answers with sentences; none means good.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{NOTICES, PROGRAMS, SBOM};

/// The user of the image.
pub const USER: u32 = 65532;

/// What the labels must say.
pub struct Commit {
    pub version: String,
    pub revision: String,
    pub created: String,
}

/// The image's configuration against the commit.
#[must_use]
pub fn configuration(config: &Value, commit: &Commit) -> Vec<String> {
    let mut problems = Vec::new();
    let mut same = |what: &str, found: &Value, expected: &str| {
        if found.as_str() != Some(expected) {
            problems.push(format!("{what} is {found}, expected {expected:?}"));
        }
    };
    same("the user", &config["User"], &format!("{USER}:{USER}"));
    for (label, expected) in [
        ("title", "millrace"),
        ("licenses", "Apache-2.0"),
        ("version", commit.version.as_str()),
        ("revision", commit.revision.as_str()),
        ("created", commit.created.as_str()),
    ] {
        let label = format!("org.opencontainers.image.{label}");
        same(&format!("label {label}"), &config["Labels"][&label], expected);
    }
    if !config["Entrypoint"].is_null() {
        problems.push("there is an entry point: the chart names the program, one image has six".to_owned());
    }
    problems
}

/// Everything that lies in the image, against what may.
///
/// # Errors
/// The tree cannot be read.
pub fn files(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing `{}`", folder.display()))? {
            let path = entry?.path();
            let inside = path.strip_prefix(root).expect("found below the root").to_owned();
            let metadata = fs::symlink_metadata(&path)?;
            problems.extend(permissions(&inside, &metadata));
            if metadata.is_dir() {
                folders.push(path);
            } else {
                if !expected(&inside) {
                    problems.push(format!("/{} has no business in the image", inside.display()));
                }
                seen.insert(inside);
            }
        }
    }
    let wanted =
        PROGRAMS.iter().map(|program| Path::new("usr/local/bin").join(program)).chain([SBOM, NOTICES].map(PathBuf::from));
    problems.extend(wanted.filter(|path| !seen.contains(path)).map(|path| format!("/{} is missing", path.display())));
    Ok(problems)
}

fn expected(inside: &Path) -> bool {
    let text = inside.to_string_lossy();
    let etc = ["etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/os-release", "etc/ssl/certs/ca-certificates.crt"];
    let library = (text.starts_with("lib") || text.starts_with("usr/lib")) && text.contains(".so");
    library
        || etc.contains(&&*text)
        || text.starts_with("usr/share/doc/")
        || text.starts_with("var/lib/dpkg/status.d/")
        || text.strip_prefix("usr/local/bin/").is_some_and(|name| PROGRAMS.contains(&name))
}

fn permissions(inside: &Path, metadata: &fs::Metadata) -> Option<String> {
    let mode = metadata.permissions().mode();
    let shown = inside.display();
    if metadata.is_file() && mode & 0o6000 != 0 {
        return Some(format!("/{shown} runs as somebody else (mode {mode:o})"));
    }
    let writable =
        mode & 0o002 != 0 || metadata.uid() == USER && mode & 0o200 != 0 || metadata.gid() == USER && mode & 0o020 != 0;
    let may_be = ["tmp", "var/lib/millrace"].contains(&&*inside.to_string_lossy());
    if !metadata.is_symlink() && writable != may_be {
        return Some(format!(
            "/{shown} {} by the image's user (mode {mode:o})",
            if writable { "can be written" } else { "cannot be written" }
        ));
    }
    None
}

/// The list in the image against the programs beside it: their digests, and the versions that the C libraries say of themselves.
///
/// # Errors
/// The list or a program cannot be read.
pub fn list(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(SBOM)).context("reading the list of what is in the image")?;
    let list: Value = serde_json::from_str(&text).context("reading the list of what is in the image")?;
    let components = list["components"].as_array().context("finding components in the list")?;
    let find = |name: &str| components.iter().find(|component| component["name"] == name);
    let mut problems = Vec::new();
    for program in PROGRAMS {
        let bytes = fs::read(root.join("usr/local/bin").join(program)).with_context(|| format!("reading {program}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let digest = HEXLOWER.encode(&Sha256::digest(&bytes));
        if find(program).is_none_or(|component| component["hashes"][0]["content"] != digest.as_str()) {
            problems.push(format!("the list has another digest for {program}"));
        }
        // What these libraries say of themselves is in the program word for word, a whole string or the begin of one.
        let mut says = vec![("OpenSSL", "OpenSSL ", " "), ("zlib", "\0", "\0")];
        if *program == "millrace-tracker" {
            says.push(("SQLite", "", "\0"));
        }
        for (name, before, after) in says {
            let Some(version) = find(name).and_then(|component| component["version"].as_str()) else {
                problems.push(format!("the list has no version of {name}"));
                continue;
            };
            let words = format!("{before}{version}{after}");
            if !text.contains(&words) {
                problems.push(format!("{program} does not contain {words:?}: the list has {version} of {name}"));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_a_key_and_a_writable_folder_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in
            ["bin/sh", "usr/local/bin/millrace", "usr/local/bin/curl", "etc/millrace.key", "lib/x86_64-linux-gnu/libc.so.6"]
        {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "x").unwrap();
        }
        fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(root.join("bin/sh"), fs::Permissions::from_mode(0o4755)).unwrap();
        let problems = files(root).unwrap();
        for expected in [
            "/bin/sh has no business in the image",
            "/bin/sh runs as somebody else (mode 104755)",
            "/usr/local/bin/curl has no business in the image",
            "/etc/millrace.key has no business in the image",
            "/etc can be written by the image's user (mode 40777)",
            "/usr/local/bin/millrace-sink is missing",
        ] {
            assert!(problems.iter().any(|problem| problem == expected), "{expected}: {problems:#?}");
        }
        assert!(
            !problems.iter().any(|problem| problem.contains("libc.so.6") || problem.contains("bin/millrace ")),
            "{problems:#?}"
        );
    }

    #[test]
    fn the_root_user_and_another_commits_labels_are_found() {
        let commit = Commit { version: "0.1.0".into(), revision: "abc".into(), created: "2026-01-01T00:00:00Z".into() };
        let label = |name: &str| format!("org.opencontainers.image.{name}");
        let mut config = serde_json::json!({"User": "65532:65532", "Labels": {
            label("title"): "millrace", label("licenses"): "Apache-2.0", label("version"): "0.1.0", label("revision"): "abc",
            label("created"): "2026-01-01T00:00:00Z"}});
        assert_eq!(configuration(&config, &commit), Vec::<String>::new());
        config["User"] = "root".into();
        config["Labels"][label("revision")] = "abd".into();
        assert_eq!(
            configuration(&config, &commit),
            [
                "the user is \"root\", expected \"65532:65532\"",
                "label org.opencontainers.image.revision is \"abd\", expected \"abc\""
            ]
        );
    }
}
