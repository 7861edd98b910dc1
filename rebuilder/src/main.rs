//! The rebuilder by itself: `rebuilder rebuild` and `rebuilder tool` do what `verbatim rebuild` and
//! `verbatim tool` do, without the verifier. Anyone can run a definition with it.

#![allow(clippy::disallowed_methods, reason = "its one argument names the door")]

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let code = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rebuild"] => rebuilder::rebuild_main(),
        ["tool"] => rebuilder::tool_main(),
        _ => {
            eprintln!("usage: rebuilder rebuild|tool, with an order as JSON on standard input");
            2
        }
    };
    std::process::exit(code);
}
