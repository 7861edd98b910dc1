//! The pages that people read: what the store holds, as HTML that needs no script.
//!
//! Each page is a function from facts to markup: the same facts give the same bytes, and there is
//! no clock in it. What comes from outside passes [`Printed`], which no template can forget, and
//! every list has an end that says how much more there is and where.

mod about;
mod asset;
mod by_hand;
mod claimed;
mod embed;
mod files;
mod job;
mod markup;
mod missing;
mod overview;
mod packed;
mod queue;
mod record;
mod reference;
mod release;
mod series;
mod shell;
mod state;

use jiff::Timestamp;

use super::site::{Caching, Resource, Shown};
use crate::store::{NOTICE, Store};

pub use asset::{Asset, assets};
pub use markup::Printed;
pub use missing::missing;
pub use state::State;

/// Nothing may be loaded but our own style and images, nothing may run, frame or be sent.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The same, with our own script, which follows a job of ours.
const LIVE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// `Content-Type` of every page.
pub const HTML: &str = "text/html; charset=utf-8";

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
    root: String,
    /// Which of the pages that the navigation lists this is.
    here: Here,
    /// What whoever runs this says at the top of every page.
    notice: Option<String>,
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

/// What is at the path with these parts, as far as it is a page or belongs to one. What is
/// stored with a record is not ours.
pub async fn resource(shown: &Shown, parts: &[&str]) -> anyhow::Result<Option<Resource>> {
    let store = &shown.store;
    let frame = |here| Frame::read(shown, here);
    let page = match parts {
        [""] => overview::overview(store, &frame(Here::Overview).await?).await?,
        ["queue"] => queue::queue(store, &frame(Here::Queue).await?).await?,
        ["embed"] => embed::embed(shown, &frame(Here::Badges).await?).await?,
        ["api"] => reference::reference(&frame(Here::Api).await?)?,
        ["about"] => about::about(&frame(Here::About).await?)?,
        ["releases", version] => {
            let Ok(version) = version.parse() else { return Ok(None) };
            let frame = frame(Here::Elsewhere).await?;
            let page = release::release(shown, &frame, &version).await?;
            let Some(page) = page else { return Ok(None) };
            page
        }
        ["records", id] => {
            let frame = frame(Here::Elsewhere).await?;
            let page = record::record(shown, &frame, id).await?;
            let Some(page) = page else { return Ok(None) };
            page
        }
        ["records", id, "definition.json"] => return record::definition(store, id).await,
        ["records", id, "steps.sh"] => return record::script(store, id).await,
        ["jobs", id] => {
            let frame = frame(Here::Elsewhere).await?;
            let page = job::job(store, &shown.journals, &frame, id).await?;
            return Ok(page.map(|page| page.resource(Caching::Live, LIVE_POLICY)));
        }
        ["assets", name] => return Ok(asset::resource(name)),
        _ => return Ok(None),
    };
    Ok(Some(page.resource(Caching::Page, POLICY)))
}

impl Page {
    /// The page as it is published.
    pub fn resource(self, caching: Caching, policy: &'static str) -> Resource {
        Resource {
            body: self.html.into_bytes(),
            media_type: HTML,
            caching,
            modified: self.modified,
            policy,
        }
    }
}

impl Frame {
    /// The frame of a page.
    pub async fn read(shown: &Shown, here: Here) -> anyhow::Result<Frame> {
        let notice = shown.store.fact(NOTICE).await?.filter(|notice| !notice.is_empty());
        let root = shown.public_url.path().trim_end_matches('/').to_owned();
        Ok(Frame { root, here, notice })
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

/// A note that whoever runs this keeps in the store.
async fn fact(store: &Store, name: &str) -> anyhow::Result<Option<String>> {
    Ok(store.fact(name).await?.filter(|text| !text.is_empty()))
}
