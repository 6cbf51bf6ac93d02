//! Secrets are files of existing Secrets: the chart makes none, and nothing secret stands in values, environment or a ConfigMap.

use chart::{Helm, INSTALLS, Manifest, Object, Render};
use serde_json::{Value, json};

fn rendered(name: &str) -> Manifest {
    Helm::newest().unwrap().template(&Render::install(name).unwrap()).unwrap()
}

/// Path in the pod → (secret, key) of every mounted key; a whole Secret has the key `*`.
fn files(object: &Object) -> Vec<(String, String, String)> {
    let pod = object.pod().unwrap();
    let container = &pod["containers"].as_array().unwrap()[0];
    let mut files = Vec::new();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]);
        let Some(volume) = volume else { continue };
        let path = mount["mountPath"].as_str().unwrap();
        let one = |name: &Value, items: &Value| -> Vec<(String, String, String)> {
            let secret = name.as_str().unwrap().to_owned();
            items.as_array().map_or_else(
                || vec![(path.to_owned(), secret.clone(), "*".to_owned())],
                |items| {
                    items
                        .iter()
                        .map(|item| {
                            let file = format!("{path}/{}", item["path"].as_str().unwrap());
                            (file, secret.clone(), item["key"].as_str().unwrap().to_owned())
                        })
                        .collect()
                },
            )
        };
        if volume["secret"].is_object() {
            assert_eq!(volume["secret"]["defaultMode"], 0o440, "{}: readable for the process alone", object.name());
            files.extend(one(&volume["secret"]["secretName"], &volume["secret"]["items"]));
        }
        if volume["projected"].is_object() {
            assert_eq!(volume["projected"]["defaultMode"], 0o440, "{}", object.name());
            for source in volume["projected"]["sources"].as_array().unwrap() {
                files.extend(one(&source["secret"]["name"], &source["secret"]["items"]));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn no_install_makes_a_secret_or_holds_one() {
    for name in INSTALLS {
        let manifest = rendered(name);
        assert!(manifest.kind("Secret").is_empty(), "{name}: the chart takes Secrets, it makes none");
        for object in manifest.pods() {
            for container in object.containers() {
                for entry in container["env"].as_array().into_iter().flatten() {
                    let key = entry["name"].as_str().unwrap().to_lowercase();
                    let looks = ["password", "token", "secret", "credential"].iter().any(|word| key.contains(word));
                    assert!(!looks, "{name}: {} has {key} in its environment", object.name());
                }
                for word in Object::args(container) {
                    // Options that name a secret name a file.
                    let names = word.starts_with("--") && (word.contains("password") || word.contains("token"));
                    assert!(!names || word.ends_with("-file") || word == "--api-tokens", "{name}: {} {word}", object.name());
                }
            }
        }
    }
}

#[test]
fn the_only_hook_is_the_test_and_no_image_is_called_latest() {
    for name in INSTALLS {
        let manifest = rendered(name);
        for object in &manifest.objects {
            let hook = object.at("/metadata/annotations/helm.sh~1hook");
            if object.kind() == "Pod" {
                assert_eq!(hook, "test", "{name}: {}", object.name());
            } else {
                assert!(
                    hook.is_null(),
                    "{name}: {} {} is a hook: it deadlocks where something waits for it",
                    object.kind(),
                    object.name()
                );
            }
        }
        for object in manifest.pods() {
            for container in object.containers() {
                let image = container["image"].as_str().unwrap();
                let (_, version) = image.rsplit_once(['@', ':']).unwrap();
                assert!(!version.is_empty() && version != "latest", "{name}: {image}");
            }
        }
    }
}

#[test]
fn each_workload_has_the_identity_that_the_values_give_it_with_their_key_names() {
    let manifest = rendered("all");
    let kafka = "/etc/millrace/secrets/kafka";
    let files_of = |kind: &str, name: &str| files(manifest.get(kind, &format!("millrace-{name}")));
    let has = |files: &[(String, String, String)], path: &str, secret: &str, key: &str| {
        assert!(
            files.contains(&(path.to_owned(), secret.to_owned(), key.to_owned())),
            "{path} from {secret}/{key} in {files:#?}"
        );
    };
    let sink = files_of("StatefulSet", "sink-mes-ulm");
    has(&sink, &format!("{kafka}/password"), "kafka-sink-mes-ulm", "pass");
    has(&sink, &format!("{kafka}/username"), "kafka-sink-mes-ulm", "user");
    has(&sink, &format!("{kafka}/ca.crt"), "kafka-ca", "ca.pem");
    has(&sink, &format!("{kafka}/tls.key"), "kafka-ca", "client-key.pem");
    has(&sink, "/etc/millrace/secrets/registry/password", "registry-mes-ulm", "pass");
    has(&sink, "/etc/millrace/secrets/registry/ca.crt", "registry-ca", "ca.pem");
    has(&sink, "/etc/millrace/secrets/system", "mes-ulm", "*");
    let crm = files_of("Deployment", "publisher-crm");
    has(&crm, "/etc/millrace/secrets/system/authorization", "crm", "token");
    let erp = manifest.get("Deployment", "millrace-publisher-erp");
    assert_eq!(erp.option("--kafka-username"), Some("publisher-erp"), "a name may stand in the values");
    assert_eq!(erp.option("--kafka-username-file"), None);
    has(&files(erp), &format!("{kafka}/password"), "kafka-publisher-erp", "password");
    has(&files_of("StatefulSet", "tracker"), "/etc/millrace/secrets/api/tokens", "tracker-tokens", "api-tokens");
    has(&files_of("Pod", "doctor"), "/etc/millrace/secrets/api/token", "tracker-operator-token", "token");
    has(&files_of("Pod", "doctor"), &format!("{kafka}/password"), "kafka-operator", "pass");
    let job = manifest.kind("Job")[0];
    has(&files(job), &format!("{kafka}/password"), "kafka-provisioner", "pass");
    has(&files(job), "/etc/millrace/secrets/registry/password", "registry-writer", "pass");
    for object in manifest.pods() {
        let own: Vec<String> =
            files(object).into_iter().map(|(_, secret, _)| secret).filter(|name| name.starts_with("kafka-")).collect();
        let foreign = own.iter().filter(|name| *name != "kafka-ca").collect::<std::collections::BTreeSet<_>>();
        assert_eq!(foreign.len(), 1, "{} has one Kafka identity: {foreign:?}", object.name());
    }
}

#[test]
fn every_file_that_an_option_names_is_mounted() {
    for name in INSTALLS {
        for object in rendered(name).pods() {
            let mounted = files(object);
            for container in object.containers() {
                for word in Object::args(container).iter().filter(|word| word.starts_with("/etc/millrace/secrets/")) {
                    let there = mounted.iter().any(|(path, _, _)| path == word || path.starts_with(&format!("{word}/")));
                    // A source or destination without credentials has an empty place for them.
                    assert!(
                        there || *word == "/etc/millrace/secrets/system",
                        "{name}: {} names {word}, which is not mounted",
                        object.name()
                    );
                }
            }
        }
    }
}

#[test]
fn with_strimzi_the_users_secrets_are_the_identities() {
    let manifest = rendered("strimzi");
    let sink = manifest.get("StatefulSet", "millrace-sink-mes-ulm");
    let there = files(sink);
    for (file, key) in [("tls.crt", "user.crt"), ("tls.key", "user.key")] {
        let wanted = (format!("/etc/millrace/secrets/kafka/{file}"), "millrace-sink-mes-ulm".to_owned(), key.to_owned());
        assert!(there.contains(&wanted), "{wanted:?} in {there:?}");
    }
    assert_eq!(sink.option("--kafka-password-file"), None);
    let scram = Render::install("strimzi").unwrap().with("strimzi: {authentication: scram-sha-512}");
    let manifest = Helm::newest().unwrap().template(&scram).unwrap();
    let sink = manifest.get("StatefulSet", "millrace-sink-mes-ulm");
    assert_eq!(sink.option("--kafka-username"), Some("millrace-sink-mes-ulm"), "the user's name is the KafkaUser's");
    assert_eq!(
        manifest.get("KafkaUser", "millrace-sink-mes-ulm").at("/spec/authentication"),
        &json!({ "type": "scram-sha-512" })
    );
    assert_eq!(sink.option("--kafka-mechanism"), Some("SCRAM-SHA-512"));
    let password = ("/etc/millrace/secrets/kafka/password".to_owned(), "millrace-sink-mes-ulm".to_owned(), "password".to_owned());
    assert!(files(sink).contains(&password));
}
