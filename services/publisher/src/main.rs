//! The publisher process: everything is in the library and in `service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run::<publisher::App>()
}
