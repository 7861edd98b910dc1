//! Writes the files that each target starts from to `$FUZZ_SEEDS/TARGET/`. Linked like a target, as
//! the instrumentation calls into libFuzzer and libFuzzer into a target; it fuzzes nothing.
#![no_main]

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use fuzz::seed;

libfuzzer_sys::fuzz_target!(
    init: {
        let directory = PathBuf::from(env::var_os("FUZZ_SEEDS").expect("FUZZ_SEEDS is set"));
        write(&directory).expect("room for the seeds");
        process::exit(0);
    },
    |_bytes: &[u8]| {}
);

fn write(root: &Path) -> io::Result<()> {
    let targets = [
        ("tar", seed::tars()),
        ("gzip", seed::gzips()),
        ("xz", seed::xzs()),
        ("zip", seed::zips()),
        ("text", seed::texts()),
        ("compare_any", seed::pairs()),
    ];
    for (target, seeds) in targets {
        let directory = root.join(target);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("{number:02}")), seed)?;
        }
    }
    Ok(())
}
