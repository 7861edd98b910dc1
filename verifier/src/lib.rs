//! Verbatim: rebuilds CPython source releases from their tags, compares them with the published
//! files byte for byte, and records a verdict that anyone can check.
//!
//! The line is in [`line`]; each of its rooms is a module with one door. What may be relied on is
//! written down in ARCHITECTURE.md.

// The line and its rooms, in the order of the work.
pub mod authenticate;
pub mod compare;
pub mod explain;
pub mod feed;
pub mod line;
pub mod publish;
pub mod record;
pub mod store;
pub mod verdict;
// What the rooms work with.
pub mod definitions;
pub mod environment;
pub mod era;
pub mod evidence;
pub mod members;
pub mod observation;
pub mod openpgp;
pub mod payload;
pub mod queue;
pub mod recipe;
pub mod release;
pub mod replay;
pub mod source;
pub mod version;
pub mod webhook;
// The edges: sockets, processes, disk, terminal, settings.
pub mod clock;
pub mod config;
pub mod fault;
pub mod http;
pub mod journal;
pub mod logging;
pub mod process;
pub mod progress;
pub mod retention;
pub mod scratch;
pub mod server;
pub mod supervisor;
// The program.
pub mod authenticate_command;
pub mod cli;
pub mod compare_command;
pub mod daemon;
pub mod demo;
pub mod diagnose;
pub mod operate;
pub mod request_command;
pub mod store_command;
pub mod world;
