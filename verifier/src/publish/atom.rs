//! Atom feeds (RFC 4287): an entry for each change of a release's status, and for nothing else.

use anyhow::Context;
use atom_syndication::{
    Category, Content, Entry, Feed, Generator, Link, Person, Text, WriteConfig,
};
use jiff::Timestamp;

use super::site::{Caching, POLICY, Resource, Shown};
use crate::store::{ChangeNews, FileStanding};

/// The most entries of a feed, the newest ones.
const ENTRIES_MAX: u32 = 100;

/// The feed of all releases, or of one series; none if no release of it is known.
pub async fn resource(shown: &Shown, series: Option<&str>) -> anyhow::Result<Option<Resource>> {
    if let Some(series) = series
        && shown.store.newest_of_series(series).await?.is_none()
    {
        return Ok(None);
    }
    let changes = shown.store.newest_changes(series, ENTRIES_MAX).await?;
    let modified = changes.iter().map(|news| news.change.at).max();
    let modified = modified.unwrap_or(Timestamp::UNIX_EPOCH);
    let feed = feed(shown, series, &changes, modified)?;
    let config = WriteConfig { write_document_declaration: true, indent_size: Some(1) };
    let body = feed.write_with_config(Vec::new(), config).context("write a feed")?;
    Ok(Some(Resource {
        body,
        media_type: "application/atom+xml",
        caching: Caching::Minutes,
        modified,
        policy: POLICY,
    }))
}

fn feed(
    shown: &Shown,
    series: Option<&str>,
    changes: &[ChangeNews],
    modified: Timestamp,
) -> anyhow::Result<Feed> {
    let (title, path) = match series {
        None => ("CPython releases, rebuilt".to_owned(), "/feed.atom".to_owned()),
        Some(series) => {
            (format!("CPython {series} releases, rebuilt"), format!("/feed/{series}.atom"))
        }
    };
    let own = shown.public(&path);
    let entries = changes.iter().map(|news| entry(shown, news));
    Ok(Feed {
        title: title.into(),
        subtitle: Some(Text::plain(format!(
            "Each change of a release's status, the last {ENTRIES_MAX}. Every verdict is at {}.",
            shown.public("/api/v1/records")
        ))),
        id: own.clone(),
        updated: written(modified)?,
        authors: vec![Person { name: "Verbatim".to_owned(), ..Person::default() }],
        links: vec![
            link("self", own, Some("application/atom+xml")),
            link("alternate", shown.public("/"), Some("text/html")),
        ],
        generator: Some(Generator { value: "Verbatim".to_owned(), ..Generator::default() }),
        lang: Some("en".to_owned()),
        entries: entries.collect::<anyhow::Result<_>>()?,
        ..Feed::default()
    })
}

fn entry(shown: &Shown, news: &ChangeNews) -> anyhow::Result<Entry> {
    let change = &news.change;
    let version = &change.version;
    let status = words(&change.status);
    let was = change.was.as_deref().map(|was| format!(", was {}", words(was)));
    let title = format!("CPython {version}: {status}{}", was.unwrap_or_default());
    let at = written(change.at)?;
    let category = |term: &str| Category { term: term.to_owned(), ..Category::default() };
    Ok(Entry {
        title: title.into(),
        // A record makes at most one change, and its id is good for ever, wherever this is served.
        id: format!("urn:uuid:{}", change.record),
        updated: at,
        published: Some(at),
        categories: vec![category(&change.status), category(&version.series())],
        links: vec![
            link("alternate", shown.public(&format!("/records/{}", change.record)), None),
            link("related", shown.public(&format!("/releases/{version}")), None),
        ],
        content: Some(Content {
            value: Some(files(news)),
            content_type: Some("text".to_owned()),
            ..Content::default()
        }),
        ..Entry::default()
    })
}

/// One sentence a file.
fn files(news: &ChangeNews) -> String {
    let sentence = |(name, file): &(String, FileStanding)| match file {
        FileStanding::Reproduced => format!("{name} is reproduced bit for bit."),
        FileStanding::Disputed => {
            format!(
                "{name} comes out of its tag, but a claim about it disagrees: see the evidence."
            )
        }
        FileStanding::Replayed => format!(
            "{name} is reproduced once replayed: bit for bit with the order, times and owners of \
             the published archive; every content is rebuilt."
        ),
        FileStanding::Different => format!("{name} differs from what its tag produces."),
        FileStanding::NotBuilt => format!("{name} could not be rebuilt: its tag does not build."),
    };
    let sentences: Vec<String> = news.files.iter().map(sentence).collect();
    sentences.join(" ")
}

/// A status as people write it.
fn words(status: &str) -> String {
    status.replace('_', " ")
}

fn link(rel: &str, href: String, mime_type: Option<&str>) -> Link {
    let mime_type = mime_type.map(str::to_owned);
    Link { rel: rel.to_owned(), href, mime_type, ..Link::default() }
}

/// As atom_syndication keeps it.
fn written(at: Timestamp) -> anyhow::Result<atom_syndication::FixedDateTime> {
    at.to_string().parse().context("write a time into a feed")
}
