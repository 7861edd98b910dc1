//! python.org's RSS of its last releases: the same rows as the API's, and it costs no allowance.
//!
//! Nothing of it is believed but that a version is named there: a reason to ask the API early.

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::config;
use crate::http::{Client, Get, Transport};
use crate::version::Version;

/// Beside the API, on the same host.
const PLACE: &str = "/downloads/feed.rss";
/// It has the last ten releases, in some kilobytes.
const FEED_BYTES_MAX: u64 = 1 << 20;
const FEED_SECONDS_MAX: u64 = 60;
const ITEMS_MAX: usize = 100;

/// RSS 2.0, as far as it is read.
#[derive(Deserialize)]
struct Rss {
    channel: Channel,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(default)]
    item: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    title: String,
}

/// The versions that are named there.
pub async fn versions(client: &Client, feed: &config::Feed) -> anyhow::Result<Vec<Version>> {
    let get = Get {
        url: feed.api.join(PLACE).context("make the URL of the announcements")?,
        size_bytes_max: FEED_BYTES_MAX,
        seconds_max: FEED_SECONDS_MAX,
        transport: Transport::Secure,
    };
    let body = client.bytes(&get).await.context("read the announcements")?;
    parse(&body).context("read the announcements")
}

fn parse(body: &[u8]) -> anyhow::Result<Vec<Version>> {
    let text = std::str::from_utf8(body).context("they are not UTF-8")?;
    // Whoever sends entities of their own wants them to be expanded.
    if text.contains("<!DOCTYPE") {
        bail!("they have a document type, which no RSS needs");
    }
    let rss: Rss = quick_xml::de::from_str(text).context("they are not RSS")?;
    let titles = rss.channel.item.into_iter().take(ITEMS_MAX).map(|item| item.title);
    Ok(titles.filter_map(|title| title.trim().strip_prefix("Python ")?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(items: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\" \
             xmlns:atom=\"http://www.w3.org/2005/Atom\"><channel><title>Python 1.0</title>\
             <link>https://www.python.org/</link><atom:link href=\"x\" rel=\"self\"></atom:link>\
             {items}</channel></rss>"
        )
    }

    #[test]
    fn the_titles_of_items_name_versions() {
        let item = |title: &str| {
            format!("<item><title>{title}</title><link>x</link><guid a=\"b\">y</guid></item>")
        };
        let names =
            ["Python 3.14.0rc1", " Python 3.13.5\n", "Python install manager 25.0", "", "3.9"];
        let text = titles(&names.map(item).concat());
        let found: Vec<String> =
            parse(text.as_bytes()).unwrap().iter().map(|v| v.to_string()).collect();
        assert_eq!(found, ["3.14.0rc1", "3.13.5"]);
        let cdata = "<item><title><![CDATA[Python 3.12.1]]></title></item><item/>";
        assert_eq!(parse(titles(cdata).as_bytes()).unwrap().len(), 1);
        assert_eq!(parse(titles("").as_bytes()).unwrap(), []);
        let many = titles(&item("Python 3.1.1").repeat(1_000));
        assert_eq!(parse(many.as_bytes()).unwrap().len(), ITEMS_MAX);
    }

    #[test]
    fn nonsense_is_an_error_and_no_entity_is_expanded() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"Python 3.1.1\">]>";
        let item = "<item><title>&a;</title></item>";
        for text in [
            "",
            "<html><body>not found</body></html>",
            "{\"detail\": \"Not found.\"}",
            &titles(item),
            &titles(&format!("{bomb}{item}")),
            &titles("<item><title>Python 3.13.5</title>"),
            &titles("<item>").replace("</channel></rss>", ""),
            &"<a>".repeat(200_000),
            &titles(&"<item>".repeat(100_000)),
        ] {
            let shown: String = text.chars().take(60).collect();
            assert!(parse(text.as_bytes()).is_err(), "{shown}");
        }
        assert!(parse(b"\xff\xfe<\0r\0").is_err());
    }
}
