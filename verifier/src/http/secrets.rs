//! Takes users and passwords out of URLs before a text leaves: into an error, a log, a page, a
//! record.
//!
//! It promises that no user info of a URL is left. Rather than that it takes a word too much. It
//! never changes a text that has no user info in it.

use std::borrow::Cow;

use url::Url;

const MARK: &str = "://";

/// `text`, with the user info taken out of every URL in it.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    without(text, |c| c.is_whitespace() || "\"<>".contains(c))
}

/// The same for a text that is nothing but one URL, or a path. A password may have blanks in it.
pub fn place_without_secrets(place: &str) -> Cow<'_, str> {
    without(place, |_| false)
}

/// `url` for whoever reads it.
pub fn bare(url: &Url) -> String {
    without_secrets(url.as_str()).into_owned()
}

/// Whether `url` has a user or a password.
pub fn has_secrets(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn without(text: &str, ends: impl Fn(char) -> bool) -> Cow<'_, str> {
    let (mut rest, mut clean) = (text, String::new());
    while let Some(place) = rest.find(MARK) {
        let (before, after) = rest.split_at(place + MARK.len());
        clean.push_str(before);
        rest = &after[user_info_bytes(after, &ends)..];
    }
    clean.push_str(rest);
    if clean.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(clean) }
}

/// RFC 3986, 3.2: what stands after `://` up to the last `@` before the path.
fn user_info_bytes(after: &str, ends: impl Fn(char) -> bool) -> usize {
    let line = after.split('\n').next().unwrap_or_default();
    // What comes after the next `://` is another URL's.
    let line = line.split(MARK).next().unwrap_or_default();
    let end = line.find(|c| "/?#".contains(c) || ends(c)).unwrap_or(line.len());
    let authority = &line[..end];
    let after_last = |text: &str| text.rfind('@').map(|at| at + 1);
    if let Some(bytes) = after_last(authority) {
        return bytes;
    }
    // Behind a host stands a number. Anything else is a password that was not escaped.
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let port = port.trim_end_matches(|c| "'`,;.:)]}".contains(c));
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = authority.starts_with('[');
    if is_port || is_address { 0 } else { after_last(line).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_taken_out_of_every_url_in_a_text() {
        let cases = [
            ("https://us:geheim@a.example/x", "https://a.example/x"),
            ("https://token@a.example", "https://a.example"),
            (
                "fatal: unable to access 'http://us:ge'heim@127.0.0.1:80/x/': no route to @b",
                "fatal: unable to access 'http://127.0.0.1:80/x/': no route to @b",
            ),
            ("https://us:ge@he:im@[::1]:8/x", "https://[::1]:8/x"),
            (
                "http://u:p@one, git+ssh://v:q@two/ x://w@three",
                "http://one, git+ssh://two/ x://three",
            ),
            (r#"["https://us:geheim@a/","http://b/"]"#, r#"["https://a/","http://b/"]"#),
            // None of these is a URL that a client takes; a person wrote them.
            ("\"https://us:ge/he?im@a.example/x\" is not", "\"https://a.example/x\" is not"),
            ("\"https://us:ge heim@a.example/x\" is not", "\"https://a.example/x\" is not"),
            ("https://us:ge\"heim@a.example\n@b", "https://a.example\n@b"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_secrets(text), expected, "{text}");
        }
        let place = "https://us:1 geheim@a.example/x";
        assert_eq!(place_without_secrets(place), "https://a.example/x");
    }

    #[test]
    fn a_text_without_user_info_stays_as_it_is() {
        for text in [
            "",
            "://",
            "user@host: mail@example.org",
            "git+https://a.example/python/cpython@refs/tags/v3.13.5",
            "http://127.0.0.1:80/a@b http://[::1]:8/@ http://[::1]/@",
            "cannot reach http://a.example: no route; ask somebody@a.example",
            "cannot reach http://a.example:8080, ask somebody@a.example",
            "http://a.example?mail=a@b",
            "/srv/cpython@home",
        ] {
            assert!(matches!(without_secrets(text), Cow::Borrowed(_)), "{text}");
        }
    }
}
