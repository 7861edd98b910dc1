//! Webhooks: who is told that a release's status became another one, and what they are told.
//!
//! Messages, header names and signatures are those of Standard Webhooks 1.0.0
//! (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md), for which there are
//! libraries in many languages. A webhook's secret and URL are shown by nothing here: many
//! receivers know their senders by a secret path.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::http::Reach;
use crate::queue::{outlasts, retry_delay};
use crate::store::ChangeRow;

/// The kind of every message.
const TYPE: &str = "release.status";
/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Sizes of a key that the standard allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// A longer file holds no secret.
const SECRET_FILE_BYTES_MAX: u64 = 1024;
const NAME_BYTES_MAX: usize = 64;

/// One `[[webhooks]]` of the configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Webhook {
    /// What logs, alarms and the delivery log call it.
    pub name: String,
    /// Where messages are sent.
    pub url: Url,
    /// Only changes of this series, `3.13`.
    pub series: Option<String>,
    /// Which addresses the URL may lead to.
    pub reach: Reach,
    secret: Secret,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: String,
    url: Url,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    secret_file: Option<PathBuf>,
    #[serde(default)]
    series: Option<String>,
    #[serde(default)]
    internal: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Key(Vec<u8>),
    File(PathBuf),
}

/// What messages to one webhook are signed with.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

