//! What a service listens on when nobody says anything about it: loopback, and nothing beyond.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use devstack::{Stack, StackOptions, fetch};
use millrace_e2e::until;

use crate::world::PATIENCE;

/// Where probes and metrics listen unless told otherwise.
const OPS: u16 = 8081;

/// A started process; killed when the test is done with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Addresses on which a process listens, from the system's own tables.
fn listening(pid: u32) -> Result<BTreeSet<(IpAddr, u16)>> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        sockets.extend(target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
    }
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN; a datagram socket listens as soon as it is bound (07).
            let listens = fields.get(3).is_some_and(|state| *state == if table.starts_with("tcp") { "0A" } else { "07" });
            if listens && fields.get(9).is_some_and(|inode| sockets.contains(*inode)) {
                found.insert(address(fields[1]).with_context(|| line.to_owned())?);
            }
        }
    }
    Ok(found)
}

/// `0100007F:1F91`: words in the machine's order, the port in hexadecimal.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for word in 0..address.len() / 8 {
        bytes.extend(u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// Starts a service with nothing but what it cannot do without.
fn start(stack: &Stack, service: &str, own: &[&str]) -> Result<Running> {
    let program = devstack::dev::profile()?.join(format!("millrace-{service}"));
    ensure!(program.is_file(), "{} is not built; run `cargo build --workspace`", program.display());
    let log = fs::File::create(stack.folder().join(format!("{service}-listening.log")))?;
    let mut command = Command::new(program);
    command.args(own).arg("--landscape").arg(millrace_e2e::landscape("load"));
    command.args(["--brokers", &stack.addresses.brokers, "--registry", &stack.addresses.registry]);
    command.args(["--topic-prefix", stack.topics.prefix(), "--instance", "listening", "--development"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(Running(command.spawn()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_listens_beyond_loopback_unless_it_was_told_to() -> Result<()> {
    let stack = Stack::start(StackOptions::new(millrace_e2e::landscape("load"))).await?;
    let store = stack.folder().join("listening.sqlite").display().to_string();
    let folder = stack.systems.source_endpoint("erp")?;
    let services: [(&str, Vec<&str>, usize); 5] = [
        ("publisher", vec!["--source", "erp", "--endpoint", &folder], 1),
        ("validator", vec![], 1),
        ("sink", vec!["--destination", "mes-ulm", "--endpoint", "http://127.0.0.1:1"], 1),
        ("replayer", vec![], 1),
        ("tracker", vec!["--store", &store], 2),
    ];
    for (service, own, wanted) in &services {
        let mut running = start(&stack, service, own)?;
        // Ready: whatever it opens, it has opened.
        until(&format!("{service} to be ready"), PATIENCE, || {
            let ended = running.0.try_wait().ok().flatten();
            let answer = fetch::get(OPS, "/readyz", Duration::from_secs(2));
            let is_own = running.0.id();
            std::future::ready(match (ended, answer) {
                (Some(status), _) => Err(format!("{is_own} has ended: {status}; is something else on port {OPS}?")),
                (None, Ok((200, _))) => Ok(()),
                (None, other) => Err(format!("{other:?}")),
            })
        })
        .await?;
        let found = listening(running.0.id())?;
        println!("{service}: {found:?}");
        ensure!(found.len() == *wanted, "{service} listens on {found:?}");
        let beyond: Vec<_> = found.iter().filter(|(address, _)| !address.is_loopback()).collect();
        ensure!(beyond.is_empty(), "{service} listens beyond loopback: {beyond:?}");
    }
    Ok(())
}
