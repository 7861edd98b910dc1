//! The container from the inside and from the outside: what a hostile step can see, do and leave
//! behind. Run as root and as an ordinary user; the promises are the same.

#![allow(clippy::disallowed_methods, reason = "tests start programs and read the environment")]

mod host_tree;
mod world;

mod endings;
mod limits;
mod tools;
mod traces;
mod walls;
