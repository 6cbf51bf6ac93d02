//! What every workload must be: its kind, its names, its pods closed, probed and ended as the services promise.

use chart::{Helm, INSTALLS, Manifest, Object, Render};
use serde_json::{Value, json};

fn rendered(name: &str) -> Manifest {
    Helm::newest().unwrap().template(&Render::install(name).unwrap()).unwrap()
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

/// Workloads whose container is one of Millrace's services.
fn services(manifest: &Manifest) -> Vec<&Object> {
    manifest.objects.iter().filter(|object| matches!(object.kind(), "StatefulSet" | "Deployment")).collect()
}

#[test]
fn where_identity_matters_it_is_a_stateful_set_in_parallel_and_where_two_would_fence_each_other_one_is_recreated() {
    let manifest = rendered("all");
    for name in ["validator", "sink-mes-ulm", "tracker"] {
        let set = manifest.get("StatefulSet", &format!("millrace-{name}"));
        assert_eq!(set.at("/spec/podManagementPolicy"), "Parallel", "{name}");
        let service = manifest.get("Service", set.at("/spec/serviceName").as_str().unwrap());
        assert_eq!(service.at("/spec/clusterIP"), "None", "{name}");
        assert_eq!(service.at("/spec/selector"), set.at("/spec/selector/matchLabels"), "{name}");
    }
    for name in ["publisher-crm", "publisher-erp", "replayer"] {
        let deployment = manifest.get("Deployment", &format!("millrace-{name}"));
        assert_eq!(deployment.at("/spec/replicas"), 1, "{name}");
        assert_eq!(deployment.at("/spec/strategy/type"), "Recreate", "{name}");
    }
    // A destination that is described and not run, and one that was removed with null.
    assert!(manifest.find("StatefulSet", "millrace-sink-mes-pune").is_none());
    assert!(!manifest.text.contains("mes-gone"));
    // Static membership and transactional ids follow from the pod's name.
    for object in services(&manifest) {
        let env = object.pod().unwrap()["containers"][0]["env"].as_array().unwrap();
        let instance = env.iter().find(|entry| entry["name"] == "MILLRACE_INSTANCE").unwrap();
        assert_eq!(instance["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name", "{}", object.name());
    }
}

#[test]
fn every_pod_is_closed_as_restricted_asks_and_gets_no_token_of_the_cluster() {
    for name in INSTALLS {
        let manifest = rendered(name);
        assert!(manifest.pods().iter().any(|object| object.kind() == "Pod"), "the test's own pod is among them");
        for object in manifest.pods() {
            let (pod, who) = (object.pod().unwrap(), format!("{name}: {} {}", object.kind(), object.name()));
            assert_eq!(pod["automountServiceAccountToken"], false, "{who}");
            assert_eq!(pod["enableServiceLinks"], false, "{who}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{who}");
            assert_eq!(pod["securityContext"]["runAsUser"], 65532, "{who}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{who}");
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[field].is_null(), "{who}");
            }
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(volume["hostPath"].is_null(), "{who}: {volume}");
            }
            for container in object.containers() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{who}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{who}");
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{who}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{who}: a memory limit");
                assert!(container["resources"]["limits"]["cpu"].is_null(), "{who}: a throttled process looks like a slow plant");
            }
            let scratch = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "scratch").unwrap();
            assert!(scratch["emptyDir"].is_object(), "{who}");
        }
    }
}

#[test]
fn probes_wait_for_a_start_and_watch_the_loop_and_the_drain_ends_before_the_grace_period() {
    for name in INSTALLS {
        for object in services(&rendered(name)) {
            let who = format!("{name}: {}", object.name());
            let pod = object.pod().unwrap();
            let container = &pod["containers"][0];
            let [startup, live, ready] = ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| &container[probe]);
            assert_eq!((&startup["httpGet"]["path"], &ready["httpGet"]["path"]), (&json!("/readyz"), &json!("/readyz")), "{who}");
            assert_eq!(live["httpGet"]["path"], "/livez", "{who}");
            assert_eq!(live["periodSeconds"].as_u64().unwrap() * live["failureThreshold"].as_u64().unwrap(), 60, "{who}");
            let budget = startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
            assert_eq!(budget, 600, "{who}: ten minutes to start");
            assert!(seconds(object.option("--start-timeout").unwrap()) < budget, "{who}: the process says what it waited for");
            let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(seconds(object.option("--drain-timeout").unwrap()) + 10 <= grace, "{who}");
            assert_eq!(object.option("--ops"), Some("0.0.0.0:8081"), "{who}");
            let ops = container["ports"].as_array().unwrap().iter().find(|port| port["name"] == "ops").unwrap();
            assert_eq!(ops["containerPort"], 8081, "{who}");
        }
    }
}

