//! `/about`: what the words on the other pages mean, and what they do and do not prove.

use askama::Template;
use jiff::Timestamp;

use super::state::State;
use super::{Frame, Page};

#[derive(Template)]
#[template(path = "about.html")]
struct About<'a> {
    frame: &'a Frame,
}

/// The page about the pages.
pub fn about(frame: &Frame) -> anyhow::Result<Page> {
    // It says nothing that happened at a time.
    Ok(Page { html: About { frame }.render()?, modified: Timestamp::UNIX_EPOCH })
}
