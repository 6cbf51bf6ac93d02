//! The C code in the programs. Cargo knows only the crates around it, so this is the list that has to be kept by hand, and the check
//! that it was: versions are read from the sources that are compiled, and a crate with C code that has no row here is an error.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::DependencyKind;

use crate::crates::Crates;

/// One C library as it is linked in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    pub name: String,
    /// None for the small files that librdkafka carries without saying which release they are.
    pub version: Option<String>,
    /// SPDX expression, or none where only the text tells.
    pub license: Option<&'static str>,
    /// `vendor:product`, where vulnerabilities are filed under one.
    pub cpe: Option<&'static str>,
    /// `owner/repository`, where releases are tagged, and what stands before the version in a tag.
    pub origin: Option<(&'static str, &'static str)>,
    /// The crate that links it.
    pub linked_by: &'static str,
}

/// Where a library's sources lie and how they say their version.
struct Row {
    name: &'static str,
    /// The crate that holds the sources, and the one that links the result.
    holds: &'static str,
    links: &'static str,
    file: &'static str,
    version: Version,
    license: &'static str,
    cpe: Option<&'static str>,
    origin: Option<(&'static str, &'static str)>,
}

enum Version {
    /// `#define NAME "1.2.3"`, after this prefix.
    Text(&'static str, &'static str),
    /// One number per macro.
    Numbers([&'static str; 3]),
    /// `0xMMmmrrpp`.
    Hexadecimal(&'static str),
    /// Major, two digits of minor, two of patch.
    Decimal(&'static str),
    /// OpenSSL's `MAJOR=3` lines.
    Assigned([&'static str; 3]),
}

const ROWS: &[Row] = &[
    Row {
        name: "librdkafka",
        holds: "rdkafka-sys",
        links: "rdkafka-sys",
        file: "librdkafka/src/rdkafka.h",
        version: Version::Hexadecimal("RD_KAFKA_VERSION"),
        license: "BSD-2-Clause",
        cpe: None,
        origin: Some(("confluentinc/librdkafka", "v")),
    },
    Row {
        name: "lz4",
        holds: "rdkafka-sys",
        links: "rdkafka-sys",
        file: "librdkafka/src/lz4.h",
        version: Version::Numbers(["LZ4_VERSION_MAJOR", "LZ4_VERSION_MINOR", "LZ4_VERSION_RELEASE"]),
        license: "BSD-2-Clause",
        cpe: Some("lz4_project:lz4"),
        origin: Some(("lz4/lz4", "v")),
    },
    Row {
        name: "cJSON",
        holds: "rdkafka-sys",
        links: "rdkafka-sys",
        file: "librdkafka/src/cJSON.h",
        version: Version::Numbers(["CJSON_VERSION_MAJOR", "CJSON_VERSION_MINOR", "CJSON_VERSION_PATCH"]),
        license: "MIT",
        cpe: Some("cjson_project:cjson"),
        origin: Some(("DaveGamble/cJSON", "v")),
    },
    Row {
        name: "nanopb",
        holds: "rdkafka-sys",
        links: "rdkafka-sys",
        file: "librdkafka/src/nanopb/pb.h",
        version: Version::Text("NANOPB_VERSION", "nanopb-"),
        license: "Zlib",
        cpe: Some("nanopb_project:nanopb"),
        origin: Some(("nanopb/nanopb", "")),
    },
    Row {
        name: "OpenSSL",
        holds: "openssl-src",
        links: "openssl-sys",
        file: "openssl/VERSION.dat",
        version: Version::Assigned(["MAJOR", "MINOR", "PATCH"]),
        license: "Apache-2.0",
        cpe: Some("openssl:openssl"),
        origin: Some(("openssl/openssl", "openssl-")),
    },
    Row {
        name: "zlib",
        holds: "libz-sys",
        links: "libz-sys",
        file: "src/zlib/zlib.h",
        version: Version::Text("ZLIB_VERSION", ""),
        license: "Zlib",
        cpe: Some("zlib:zlib"),
        origin: Some(("madler/zlib", "v")),
    },
    Row {
        name: "zstd",
        holds: "zstd-sys",
        links: "zstd-sys",
        file: "zstd/lib/zstd.h",
        version: Version::Numbers(["ZSTD_VERSION_MAJOR", "ZSTD_VERSION_MINOR", "ZSTD_VERSION_RELEASE"]),
        license: "BSD-3-Clause OR GPL-2.0-only",
        cpe: Some("facebook:zstandard"),
        origin: Some(("facebook/zstd", "v")),
    },
    Row {
        name: "SQLite",
        holds: "libsqlite3-sys",
        links: "libsqlite3-sys",
        file: "sqlite3/sqlite3.h",
        version: Version::Text("SQLITE_VERSION", ""),
        license: "blessing",
        cpe: Some("sqlite:sqlite"),
        origin: None,
    },
    Row {
        name: "mimalloc",
        holds: "libmimalloc-sys",
        links: "libmimalloc-sys",
        file: "c_src/mimalloc/v3/include/mimalloc.h",
        version: Version::Decimal("MI_MALLOC_VERSION"),
        license: "MIT",
        cpe: None,
        origin: Some(("microsoft/mimalloc", "v")),
    },
    Row {
        name: "AWS-LC",
        holds: "aws-lc-sys",
        links: "aws-lc-sys",
        file: "aws-lc/include/openssl/base.h",
        version: Version::Text("AWSLC_VERSION_NUMBER_STRING", ""),
        license: "ISC AND (Apache-2.0 OR ISC) AND Apache-2.0 AND MIT AND BSD-3-Clause",
        cpe: Some("amazon:aws-lc"),
        origin: Some(("aws/aws-lc", "v")),
    },
];

/// Crates that look as if they held C code and do not, and why.
const WITHOUT: &[(&str, &str)] = &[("aws-lc-rs", "names its links so that two versions cannot meet; the code is in aws-lc-sys")];

/// Every C library in the programs.
///
/// # Errors
/// A crate with C code has no row, a row has no crate, or the sources do not say their version where they did.
pub fn natives(crates: &Crates) -> Result<Vec<Native>> {
    let unknown: Vec<_> = crates
        .linked()
        .filter(|package| package.links.is_some() || package.dependencies.iter().any(compiles))
        .map(|package| package.name.to_string())
        .filter(|name| !ROWS.iter().any(|row| row.links == name) && !WITHOUT.iter().any(|(without, _)| without == name))
        .collect();
    ensure!(unknown.is_empty(), "{} may hold C code: add a row to tests/image/src/native.rs", unknown.join(", "));
    let mut natives = ROWS.iter().map(|row| read(crates, row)).collect::<Result<Vec<_>>>()?;
    natives.extend(carried_by_librdkafka(crates)?);
    Ok(natives)
}

fn compiles(dependency: &cargo_metadata::Dependency) -> bool {
    dependency.kind == DependencyKind::Build
        && ["cc", "cmake", "bindgen"].contains(&dependency.name.as_str())
        && !dependency.optional
}

fn read(crates: &Crates, row: &Row) -> Result<Native> {
    let folder = folder(crates, row.holds)?;
    let path = folder.join(row.file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let version =
        row.version.read(&text).with_context(|| format!("finding the version of {} in `{}`", row.name, path.display()))?;
    Ok(Native {
        name: row.name.to_owned(),
        version: Some(version),
        license: Some(row.license),
        cpe: row.cpe,
        origin: row.origin,
        linked_by: row.links,
    })
}

fn folder<'a>(crates: &'a Crates, name: &str) -> Result<&'a Path> {
    let package = crates
        .named(name)
        .with_context(|| format!("{name} is in no program any more: take its rows out of tests/image/src/native.rs"))?;
    Ok(package.manifest_path.as_std_path().parent().expect("a manifest lies in a folder"))
}

/// What librdkafka has taken over from others as single files: it says so by a licence per origin.
fn carried_by_librdkafka(crates: &Crates) -> Result<Vec<Native>> {
    // The first three have a version and a row; the last is for Windows.
    const ELSEWHERE: &[&str] = &["lz4", "cjson", "nanopb", "wingetopt"];
    let folder = folder(crates, "rdkafka-sys")?.join("librdkafka");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("listing `{}`", folder.display()))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().strip_prefix("LICENSE.").map(str::to_owned))
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "librdkafka names no origin of its files any more: look at tests/image/src/native.rs");
    let native = |name| Native { name, version: None, license: None, cpe: None, origin: None, linked_by: "rdkafka-sys" };
    Ok(names.into_iter().map(native).collect())
}

impl Version {
    fn read(&self, text: &str) -> Option<String> {
        match self {
            Self::Text(name, prefix) => {
                let value = defined(text, name)?;
                Some(value.trim_matches('"').trim_start_matches(prefix).to_owned())
            }
            Self::Numbers(names) => {
                let numbers: Option<Vec<_>> = names.iter().map(|name| defined(text, name)).collect();
                Some(numbers?.join("."))
            }
            Self::Hexadecimal(name) => {
                let number = u32::from_str_radix(defined(text, name)?.trim_start_matches("0x"), 16).ok()?;
                let [major, minor, revision, _] = number.to_be_bytes();
                Some(format!("{major}.{minor}.{revision}"))
            }
            Self::Decimal(name) => {
                let number: u32 = defined(text, name)?.parse().ok()?;
                Some(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
            }
            Self::Assigned(names) => {
                let value = |name: &&str| text.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix('='));
                let numbers: Option<Vec<_>> = names.iter().map(value).collect();
                Some(numbers?.join("."))
            }
        }
    }
}

/// The first word after `#define NAME`.
fn defined<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut words = line.trim_start().strip_prefix('#')?.split_whitespace();
        (words.next() == Some("define") && words.next() == Some(name)).then(|| words.next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_each_library_writes_them() {
        for (version, text, expected) in [
            (Version::Text("V", ""), "#define V \"1.3.2\"\n", "1.3.2"),
            (Version::Text("V", "nanopb-"), "#define V \"nanopb-0.4.8-dev\"", "0.4.8-dev"),
            (Version::Numbers(["A", "B", "C"]), "#define A    1    /* x */\n# define B 9\n#define C 4\n", "1.9.4"),
            (Version::Hexadecimal("V"), "#define VX 1\n#define V 0x020c01ff", "2.12.1"),
            (Version::Decimal("V"), "#define V 30302   // three", "3.3.2"),
            (Version::Assigned(["A", "B", "C"]), "A=3\nB=6\nC=3\n", "3.6.3"),
        ] {
            assert_eq!(version.read(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(Version::Text("V", "").read("#define W \"1\""), None);
    }
}
