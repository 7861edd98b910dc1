//! Where releases and tags are looked for, as far as it is not where everybody looks: for a command
//! that does elsewhere what was done here.

use url::Url;

use super::{Config, Feed, Source};

impl Config {
    /// The settings that are not the defaults, as environment variables of the program.
    pub fn elsewhere(&self) -> Vec<(&'static str, String)> {
        let (feed, source) = (Feed::default(), Source::default());
        let settings = [
            ("VERBATIM_FEED__API", self.feed.api.as_str(), feed.api.as_str()),
            ("VERBATIM_FEED__FILES", self.feed.files.as_str(), feed.files.as_str()),
            ("VERBATIM_SOURCE__REPOSITORY", &self.source.repository, &source.repository),
        ];
        let other = settings.into_iter().filter(|(_, here, usual)| here != usual);
        other.map(|(name, here, _)| (name, without_secrets(here))).collect()
    }
}

/// It is shown to everybody: whoever asks by HTTP as somebody does so by a password or a token.
fn without_secrets(place: &str) -> String {
    let Ok(mut url) = Url::parse(place) else { return place.to_owned() };
    let has_some = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || !has_some {
        return place.to_owned();
    }
    match url.set_username("").and_then(|()| url.set_password(None)) {
        Ok(()) => url.into(),
        Err(()) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_the_default_is_told_and_no_secret() {
        let mut config = Config::default();
        assert_eq!(config.elsewhere(), []);
        config.source.repository = "/srv/cpython mirror".to_owned();
        config.feed.api = Url::parse("https://us:secret@mirror.example/api").unwrap();
        let expected = [
            ("VERBATIM_FEED__API", "https://mirror.example/api".to_owned()),
            ("VERBATIM_SOURCE__REPOSITORY", "/srv/cpython mirror".to_owned()),
        ];
        assert_eq!(config.elsewhere(), expected);
    }
}
