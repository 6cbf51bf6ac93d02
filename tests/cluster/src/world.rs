//! Everything that an install stands on: Kafka, registry, plants and sources, the control plane with its definitions, the node, and
//! the namespace with what an administrator puts there before.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use chart::{Helm, Sample, TOKEN, TOKENS};
use devstack::{
    Addresses, Base, Progress, Systems, SystemsOptions,
    demo::{DemoFile, Plant, Source},
    dev,
    mes::Manners,
    pod::{
        api::Api,
        kubelet::{Kubelet, KubeletOptions},
    },
    provision::read_landscape,
    systems::short_name,
};
use serde_json::json;

use crate::{cluster, control_plane::ControlPlane, downloads::Downloads, helm::Release, say};

pub(crate) const NAMESPACE: &str = "millrace";
/// Of the landscape's topics and groups.
pub(crate) const PREFIX: &str = "mdm.";
pub(crate) const PATIENCE: Duration = Duration::from_secs(420);

/// Fields are dropped in this order: pods first, then what they stand on.
pub(crate) struct World {
    pub(crate) kubelet: Kubelet,
    pub(crate) release: Release,
    pub(crate) sample: Sample,
    pub(crate) systems: Systems,
    pub(crate) base: Base,
    pub(crate) control: ControlPlane,
    /// Here lies `target/demo`, as the tour expects it.
    pub(crate) folder: PathBuf,
}

impl World {
    /// # Errors
    /// When something does not start.
    pub(crate) fn start() -> Result<Self> {
        let folder = dev::target()?.join("cluster");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing what the last run left in {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let downloads = Downloads::ready()?;
        let helm = Helm::newest().context("fetching Helm")?;
        let control = ControlPlane::start(&downloads, &folder.join("control-plane"))?;
        say(&format!("Kubernetes {} is up; Helm {}", crate::downloads::KUBERNETES, helm.version));
        cluster::define(&control.api, &downloads.definitions)?;

        let base = Base::throwaway(&folder, Progress::Shown, Vec::new())?;
        let demo = folder.join("target/demo");
        let sample = Sample::copy(&folder.join("landscape"), PREFIX)?;
        // A file that is written all the time is taken all the time.
        sample.edit("sources/erp.yaml", "settle: 300ms", "settle: 100ms")?;
        // One plant more than the landscape names: it is added later.
        add_plant(&sample)?;
        let systems = systems(&sample, &demo)?;
        fs::remove_file(sample.landscape.join(format!("destinations/{ADDED}.yaml")))?;

        let api = control.api.clone();
        prepare(&api, &systems, &folder)?;
        let kubelet = Kubelet::start(
            api,
            KubeletOptions {
                namespaces: vec![NAMESPACE.to_owned()],
                folder: folder.join("node"),
                binaries: dev::profile()?,
                node: "node-1".to_owned(),
            },
        )?;
        let release = Release {
            helm,
            kubeconfig: control.kubeconfig.clone(),
            namespace: NAMESPACE.to_owned(),
            name: "millrace".to_owned(),
            folder: folder.clone(),
        };
        Ok(Self { kubelet, release, sample, systems, base, control, folder })
    }

    pub(crate) fn api(&self) -> &Api {
        &self.control.api
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.base.addresses()
    }

    pub(crate) fn wait_ready(&self) -> Result<()> {
        cluster::wait_ready(self.api(), &self.kubelet, NAMESPACE, PATIENCE)
    }

    /// Says where everything is, so that the command line finds it as it finds a demo.
    ///
    /// # Errors
    /// When the tracker does not run or the file cannot be written.
    pub(crate) fn write_demo_file(&self) -> Result<()> {
        let tracker = self.kubelet.address_of("millrace-tracker-0")?;
        let plants =
            self.systems.plants.iter().map(|(name, plant)| {
                (short_name(name).to_owned(), Plant { endpoint: plant.url(), control: plant.control_url() })
            });
        let folders = self.systems.folders.iter().map(|(name, folder)| (name.clone(), Source::Folder { folder: folder.clone() }));
        let file = DemoFile {
            version: 1,
            pid: std::process::id(),
            server: format!("http://{tracker}:8080"),
            brokers: self.addresses().brokers,
            registry: self.addresses().registry,
            landscape: self.sample.landscape.clone(),
            topic_prefix: PREFIX.to_owned(),
            plants: plants.collect(),
            sources: folders.collect::<BTreeMap<_, _>>(),
            processes: Vec::new(),
            access: None,
        };
        let path = self.folder.join("target/demo/demo.json");
        fs::write(&path, serde_json::to_string_pretty(&file)?).with_context(|| format!("writing {}", path.display()))?;
        fs::write(self.folder.join("token"), TOKEN).context("writing the token of the command line")
    }
}

/// The plant that is added by an upgrade.
pub(crate) const ADDED: &str = "mes-brno";

/// Brno makes what Ulm makes: its file is Ulm's.
pub(crate) fn add_plant(sample: &Sample) -> Result<()> {
    let file = |name: &str| sample.landscape.join(format!("destinations/{name}.yaml"));
    let text = fs::read_to_string(file("mes-ulm")).context("reading the destination of Ulm")?;
    let text = text.replace("mes-ulm.example", "mes-brno.example").replace("plant Ulm", "plant Brno");
    fs::write(file(ADDED), text).context("writing the destination of Brno")
}

fn systems(sample: &Sample, folder: &Path) -> Result<Systems> {
    let landscape = read_landscape(&sample.landscape)?;
    Systems::start(
        &landscape,
        &SystemsOptions {
            folder: folder.to_owned(),
            sample: Some(chart::root().join("deploy/sample")),
            landscape: None,
            manners: Manners::default(),
            keep: false,
        },
    )
}

fn prepare(api: &Api, systems: &Systems, folder: &Path) -> Result<()> {
    cluster::namespace(api, NAMESPACE)?;
    cluster::refuses_root(api, NAMESPACE)?;
    say("the namespace refuses a pod that runs as root: PodSecurity `restricted` is enforced");
    cluster::secret(api, NAMESPACE, TOKENS, &json!({"tokens": format!("operator {TOKEN}\n"), "token": TOKEN}))?;
    for (source, drop) in &systems.folders {
        let claim = format!("{source}-drop");
        cluster::volume(api, &claim, drop, Some((NAMESPACE, &claim)))?;
        cluster::claim(api, NAMESPACE, &claim)?;
    }
    // Each for its claim: an install before this one must not take it.
    for replica in 0..2 {
        let claim = format!("store-millrace-tracker-{replica}");
        cluster::volume(api, &claim, &folder.join("volumes").join(&claim), Some((NAMESPACE, &claim)))?;
    }
    Ok(())
}
