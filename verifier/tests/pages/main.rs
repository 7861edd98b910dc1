//! The pages, rendered from real stores.

#![allow(clippy::disallowed_methods, reason = "a script of ours is run as a reader would")]

mod by_hand;
mod lists;
mod render;
mod world;
