//! The operator's command line: everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    millrace_cli::run()
}
