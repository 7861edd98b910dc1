//! The pages, rendered from real stores.

mod render;
mod world;
