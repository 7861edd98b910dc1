//! The pages, rendered from real stores.

mod lists;
mod render;
mod world;
