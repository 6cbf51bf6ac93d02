//! The landscape survives the way through values, ConfigMap and volume: the real command line finds the same policy version.

use std::{fs, process::Command};

use chart::{Helm, Render};

#[test]
fn the_mounted_folder_is_the_checked_one() {
    for helm in Helm::both().unwrap() {
        let manifest = helm.template(&Render::install("minimal").unwrap()).unwrap();
        let map = manifest.get("ConfigMap", "millrace-landscape");
        let pod = manifest.get("StatefulSet", "millrace-validator").pod().unwrap();
        let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "landscape").unwrap();
        assert_eq!(volume["configMap"]["name"], map.name());
        let folder = tempfile::tempdir().unwrap();
        let items = volume["configMap"]["items"].as_array().unwrap();
        for item in items {
            let path = folder.path().join(item["path"].as_str().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, map.0["data"][item["key"].as_str().unwrap()].as_str().unwrap()).unwrap();
        }
        assert_eq!(items.len(), map.0["data"].as_object().unwrap().len(), "every key is mounted");
        let mounted = service::landscape_files(folder.path()).unwrap();
        let checked = service::landscape_files(&chart::root().join("deploy/landscape")).unwrap();
        assert_eq!(mounted, checked, "{}", helm.version);
        let program = devstack::dev::profile().unwrap().join("millrace");
        let output = Command::new(program).args(["landscape", "check"]).arg(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let version = map.at("/metadata/annotations/millrace~1policy-version").as_str().unwrap();
        assert!(output.status.success() && said.contains(&format!("Policy {version}")), "{version}: {said}");
    }
}
