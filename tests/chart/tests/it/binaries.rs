//! Every option that the chart renders is one that the real binary has.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use chart::{Helm, INSTALLS, Object, Render};

/// The options that a binary, or one of its commands, names in its help.
fn options(program: &str, commands: &[&str]) -> BTreeSet<String> {
    let path = devstack::dev::profile().unwrap().join(program);
    assert!(path.is_file(), "{} is not built: cargo build --workspace", path.display());
    let output = Command::new(&path).args(commands).arg("--help").output().unwrap();
    assert!(output.status.success(), "{program} {commands:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_rendered_option_is_in_the_help_of_its_binary() {
    let mut known: BTreeMap<(String, Vec<String>), BTreeSet<String>> = BTreeMap::new();
    let mut programs = BTreeSet::new();
    for name in INSTALLS {
        let manifest = Helm::newest().unwrap().template(&Render::install(name).unwrap()).unwrap();
        for object in manifest.pods() {
            for container in object.containers() {
                // A sidecar of the user's own.
                let Some(program) = container["command"][0].as_str() else { continue };
                let program = program.strip_prefix("/usr/local/bin/").unwrap().to_owned();
                let words = Object::args(container);
                let commands: Vec<&str> = words.iter().copied().take_while(|word| !word.starts_with('-')).collect();
                let key = (program.clone(), commands.iter().map(|&word| word.to_owned()).collect());
                let options = known.entry(key).or_insert_with(|| options(&program, &commands));
                for word in words.iter().filter(|word| word.starts_with("--")) {
                    assert!(
                        options.contains(*word),
                        "{name}: {} passes {word}, which {program} does not have: {options:?}",
                        object.name()
                    );
                }
                programs.insert(program);
            }
        }
    }
    let all = ["millrace", "millrace-publisher", "millrace-replayer", "millrace-sink", "millrace-tracker", "millrace-validator"];
    assert_eq!(programs.iter().map(String::as_str).collect::<Vec<_>>(), all, "every binary of the image runs somewhere");
}