#[test]
fn replicas_spread_softly_over_zones_and_hosts_and_a_drain_leaves_one() {
    let manifest = rendered("minimal");
    for object in services(&manifest) {
        let spread = object.pod().unwrap()["topologySpreadConstraints"].as_array().unwrap();
        let keys: Vec<&Value> = spread.iter().map(|one| &one["topologyKey"]).collect();
        assert_eq!(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], "{}", object.name());
        for one in spread {
            assert_eq!(one["whenUnsatisfiable"], "ScheduleAnyway", "{}", object.name());
            assert_eq!(one["labelSelector"]["matchLabels"], *object.at("/spec/selector/matchLabels"), "{}", object.name());
        }
        let more = object.at("/spec/replicas").as_u64().unwrap() > 1;
        let budget = manifest.find("PodDisruptionBudget", object.name());
        assert_eq!(budget.is_some(), more, "{}", object.name());
        if let Some(budget) = budget {
            assert_eq!(budget.at("/spec/selector/matchLabels"), object.at("/spec/selector/matchLabels"));
            assert_eq!(budget.at("/spec/maxUnavailable"), 1);
        }
    }
}

#[test]
fn labels_are_the_standard_ones_and_selectors_hold_nothing_that_changes() {
    let manifest = rendered("all");
    for object in &manifest.objects {
        if object.name() == "millrace-extra" {
            continue;
        }
        let labels = object.at("/metadata/labels");
        assert_eq!(labels["app.kubernetes.io/name"], "millrace", "{} {}", object.kind(), object.name());
        assert_eq!(labels["app.kubernetes.io/instance"], "millrace", "{} {}", object.kind(), object.name());
        assert_eq!(labels["team"], "master-data", "{} {}", object.kind(), object.name());
    }
    let sink = manifest.get("StatefulSet", "millrace-sink-mes-ulm");
    assert_eq!(
        *sink.at("/spec/selector/matchLabels"),
        json!({
            "app.kubernetes.io/name": "millrace", "app.kubernetes.io/instance": "millrace",
            "app.kubernetes.io/component": "sink", "millrace/destination": "mes-ulm",
        })
    );
    let selectors: Vec<String> = services(&manifest).iter().map(|one| one.at("/spec/selector/matchLabels").to_string()).collect();
    let mut unique = selectors.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), selectors.len(), "two workloads select the same pods: {selectors:?}");
}

#[test]
fn the_users_additions_reach_their_pod_and_no_other() {
    let manifest = rendered("all");
    let sink = manifest.get("StatefulSet", "millrace-sink-mes-ulm");
    let pod = sink.pod().unwrap();
    let own = pod["containers"].as_array().unwrap().iter().find(|container| container["name"] == "sink").unwrap();
    let proxy = own["env"].as_array().unwrap().iter().find(|entry| entry["name"] == "HTTPS_PROXY").unwrap();
    assert_eq!(proxy["valueFrom"]["secretKeyRef"]["name"], "proxy");
    assert!(own["env"].as_array().unwrap().iter().any(|entry| entry["name"] == "TZ"), "what is for all is added");
    assert_eq!(own["envFrom"][0]["configMapRef"]["name"], "proxy");
    assert_eq!(pod["containers"][1]["name"], "tunnel");
    assert_eq!(pod["initContainers"][0]["name"], "wait");
    assert_eq!(pod["nodeSelector"]["plant-network"], "true");
    assert_eq!(pod["tolerations"][0]["key"], "plant");
    assert_eq!(sink.option("--session-timeout"), Some("30s"));
    assert_eq!(sink.at("/spec/template/metadata/labels/plant"), "ulm");
    assert_eq!(sink.at("/spec/template/metadata/annotations/reloader.example.com~1auto"), "true");
    let validator = manifest.get("StatefulSet", "millrace-validator").pod().unwrap();
    assert_eq!(validator["priorityClassName"], "business-critical");
    assert_eq!(validator["topologySpreadConstraints"][0]["whenUnsatisfiable"], "DoNotSchedule");
    assert!(validator["nodeSelector"].is_null() && validator["containers"].as_array().unwrap().len() == 1);
    let erp = manifest.get("Deployment", "millrace-publisher-erp");
    assert_eq!(erp.option("--endpoint"), Some("/data/erp"));
    let mounts = erp.pod().unwrap()["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/data/erp"));
    assert_eq!(manifest.get("ConfigMap", "millrace-extra").at("/data/note"), "one of the user's own");
    let image = own["image"].as_str().unwrap();
    assert!(image.starts_with("mirror.example.com/millrace/millrace@sha256:"), "{image}");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull-secret" }, { "name": "second-pull-secret" }]));
    assert_eq!(pod["serviceAccountName"], "millrace");
}

