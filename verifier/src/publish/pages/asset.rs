//! Our own assets, built into the program. Their names carry a digest of their bytes, so that a
//! cache may keep each for ever.

use std::sync::LazyLock;

use jiff::Timestamp;
use rebuilder::Digest;

use crate::publish::site::{Caching, POLICY, Resource};

/// A file that pages refer to.
#[derive(Debug)]
pub struct Asset {
    /// `style-0123456789ab.css`: its address is `/assets/` and this.
    pub name: String,
    /// As `Content-Type` has it.
    pub media_type: &'static str,
    /// Its bytes.
    pub body: &'static str,
    stem: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        new("style", "css", "text/css; charset=utf-8", include_str!("../../../assets/style.css")),
        new(
            "follow",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("../../../assets/follow.js"),
        ),
        new("icon", "svg", "image/svg+xml", include_str!("../../../assets/icon.svg")),
    ]
});

fn new(stem: &'static str, kind: &str, media_type: &'static str, body: &'static str) -> Asset {
    let digest = Digest::of(body.as_bytes()).to_string();
    Asset { name: format!("{stem}-{}.{kind}", &digest[..12]), media_type, body, stem }
}

/// Every asset.
pub fn assets() -> &'static [Asset] {
    ASSETS.as_slice()
}

/// The asset of this name; none if it is the name of another version of it.
pub(super) fn resource(name: &str) -> Option<Resource> {
    let asset = assets().iter().find(|asset| asset.name == name)?;
    Some(Resource {
        body: asset.body.as_bytes().to_vec(),
        media_type: asset.media_type,
        caching: Caching::Forever,
        // Part of the program: it says nothing that happened at a time.
        modified: Timestamp::UNIX_EPOCH,
        policy: POLICY,
    })
}

/// The asset of this stem.
pub(super) fn named(stem: &str) -> &'static Asset {
    // Invariant: templates name the stems of the list above; every page is rendered in a test.
    assets().iter().find(|asset| asset.stem == stem).expect("a built-in asset")
}
