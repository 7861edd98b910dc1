//! What the end-to-end tests stand on: a machine's corner with a world around it.
//!
//! [`Scene`] is one test's own: a state directory, a configuration file, a stand-in of python.org
//! on loopback. [`Fixture`] is shared by all tests and made once: a package archive of this
//! machine's own programs with a signed index, an environment locked and assembled from it by the
//! program under test, a small source repository and the files published from it.
// The rules of the product about processes and settings are not for its tests.
#![allow(clippy::disallowed_methods)]

pub mod archive;
pub mod fixture;
pub mod genuine;
#[path = "../../rebuilder/tests/it/host_tree.rs"]
pub mod host_tree;
pub mod leftovers;
pub mod ran;
pub mod receiver;
pub mod scene;
pub mod signer;
pub mod source;
pub mod spdx;

pub use fixture::{Fixture, Place};
pub use ran::Ran;
pub use receiver::{Receiver, Reply};
pub use scene::Scene;
pub use signer::Signer;
