//! The replayer's process: everything about its life is in [`service::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run::<replayer::App>()
}
