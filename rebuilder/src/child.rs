//! The process of its own in which the doors run: an order on standard input, a result on standard
//! output, events as JSON lines on standard error, all of them bounded.
//!
//! It has one thread, because it forks, and it dies with the thread that started it, and the
//! container with it: nothing of a rebuild survives a kill -9 of the verifier. Whoever closes the
//! other end of its standard error while a container runs tells it to stop: it ends the container,
//! removes what it has made and exits.

use std::io::{self, Read, Write};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{OperatingError, RebuildOrder, ToolOrder, rebuild, tool};

/// A definition is a recipe and some digests.
const ORDER_BYTES_MAX: u64 = 4 << 20;

/// Exit status when no result could be printed.
const OPERATING_ERROR: i32 = 2;

/// The whole process of `verbatim rebuild`: a [`RebuildOrder`] in, a [`crate::Rebuild`] out. Exit
/// status 0 if a rebuild was printed, whatever its outcome; otherwise 2 and, as the last line of
/// standard error, a sentence.
pub fn rebuild_main() -> i32 {
    serve(|order: RebuildOrder| {
        rebuild(&order, &mut |event| {
            // Whoever started us reads this; without a reader the work is for nobody.
            if print_line(&mut io::stderr().lock(), &event).is_err() {
                std::process::exit(OPERATING_ERROR);
            }
        })
    })
}

/// The whole process of `verbatim tool`: a [`ToolOrder`] in, a [`crate::ToolRun`] out. Exit status
/// as [`rebuild_main`].
pub fn tool_main() -> i32 {
    serve(|order: ToolOrder| tool(&order))
}

fn serve<Order: DeserializeOwned, Done: Serialize>(
    door: impl FnOnce(Order) -> Result<Done, OperatingError>,
) -> i32 {
    let served = die_with_parent().and_then(|()| read_order()).and_then(|order| {
        let done = door(order).map_err(|error| error.to_string())?;
        print_line(&mut io::stdout().lock(), &done)
            .map_err(|error| format!("cannot print the result: {error}"))
    });
    match served {
        Ok(()) => 0,
        Err(sentence) => {
            let _ = writeln!(io::stderr(), "{sentence}");
            OPERATING_ERROR
        }
    }
}

fn die_with_parent() -> Result<(), String> {
    let parent = getppid();
    set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("cannot watch the parent: {error}"))?;
    // It may have died before the kernel knew that we care.
    if getppid() != parent {
        return Err("the process that asked for this is gone".to_string());
    }
    Ok(())
}

fn read_order<Order: DeserializeOwned>() -> Result<Order, String> {
    let mut json = Vec::new();
    let read = io::stdin().lock().take(ORDER_BYTES_MAX + 1).read_to_end(&mut json);
    read.map_err(|error| format!("cannot read the order from standard input: {error}"))?;
    if json.len() as u64 > ORDER_BYTES_MAX {
        return Err(format!("the order is longer than {ORDER_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(&json)
        .map_err(|error| format!("standard input is not an order for this command: {error}"))
}

fn print_line(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
