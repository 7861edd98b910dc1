//! The pages that people read: what the store holds, as HTML that needs no script.
//!
//! Each page is a function from facts to markup: the same facts give the same bytes, and there is
//! no clock in it. What comes from outside passes [`Printed`], which no template can forget, and
//! every list has an end that says how much more there is and where.

mod about;
mod asset;
mod files;
mod job;
mod markup;
mod overview;
mod packed;
mod queue;
mod record;
mod release;
mod series;
mod state;

use jiff::Timestamp;
use url::Url;

pub use about::about;
pub use asset::{Asset, asset, assets};
pub use job::job;
pub use markup::Printed;
pub use overview::overview;
pub use queue::queue;
pub use record::{definition, record};
pub use release::release;
pub use state::State;

/// A page and the time of the newest fact in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// HTML in UTF-8.
    pub html: String,
    /// What `Last-Modified` says.
    pub modified: Timestamp,
}

/// What stands around every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The path of the public URL without a slash at its end; empty if it has none.
    pub root: String,
    /// Which of the pages that the navigation lists this is.
    pub here: Here,
}

/// The pages of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    Overview,
    Queue,
    Badges,
    Api,
    About,
    /// A page below one of them.
    Elsewhere,
}

impl Frame {
    /// The frame of a page of the site that people reach at `public_url`.
    pub fn new(public_url: &Url, here: Here) -> Frame {
        Frame { root: public_url.path().trim_end_matches('/').to_owned(), here }
    }

    fn links(&self) -> [Link; 5] {
        let link = |here, path, text| Link { path, text, current: self.here == here };
        [
            link(Here::Overview, "/", "Overview"),
            link(Here::Queue, "/queue", "Queue"),
            link(Here::Badges, "/embed", "Badges"),
            link(Here::Api, "/api", "API"),
            link(Here::About, "/about", "About"),
        ]
    }

    /// The path of one of our own assets.
    fn asset(&self, stem: &str) -> String {
        format!("{}/assets/{}", self.root, asset::named(stem).name)
    }
}

struct Link {
    path: &'static str,
    text: &'static str,
    current: bool,
}

/// The newest of the times that a page is made of.
fn newest(times: impl IntoIterator<Item = Option<Timestamp>>) -> Timestamp {
    times.into_iter().flatten().max().unwrap_or(Timestamp::UNIX_EPOCH)
}
