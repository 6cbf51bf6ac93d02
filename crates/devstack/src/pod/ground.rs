//! What a container stands on: a root of its own in which the pod's paths are exactly the pod's, where this machine allows it.
//!
//! * As root, or where users may make namespaces: a mount namespace with a small root (this machine's `/usr` and libraries read-only,
//!   the built binaries in `/usr/local/bin`, the pod's volumes where it mounts them), read-only when the container says so, as the
//!   user that the container names (as root), without capabilities or new privileges.
//! * Elsewhere the process runs on the machine's own root, and each mounted path is replaced by its folder in the words that it is
//!   started with. [`Ground::says`] tells which it was, so that nobody reads more into a green test.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result};

use super::command::Words;
use crate::supervise::Launch;

/// How containers are set apart on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A root and a user of their own.
    Root,
    /// A root of their own, as the user who runs this.
    Namespace,
    /// Paths replaced in words.
    Words,
}

/// A folder or file where the container sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) source: PathBuf,
    pub(super) path: String,
    pub(super) is_read_only: bool,
}

/// What is to run, and what it may see.
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) words: Words,
    pub(super) seen: Vec<Seen>,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) more_groups: Vec<u32>,
    pub(super) is_root_read_only: bool,
    /// An empty folder, over which the root is mounted.
    pub(super) root: PathBuf,
    /// Where the services are built.
    pub(super) binaries: &'a Path,
    /// A file of host names, when the pod has one.
    pub(super) hosts: Option<&'a Path>,
}

const IMAGE: &str = r#"
set -eu
mount -t tmpfs -o mode=0755 image "$root"
for name in usr bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; mount -o remount,bind,ro "$root/$name"
    fi
done
mount --bind "$binaries" "$root/usr/local/bin"; mount -o remount,bind,ro "$root/usr/local/bin"
mkdir "$root/dev" "$root/proc" "$root/etc" "$root/etc/ssl"
mkdir -m 1777 "$root/tmp"
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"
mount --bind /etc/ssl "$root/etc/ssl"
for name in ld.so.cache nsswitch.conf; do if [ -f "/etc/$name" ]; then cp "/etc/$name" "$root/etc/$name"; fi; done
echo 'nonroot:x:65532:65532::/:/sbin/nologin' > "$root/etc/passwd"
echo 'nonroot:x:65532:' > "$root/etc/group"
cp /etc/hosts "$root/etc/hosts"
"#;

impl Ground {
    /// What this machine allows; tried once.
    #[must_use]
    pub fn of_this_machine() -> Self {
        static FOUND: OnceLock<Ground> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // The owner of what the kernel shows of this process is the user that it runs as.
            let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
            let own = if is_root { Self::Root } else { Self::Namespace };
            if own.is_possible() { own } else { Self::Words }
        })
    }

    /// For the output of a test: what it shows and what it does not.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::Root => {
                "each container has a root of its own (the pod's exact paths, read-only where it says so) and its own user"
            }
            Self::Namespace => "each container has a root of its own (the pod's exact paths), but all run as this user",
            Self::Words => {
                "this machine allows no mount namespaces: mounted paths are replaced in arguments and environment, the root is not read-only, and all run as this user"
            }
        }
    }

    #[must_use]
    pub fn is_root(self) -> bool {
        self == Self::Root
    }

    fn is_possible(self) -> bool {
        let Ok(folder) = std::env::current_exe().map(|own| own.with_file_name(format!("root-{}", std::process::id()))) else {
            return false;
        };
        if std::fs::create_dir_all(&folder).is_err() {
            return false;
        }
        let trial = Container {
            name: "trial",
            words: Words { program: "/bin/true".to_owned(), arguments: Vec::new(), environment: BTreeMap::new() },
            seen: Vec::new(),
            user: 65532,
            group: 65532,
            more_groups: Vec::new(),
            is_root_read_only: true,
            binaries: &folder,
            root: folder.clone(),
            hosts: None,
        };
        let works = self.launch(trial).is_ok_and(|launch| {
            let mut command = Command::new(launch.program);
            command.args(launch.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        });
        std::fs::remove_dir(&folder).ok();
        works
    }

    pub(super) fn launch(self, container: Container<'_>) -> Result<Launch> {
        let words: &[&str] = match self {
            Self::Root => &["--mount", "sh", "-c"],
            Self::Namespace => &["--user", "--map-root-user", "--mount", "sh", "-c"],
            Self::Words => return Ok(replaced(&container)),
        };
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.push(self.script(&container)?);
        Ok(Launch { name: container.name.to_owned(), program: "unshare".into(), arguments, environment: Vec::new() })
    }

    /// The shell text that makes the root and becomes the container's program: the process that is started is the one that runs.
    fn script(self, container: &Container<'_>) -> Result<String> {
        std::fs::create_dir_all(&container.root).with_context(|| format!("creating {}", container.root.display()))?;
        let mut script = format!("root={}\nbinaries={}{IMAGE}", quoted_path(&container.root), quoted_path(container.binaries));
        if let Some(hosts) = container.hosts {
            script.push_str(&format!("mount --bind {} \"$root/etc/hosts\"\n", quoted_path(hosts)));
        }
        let mut seen: Vec<&Seen> = container.seen.iter().collect();
        // An outer path before what lies in it.
        seen.sort_by_key(|seen| seen.path.len());
        for seen in seen {
            let (source, path) = (quoted_path(&seen.source), quoted(&seen.path));
            if seen.source.is_file() {
                let parent = Path::new(&seen.path).parent().map(quoted_path).unwrap_or_default();
                script.push_str(&format!("mkdir -p \"$root\"{parent}; touch \"$root\"{path}\n"));
            } else {
                script.push_str(&format!("mkdir -p \"$root\"{path}\n"));
            }
            script.push_str(&format!("mount --bind {source} \"$root\"{path}\n"));
            if seen.is_read_only {
                script.push_str(&format!("mount -o remount,bind,ro \"$root\"{path}\n"));
            }
        }
        if container.is_root_read_only {
            script.push_str("mount -o remount,ro \"$root\"\n");
        }
        script.push_str("cd \"$root\"; exec chroot \"$root\" /usr/bin/setpriv");
        if self == Self::Root {
            script.push_str(&format!(" --reuid={} --regid={}", container.user, container.group));
            let groups: Vec<String> = container.more_groups.iter().map(ToString::to_string).collect();
            let groups = if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", groups.join(",")) };
            script.push_str(&format!(" {groups}"));
        }
        script.push_str(" --no-new-privs --inh-caps=-all --bounding-set=-all /usr/bin/env -i");
        for (name, value) in &container.words.environment {
            script.push_str(&format!(" {}", quoted(&format!("{name}={value}"))));
        }
        for word in std::iter::once(&container.words.program).chain(&container.words.arguments) {
            script.push_str(&format!(" {}", quoted(word)));
        }
        Ok(script)
    }
}

