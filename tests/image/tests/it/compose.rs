//! deploy/compose.yaml: Docker is not asked here, the programs are. Whatever it starts must be understood by the program that it starts,
//! whatever it mounts must exist, and nothing may be reached from outside of the machine.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use image::PROGRAMS;
use serde_json::{Map, Value};

use crate::root;

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn services() -> Map<String, Value> {
    yaml("deploy/compose.yaml")["services"].as_object().unwrap().clone()
}

/// Services that run a program of the image.
fn fleet() -> Vec<(String, Value)> {
    services().into_iter().filter(|(_, service)| service["image"].as_str().unwrap().contains("millrace")).collect()
}

fn words(value: &Value) -> Vec<String> {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_array().into_iter().flatten().map(one).collect()
}

/// `${NAME:-default}` as it is when nobody sets NAME.
fn unset(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (variable, after) = rest.split_once('}').unwrap();
    let (_, default) = variable.split_once(":-").unwrap_or_else(|| panic!("{text}: every variable has a default"));
    format!("{before}{default}{}", unset(after))
}

/// The programs as they were built beside this test.
fn program(name: &str) -> PathBuf {
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: cargo build --workspace", path.display());
    path
}

fn on_one_line(help: &[u8]) -> String {
    String::from_utf8_lossy(help).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A variable that stands in a service's container for the `millrace` that is called in it.
fn for_the_command_line(variable: &str) -> bool {
    let Some(option) = [("MILLRACE_SERVER", &["--help"][..]), ("MILLRACE_DOCTOR_OPS", &["doctor", "--help"])]
        .into_iter()
        .find(|(name, _)| *name == variable)
    else {
        return false;
    };
    let help = Command::new(program("millrace")).args(option.1).env_clear().output().unwrap().stdout;
    on_one_line(&help).contains(&format!("[env: {variable}"))
}

#[test]
fn every_program_understands_the_options_and_variables_it_is_started_with() {
    let mut started = BTreeSet::new();
    for (name, service) in fleet() {
        let command = words(&service["command"]);
        let arguments: Vec<_> = command[1..].iter().map(|word| unset(word)).collect();
        let variables = service["environment"].as_object().unwrap();
        // `--help` last: everything before it has been read and found right.
        let output = Command::new(program(&command[0]))
            .args(&arguments)
            .arg("--help")
            .env_clear()
            .envs(variables.iter().map(|(key, value)| (key, value.as_str().unwrap())))
            .output()
            .unwrap();
        let help = on_one_line(&output.stdout);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        if command[0] != "millrace" {
            for variable in variables.keys().filter(|key| !for_the_command_line(key)) {
                assert!(help.contains(&format!("[env: {variable}=")), "{name}: {} knows no {variable}", command[0]);
            }
        }
        started.insert(command[0].clone());
    }
    assert_eq!(started, PROGRAMS.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_source_and_destination_of_the_sample_has_its_service_and_no_other() {
    let named = |option: &str| -> BTreeSet<String> {
        fleet()
            .into_iter()
            .map(|(_, service)| words(&service["command"]))
            .filter_map(|command| Some(command[command.iter().position(|word| word == option)? + 1].clone()))
            .collect()
    };
    let files = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join("deploy/landscape").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(named("--source"), files("sources"));
    assert_eq!(named("--destination"), files("destinations"));
}

#[test]
fn everything_that_is_mounted_exists_and_only_named_volumes_are_written() {
    let volumes: BTreeSet<_> = yaml("deploy/compose.yaml")["volumes"].as_object().unwrap().keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for volume in words(&service["volumes"]) {
            let mut parts = volume.split(':');
            let source = parts.next().unwrap();
            if source.starts_with('.') {
                let path = root().join("deploy").join(source);
                assert!(path.exists(), "{name} mounts {source}, which is not there");
                assert_eq!(parts.nth(1), Some("ro"), "{name} could write to {source}");
                assert!(
                    path.is_file() || fs::read_dir(&path).unwrap().next().is_some(),
                    "{name} mounts {source}, which is empty"
                );
            } else {
                used.insert(source.to_owned());
            }
        }
    }
    assert_eq!(used, volumes);
}

#[test]
fn only_loopback_is_published_and_nothing_of_the_fleet() {
    for (name, service) in services() {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
        assert!(service["network_mode"].is_null() && service["privileged"].is_null(), "{name}");
    }
    for (name, service) in fleet() {
        assert!(service["ports"].is_null(), "{name} publishes a port");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert!(service["user"].is_null(), "{name}: the image has its user");
    }
}

#[test]
fn every_image_has_a_version_and_those_that_the_tests_know_have_theirs() {
    let pom = fs::read_to_string(root().join("crates/devstack/java/pom.xml")).unwrap();
    let tested = |artifact: &str| {
        let after = pom.split(&format!("<artifactId>{artifact}</artifactId>")).nth(1).unwrap();
        after.split("<version>").nth(1).unwrap().split('<').next().unwrap().to_owned()
    };
    let image = |name: &str| services()[name]["image"].as_str().unwrap().to_owned();
    assert_eq!(image("kafka"), format!("apache/kafka:{}", tested("kafka_2.13")));
    assert!(image("registry").ends_with(&format!("/apicurio-registry:{}", tested("apicurio-registry-app"))));
    for (name, service) in services() {
        let image = unset(service["image"].as_str().unwrap());
        let version = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no version")).1;
        assert_ne!(version, "latest", "{name}");
    }
}

#[test]
fn prometheus_scrapes_every_service_that_starts_by_itself_and_finds_the_charts_rules() {
    let scraped: BTreeSet<_> =
        words(&yaml("deploy/prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"])
            .into_iter()
            .collect();
    let expected: BTreeSet<_> = fleet()
        .into_iter()
        .filter(|(_, service)| service["profiles"].is_null() && service["command"][0] != "millrace")
        .map(|(name, service)| {
            let ops = service["environment"]["MILLRACE_OPS"].as_str().unwrap();
            format!("{name}:{}", ops.rsplit_once(':').unwrap().1)
        })
        .collect();
    assert_eq!(scraped, expected);

    let mounted = |service: &str, inside: &str| {
        words(&services()[service]["volumes"]).iter().any(|volume| volume.split(':').nth(1) == Some(inside))
    };
    // Copied from where they are mounted to where they are read, with the words filled in that the chart fills in.
    let started = words(&services()["prometheus"]["command"]).concat();
    let read = yaml("deploy/prometheus/prometheus.yml")["rule_files"][0].as_str().unwrap().to_owned();
    assert!(mounted("prometheus", "/etc/prometheus/rules") && started.contains("in /etc/prometheus/rules/*.yaml"), "{started}");
    assert!(started.contains(&format!("> \"{}", read.trim_end_matches("*.yaml"))), "{read}: {started}");
    let chart = fs::read_to_string(root().join("helm/millrace/templates/monitoring.yaml")).unwrap();
    let replaced: Vec<_> =
        chart.split("| replace \"").skip(1).map(|rest| rest.split('"').next().unwrap()).filter(|word| word.len() > 1).collect();
    assert!(!replaced.is_empty());
    for word in replaced {
        assert!(started.contains(&format!("s/{word}/")) || started.contains(&format!("s|{word}|")), "{word} stays in the rules");
    }
    // The doctor asks those that are scraped.
    let asked = services()["tracker"]["environment"]["MILLRACE_DOCTOR_OPS"].as_str().unwrap().to_owned();
    assert_eq!(asked.split(',').map(|url| url.trim_start_matches("http://").to_owned()).collect::<BTreeSet<_>>(), expected);

    let dashboards = yaml("deploy/grafana/provisioning/dashboards/millrace.yaml")["providers"][0]["options"]["path"].clone();
    assert!(mounted("grafana", dashboards.as_str().unwrap()), "{dashboards}");
}
