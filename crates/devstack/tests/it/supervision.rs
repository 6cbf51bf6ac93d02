//! What a supervisor started ends with it, however it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use devstack::supervise::{GRACE, Identity, Launch, Supervisor, sweep};

const FOLDER: &str = "MILLRACE_TEST_OWNER_FOLDER";

fn sleeper(name: &str) -> Launch {
    shell(name, "sleep 600 & echo started; wait")
}

fn shell(name: &str, script: &str) -> Launch {
    Launch {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: Vec::new(),
    }
}

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 30 s for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn gone(identity: Identity) -> Option<()> {
    (!identity.is_alive()).then_some(())
}

/// The state files of a folder.
fn states(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "processes")).collect()
}

/// The victim of the kill tests: this binary started once more, with a folder in its environment. Without one it has nothing
/// to own and ends at once.
#[test]
fn owner_of_two_sleepers() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut supervisor = Supervisor::throwaway(&folder).unwrap();
    let one = supervisor.spawn(sleeper("one")).unwrap().pid();
    let two = supervisor.spawn(sleeper("two")).unwrap().pid();
    fs::write(folder.join("pids.part"), format!("{one} {two}")).unwrap();
    fs::rename(folder.join("pids.part"), folder.join("pids")).unwrap();
    std::thread::park();
}

fn start_owner(folder: &Path) -> (Child, Vec<Identity>) {
    let owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervision::owner_of_two_sleepers"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = wait_for("the owner's children", || fs::read_to_string(folder.join("pids")).ok());
    let identities = pids.split(' ').map(|pid| Identity::of(pid.parse().unwrap()).unwrap()).collect();
    (owner, identities)
}

#[test]
fn a_killed_owner_leaves_no_process_and_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, children) = start_owner(folder.path());
    owner.kill().unwrap();
    owner.wait().unwrap();
    for child in children {
        wait_for("a child of a killed owner to end", || gone(child));
    }
    wait_for("the folder to be empty", || (fs::read_dir(folder.path()).unwrap().count() == 1).then_some(()));
}

#[test]
fn the_next_start_ends_what_a_killed_owner_and_guardian_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, children) = start_owner(folder.path());
    // Its guardian: the one child of the owner that is not in the state file.
    let owner_pid = owner.id().to_string();
    let guardian = wait_for("the guardian", || {
        fs::read_dir("/proc").unwrap().find_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
            let is_ours = parent == owner_pid && children.iter().all(|child| child.pid != pid);
            is_ours.then_some(pid)
        })
    });
    assert!(Command::new("kill").args(["-9", &guardian.to_string()]).status().unwrap().success());
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(children.iter().all(|child| child.is_alive()));
    sweep(folder.path()).unwrap();
    assert!(children.iter().all(|child| !child.is_alive()));
    assert!(states(folder.path()).is_empty());
    // The folder goes with the sweep after the one that ended its processes, or with the same one.
    sweep(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_recycled_process_id_is_never_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = i32::try_from(innocent.id()).unwrap();
    let identity = Identity::of(pid).unwrap();
    let state = folder.path().join("999999999-1-0.processes");
    fs::write(&state, format!("{pid} {} kafka\n", identity.start + 1)).unwrap();
    sweep(folder.path()).unwrap();
    assert!(identity.is_alive() && !state.exists());
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn a_sweep_leaves_the_processes_of_a_living_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::throwaway(folder.path()).unwrap();
    let pid = supervisor.spawn(sleeper("one")).unwrap().pid();
    let identity = Identity::of(pid).unwrap();
    sweep(folder.path()).unwrap();
    assert!(identity.is_alive() && supervisor.folder().exists());
    drop(supervisor);
    assert!(!identity.is_alive());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::open(folder.path()).unwrap();
    let process = supervisor.spawn(shell("deaf", "trap '' TERM; echo started; while :; do sleep 1; done")).unwrap();
    let (pid, log) = (process.pid(), process.log.clone());
    wait_for("the trap", || fs::read_to_string(&log).ok().filter(|text| text.contains("started")));
    let identity = Identity::of(pid).unwrap();
    supervisor.end("deaf", Duration::from_millis(300)).unwrap();
    assert!(!identity.is_alive());
}

#[test]
fn a_process_that_ended_by_itself_is_a_casualty_and_may_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::open(folder.path()).unwrap();
    supervisor.spawn(shell("brief", "exit 7")).unwrap();
    let (name, status) = wait_for("the casualty", || supervisor.casualty());
    assert_eq!((name.as_str(), status.code()), ("brief", Some(7)));
    supervisor.spawn(sleeper("brief")).unwrap();
    assert!(supervisor.casualty().is_none());
    let error = supervisor.spawn(sleeper("brief")).err().unwrap().to_string();
    assert!(error.starts_with("brief runs already"), "{error}");
    supervisor.end_all(GRACE);
}