fn replaced(container: &Container<'_>) -> Launch {
    let mut seen: Vec<&Seen> = container.seen.iter().collect();
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.path.len()));
    let replace =
        |word: &str| seen.iter().fold(word.to_owned(), |word, seen| word.replace(&seen.path, &seen.source.display().to_string()));
    let words = &container.words;
    let name = Path::new(&words.program).file_name().unwrap_or_default();
    let mut arguments = vec!["-i".to_owned()];
    arguments.extend(words.environment.iter().map(|(name, value)| format!("{name}={}", replace(value))));
    arguments.push(container.binaries.join(name).display().to_string());
    arguments.extend(words.arguments.iter().map(|word| replace(word)));
    Launch { name: container.name.to_owned(), program: "env".into(), arguments, environment: Vec::new() }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container<'a>(words: &[&str], binaries: &'a Path, root: PathBuf, seen: Vec<Seen>) -> Container<'a> {
        let mut words = words.iter().map(|word| (*word).to_owned());
        Container {
            name: "trial",
            words: Words {
                program: words.next().unwrap(),
                arguments: words.collect(),
                environment: BTreeMap::from([("GREETING".to_owned(), "it's me".to_owned())]),
            },
            seen,
            user: 65532,
            group: 65532,
            more_groups: vec![2000],
            is_root_read_only: true,
            root,
            binaries,
            hosts: None,
        }
    }

    fn run(container: Container<'_>) -> String {
        let launch = Ground::of_this_machine().launch(container).unwrap();
        let output = Command::new(launch.program).args(launch.arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    #[test]
    fn a_container_sees_its_paths_and_writes_only_where_it_may() {
        if Ground::of_this_machine() == Ground::Words {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["root", "scratch", "landscape"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::set_permissions(path("scratch"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::write(path("landscape").join("millrace.yaml"), "version: 1\n").unwrap();
        let seen = vec![
            Seen { source: path("scratch"), path: "/tmp".to_owned(), is_read_only: false },
            Seen { source: path("landscape"), path: "/etc/millrace/landscape".to_owned(), is_read_only: true },
        ];
        let script = "cat /etc/millrace/landscape/millrace.yaml; echo \"$GREETING\"; touch /tmp/written /no /etc/millrace/landscape/no /usr/no";
        let said = run(container(&["sh", "-c", script], folder.path(), path("root"), seen));
        assert!(said.starts_with("version: 1\nit's me\n"), "{said}");
        assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
        assert!(path("scratch").join("written").exists());
    }

    #[test]
    fn where_no_root_of_its_own_can_be_had_paths_are_replaced_in_words() {
        let folder = Path::new("/pods/sink");
        let seen = vec![Seen { source: folder.join("landscape"), path: "/etc/landscape".to_owned(), is_read_only: true }];
        let words = ["/usr/local/bin/millrace-sink", "--landscape", "/etc/landscape"];
        let launch = Ground::Words.launch(container(&words, Path::new("/built"), folder.join("root"), seen)).unwrap();
        let expected = ["-i", "GREETING=it's me", "/built/millrace-sink", "--landscape", "/pods/sink/landscape"];
        assert_eq!(launch.arguments, expected);
    }

    #[test]
    fn a_container_runs_as_its_user_without_capabilities() {
        if !Ground::of_this_machine().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let script = "id; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
        let said = run(container(&["sh", "-c", script], folder.path(), folder.path().join("root"), Vec::new()));
        assert!(said.contains("uid=65532(nonroot) gid=65532(nonroot) groups=65532(nonroot),2000"), "{said}");
        assert!(said.contains("CapEff:\t0000000000000000") && said.contains("CapBnd:\t0000000000000000"), "{said}");
        assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    }
}
