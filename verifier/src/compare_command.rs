//! Temporary.
#[derive(clap::Args)]
pub struct CompareArgs { a: String }
pub fn run(_a: &CompareArgs) -> i32 { 2 }
