//! The documents that subscribers get, judged by the public programs that read such documents.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use devstack::stock;
use millrace_e2e::sample_landscape;
use serde_json::Value;

pub(crate) fn stock_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stock")
}

/// `millrace subscribe docs` of the sample company, into a folder.
fn write_documents(folder: &Path) -> Result<()> {
    let output = Command::new(devstack::dev::profile()?.join("millrace"))
        .args(["subscribe", "docs", "--brokers", "kafka-bootstrap:9093", "--registry", "https://registry.example.invalid"])
        .arg("--landscape")
        .arg(sample_landscape())
        .arg("--out")
        .arg(folder)
        .current_dir(folder)
        .output()
        .context("running millrace")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the public parser finds in an AsyncAPI document.
fn parsed(document: &Path) -> Result<Value> {
    let project = stock_folder().join("asyncapi");
    let modules = stock::node(&project)?;
    let output =
        Command::new("node").arg(project.join("check.mjs")).arg(modules).arg(document).output().context("running node")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn the_public_parser_reads_the_asyncapi_document_without_a_finding_and_finds_a_planted_fault() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_documents(folder.path())?;
    let document = folder.path().join("asyncapi.yaml");
    let answer = parsed(&document)?;
    assert_eq!(answer["findings"], serde_json::json!([]));
    let golden = ["customer", "item", "work_center", "reference"];
    assert_eq!(
        answer["channels"],
        serde_json::json!(golden.map(|domain| format!("mdm.golden.{domain}"))),
        "golden topics and no other"
    );
    assert_eq!(answer["records"], serde_json::json!(["CustomerGolden", "ItemGolden", "WorkCenterGolden", "ReferenceGolden"]));

    let text = fs::read_to_string(&document)?;
    for (good, bad) in
        [("action: receive", "action: swallow"), ("type: record", "type: rekord"), ("#/components/messages/Item", "#/nowhere")]
    {
        assert!(text.contains(good), "{good}");
        fs::write(&document, text.replacen(good, bad, 1))?;
        let findings = parsed(&document)?["findings"].clone();
        assert_ne!(findings, serde_json::json!([]), "`{bad}` passes: the parser looks at nothing");
    }
    Ok(())
}

#[test]
fn the_public_linter_accepts_every_data_contract_and_refuses_a_spoiled_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_documents(folder.path())?;
    let packages = stock::python(&stock_folder().join("contracts.txt"))?;
    let lint = |file: &Path| -> Result<(bool, String)> {
        let output = Command::new("python3")
            .args(["-c", "from datacontract.cli import app; app()", "lint"])
            .arg(file)
            .env("PYTHONPATH", &packages)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .context("running the linter")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let mut contracts = BTreeMap::new();
    for entry in fs::read_dir(folder.path().join("contracts"))? {
        let path = entry?.path();
        let (accepted, said) = lint(&path)?;
        assert!(accepted && said.contains("ODCS v3.1.0"), "{}: {said}", path.display());
        contracts.insert(path.clone(), fs::read_to_string(path)?);
    }
    assert_eq!(contracts.len(), 4);
    let (path, text) = contracts.pop_first().context("there are four")?;
    fs::write(&path, text.replacen("logicalType: object", "logicalType: thing", 1))?;
    assert!(!lint(&path)?.0, "a logical type that does not exist passes: the linter looks at nothing");
    Ok(())
}

#[test]
fn the_same_input_gives_the_same_bytes() -> Result<()> {
    fn files(folder: &Path, above: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = format!("{above}/{}", path.file_name().context("a file has a name")?.to_string_lossy());
            if path.is_dir() {
                files(&path, &name, found)?;
            } else {
                found.insert(name, fs::read(&path)?);
            }
        }
        Ok(())
    }
    let mut runs = [BTreeMap::new(), BTreeMap::new()];
    for found in &mut runs {
        let folder = tempfile::tempdir()?;
        write_documents(folder.path())?;
        files(folder.path(), "", found)?;
    }
    let [first, second] = runs;
    assert!(first == second && first.len() == 13, "{:?}", first.keys());
    let all: Vec<_> = first.values().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    for internal in ["mdm.change.", "mdm.held", "mdm.dlq.", "mdm.ledger.", "mdm.receipt.", "mdm.command.", "mdm.cursor."] {
        assert!(!all.iter().any(|text| text.contains(internal)), "{internal} is internal and stands in a document");
    }
    Ok(())
}
