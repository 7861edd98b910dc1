//! The HTTP server from outside: a store in a temporary directory, a listener on loopback.

#![allow(clippy::disallowed_methods, reason = "tests read the environment")]

mod badges;
mod confirmed;
mod current;
mod embed;
mod export;
mod feeds;
mod follow;
mod headers;
mod hostile;
mod lists;
mod requests;
mod singles;
mod site;
mod stored;
mod times;
