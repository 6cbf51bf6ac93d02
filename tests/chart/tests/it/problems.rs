//! Bad values get the right sentence, and all of them at once.

use chart::{Helm, Render, Values};

fn refusal(render: &Render) -> String {
    match Helm::newest().unwrap().try_template(render).unwrap() {
        Ok(_) => String::from("rendered"),
        Err(refused) => refused.0,
    }
}

#[test]
fn what_is_missing_is_said_all_at_once() {
    let said = refusal(&Render::of(Vec::new()));
    for sentence in [
        "kafka.bootstrapServers is empty: name the brokers",
        "schemaRegistry.urls is empty: name at least one registry",
        "there is no landscape: run `millrace landscape check DIR --bundle",
        "kafka.tls.existingSecret is empty",
        "no Kafka identity for validator, replayer, tracker, doctor:",
    ] {
        assert!(said.contains(sentence), "{sentence} in {said}");
    }
    assert!(said.contains("\nThe values have problems:\n- "), "{said}");
    for helm in Helm::both().unwrap() {
        let answer = helm.try_template(&Render::of(Vec::new())).unwrap();
        assert!(answer.is_err_and(|refused| refused.0.contains("kafka.bootstrapServers is empty")), "{}", helm.version);
    }
}

#[test]
fn each_contradiction_has_its_sentence() {
    let minimal = Render::install("minimal").unwrap();
    let restricted = Render::install("restricted").unwrap();
    let table: &[(&Render, &str, &str)] = &[
        (&minimal, "image: {tag: latest}", "image.tag is latest: nobody could say what runs"),
        (
            &minimal,
            "destinations: {mes-brno: {}}",
            "destinations.mes-brno: the landscape has no file destinations/mes-brno.yaml (it has: mes-pune, mes-ulm)",
        ),
        (&minimal, "sources: {wms: {}}", "sources.wms: the landscape has no file sources/wms.yaml (it has: crm, erp)"),
        (
            &minimal,
            "landscape: {files: {destinations/wms.yaml: text}}",
            "the landscape describes destinations/wms.yaml, but the values have no destinations.wms: add it",
        ),
        (
            &minimal,
            "landscape: {files: {a/b.j2: one, a__b.j2: two}}",
            "a/b.j2 and a__b.j2 would be the same key of the ConfigMap",
        ),
        (&minimal, "kafka: {topicPrefix: other.}", "kafka.topicPrefix is \"other.\", but the bundle was written for \"mdm.\""),
        (&minimal, "kafka: {tls: {certKey: user.crt}}", "kafka.tls.certKey and kafka.tls.keyKey belong together"),
        (
            &minimal,
            "kafka: {auth: {existingSecret: \"\"}}\nvalidator: {kafka: {existingSecret: v}}",
            "no Kafka identity for replayer, tracker, doctor, destinations.mes-pune, destinations.mes-ulm, sources.crm, sources.erp:",
        ),
        (
            &minimal,
            "provisioning: {topics: job}",
            "provisioning.kafka.existingSecret is empty: creating topics is a right that no service has",
        ),
        (&minimal, "provisioning: {topics: strimzi}", "strimzi.cluster is empty"),
        (
            &minimal,
            "provisioning: {users: strimzi}\nstrimzi: {cluster: kafka}\nlandscape: {users: []}",
            "provisioning.users is strimzi, but landscape.users is empty",
        ),
        (
            &minimal,
            "provisioning: {topics: strimzi}\nstrimzi: {cluster: kafka}\nlandscape: {topics: []}",
            "provisioning.topics is strimzi, but landscape.topics is empty",
        ),
        (
            &minimal,
            "provisioning: {users: strimzi}\nstrimzi: {cluster: kafka, authentication: tls}\nkafka: {tls: {enabled: false}}",
            "a certificate is shown over TLS only",
        ),
        (
            &minimal,
            "tracker: {ingress: {enabled: true, hosts: [a.example.com]}}",
            "tracker.ingress.enabled needs tracker.auth.existingSecret",
        ),
        (
            &minimal,
            "tracker: {gateway: {enabled: true, parentRefs: [{name: public}]}}",
            "tracker.gateway.enabled needs tracker.auth.existingSecret",
        ),
        (&minimal, "tracker: {auth: {existingSecret: t}, ingress: {enabled: true}}", "tracker.ingress.hosts is empty"),
        (&minimal, "tracker: {auth: {existingSecret: t}, gateway: {enabled: true}}", "tracker.gateway.parentRefs is empty"),
        (
            &minimal,
            "metrics: {prometheusRule: {exclude: [Rebalancing, NoSuchAlert]}}",
            "metrics.prometheusRule.exclude: there is no alert NoSuchAlert (there are: ",
        ),
        (&minimal, "doctor: {auth: {existingSecret: t}}", "doctor.auth.existingSecret needs tracker.auth.existingSecret"),
        (
            &minimal,
            "destinations: {mes-ulm: {autoscaling: {mode: keda, maxReplicas: 13}}}",
            "destinations.mes-ulm.autoscaling.maxReplicas is 13, but there are 12 slots",
        ),
        (
            &minimal,
            "destinations: {mes-ulm: {autoscaling: {mode: keda, minReplicas: 5}}}",
            "destinations.mes-ulm.autoscaling: minReplicas 5 is above maxReplicas 4",
        ),
        (
            &minimal,
            "destinations: {mes-ulm: {autoscaling: {mode: keda}}}\nlandscape: {sinks: {mes-ulm: null}}",
            "destinations.mes-ulm.autoscaling.topics is empty",
        ),
        (
            &restricted,
            "destinations: {mes-ulm: {networkPolicy: {egressTo: []}}}",
            "destinations.mes-ulm.networkPolicy.egressTo is empty",
        ),
        (&restricted, "sources: {crm: {networkPolicy: {egressTo: []}}}", "sources.crm.networkPolicy.egressTo is empty"),
    ];
    for (install, values, sentence) in table {
        let said = refusal(&(*install).clone().with(*values));
        assert!(said.contains(sentence), "{values}\n  wanted: {sentence}\n  said: {said}");
        assert_eq!(said.matches("\n- ").count(), 1, "{values} has one cause: {said}");
    }
}