/// A message: what is sent of one change, the same at every attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By which a receiver knows a message that it has already.
    pub id: String,
    /// JSON.
    pub body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    version: String,
    was: Option<&'a str>,
    status: &'a str,
    record: String,
    page: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TryFrom<Keys> for Webhook {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Webhook, String> {
        let Keys { name, url, secret, secret_file, series, internal } = keys;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
            return Err(format!("name has 1 to {NAME_BYTES_MAX} of the characters a-z 0-9 - _ ."));
        }
        // None of these sentences may show the URL or the secret.
        let secret = match (secret, secret_file) {
            (Some(text), None) => Secret::Key(decoded(&text)?),
            (None, Some(path)) if path.is_absolute() => Secret::File(path),
            (None, Some(_)) => return Err(format!("secret_file of {name} is no absolute path")),
            _ => return Err(format!("{name} needs either secret or secret_file")),
        };
        let reach = if internal { Reach::Anywhere } else { Reach::Public };
        let plain = url.scheme() == "http" && internal;
        if url.scheme() != "https" && !plain || url.host().is_none() {
            return Err(format!("the url of {name} is not https (http is for internal ones)"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(format!("the url of {name} has a user, a password or a fragment"));
        }
        if series.as_deref().is_some_and(|series| !is_series(series)) {
            return Err(format!("the series of {name} is not written as 3.13"));
        }
        Ok(Webhook { name, url, series, reach, secret })
    }
}

/// The webhooks of a configuration: names are unique.
pub fn webhooks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Webhook>, D::Error> {
    let webhooks = Vec::<Webhook>::deserialize(deserializer)?;
    for (index, webhook) in webhooks.iter().enumerate() {
        if webhooks[..index].iter().any(|other| other.name == webhook.name) {
            let twice = format!("two webhooks are named {}", webhook.name);
            return Err(serde::de::Error::custom(twice));
        }
    }
    Ok(webhooks)
}

impl Webhook {
    /// The key of its secret, which is read from its file now.
    pub fn key(&self) -> anyhow::Result<Key> {
        let key = match &self.secret {
            Secret::Key(key) => key.clone(),
            Secret::File(path) => from_file(path)
                .with_context(|| format!("read secret_file {} of {}", path.display(), self.name))?,
        };
        Ok(Key(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

impl Key {
    /// The header fields of one attempt to send `message`.
    pub fn headers(&self, message: &Message, now: Timestamp) -> Vec<(&'static str, String)> {
        let sent = now.as_second();
        let signed = format!("{}.{sent}.{}", message.id, message.body);
        let signature = STANDARD.encode(hmac::sign(&self.0, signed.as_bytes()));
        vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", sent.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ]
    }
}

impl Message {
    /// What is told of `change`; `public` makes the URL of a path as people reach it.
    pub fn of(change: &ChangeRow, public: impl Fn(&str) -> String) -> anyhow::Result<Message> {
        let body = Body {
            r#type: TYPE,
            timestamp: change.at,
            data: Data {
                version: change.version.to_string(),
                was: change.was.as_deref(),
                status: &change.status,
                record: public(&format!("/api/v1/records/{}", change.record)),
                page: public(&format!("/releases/{}", change.version)),
            },
        };
        let body = serde_json::to_string(&body).context("write a message")?;
        Ok(Message { id: message_id(&change.record), body })
    }
}

/// A record changes its release's status once at most, so that its id names the message.
pub fn message_id(record: &str) -> String {
    format!("msg_{record}")
}

/// When a message that did not arrive is sent again: as jobs are, but not sooner than the receiver
/// asks for. None once the waits so far, as planned, come to `patience`: whoever sets the clock
/// ends nothing.
pub fn next_wait(
    first: SignedDuration,
    attempts: u32,
    patience: SignedDuration,
    asked: SignedDuration,
    fraction: f64,
) -> Option<SignedDuration> {
    if outlasts(first, patience, attempts) {
        return None;
    }
    let longest_asked = SignedDuration::from_hours(4);
    Some(retry_delay(first, attempts, fraction).max(asked.min(longest_asked)))
}

fn from_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_FILE_BYTES_MAX {
        bail!("it is longer than {SECRET_FILE_BYTES_MAX} bytes");
    }
    decoded(text.trim()).map_err(anyhow::Error::msg)
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let key = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    key.filter(|key| KEY_BYTES.contains(&key.len())).ok_or_else(|| {
        format!("a secret is {PREFIX} and the base64 of 24 to 64 random bytes (openssl rand)")
    })
}

fn is_series(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn webhook(text: &str) -> Result<Webhook, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    fn with(rest: &str) -> Result<Webhook, String> {
        webhook(&format!("name = \"chat\"\nsecret = \"{SECRET}\"\n{rest}"))
    }

    #[test]
    fn the_example_of_the_standards_libraries_is_signed_as_they_do() {
        let key = with("url = \"https://a.example/\"").unwrap().key().unwrap();
        let message = Message {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            body: r#"{"test": 2432232314}"#.to_owned(),
        };
        let headers = key.headers(&message, Timestamp::from_second(1_614_265_330).unwrap());
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(headers.contains(&("webhook-signature", signature.to_owned())), "{headers:?}");
        assert!(headers.contains(&("webhook-timestamp", "1614265330".to_owned())));
    }

    #[test]
    fn a_mistake_is_told_without_the_url_or_the_secret() {
        let chat = "https://a.example/hush";
        let wrong = [
            ("url = \"http://a.example/hush\"", "not https"),
            ("url = \"ftp://a.example/hush\"\ninternal = true", "not https"),
            ("url = \"https://me:hush@a.example/\"", "a user"),
            ("url = \"https://a.example/hush\"\nseries = \"latest\"", "3.13"),
            ("url = \"https://a.example/hush\"\nsecret_file = \"/a\"", "either secret or"),
        ];
        for (text, expected) in wrong {
            let error = with(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hush"), "{error}");
        }
        for secret in ["hush", "whsec_hush", "whsec_aHVzaA==", ""] {
            let text = format!("name = \"chat\"\nurl = \"{chat}\"\nsecret = \"{secret}\"");
            let error = webhook(&text).unwrap_err();
            assert!(error.contains("base64 of 24 to 64") && !error.contains("hush"), "{error}");
        }
        let shown = format!("{:?}", with(&format!("url = \"{chat}\"")).unwrap());
        assert_eq!(shown, "Webhook { name: \"chat\", .. }");
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "name = \"chat\"\nurl = \"https://a.example/\"\nsecret_file = \"{}\"",
            file.path().display()
        );
        let webhook = webhook(&text).unwrap();
        assert!(format!("{:#}", webhook.key().unwrap_err()).contains("secret_file"));
        std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
        assert!(webhook.key().is_ok());
        std::fs::write(file.path(), "a".repeat(2000)).unwrap();
        assert!(format!("{:#}", webhook.key().unwrap_err()).contains("1024 bytes"));
    }

    #[test]
    fn patience_is_counted_in_planned_waits() {
        let (first, day) = (SignedDuration::from_secs(30), SignedDuration::from_hours(24));
        let wait = |attempts, asked| next_wait(first, attempts, day, asked, 1.0);
        assert_eq!(wait(0, SignedDuration::ZERO), Some(first));
        assert_eq!(wait(1, SignedDuration::ZERO), Some(SignedDuration::from_secs(60)));
        let hour = SignedDuration::from_hours(1);
        assert_eq!(wait(0, hour), Some(hour));
        assert_eq!(wait(0, hour * 100), Some(hour * 4));
        let last = (0..100).find(|attempts| wait(*attempts, SignedDuration::ZERO).is_none());
        assert_eq!(last, Some(14));
    }
}
