//! The sink's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run::<sink::App>()
}
