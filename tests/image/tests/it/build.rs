//! deploy/Dockerfile and its files say the same as the rest of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::MetadataCommand;
use image::PROGRAMS;

use crate::root;

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_image_is_built_with_the_workspaces_rust_and_version() {
    let argument = |name: &str| {
        let dockerfile = text("deploy/Dockerfile");
        dockerfile.lines().find_map(|line| line.strip_prefix(&format!("ARG {name}=")).map(str::to_owned)).unwrap()
    };
    assert!(text("rust-toolchain.toml").contains(&format!("channel = \"{}\"", argument("RUST_VERSION"))));
    assert_eq!(argument("MILLRACE_VERSION"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_program_is_built_and_laid_out() {
    for program in PROGRAMS {
        assert!(text("deploy/Dockerfile").contains(&format!("-p {program} ")), "{program}");
        assert!(text("deploy/image/root.sh").contains(&format!(" {program}")), "{program}");
    }
}

#[test]
fn the_build_sees_every_member_of_the_workspace_and_every_file_that_they_embed() {
    let ignore = text("deploy/Dockerfile.dockerignore");
    assert!(ignore.lines().any(|line| line == "*"), "everything that is not named is left out");
    let kept: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).map(|path| root().join(path)).collect();
    let kept: Vec<_> =
        kept.iter().map(|path| path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect();
    // Cargo wants every member of the workspace to be there, also those that the image has nothing of.
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    for package in metadata.packages {
        let path = package.manifest_path.as_std_path().canonicalize().unwrap();
        assert!(kept.iter().any(|kept| path.starts_with(kept)), "{} is a member of the workspace", path.display());
    }
    let mut embedded = 0;
    for folder in ["crates", "services", "tests"] {
        for file in sources(&root().join(folder)) {
            // A path in a literal; those that a macro puts together lie in avro/, which is kept.
            for literal in fs::read_to_string(&file).unwrap().split("include_str!(\"").skip(1) {
                let path = file.parent().unwrap().join(literal.split('"').next().unwrap());
                let Ok(path) = path.canonicalize() else { continue };
                assert!(kept.iter().any(|kept| path.starts_with(kept)), "{} embeds {}", file.display(), path.display());
                embedded += 1;
            }
        }
    }
    assert!(embedded > 0, "the sources embed files, and none was found");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
