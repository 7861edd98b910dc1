use clap::Parser;
use verifier::compare_command::{self, CompareArgs};

#[derive(Parser)]
#[command(name = "verbatim")]
enum Command {
    Compare(CompareArgs),
}

fn main() {
    let Command::Compare(args) = Command::parse();
    std::process::exit(compare_command::run(&args));
}
