//! The `verbatim` program, built for these tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    verifier::cli::main()
}
