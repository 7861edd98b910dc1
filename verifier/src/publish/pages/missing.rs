//! What a browser gets where nothing is published.

use askama::Template;

use super::Frame;

#[derive(Template)]
#[template(path = "missing.html")]
struct Missing<'a> {
    frame: &'a Frame,
}

/// The page, as HTML.
pub fn missing(frame: &Frame) -> anyhow::Result<String> {
    Ok(Missing { frame }.render()?)
}
