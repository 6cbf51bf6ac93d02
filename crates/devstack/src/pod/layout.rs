//! A pod's volumes as folders, exactly as a kubelet lays them out: keys of ConfigMaps and Secrets behind `..data` links, modes and
//! the group of `fsGroup`, so that a service that walks such a folder, or may not read a file, is found out here.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    objects::{Files, Objects},
    spec::{FilesOf, Spec, Volume},
};

const DEFAULT_MODE: u32 = 0o644;

/// One file of a volume.
struct Placed {
    path: PathBuf,
    bytes: Vec<u8>,
    mode: u32,
}

/// Lays out every volume of the pod below `folder`; the folders by the volume's name.
pub(super) fn volumes(spec: &Spec, objects: &Objects, folder: &Path, is_root: bool) -> Result<BTreeMap<String, PathBuf>> {
    let group = spec.security_context.fs_group.filter(|_| is_root);
    let mut laid = BTreeMap::new();
    for volume in &spec.volumes {
        let path = volume_folder(volume, objects, &folder.join(&volume.name), group)
            .with_context(|| format!("laying out the volume {}", volume.name))?;
        laid.insert(volume.name.clone(), path);
    }
    Ok(laid)
}

fn volume_folder(volume: &Volume, objects: &Objects, path: &Path, group: Option<u32>) -> Result<PathBuf> {
    if let Some(claim) = &volume.persistent_volume_claim {
        let folder = objects.claim_folder(&claim.claim_name)?.to_owned();
        fs::create_dir_all(&folder)?;
        give_to_group(&folder, group)?;
        return Ok(folder);
    }
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    let mut placed = Vec::new();
    let mut is_files = true;
    if let Some(files) = &volume.config_map {
        placed.extend(place(files, objects.config_map_files(&files.name, files.optional)?, None)?);
    } else if let Some(files) = &volume.secret {
        placed.extend(place(files, objects.secret_files(&files.name, files.optional)?, None)?);
    } else if let Some(projected) = &volume.projected {
        for source in &projected.sources {
            if let Some(files) = &source.config_map {
                let found = objects.config_map_files(&files.name, files.optional)?;
                placed.extend(place(files, found, projected.default_mode)?);
            } else if let Some(files) = &source.secret {
                let found = objects.secret_files(&files.name, files.optional)?;
                placed.extend(place(files, found, projected.default_mode)?);
            } else {
                bail!("a projected source other than configMap and secret is not known here");
            }
        }
    } else if volume.empty_dir.is_some() {
        is_files = false;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        give_to_group(path, group)?;
    } else {
        bail!("only configMap, secret, projected, emptyDir and persistentVolumeClaim are known here");
    }
    if is_files {
        write(path, &placed, group)?;
    }
    Ok(path.to_owned())
}

fn place(volume: &FilesOf, files: Option<&Files>, default_mode: Option<u32>) -> Result<Vec<Placed>> {
    let Some(files) = files else { return Ok(Vec::new()) };
    let default = volume.default_mode.or(default_mode).unwrap_or(DEFAULT_MODE);
    let Some(items) = &volume.items else {
        let all = files.iter().map(|(key, bytes)| Placed { path: key.into(), bytes: bytes.clone(), mode: default });
        return Ok(all.collect());
    };
    let mut placed = Vec::new();
    for item in items {
        let path = PathBuf::from(&item.path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("the path {} leads out of the volume", item.path);
        }
        match files.get(&item.key) {
            Some(bytes) => placed.push(Placed { path, bytes: bytes.clone(), mode: item.mode.unwrap_or(default) }),
            None if volume.optional => {}
            None => bail!("{} has no key {}, which the volume names", volume.name, item.key),
        }
    }
    Ok(placed)
}

/// `..<stamp>/` holds the files, `..data` points to it, and each first name of a path points through `..data`.
fn write(volume: &Path, placed: &[Placed], group: Option<u32>) -> Result<()> {
    let stamp = "..2025_01_01_00_00_00.000000001";
    let data = volume.join(stamp);
    fs::create_dir_all(&data)?;
    symlink(stamp, volume.join("..data"))?;
    for file in placed {
        let path = data.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes).with_context(|| format!("writing {}", path.display()))?;
        let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        if let Some(group) = group {
            chown(&path, None, Some(group)).with_context(|| format!("giving {} to group {group}", path.display()))?;
        }
        let first = file.path.components().next().context("reading the path of a file")?;
        let link = volume.join(first);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(first), &link)?;
        }
    }
    Ok(())
}

fn give_to_group(path: &Path, group: Option<u32>) -> Result<()> {
    let Some(group) = group else { return Ok(()) };
    chown(path, None, Some(group)).with_context(|| format!("giving {} to group {group}", path.display()))?;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777 | 0o2770))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_to_group(&entry.path(), Some(group))?;
        } else if entry.file_type()?.is_file() {
            chown(entry.path(), None, Some(group))?;
            let mode = entry.metadata()?.permissions().mode();
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode & 0o7777 | 0o660))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::spec::Manifest;

    #[test]
    fn a_config_map_lies_as_a_kubelet_lays_it_and_a_walk_through_it_finds_each_file_once() {
        let manifest: Manifest = serde_json::from_value(json!({"spec": {"volumes": [{"name": "landscape", "configMap": {
            "name": "landscape",
            "items": [{"key": "millrace.yaml", "path": "millrace.yaml"}, {"key": "destinations__ulm.yaml", "path": "destinations/ulm.yaml"}]
        }}]}}))
        .unwrap();
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "landscape"},
            "data": {"millrace.yaml": "version: 1", "destinations__ulm.yaml": "{}"}});
        let folder = tempfile::tempdir().unwrap();
        let laid = volumes(&manifest.spec, &Objects::from_manifests([&map]).unwrap(), folder.path(), false).unwrap();
        let found = service::landscape_files(&laid["landscape"]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["destinations/ulm.yaml", "millrace.yaml"]);
        assert!(fs::symlink_metadata(laid["landscape"].join("destinations")).unwrap().is_symlink());
    }

    #[test]
    fn a_missing_secret_is_named() {
        let manifest: Manifest =
            serde_json::from_value(json!({"spec": {"volumes": [{"name": "kafka", "secret": {"secretName": "kafka-user"}}]}}))
                .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = volumes(&manifest.spec, &Objects::default(), folder.path(), false).unwrap_err();
        assert!(format!("{error:#}").contains("finding the Secret kafka-user"), "{error:#}");
    }
}