#[test]
fn what_does_not_fit_a_config_map_is_told_with_the_way_out() {
    let text = "x".repeat(1_100_000);
    let said = refusal(&Render::install("minimal").unwrap().with(format!("landscape: {{files: {{tables/big.yaml: {text}}}}}")));
    assert!(
        said.contains("a ConfigMap holds 1 MiB: put the folder into an image or a claim and name it with landscape.volume"),
        "{}",
        &said[..said.len().min(400)]
    );
    let volume = "landscape: {volume: {image: {reference: registry.example.com/landscape:7}}}";
    let render =
        Render::install("minimal").unwrap().with(format!("landscape: {{files: {{tables/big.yaml: {text}}}}}")).with(volume);
    let manifest = Helm::newest().unwrap().template(&render).unwrap();
    assert!(manifest.find("ConfigMap", "millrace-landscape").is_none());
    let pod = manifest.get("StatefulSet", "millrace-validator").pod().unwrap();
    assert_eq!(pod["volumes"][0]["image"]["reference"], "registry.example.com/landscape:7");
}

#[test]
fn the_schema_refuses_typos_and_takes_what_users_need() {
    let minimal = Render::install("minimal").unwrap();
    for (values, words) in [
        ("kafka: {bootstrapServer: x}", "bootstrapServer"),
        ("destinations: {MES_Ulm: {}}", "MES_Ulm"),
        ("destinations: {validator: {}}", "validator"),
        ("destinations: {mes-ulm: {replicas: 2}}", "replicas"),
        ("sources: {erp: {replicaCount: 2}}", "replicaCount"),
        ("replayer: {replicaCount: 2}", "replicaCount"),
        ("sink: {terminationGracePeriodSeconds: 5}", "terminationGracePeriodSeconds"),
        ("image: {digest: abc}", "digest"),
        ("kafka: {bootstrapServers: kafka}", "bootstrapServers"),
        ("provisioning: {users: job}", "users"),
    ] {
        for helm in Helm::both().unwrap() {
            let answer = helm.try_template(&minimal.clone().with(values)).unwrap();
            let said = answer.err().map(|refused| refused.0).unwrap_or_default();
            assert!(said.contains(words), "{} {values}: {said}", helm.version);
        }
    }
    for values in [
        "extraEnv: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]",
        "extraEnv: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}]",
        "global: {somebodyElses: {key: value}}",
        "destinations: {mes-ulm: {resources: {limits: {memory: 1Gi, example.com/card: 1}}}}",
        "podSecurityContext: {runAsUser: null, fsGroup: null}",
    ] {
        assert_eq!(refusal(&minimal.clone().with(values)), "rendered", "{values}");
    }
    let mut set = minimal;
    set.values.push(Values::Set("destinations.mes-ulm.replicaCount=3,destinations.mes-pune=null".into()));
    let said = refusal(&set);
    assert!(said == "rendered" || said.contains("mes-pune"), "{said}");
}
