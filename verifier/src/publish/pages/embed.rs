//! `/embed`: what to paste to show a badge, as Markdown, reStructuredText and HTML.

use askama::Template;
use url::form_urlencoded::byte_serialize;

use super::{Frame, Page, newest};
use crate::publish::paths::usual_files;
use crate::publish::site::Shown;

/// Series that are listed, the newest ones.
const SERIES_MAX: usize = 40;

#[derive(Template)]
#[template(path = "embed.html")]
struct EmbedPage<'a> {
    frame: &'a Frame,
    latest: Option<Embedded>,
    series: Vec<Embedded>,
    series_more: usize,
    /// Of one release, and of one file of it.
    examples: Vec<Embedded>,
}

/// A badge and what shows it elsewhere.
struct Embedded {
    /// `3.13`, `latest`, `3.13.5/Python-3.13.5.tgz`.
    name: String,
    /// What it is about, for people and for `alt`. Not how that stands: what is pasted stays as it
    /// is when the badge changes.
    about: String,
    markdown: String,
    /// Its lines.
    rest: [String; 3],
    html: String,
    /// The same drawn by shields.
    shields: String,
}

impl Embedded {
    /// The badge of this name, which leads to `page` when somebody follows it.
    fn new(shown: &Shown, name: &str, about: String, page: &str) -> Embedded {
        let image = shown.public(&format!("/badge/cpython/{name}.svg"));
        let document = shown.public(&format!("/badge/cpython/{name}.json"));
        let page = shown.public(page);
        let encoded: String = byte_serialize(document.as_bytes()).collect();
        Embedded {
            markdown: format!("[![{about}]({image})]({page})"),
            rest: [
                format!(".. image:: {image}"),
                format!("   :alt: {about}"),
                format!("   :target: {page}"),
            ],
            html: format!(r#"<a href="{page}"><img src="{image}" alt="{about}" height="20"></a>"#),
            shields: format!("https://img.shields.io/endpoint?url={encoded}"),
            name: name.to_owned(),
            about,
        }
    }
}

/// The page for whoever wants a badge.
pub async fn embed(shown: &Shown, frame: &Frame) -> anyhow::Result<Page> {
    let store = &shown.store;
    let about = |what: &str| format!("reproducibility of {what}");
    let known = store.series().await?;
    let series_more = known.len().saturating_sub(SERIES_MAX);
    let series = known.into_iter().take(SERIES_MAX).map(|series| {
        Embedded::new(shown, &series, about(&format!("the newest CPython {series}")), "/")
    });
    let series: Vec<Embedded> = series.collect();
    let newest_release = match store.newest().await? {
        Some(version) => store.standing(&version).await?,
        None => None,
    };
    let mut examples = Vec::new();
    if let Some(standing) = &newest_release {
        let version = &standing.version;
        let page = format!("/releases/{version}");
        // The badge of two numbers is that of their series.
        if version.to_string() != version.series() {
            let about = about(&format!("CPython {version}"));
            examples.push(Embedded::new(shown, &version.to_string(), about, &page));
        }
        let known = standing.files.first().map(|(name, _)| name.clone());
        let [usual, _] = usual_files(version);
        let file = known.unwrap_or(usual);
        examples.push(Embedded::new(shown, &format!("{version}/{file}"), about(&file), &page));
    }
    let latest = newest_release.is_some();
    let latest = latest.then(|| Embedded::new(shown, "latest", about("the newest CPython"), "/"));
    let modified = newest([newest_release.map(|standing| standing.modified)]);
    let page = EmbedPage { frame, latest, series, series_more, examples };
    Ok(Page { html: page.render()?, modified })
}
