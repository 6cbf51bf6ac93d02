//! `make demo`, as a new user meets it: the tour is run command by command from what was printed.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use devstack::{
    demo::{DemoFile, tour},
    dev, fetch,
    mes::{Call, Counts},
    supervise::Identity,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::de::DeserializeOwned;

const LANDSCAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/sample");
/// Longer than a demo takes on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(240);

/// A demo in a folder of its own; killed when a test fails.
struct Demo {
    root: PathBuf,
    process: Child,
    output: PathBuf,
}

impl Demo {
    fn command(root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-devstack"));
        command.args(["demo", "--landscape", LANDSCAPE, "--sample", SAMPLE]).current_dir(root);
        command
    }

    /// Starts it and waits until the tour is printed.
    fn start(root: &Path, name: &str, more: &[&str]) -> Self {
        let output = root.join(name);
        let out = File::create(&output).unwrap();
        let process = Self::command(root).args(more).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let mut demo = Self { root: root.to_owned(), process, output };
        let deadline = Instant::now() + PATIENCE;
        while !demo.printed().contains("ends the demo; its data stays") {
            assert!(demo.process.try_wait().unwrap().is_none(), "the demo has ended:\n{}", demo.printed());
            assert!(Instant::now() < deadline, "no tour after {PATIENCE:?}:\n{}", demo.printed());
            std::thread::sleep(Duration::from_millis(100));
        }
        demo
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    fn file(&self) -> DemoFile {
        serde_json::from_str(&fs::read_to_string(self.root.join("target/demo/demo.json")).unwrap()).unwrap()
    }

    /// What a plant's control interface says.
    fn plant<T: DeserializeOwned>(&self, plant: &str, what: &str) -> T {
        let control = self.file().plants[plant].control.clone();
        let port = control.rsplit_once(':').unwrap().1.parse().unwrap();
        let (status, body) = fetch::get(port, what, Duration::from_secs(10)).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn calls_of(&self, plant: &str, key: &str) -> usize {
        #[derive(serde::Deserialize)]
        struct Calls {
            items: Vec<Call>,
        }
        self.plant::<Calls>(plant, "/calls").items.iter().filter(|call| call.key == key).count()
    }

    /// Runs one command line as a person would.
    fn run(&self, line: &str) -> (i32, String) {
        let path = format!("{}:{}", dev::profile().unwrap().display(), std::env::var("PATH").unwrap());
        let setup = tour::setup(&self.printed()).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{setup}; {line}")]).current_dir(&self.root).env("PATH", path).env_remove("MILLRACE_SERVER");
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        println!("$ {line}\n{text}");
        (output.status.code().unwrap(), text)
    }

    /// Runs a step's commands; returns what each printed.
    fn take(&self, step: &tour::Step) -> Vec<String> {
        println!("\n{}", step.title);
        let run = |command: &String| {
            let (code, text) = self.run(command);
            assert_eq!(code, tour::exit_of(command), "{command}\n{text}");
            text
        };
        step.commands.iter().map(run).collect()
    }

    /// Ends it by a signal, or by the command that `make demo-down` runs, and looks for what is left.
    fn end(mut self, signal: Option<Signal>) -> ExitStatus {
        let file = self.file();
        let processes: Vec<Identity> = file.processes.iter().filter_map(|process| Identity::of(process.pid)).collect();
        assert!(processes.len() >= 9, "{processes:?}");
        match signal {
            Some(signal) => kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap(),
            None => {
                let mut down = Command::new(env!("CARGO_BIN_EXE_millrace-devstack"));
                assert!(down.arg("down").current_dir(&self.root).status().unwrap().success());
            }
        }
        let status = self.process.wait().unwrap();
        assert!(processes.iter().all(|process| !process.is_alive()), "left running: {processes:?}");
        let addresses = [file.brokers, file.server]
            .into_iter()
            .chain(file.plants.into_values().flat_map(|plant| [plant.endpoint, plant.control]));
        for address in addresses {
            let address = address.trim_start_matches("http://").to_owned();
            assert!(TcpStream::connect(&address).is_err(), "{address} still listens");
        }
        assert!(!self.root.join("target/demo/demo.json").exists());
        status
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn the_tour_works_as_printed_and_a_second_start_goes_on_from_it() {
    if !devstack::is_available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path(), "first.log", &[]);
    let printed = demo.printed();
    println!("{printed}");
    assert!(printed.contains("first record accepted"), "{printed}");
    let steps = tour::steps(&printed);

    second_demo_says_that_one_runs(folder.path());
    take_the_tour(&demo, &steps);

    let before: serde_json::Value = demo.plant("pune", "/records");
    assert!(demo.end(None).success());
    let demo = Demo::start(folder.path(), "second.log", &[]);
    assert_eq!(demo.plant::<serde_json::Value>("pune", "/records"), before);
    let counts: Counts = demo.plant("pune", "/counts");
    assert_eq!((counts.applied, counts.regressions, counts.second_effects), (0, 0, 0));
    assert!(demo.end(Some(Signal::SIGINT)).success());
}

#[test]
fn the_tour_works_as_printed_when_nobody_may_do_more_than_his_job() {
    if !devstack::is_available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path(), "secure.log", &["--secure"]);
    let printed = demo.printed();
    assert!(printed.contains("Secured: TLS"), "{printed}");
    take_the_tour(&demo, &tour::steps(&printed));
    the_command_line_is_the_operator(&demo);
    assert!(demo.end(None).success());
}

fn take_the_tour(demo: &Demo, steps: &[tour::Step]) {
    demo.take(&steps[0]);
    pune_goes_down_and_drains(demo, &steps[1]);
    bad_records_become_letters(demo, &steps[2]);
    ulm_refuses_and_a_replay_heals(demo, &steps[3]);
    let outputs = demo.take(&steps[4]);
    assert!(outputs[1].contains("captured") && outputs[1].contains("mes-pune"), "{}", outputs[1]);
}

/// It finds its files in `demo.json`, looks, and may not change anything.
fn the_command_line_is_the_operator(demo: &Demo) {
    let (code, said) = demo.run("millrace topics plan");
    assert_eq!(code, 0, "{said}");
    let (code, said) = demo.run("millrace schemas check");
    assert_eq!(code, 0, "{said}");
    let (code, said) = demo.run("millrace schemas register");
    assert!(code != 0 && said.contains("operator may only read"), "{code}: {said}");
    let file = fs::read_to_string(demo.root.join("target/demo/demo.json")).unwrap();
    let secrets = demo.root.join("target/demo/secrets");
    let mut looked_at = 0;
    for name in ["operator", "provisioner", "tracker"] {
        for password in ["kafka/password", "registry/password"] {
            let path = secrets.join(name).join(password);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400, "{}", path.display());
            assert!(!file.contains(fs::read_to_string(&path).unwrap().trim()), "demo.json holds a secret of {name}");
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 6);
}

fn second_demo_says_that_one_runs(root: &Path) {
    let second = Demo::command(root).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("a demo runs already") && said.contains("make demo-down"), "{said}");
}

fn pune_goes_down_and_drains(demo: &Demo, step: &tour::Step) {
    let before = demo.calls_of("pune", "DN-50/A");
    let outputs = demo.take(step);
    let waiting = &outputs[2];
    assert!(waiting.contains("mes-pune  NO") && waiting.contains("has not answered since"), "{waiting}");
    let letters = demo.run("millrace dlq list --destination mes-pune --state all -o name").1;
    assert!(!letters.contains("mes-pune/"), "{letters}");
    assert_eq!(demo.calls_of("pune", "DN-50/A"), before + 1);
    for plant in ["ulm", "pune"] {
        let counts: Counts = demo.plant(plant, "/counts");
        assert_eq!((counts.regressions, counts.second_effects), (0, 0), "{plant}");
    }
}

fn bad_records_become_letters(demo: &Demo, step: &tour::Step) {
    let corrected = step.commands.iter().position(|command| command.starts_with("sed -i 's/")).unwrap();
    let (bad, good) = step.commands.split_at(corrected);
    let outputs = demo.take(&tour::Step { title: step.title.clone(), commands: bad.to_vec() });
    for key in ["BAD-1/A", "BAD-2/A"] {
        assert!(outputs[3].contains(key), "{}", outputs[3]);
        assert_eq!(demo.calls_of("ulm", key) + demo.calls_of("pune", key), 0, "{key}");
    }
    for (output, rule, value) in [(&outputs[4], "ITM-02", "0"), (&outputs[5], "ITM-01", "XX")] {
        assert!(output.contains(rule) && output.contains(value) && output.contains("Who can fix it"), "{output}");
    }
    let outputs = demo.take(&tour::Step { title: "corrected".to_owned(), commands: good.to_vec() });
    assert!(outputs[1].contains("BAD-1/A") && outputs[1].contains("BAD-2/A"), "{}", outputs[1]);
}

fn ulm_refuses_and_a_replay_heals(demo: &Demo, step: &tour::Step) {
    let replay = step.commands.iter().position(|command| command.contains("--dry-run")).unwrap();
    let (refused, replayed) = step.commands.split_at(replay);
    let outputs = demo.take(&tour::Step { title: step.title.clone(), commands: refused.to_vec() });
    assert!(outputs[2].contains("ES-001/A") && outputs[2].contains("REFUSED_BY_PLANT"), "{}", outputs[2]);
    let pune = demo.calls_of("pune", "ES-001/A");
    let outputs = demo.take(&tour::Step { title: "replay".to_owned(), commands: replayed.to_vec() });
    assert!(outputs[1].contains("1 accepted"), "{}", outputs[1]);
    assert_eq!(demo.calls_of("pune", "ES-001/A"), pune);
    let resolved = demo.run("millrace dlq list --destination mes-ulm --state resolved").1;
    assert!(resolved.contains("ES-001/A"), "{resolved}");
}
