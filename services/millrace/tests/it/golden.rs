//! The output itself, one story per snapshot.

use std::path::Path;

use crate::stub::{Stub, run_in};

/// Runs lines against one stub; the snapshot is what a person would have on the screen.
fn told(name: &str, lines: &[&str]) {
    let stub = Stub::start();
    let text: Vec<String> = lines.iter().map(|line| stub.run(line)).collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text.join("\n"));
    });
}

#[test]
fn help_fits_eighty_columns_and_starts_with_examples() {
    let stub = Stub::start();
    let lines = ["--help", "dlq --help", "record where --help", "dlq replay --help", "destination pause --help"];
    let text: Vec<String> = lines.iter().map(|line| stub.run(line)).collect();
    let text = text.join("\n");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("help", text);
    });
}

#[test]
fn status_leads_from_the_matrix_to_what_needs_a_person() {
    told("status", &["status", "status -o wide --no-headers -q", "status -o json -q"]);
}

#[test]
fn a_record_is_shown_found_placed_and_traced() {
    told(
        "record",
        &[
            "record show item 4711/C",
            "record show item 4711/C --at mes-ulm",
            "record show item --search pump",
            "record show item --search pump -o name",
            "record where item 4711/C",
            "record where item 4711/C --destination mes-ulm",
            "record where item 4711/C --destination wms",
            "record where item 4711/C --destination mes-ulma",
            "record where item 4810/A",
            "record where item 4811/A",
            "record where item 4812/A",
            "record where item 4813/A",
            "record where item 4712/A",
            "record where item 9999/A",
            "record where item 4711",
            "record where itm 4711/C",
            "record trace item 4711/C",
        ],
    );
}

#[test]
fn acts_on_records_and_destinations_say_what_they_did_or_why_not() {
    told(
        "acts",
        &[
            "record resend item 4711/C --destination mes-ulm",
            "record resend item 4711/C -n",
            "record block item 4711/C",
            "record block item 4711/C --reason \"wrong drawing\"",
            "record block item 4711/C --off",
            "destination list",
            "destination list -o csv",
            "destination pause mes-pune",
            "destination pause mes-pune --reason \"line 4 stop\" --until never",
            "destination pause mes-pune --reason \"line 4 stop\" -n",
            "destination pause mes-pune --reason \"line 4 stop\"",
            "destination resume mes-pune",
            "destination pause wms --reason x",
            "destination pause nowhere --reason x",
        ],
    );
}

#[test]
fn letters_are_listed_explained_counted_replayed_and_discarded() {
    told(
        "dlq",
        &[
            "dlq list --destination mes-ulm",
            "dlq list -o name",
            "dlq list -o jsonl --code X",
            "dlq list --code NOTHING",
            "dlq list --since yesterday",
            "dlq show mes-ulm/item/3@1851",
            "dlq show mes-ulm/item/9@9",
            "dlq stats --by code",
            "dlq replay --destination mes-ulm --code ROUTING_MISSING -n",
            "dlq replay --discarded --destination mes-ulm --code ROUTING_MISSING -n",
            "dlq replay --plans",
            "dlq replay --plan p-old",
            "dlq replay --cancel p-7f31",
            "dlq replay",
            "dlq discard --all --destination mes-ulm --reason \"line retired\" --yes",
            "dlq discard --destination mes-ulm --code ROUTING_MISSING --reason \"line retired\"",
            "dlq discard mes-ulm/item/3@1851",
            "dlq discard mes-ulm/item/3@1851 --reason scrapped -n",
            "dlq discard mes-ulm/item/3@1851 --reason scrapped",
            "dlq discard mes-ulm/item/3@1851 --reason scrapped --yes",
            "dlq list --state discarded",
            "dlq list --state discarded -o wide",
            "dlq show mes-ulm/item/5@77",
            "dlq replay mes-ulm/item/5@77 --yes",
        ],
    );
}

#[test]
fn a_replay_that_is_refused_in_part_ends_with_3() {
    let stub = Stub::start();
    let text = stub.run("dlq replay --code ROUTING_MISSING --yes");
    assert!(text.contains("36 accepted, 1 refused again. There is no undo."), "{text}");
    assert!(text.ends_with("--- exit 3\n"), "{text}");
    let acts = stub.acts();
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert!(acts[1].starts_with("POST replay-plans/p-7f31/run"), "{acts:?}");
}

#[test]
fn a_dry_run_never_acts() {
    let stub = Stub::start();
    for line in [
        "record resend item 4711/C -n",
        "record block item 4711/C --reason x -n",
        "destination pause mes-pune --reason x -n",
        "destination resume mes-pune --dry-run",
        "dlq discard --code X --reason y -n",
    ] {
        stub.run(line);
        assert_eq!(stub.acts(), Vec::<String>::new(), "{line}");
    }
    stub.run("dlq replay --code X -n");
    assert_eq!(stub.acts().len(), 1, "a plan is made, and not run");
}

#[test]
fn nobody_at_home_timeouts_and_wrong_usage_have_their_codes() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (line, server, code) in [
        ("status", Some("http://127.0.0.1:9"), 69),
        ("status", None, 2),
        ("status --server nonsense", None, 2),
        ("stauts", None, 2),
        ("record where item", None, 2),
        ("landscape check /nowhere/at/all", None, 2),
        ("explain NO_SUCH_CODE", None, 5),
        ("demo plant ulm down", None, 2),
        ("status --context none", None, 2),
        ("--version", None, 0),
    ] {
        let text = run_in(nowhere, line, server);
        assert!(text.ends_with(&format!("--- exit {code}\n")), "{text}");
    }
    let typo = run_in(nowhere, "stauts", None);
    assert!(typo.contains("status"), "a typo is guessed: {typo}");
    // A listener that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let text = run_in(nowhere, "status --timeout 200ms", Some(&url));
    assert!(text.ends_with("--- exit 124\n"), "{text}");
}

