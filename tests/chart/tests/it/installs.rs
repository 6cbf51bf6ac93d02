//! Each values file in `ci/` is an install: linted and rendered by the oldest and the newest Helm, and sound for three versions of
//! Kubernetes.

use std::time::Instant;

use chart::{Helm, INSTALLS, KUBERNETES, Manifest, Render, offences};

#[test]
fn each_install_lints_renders_alike_under_both_helms_and_is_sound_for_three_kubernetes() {
    let [oldest, newest] = Helm::both().unwrap();
    let began = Instant::now();
    let mut everything = Manifest { text: String::new(), objects: Vec::new() };
    for name in INSTALLS {
        let install = Render::install(name).unwrap();
        let [old, new] = [&oldest, &newest].map(|helm| {
            helm.lint(&install).unwrap();
            helm.template(&install).unwrap()
        });
        assert_eq!(sorted(&old), sorted(&new), "{name}: {} and {} render different objects", oldest.version, newest.version);
        everything.objects.extend(new.objects);
    }
    let rendered = began.elapsed();
    // What several installs have alike is judged once.
    everything.objects.sort_by_key(|object| object.0.to_string());
    everything.objects.dedup();
    std::thread::scope(|scope| {
        let judges = KUBERNETES.map(|version| (version, scope.spawn(|| offences(&everything, version).unwrap())));
        for (version, judge) in judges {
            let offences = judge.join().unwrap();
            assert!(offences.is_empty(), "Kubernetes {version}: {offences:#?}");
        }
    });
    eprintln!(
        "{} installs, Helm {} and {}: linted and rendered in {:.1} s; {} objects against Kubernetes {}: {:.1} s",
        INSTALLS.len(),
        oldest.version,
        newest.version,
        rendered.as_secs_f64(),
        everything.objects.len(),
        KUBERNETES.join(", "),
        (began.elapsed() - rendered).as_secs_f64()
    );
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_an_offence() {
    let mut manifest = Helm::newest().unwrap().template(&Render::install("minimal").unwrap()).unwrap();
    let at = manifest.objects.iter().position(|object| object.kind() == "StatefulSet").unwrap();
    manifest.objects[at].0["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = serde_json::json!({});
    assert!(!offences(&manifest, KUBERNETES[0]).unwrap().is_empty());
}

#[test]
fn the_readme_has_every_value_with_default_and_meaning() {
    let path = chart::chart().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let values = std::fs::read_to_string(chart::chart().join("values.yaml")).unwrap();
    let wanted = chart::readme(&readme, &values).unwrap();
    if readme != wanted && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == wanted,
        "helm/millrace/README.md differs from values.yaml: UPDATE=1 cargo test -p millrace-chart readme"
    );
    assert!(chart::values_of("a:\n  b: 1\n").is_err(), "a value without a comment is found");
}

#[test]
fn the_schema_of_the_values_speaks_draft_7_only() {
    let text = std::fs::read_to_string(chart::chart().join("values.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    // Helm 3.17 ignores them without a word.
    let newer = [
        "prefixItems",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
        "minContains",
        "$defs",
    ];
    for keyword in newer {
        assert!(!text.contains(&format!("\"{keyword}\"")), "{keyword} is newer than draft-07");
    }
}

#[test]
fn the_notes_say_what_to_type_next_and_what_is_open() {
    let helm = Helm::newest().unwrap();
    let notes = helm.notes(&Render::install("minimal").unwrap()).unwrap();
    for line in [
        "helm -n default test millrace --logs",
        "port-forward millrace-tracker-0 8080",
        "listens inside its pod only",
        "millrace topics apply",
    ] {
        assert!(notes.contains(line), "{line} in {notes}");
    }
    let notes = helm.notes(&Render::install("restricted").unwrap()).unwrap();
    assert!(notes.contains("svc/millrace-tracker") && !notes.contains("topics apply") && !notes.contains("WARNING"), "{notes}");
    let open = Render::install("minimal").unwrap().with("kafka: {tls: {enabled: false}}");
    assert!(helm.notes(&open).unwrap().contains("WARNING: kafka.tls.enabled is false"));
}

/// Both Helms agree on objects, not on their order.
fn sorted(manifest: &Manifest) -> Vec<String> {
    let mut all: Vec<String> = manifest.objects.iter().map(|object| object.0.to_string()).collect();
    all.sort();
    all
}
