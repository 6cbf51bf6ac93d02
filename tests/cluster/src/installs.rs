//! Every values file of the chart's `ci/` installed for real, each in a namespace of its own: the API takes every object, custom ones
//! included, and admits every pod that the controllers make of them. Nothing runs: these values name systems that are not here.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{cluster, helm::Release, report::Report, world::World};

pub(crate) fn all_are_admitted(world: &World, report: &mut Report) -> Result<()> {
    let api = world.api();
    let bundle = world.folder.join("sample.values.yaml");
    chart::Sample { landscape: chart::root().join("deploy/landscape") }.bundle(&bundle)?;
    // What the values of `all` name of the cluster around them.
    cluster::namespace(api, "monitoring")?;
    api.ensure(
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        &json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "business-critical"}, "value": 1000}),
    )?;
    let (mut installs, mut pods) = (0, 0);
    for name in chart::INSTALLS {
        let namespace = format!("ci-{name}");
        cluster::namespace(api, &namespace)?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "millrace"}});
        api.ensure(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account)?;
        let release = Release {
            helm: world.release.helm.clone(),
            kubeconfig: world.release.kubeconfig.clone(),
            namespace: namespace.clone(),
            name: "millrace".to_owned(),
            folder: world.folder.clone(),
        };
        let values = chart::chart().join(format!("ci/{name}-values.yaml"));
        release.install(&[bundle.clone(), values], &[]).with_context(|| format!("installing the values {name}"))?;
        pods += cluster::wait_admitted(api, &namespace).with_context(|| format!("installing the values {name}"))?;
        installs += 1;
        release.run(&["uninstall", "millrace"])?;
        // Nobody runs these pods, so nobody ends them either.
        for pod in cluster::pods(api, &namespace)? {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            api.delete(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"), &json!({"gracePeriodSeconds": 0}))?;
        }
        cluster::wait(&format!("the end of {namespace}"), Duration::from_secs(60), || {
            let left = cluster::workloads(api, &namespace)?.len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} workloads are left")) })
        })?;
    }
    report.figure("values files installed for real, pods admitted", &format!("{installs}, {pods}"));
    Ok(())
}
