//! What may go wrong with this machine. None of these says anything about a release: the caller
//! retries or shows the sentence to the operator, and never publishes it as a failure.

use std::io;
use std::path::PathBuf;

use crate::BuildFailure;

/// Trouble of the machine or of the order, as one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OperatingError {
    /// The order names something that cannot be used.
    #[error("the order cannot be carried out: {0}")]
    InvalidOrder(String),
    /// The kernel does not let this user make a user namespace.
    #[error(
        "this user may not create user namespaces ({reason}): set the sysctl \
         user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 or \
         kernel.apparmor_restrict_unprivileged_userns=0 where they exist, or run as root"
    )]
    UserNamespaces {
        /// What the kernel said.
        reason: String,
    },
    /// The container did not come up.
    #[error(
        "the container could not start: {reason}; check that the environment's tree is complete \
         and that this machine lets the user mount (inside Docker or Kubernetes: unmasked /proc)"
    )]
    Container {
        /// What failed, on what.
        reason: String,
    },
    /// Somebody else ended the command.
    #[error(
        "{command} was killed by something other than Verbatim (an administrator, or the kernel \
         because the machine ran out of memory): free memory on this machine and run it again"
    )]
    Killed {
        /// The step or the program.
        command: String,
    },
    /// The machine's disk is full, so a failure says nothing about the release.
    #[error("the disk that holds {path} is full: free space there and run it again")]
    DiskFull {
        /// The work directory.
        path: PathBuf,
    },
    /// A tool of ours ran into one of its limits.
    #[error(
        "{program} was stopped ({failure}): raise the limit in the configuration if \
         this is expected"
    )]
    ToolLimit {
        /// The tool.
        program: String,
        /// Which limit.
        failure: BuildFailure,
    },
    /// A file or a system call failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, on what.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Adds what was tried to an [`io::Error`].
pub(crate) trait While<T> {
    /// `action` completes "cannot …".
    fn while_trying(self, action: impl FnOnce() -> String) -> Result<T, OperatingError>;
}

impl<T, E: Into<io::Error>> While<T> for Result<T, E> {
    fn while_trying(self, action: impl FnOnce() -> String) -> Result<T, OperatingError> {
        self.map_err(|error| OperatingError::Io { action: action(), source: error.into() })
    }
}