#[test]
fn colour_is_only_where_it_was_asked_for() {
    let stub = Stub::start();
    assert!(!stub.run("status").contains('\u{1b}'), "no terminal, no colour");
    assert!(stub.run("status --color always").contains('\u{1b}'));
    assert!(!stub.run("status --color never").contains('\u{1b}'));
}

#[test]
fn a_running_demo_in_this_folder_is_found_and_named() {
    let stub = Stub::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("target/demo")).unwrap();
    let demo = serde_json::json!({
        "version": 1, "pid": 1, "server": stub.url(), "brokers": "127.0.0.1:9", "registry": "http://127.0.0.1:9",
        "landscape": "deploy/landscape", "topic_prefix": "mdm.",
        "plants": { "ulm": { "endpoint": "http://127.0.0.1:9", "control": "http://127.0.0.1:9" } }, "sources": {}, "processes": [],
    });
    std::fs::write(folder.path().join("target/demo/demo.json"), demo.to_string()).unwrap();
    let text = run_in(folder.path(), "demo plant ulm down", None);
    assert!(text.ends_with("--- exit 69\n"), "its control address is asked: {text}");
    let text = run_in(folder.path(), "demo plant plovdiv down", None);
    assert!(text.contains("no plant `plovdiv` in the demo (ulm)") && text.ends_with("--- exit 5\n"), "{text}");
    let text = run_in(folder.path(), "demo plant ulm refuse", None);
    assert!(text.contains("which record?") && text.ends_with("--- exit 2\n"), "{text}");
    let text = run_in(folder.path(), "status", None);
    assert!(text.contains("Asking the demo in target/demo") && text.ends_with("--- exit 0\n"), "{text}");
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/landscape");

/// A copy of the sample company whose files may be spoiled.
fn landscape() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(SAMPLE), folder.path());
    folder
}

#[test]
fn the_sample_landscape_is_sound_and_a_typo_is_found_with_its_place_and_a_guess() {
    let folder = landscape();
    for line in ["landscape check .", "landscape test .", "landscape check . -o json"] {
        let text = run_in(folder.path(), line, None);
        assert!(text.ends_with("--- exit 0\n"), "{text}");
    }
    let item = folder.path().join("domains/item.yaml");
    let text = std::fs::read_to_string(&item).unwrap().replacen("owner:", "onwer:", 1);
    std::fs::write(&item, text).unwrap();
    let text = run_in(folder.path(), "landscape check .", None);
    assert!(text.contains("domains/item.yaml:") && text.contains("did you mean \"owner\"?"), "{text}");
    assert!(text.contains("1 problem in") && text.ends_with("--- exit 6\n"), "{text}");
    let text = run_in(folder.path(), "landscape test .", None);
    assert!(text.contains("see them with `millrace landscape check`") && text.ends_with("--- exit 2\n"), "{text}");
}

#[test]
fn brokers_or_a_registry_that_are_away_end_with_69() {
    for line in ["topics plan --brokers 127.0.0.1:9 --timeout 25s", "schemas check --registry http://127.0.0.1:9 --timeout 25s"] {
        let text = run_in(Path::new("."), &format!("{line} --landscape {SAMPLE}"), None);
        assert!(text.ends_with("--- exit 69\n"), "{text}");
    }
    let text = run_in(Path::new("."), &format!("topics plan --landscape {SAMPLE}"), None);
    assert!(text.contains("where is Kafka?") && text.ends_with("--- exit 2\n"), "{text}");
}

#[test]
fn contexts_are_read_by_name_and_a_typo_is_guessed() {
    let stub = Stub::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("millrace")).unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("millrace/contexts.yaml"), text).unwrap();
    write(&format!("production:\n  server: {}\n", stub.url()));
    let run = |line: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.args(line.split(' ')).env_clear().env("XDG_CONFIG_HOME", folder.path());
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run("status --context production").0, 0);
    let (code, said) = run("status --context prodution");
    assert!(code == 2 && said.contains("did you mean `production`?"), "{said}");
    write("production:\n  servre: http://127.0.0.1:9\n");
    let (code, said) = run("status --context production");
    assert!(code == 2 && said.contains("servre"), "{said}");
}

#[test]
fn every_form_of_output_is_whole_and_only_data_is_on_stdout() {
    told(
        "forms",
        &[
            "destination list -o yaml",
            "dlq stats -o json",
            "dlq stats --no-headers",
            "dlq stats -o name -q",
            "dlq list -o csv -q",
        ],
    );
    let stub = Stub::start();
    for form in ["json", "yaml", "jsonl", "csv", "name"] {
        let text = stub.run(&format!("dlq list -o {form}"));
        assert!(!text.contains("--- on stderr"), "hints are for tables only: {text}");
    }
}

#[test]
fn ctrl_c_ends_with_130() {
    // A listener that accepts and never answers: the command is waiting for certain once it has connected.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
    let mut child = command.args(["status", "--server", &url]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let connection = silent.accept().unwrap();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(connection);
}

#[test]
fn something_else_at_the_trackers_address_is_a_failure_that_says_so() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The whole request first: an answer that comes before it is an error of its own.
        let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        assert!(asked.count() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>").unwrap();
    });
    let text = run_in(Path::new("."), "status", Some(&url));
    assert!(text.contains("is this the tracker?") && text.ends_with("--- exit 1\n"), "{text}");
}