#[test]
fn the_tracker_is_reachable_only_where_callers_sign_in_and_keeps_a_client_at_one_replica() {
    let closed = rendered("minimal");
    let tracker = closed.get("StatefulSet", "millrace-tracker");
    assert_eq!(tracker.option("--api"), Some("127.0.0.1:8080"));
    assert!(closed.find("Service", "millrace-tracker").is_none());
    assert_eq!(tracker.at("/spec/volumeClaimTemplates/0/spec/accessModes"), &json!(["ReadWriteOnce"]));
    let open = rendered("all");
    let tracker = open.get("StatefulSet", "millrace-tracker");
    assert_eq!(tracker.option("--api"), Some("0.0.0.0:8080"));
    assert_eq!(tracker.option("--api-tokens"), Some("/etc/millrace/secrets/api/tokens"));
    let service = open.get("Service", "millrace-tracker");
    assert_eq!(service.at("/spec/sessionAffinity"), "ClientIP");
    assert_eq!(open.get("Ingress", "millrace-tracker").at("/spec/rules/0/host"), "millrace.example.com");
    assert_eq!(open.get("HTTPRoute", "millrace-tracker").at("/spec/rules/0/backendRefs/0/name"), "millrace-tracker");
    let without = rendered("restricted");
    let tracker = without.get("StatefulSet", "millrace-tracker");
    assert!(tracker.at("/spec/volumeClaimTemplates").is_null());
    let volumes = tracker.pod().unwrap()["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["name"] == "store" && volume["emptyDir"].is_object()));
}

#[test]
fn nothing_talks_but_where_the_policies_let_it() {
    let manifest = rendered("restricted");
    let policies = manifest.kind("NetworkPolicy");
    let selects = |policy: &Object, labels: &Value| {
        let wanted = policy.at("/spec/podSelector/matchLabels").as_object().unwrap();
        wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let deny = manifest.get("NetworkPolicy", "millrace-default-deny");
    assert_eq!(*deny.at("/spec/policyTypes"), json!(["Ingress", "Egress"]));
    assert!(deny.at("/spec/ingress").is_null() && deny.at("/spec/egress").is_null());
    for object in manifest.pods() {
        let labels =
            if object.kind() == "Pod" { object.at("/metadata/labels") } else { object.at("/spec/template/metadata/labels") };
        assert!(selects(deny, labels), "{} {} is not denied by default", object.kind(), object.name());
    }
    let addresses = |name: &str| -> Vec<String> {
        let labels = manifest.get("StatefulSet", name).at("/spec/template/metadata/labels");
        let own = policies.iter().filter(|policy| selects(policy, labels));
        let rules = own.flat_map(|policy| policy.at("/spec/egress").as_array().into_iter().flatten());
        let peers = rules.flat_map(|rule| rule["to"].as_array().into_iter().flatten());
        peers.filter_map(|peer| peer["ipBlock"]["cidr"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(addresses("millrace-sink-mes-ulm"), ["10.30.0.7/32"]);
    assert_eq!(addresses("millrace-sink-mes-pune"), ["10.31.0.7/32"]);
    assert_eq!(addresses("millrace-validator"), Vec::<String>::new());
    let fleet = rendered("all");
    let ports: Vec<Vec<u64>> = fleet
        .get("NetworkPolicy", "millrace-fleet")
        .at("/spec/egress")
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["ports"].as_array().unwrap().iter().filter_map(|port| port["port"].as_u64()).collect())
        .collect();
    assert_eq!(ports, [vec![53, 53], vec![9093, 9094], vec![443, 8081], vec![4318]], "names, brokers, registries, spans");
    let metrics = fleet.get("NetworkPolicy", "millrace-fleet").at("/spec/ingress/0");
    assert_eq!(metrics["ports"][0]["port"], 8081);
    assert_eq!(metrics["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "monitoring");
}

#[test]
fn an_autoscaled_sink_has_one_trigger_a_topic_at_least_one_replica_and_no_fixed_number() {
    let manifest = rendered("keda");
    let scaled = manifest.get("ScaledObject", "millrace-sink-mes-ulm");
    let triggers = scaled.at("/spec/triggers").as_array().unwrap();
    let kafka: Vec<&Value> = triggers.iter().filter(|trigger| trigger["type"] == "kafka").map(|one| &one["metadata"]).collect();
    let topics: Vec<&str> = kafka.iter().map(|metadata| metadata["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["mdm.golden.item", "mdm.golden.work_center", "mdm.golden.reference"]);
    for metadata in kafka {
        assert_eq!(metadata["consumerGroup"], "mdm.sink.mes-ulm");
        assert_eq!(metadata["limitToPartitionsWithLag"], "true");
        assert_eq!(metadata["fullMetadata"], "false");
        assert_eq!((&metadata["tls"], &metadata["sasl"]), (&json!("enable"), &json!("scram_sha512")));
    }
    assert_eq!(scaled.at("/spec/minReplicaCount"), 1);
    assert_eq!(scaled.at("/spec/maxReplicaCount"), 6);
    let behaviour = scaled.at("/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown/stabilizationWindowSeconds");
    assert_eq!(behaviour, 300);
    let formula = scaled.at("/spec/advanced/scalingModifiers/formula").as_str().unwrap();
    assert_eq!(formula, "paused > 0.0 ? 0.0 : max(topic0, topic1, topic2)", "what waits on purpose scales nothing");
    assert!(manifest.get("StatefulSet", "millrace-sink-mes-ulm").at("/spec/replicas").is_null());
    let access = manifest.get("TriggerAuthentication", "millrace-sink-mes-ulm").at("/spec/secretTargetRef").as_array().unwrap();
    assert!(access.iter().any(|entry| entry["parameter"] == "password" && entry["name"] == "millrace-kafka"));
    let paused = manifest.get("ScaledObject", "millrace-sink-mes-pune");
    assert_eq!(paused.at("/metadata/annotations/autoscaling.keda.sh~1paused"), "true");
    assert!(manifest.kind("ScaledObject").len() == 2, "never the validator: each step restores state");
}

#[test]
fn fifty_destinations_render_with_names_that_fit_and_do_not_collide() {
    let name = |index: usize| format!("mes-with-a-rather-long-name-in-plant-{index:02}");
    let destinations: serde_json::Map<String, Value> = (0..50).map(|index| (name(index), json!({}))).collect();
    let mut files = serde_json::Map::new();
    for index in 0..50 {
        files.insert(format!("destinations/{}.yaml", name(index)), json!("office: plant\n"));
    }
    let base = Render::install("minimal")
        .unwrap()
        .with(json!({ "destinations": destinations, "landscape": { "files": files } }).to_string());
    let mut render = base.with("sink: {replicaCount: 2}\nmetrics: {serviceMonitor: {enabled: true}}");
    render.release = "master-data-production".into();
    let manifest = Helm::newest().unwrap().template(&render).unwrap();
    let pods = manifest.pods();
    let sinks = pods.iter().filter(|one| one.option("--destination").is_some());
    assert_eq!(sinks.count(), 52);
    let mut names: Vec<String> = manifest.objects.iter().map(|one| format!("{}/{}", one.kind(), one.name())).collect();
    for object in &manifest.objects {
        assert!(object.name().len() <= 52, "{} {} is {} long", object.kind(), object.name(), object.name().len());
    }
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "two objects have one name");
}
