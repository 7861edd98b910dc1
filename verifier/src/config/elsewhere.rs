//! Where releases and tags are looked for, as far as it is not where everybody looks: for a command
//! that does elsewhere what was done here.

use super::{Config, Feed, Source};
use crate::http::place_without_secrets;

impl Config {
    /// The settings that are not the defaults, as environment variables of the program. Everybody
    /// is shown them: they have no user and no password.
    pub fn elsewhere(&self) -> Vec<(&'static str, String)> {
        let (feed, source) = (Feed::default(), Source::default());
        let settings = [
            ("VERBATIM_FEED__API", self.feed.api.as_str(), feed.api.as_str()),
            ("VERBATIM_FEED__FILES", self.feed.files.as_str(), feed.files.as_str()),
            ("VERBATIM_SOURCE__REPOSITORY", &self.source.repository, &source.repository),
        ];
        let other = settings.into_iter().filter(|(_, here, usual)| here != usual);
        other.map(|(name, here, _)| (name, place_without_secrets(here).into_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

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
